"""``[engine]``: the background work, and how long things are kept."""

from oslo_config import cfg

GROUP = "engine"
OPTIONS = [
    cfg.FloatOpt(
        "lease_seconds",
        default=6.0,
        min=1.0,
        help="A stand-by takes over when the leader gave no sign of life for this long.",
    ),
    cfg.StrOpt(
        "metrics_bind",
        help="ADDRESS:PORT of the engine's Prometheus metrics, such as 127.0.0.1:9792. Not set: none.",
    ),
    cfg.FloatOpt(
        "instance_gone_seconds",
        default=60.0,
        min=1.0,
        help="An instance that its host does not report for this long is gone: its SLO is withdrawn. A silent host's never is.",
    ),
    cfg.FloatOpt(
        "violation_silent_seconds",
        default=300.0,
        min=1.0,
        help="The open violations of a host that is silent for this long are closed, at its last report.",
    ),
    cfg.IntOpt(
        "minute_retention_days",
        default=40,
        min=2,
        help="Minutes are kept for this long, then as hours alone. A month, the 8 days after which its reports are final, and one "
        "to store them in: with less, exclusions at its beginning are not exact. Minutes that arrive later are not stored.",
    ),
    cfg.IntOpt(
        "hour_retention_days",
        default=400,
        min=2,
        help="Hours are kept for this long, at least as long as minutes; then as days alone.",
    ),
    cfg.IntOpt(
        "day_retention_days",
        default=1827,
        min=2,
        help="Days are kept for this long, at least as long as hours; 1827 are five years.",
    ),
    cfg.IntOpt(
        "history_retention_days",
        default=400,
        min=2,
        help="Closed violations, decisions and the history of SLOs are kept for this long.",
    ),
]
