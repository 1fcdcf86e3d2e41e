"""``[database]``: where Stella keeps its data."""

from oslo_config import cfg

GROUP = "database"
OPTIONS = [
    cfg.StrOpt(
        "connection",
        default="sqlite:////var/lib/stella/stella.sqlite",
        secret=True,
        help="SQLAlchemy's URL, such as mysql+pymysql://stella:PASSWORD@HOST/stella?charset=utf8mb4 in a cloud.",
    ),
    cfg.IntOpt("connect_retries", default=10, min=0, help="Attempts to connect at the start, a second apart."),
]
