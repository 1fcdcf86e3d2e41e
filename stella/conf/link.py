"""``[link]``: the agents of the hosts. The server sets how often they ask."""

from oslo_config import cfg

GROUP = "link"
OPTIONS = [
    cfg.FloatOpt("poll_seconds", default=1.0, min=0.1, help="How often a host asks for its intent."),
    cfg.FloatOpt("pending_poll_seconds", default=0.5, min=0.1, help="The same for a host with an SLO to acknowledge."),
    cfg.FloatOpt(
        "largest_clock_offset_seconds",
        default=300.0,
        min=1.0,
        help="A report from a host whose clock is further off is refused (400).",
    ),
    cfg.FloatOpt(
        "silent_seconds",
        default=60.0,
        min=1.0,
        help="A host that did not report for this long is silent; another host may then report its instances.",
    ),
    cfg.FloatOpt(
        "reservation_margin_ratio",
        default=1.1,
        min=1.0,
        help="What is reserved for a floor in units of what it needs, for hosts that report no margin of their own.",
    ),
]
