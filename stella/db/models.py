"""The tables. Quantities are in base units and name them; times are Unix seconds (UTC); JSON is text that `stella.model.wire` reads.

A migration in `stella/db/migrations/versions` goes with every change here; a test compares the two.
"""

from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, MetaData, String, Text, UniqueConstraint
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import Double

LARGEST_NAME = 255
_Id = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up only what it calls INTEGER
_LargeText = Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")


_MYSQL = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}


class Table(DeclarativeBase):
    """What all tables share: constraints have names, so that a migration can change them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    __table_args__: Any = _MYSQL


class Host(Table):
    """A compute node. ``generation`` moves with every change of what is reserved or can be, ``intent_revision`` with every intent.

    ``credential_sha256`` is None once it is revoked. ``capacity_cpu_cores`` is net of the host's own work, ``reserved_cpu_cores``
    all that is set aside there, of it ``failover_cpu_cores`` for instances of other hosts should one be lost, ``free_cpu_cores`` the
    rest; ``cpus`` are the numbers of the CPUs that instances may use. ``reported`` is the host's part of its last report; ``epoch``
    and ``sequence`` tell which report that was. ``silent_since`` is the time of its last report, noted by stella-engine once the
    host is overdue; None while it reports. ``resource_provider`` is the uuid of its compute node in Placement; None without
    OpenStack. ``relief_mode`` is that of the host, None: the cloud's. ``fenced_at``: when it was said that nothing runs on it any
    more; a later report makes that void.
    """

    __tablename__ = "hosts"
    __table_args__ = (
        Index("ix_hosts_mode_free_cpu_cores", "mode", "free_cpu_cores"),
        Index("ix_hosts_credential_sha256", "credential_sha256", unique=True),
        _MYSQL,
    )
    id: Mapped[int] = mapped_column(_Id, primary_key=True, autoincrement=True)
    name: Mapped[str] = mapped_column(String(LARGEST_NAME), unique=True)
    credential_sha256: Mapped[str | None] = mapped_column(String(64))
    generation: Mapped[int] = mapped_column(Integer, default=1)
    intent_revision: Mapped[int] = mapped_column(Integer, default=1)
    mode: Mapped[str] = mapped_column(String(16))
    capacity_cpu_cores: Mapped[float | None] = mapped_column(Double)
    one_cpu_capacity_cores: Mapped[float | None] = mapped_column(Double)
    reserved_cpu_cores: Mapped[float] = mapped_column(Double, default=0.0)
    free_cpu_cores: Mapped[float] = mapped_column(Double, default=0.0)
    cpus: Mapped[str] = mapped_column(Text, default="[]")
    reservation_margin_ratio: Mapped[float | None] = mapped_column(Double)
    reported: Mapped[str] = mapped_column(_LargeText, default="{}")
    reported_at: Mapped[float | None] = mapped_column(Double)
    agent: Mapped[str | None] = mapped_column(String(LARGEST_NAME))
    epoch: Mapped[str | None] = mapped_column(String(64))
    sequence: Mapped[int | None] = mapped_column(BigInteger)
    enrolled_at: Mapped[float] = mapped_column(Double)
    silent_since: Mapped[float | None] = mapped_column(Double)
    resource_provider: Mapped[str | None] = mapped_column(String(36))
    failover_cpu_cores: Mapped[float] = mapped_column(Double, default=0.0)
    relief_mode: Mapped[str | None] = mapped_column(String(16))
    fenced_at: Mapped[float | None] = mapped_column(Double)


class Stream(Table):
    """The reports of one life of an agent (``epoch``): sequence and time of the newest that came."""

    __tablename__ = "streams"
    __table_args__ = (UniqueConstraint("host_id", "agent", "epoch"), _MYSQL)
    id: Mapped[int] = mapped_column(_Id, primary_key=True, autoincrement=True)
    host_id: Mapped[int] = mapped_column(ForeignKey("hosts.id"))
    agent: Mapped[str] = mapped_column(String(LARGEST_NAME))
    epoch: Mapped[str] = mapped_column(String(64))
    sequence: Mapped[int] = mapped_column(BigInteger)
    sent_at: Mapped[float] = mapped_column(Double)
    first_reported_at: Mapped[float] = mapped_column(Double)


class Instance(Table):
    """A virtual machine, where it runs, and what its host last said of it. ``previous_host_id``: where it ran before.

    ``shape`` and ``costs`` are what admission needs: vCPUs and devices, and the CPU seconds per unit of each metric.
    ``gone_at``: since when its host no longer reports it. ``watched_until``: until then its host sends a point each second.
    From OpenStack: ``flavor`` is the name of its flavor, ``disk_bytes`` the size of the flavor's disks, ``flavor_objectives`` (JSON)
    what it sells, ``cloud_state`` Nova's status of it, ``limits`` the caps that it has from elsewhere (`stella.model.limits`); None
    and empty without. ``relief_opt_out``: relief never moves it.
    """

    __tablename__ = "instances"
    __table_args__ = (Index("ix_instances_host_id_watched_until", "host_id", "watched_until"), _MYSQL)
    id: Mapped[int] = mapped_column(_Id, primary_key=True, autoincrement=True)
    uuid: Mapped[str] = mapped_column(String(36), unique=True)
    host_id: Mapped[int] = mapped_column(ForeignKey("hosts.id"), index=True)
    previous_host_id: Mapped[int | None] = mapped_column(ForeignKey("hosts.id"))
    project_id: Mapped[str] = mapped_column(String(LARGEST_NAME), index=True)
    name: Mapped[str] = mapped_column(String(LARGEST_NAME))
    state: Mapped[str] = mapped_column(String(16))
    shape: Mapped[str] = mapped_column(Text, default="{}")
    costs: Mapped[str] = mapped_column(Text, default="{}")
    reported: Mapped[str] = mapped_column(_LargeText, default="{}")
    reported_at: Mapped[float] = mapped_column(Double)
    gone_at: Mapped[float | None] = mapped_column(Double, index=True)
    watched_until: Mapped[float | None] = mapped_column(Double)
    flavor: Mapped[str | None] = mapped_column(String(LARGEST_NAME), index=True)
    disk_bytes: Mapped[int | None] = mapped_column(BigInteger)
    flavor_objectives: Mapped[str | None] = mapped_column(Text)
    cloud_state: Mapped[str | None] = mapped_column(String(32))
    limits: Mapped[str] = mapped_column(Text, default="[]")
    relief_opt_out: Mapped[bool] = mapped_column(default=False)


class SloRow(Table):
    """What an instance is guaranteed. A withdrawn one keeps its row (``objectives`` None): ``generation`` never runs backwards.

    ``objectives`` is all of it, ``added`` what its user asked for: the rest is sold by the flavor. A suspended one is kept, and
    neither in force nor reserved. ``reserved_io_ratio`` is the part of the reservation for its I/O threads. ``revision`` is the host's
    intent revision in which it was last changed: an acknowledgement of an older one does not count. ``carried``: it was kept by the
    host that its instance came from, and was not changed since; a host that cannot hold it degrades it.
    """

    __tablename__ = "slos"
    id: Mapped[int] = mapped_column(_Id, primary_key=True, autoincrement=True)
    instance_id: Mapped[int] = mapped_column(ForeignKey("instances.id"), unique=True)
    generation: Mapped[int] = mapped_column(Integer)
    revision: Mapped[int] = mapped_column(Integer)
    objectives: Mapped[str | None] = mapped_column(_LargeText)
    added: Mapped[str | None] = mapped_column(_LargeText)
    priority: Mapped[int] = mapped_column(Integer, default=0)
    reserved_cpu_cores: Mapped[float] = mapped_column(Double)
    reserved_io_ratio: Mapped[float] = mapped_column(Double, default=0.0)
    estimated: Mapped[bool] = mapped_column(default=True)
    state: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str] = mapped_column(Text, default="")
    largest: Mapped[str] = mapped_column(Text, default="{}")
    changed_at: Mapped[float] = mapped_column(Double)
    carried: Mapped[bool | None] = mapped_column(default=False)


class SloFloor(Table):
    """One floor of an SLO in force, in the metric's base unit: what a project's quota is counted from."""

    __tablename__ = "slo_floors"
    slo_id: Mapped[int] = mapped_column(ForeignKey("slos.id"), primary_key=True)
    metric: Mapped[str] = mapped_column(String(32), primary_key=True)
    value: Mapped[float] = mapped_column(Double)


class Project(Table):
    """A tenant whose SLOs are counted. ``generation`` moves with every change of them, so that no two exceed a quota together.

    ``limits`` is its own quota by resource (JSON); what it does not name is as configured.
    """

    __tablename__ = "projects"
    id: Mapped[int] = mapped_column(_Id, primary_key=True, autoincrement=True)
    project_id: Mapped[str] = mapped_column(String(LARGEST_NAME), unique=True)
    generation: Mapped[int] = mapped_column(Integer, default=1)
    limits: Mapped[str] = mapped_column(Text, default="{}")


class SloChange(Table):
    """One change of an SLO: who, when, from where, before and after (None: there was, or is, none)."""

    __tablename__ = "slo_history"
    id: Mapped[int] = mapped_column(_Id, primary_key=True, autoincrement=True)
    instance_id: Mapped[int] = mapped_column(ForeignKey("instances.id"), index=True)
    generation: Mapped[int] = mapped_column(Integer)
    changed_at: Mapped[float] = mapped_column(Double)
    user_id: Mapped[str] = mapped_column(String(LARGEST_NAME))
    request_id: Mapped[str] = mapped_column(String(64))
    remote_address: Mapped[str] = mapped_column(String(64))
    before: Mapped[str | None] = mapped_column(_LargeText)
    after: Mapped[str | None] = mapped_column(_LargeText)


class SecondsByStatus:
    """Columns: seconds of an objective by their status."""

    met_seconds: Mapped[int] = mapped_column(Integer)
    violated_seconds: Mapped[int] = mapped_column(Integer)
    degraded_seconds: Mapped[int] = mapped_column(Integer)
    no_demand_seconds: Mapped[int] = mapped_column(Integer)
    self_limited_seconds: Mapped[int] = mapped_column(Integer)
    unknown_seconds: Mapped[int] = mapped_column(Integer)


class Minute(SecondsByStatus, Table):
    """One minute of one objective: seconds by what became of them. Kept once; a row with more seconds replaces one with fewer.

    ``is_stretch``, with ``span_seconds`` above 60: a stretch of which the host knows nothing any more but how long it was. Such a row
    stands only for minutes that have no row of their own. ``is_rolled_up``: the roll-up of its hour holds it as it is.
    """

    __tablename__ = "minutes"
    __table_args__ = (
        UniqueConstraint("instance_id", "metric", "start", "is_stretch"),
        Index("ix_minutes_is_rolled_up", "is_rolled_up", "start"),
        Index("ix_minutes_start", "start"),
        _MYSQL,
    )
    id: Mapped[int] = mapped_column(_Id, primary_key=True, autoincrement=True)
    instance_id: Mapped[int] = mapped_column(ForeignKey("instances.id"))
    host_id: Mapped[int] = mapped_column(ForeignKey("hosts.id"))
    metric: Mapped[str] = mapped_column(String(32))
    start: Mapped[int] = mapped_column(BigInteger)
    is_stretch: Mapped[bool] = mapped_column(default=False)
    span_seconds: Mapped[int] = mapped_column(Integer, default=60)
    causes: Mapped[str] = mapped_column(Text, default="{}")
    usage_mean: Mapped[float | None] = mapped_column(Double)
    usage_min: Mapped[float | None] = mapped_column(Double)
    usage_max: Mapped[float | None] = mapped_column(Double)
    demand_mean: Mapped[float | None] = mapped_column(Double)
    is_rolled_up: Mapped[bool] = mapped_column(default=False)

    @property
    def seconds(self) -> int:
        """All seconds of the row."""
        return (
            self.met_seconds
            + self.violated_seconds
            + self.degraded_seconds
            + self.no_demand_seconds
            + self.self_limited_seconds
            + self.unknown_seconds
        )


class RollUp(SecondsByStatus, Table):
    """An hour or a day of one objective (``span_seconds`` 3600 or 86400, ``start`` a multiple of it): the sum of its minutes or hours.

    It is computed anew from all of them whenever one changed, so that each counts once. Means are over the seconds in
    ``usage_seconds`` and ``demand_seconds``, in which they were known. ``is_rolled_up``: the roll-up of its day holds it as it is.
    """

    __tablename__ = "rollups"
    __table_args__ = (
        UniqueConstraint("instance_id", "metric", "span_seconds", "start"),
        Index("ix_rollups_span_seconds_is_rolled_up", "span_seconds", "is_rolled_up", "start"),
        _MYSQL,
    )
    id: Mapped[int] = mapped_column(_Id, primary_key=True, autoincrement=True)
    instance_id: Mapped[int] = mapped_column(ForeignKey("instances.id"))
    metric: Mapped[str] = mapped_column(String(32))
    span_seconds: Mapped[int] = mapped_column(Integer)
    start: Mapped[int] = mapped_column(BigInteger)
    causes: Mapped[str] = mapped_column(Text, default="{}")
    usage_seconds: Mapped[int] = mapped_column(Integer, default=0)
    usage_mean: Mapped[float | None] = mapped_column(Double)
    usage_min: Mapped[float | None] = mapped_column(Double)
    usage_max: Mapped[float | None] = mapped_column(Double)
    demand_seconds: Mapped[int] = mapped_column(Integer, default=0)
    demand_mean: Mapped[float | None] = mapped_column(Double)
    is_rolled_up: Mapped[bool] = mapped_column(default=False)


class Point(Table):
    """One second of a watched instance: its objectives as its host saw them (JSON). Kept for minutes only."""

    __tablename__ = "points"
    __table_args__ = (UniqueConstraint("instance_id", "at"), Index("ix_points_at", "at"), _MYSQL)
    id: Mapped[int] = mapped_column(_Id, primary_key=True, autoincrement=True)
    instance_id: Mapped[int] = mapped_column(ForeignKey("instances.id"))
    at: Mapped[int] = mapped_column(BigInteger)
    objectives: Mapped[str] = mapped_column(Text)


class Lease(Table):
    """Who leads. ``token`` moves with every new holder and fences the one before; ``renewal`` with every sign of life."""

    __tablename__ = "leases"
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    holder: Mapped[str | None] = mapped_column(String(LARGEST_NAME))
    token: Mapped[int] = mapped_column(BigInteger, default=0)
    renewal: Mapped[int] = mapped_column(BigInteger, default=0)
    renewed_at: Mapped[float] = mapped_column(Double, default=0.0)


class ViolationRow(Table):
    """An episode in which an objective was missed. ``reported_id`` is its host's name for it.

    ``merged_into_id``: it goes on an earlier one of the same objective after a gap too short to count, and is shown as part of it.
    """

    __tablename__ = "violations"
    __table_args__ = (UniqueConstraint("host_id", "reported_id"), _MYSQL)
    id: Mapped[int] = mapped_column(_Id, primary_key=True, autoincrement=True)
    host_id: Mapped[int] = mapped_column(ForeignKey("hosts.id"))
    reported_id: Mapped[str] = mapped_column(String(128))
    instance_id: Mapped[int] = mapped_column(ForeignKey("instances.id"), index=True)
    metric: Mapped[str] = mapped_column(String(32))
    opened_at: Mapped[float] = mapped_column(Double, index=True)
    closed_at: Mapped[float | None] = mapped_column(Double, index=True)
    cause: Mapped[str | None] = mapped_column(String(16))
    offender: Mapped[str | None] = mapped_column(String(36))
    evidence: Mapped[str] = mapped_column(_LargeText, default="{}")
    merged_into_id: Mapped[int | None] = mapped_column(ForeignKey("violations.id"))


class DecisionRow(Table):
    """Something that Stella or an operator decided, and why: an SLO accepted or refused, a host's mode, a move."""

    __tablename__ = "decisions"
    id: Mapped[int] = mapped_column(_Id, primary_key=True, autoincrement=True)
    decided_at: Mapped[float] = mapped_column(Double, index=True)
    kind: Mapped[str] = mapped_column(String(32))
    host_id: Mapped[int | None] = mapped_column(ForeignKey("hosts.id"), index=True)
    instance_id: Mapped[int | None] = mapped_column(ForeignKey("instances.id"), index=True)
    user_id: Mapped[str] = mapped_column(String(LARGEST_NAME))
    request_id: Mapped[str] = mapped_column(String(64))
    reason: Mapped[str] = mapped_column(Text)
    detail: Mapped[str] = mapped_column(_LargeText, default="{}")


