"""``[api]``: how stella-api serves."""

from oslo_config import cfg

GROUP = "api"
OPTIONS = [
    cfg.HostAddressOpt("bind_host", default="127.0.0.1", help="Address to listen on."),
    cfg.PortOpt("bind_port", default=8791, help="Port to listen on."),
    cfg.IntOpt("workers", default=1, min=1, help="Processes that serve. With SQLite one is enough."),
    cfg.IntOpt("threads", default=8, min=1, help="Requests that each process serves at once."),
    cfg.IntOpt(
        "connections",
        default=10_000,
        min=10,
        help="Connections that each process keeps open; a host keeps two. The process's limit of open files must be above it.",
    ),
    cfg.IntOpt("request_timeout_seconds", default=30, min=1, help="A worker that is silent for longer is replaced."),
    cfg.FloatOpt(
        "request_read_seconds",
        default=10.0,
        min=0.1,
        help="A connection whose request has not arrived after so long, or whose answer was not taken, is closed.",
    ),
    cfg.IntOpt(
        "connections_per_address",
        default=0,
        min=0,
        help="The same from one address; 0: any number, as behind a load balancer.",
    ),
    cfg.StrOpt("tls_certificate", help="File of the TLS certificate with its chain. Not set: plain HTTP."),
    cfg.StrOpt("tls_key", help="File of the certificate's key."),
    cfg.IntOpt(
        "largest_body_bytes", default=1024 * 1024, min=1024, help="A request with a larger body is refused (413)."
    ),
    cfg.IntOpt("largest_page", default=1000, min=1, help="The most that a list returns at once."),
    cfg.IntOpt("default_page", default=100, min=1, help="What a list returns when no limit is given."),
    cfg.StrOpt(
        "response_validation",
        default="none",
        choices=[
            ("none", "Responses are sent as they are."),
            ("warn", "A response that does not match its schema is logged and sent."),
            ("error", "A response that does not match its schema becomes a 500. For tests."),
        ],
        help="What is done with a response that does not match its own schema.",
    ),
    cfg.StrOpt(
        "metrics_bind",
        default="127.0.0.1:9818",
        help="HOST:PORT on which Prometheus reads /metrics, without authentication. Empty: off.",
    ),
    cfg.StrOpt("public_url", help="What clients call this API, for links. Not set: as the request came in."),
]
