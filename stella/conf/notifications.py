"""``[notifications]``: what Nova tells by itself. It only makes stella-engine look sooner."""

from oslo_config import cfg

GROUP = "notifications"
OPTIONS = [
    cfg.StrOpt(
        "transport_url",
        secret=True,
        help="Where Nova sends its versioned notifications, such as rabbit://stella:PASSWORD@HOST:5672/. Needs stella[notifications]. "
        "Not set: none are listened to, and stella-engine finds what changed by asking Nova. TLS and the like as in other OpenStack "
        "services: [oslo_messaging_rabbit].",
    ),
    cfg.StrOpt(
        "topic",
        default="stella_notifications",
        help="Stella's own topic, one of those in nova.conf: [notifications] versioned_notifications_topics.",
    ),
    cfg.StrOpt("exchange", default="nova", help="The exchange that Nova sends to: its `control_exchange`."),
]