class MoveRow(Table):
    """What became of a decision to move an instance, or not to (`stella.control.relief_view`).

    While ``state`` is reserved or moving, the SLO of its instance is held on the host it goes to as well; ``resources`` (JSON) is what
    is held there in Placement beside Nova's own allocation. ``predicted_effect`` and ``measured_effect`` are violated seconds an hour
    that end, ``victims`` (JSON) the uuids whose floors were missed.
    """

    __tablename__ = "moves"
    __table_args__ = (
        Index("ix_moves_to_host_id_state", "to_host_id", "state"),
        Index("ix_moves_state_decided_at", "state", "decided_at"),
        _MYSQL,
    )
    decision_id: Mapped[int] = mapped_column(ForeignKey("decisions.id"), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    instance_id: Mapped[int | None] = mapped_column(ForeignKey("instances.id"), index=True)
    from_host_id: Mapped[int] = mapped_column(ForeignKey("hosts.id"), index=True)
    to_host_id: Mapped[int | None] = mapped_column(ForeignKey("hosts.id"))
    state: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str] = mapped_column(Text, default="")
    resources: Mapped[str] = mapped_column(Text, default="{}")
    victims: Mapped[str] = mapped_column(_LargeText, default="[]")
    freed_cpu_cores: Mapped[float] = mapped_column(Double, default=0.0)
    predicted_effect: Mapped[float] = mapped_column(Double, default=0.0)
    measured_effect: Mapped[float | None] = mapped_column(Double)
    helped: Mapped[bool | None] = mapped_column()
    decided_at: Mapped[float] = mapped_column(Double)
    changed_at: Mapped[float] = mapped_column(Double)
    ended_at: Mapped[float | None] = mapped_column(Double)


class FailoverPlace(Table):
    """What a host keeps for an instance of another host, should that one be lost (`stella.control.failover`)."""

    __tablename__ = "failover_places"
    instance_id: Mapped[int] = mapped_column(ForeignKey("instances.id"), primary_key=True)
    host_id: Mapped[int] = mapped_column(ForeignKey("hosts.id"), index=True)
    reserved_cpu_cores: Mapped[float] = mapped_column(Double)
    reserved_io_ratio: Mapped[float] = mapped_column(Double)
    changed_at: Mapped[float] = mapped_column(Double)
