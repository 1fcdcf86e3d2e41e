"""``[link]``: the agents of the hosts. The server sets how often they ask."""

from oslo_config import cfg

GROUP = "link"
OPTIONS = [
    cfg.FloatOpt(
        "poll_seconds",
        default=0.4,
        min=0.1,
        max=60.0,
        help="How often a host asks for its intent, at most: with many hosts the server makes it longer.",
    ),
    cfg.FloatOpt(
        "pending_poll_seconds",
        default=0.2,
        min=0.1,
        max=60.0,
        help="The same for a host with an SLO to acknowledge that changed within the last 30 s; never made longer.",
    ),
    cfg.FloatOpt(
        "report_seconds",
        default=3.0,
        min=0.5,
        max=60.0,
        help="How often a host reports, at most: with many hosts the server makes it longer, up to a third of silent_seconds.",
    ),
    cfg.FloatOpt(
        "largest_polls_per_second",
        default=100.0,
        min=1.0,
        help="What all enrolled hosts together may poll in a second; sets the interval. A poll costs about 1.5 ms of CPU.",
    ),
    cfg.FloatOpt(
        "largest_reports_per_second",
        default=30.0,
        min=1.0,
        help="The same for reports. A report costs about as much as five polls.",
    ),
    cfg.FloatOpt(
        "watch_seconds",
        default=30.0,
        min=5.0,
        max=600.0,
        help="For how long, at least, a host sends a point each second after somebody asked for usage with step=1.",
    ),
    cfg.IntOpt(
        "largest_watched_per_host", default=20, min=0, help="Instances of one host that are watched at the same time."
    ),
    cfg.IntOpt(
        "largest_watched_per_project",
        default=20,
        min=0,
        help="Instances of one project that are watched at the same time.",
    ),
    cfg.FloatOpt(
        "largest_clock_offset_seconds",
        default=300.0,
        min=1.0,
        help="A report from a host whose clock is further off is refused (400).",
    ),
    cfg.FloatOpt(
        "silent_seconds",
        default=90.0,
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
