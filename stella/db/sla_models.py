"""The tables of SLAs. Spans are whole Unix seconds from ``start`` to before ``until``. Nothing here is deleted: it is withdrawn."""

from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import Double

from stella.db.models import LARGEST_NAME, SecondsByStatus, Table

_Id = BigInteger().with_variant(Integer, "sqlite")
_SHARED: Any = Table.__table_args__


class Sla(Table):
    """A class of SLAs. ``name_in_use`` is its name while it is not withdrawn, None then. ``generation`` moves with every change.

    ``objectives`` (JSON) says what an SLO under it may ask for and what is offered, ``failover`` whether it is to survive the loss
    of any one host; both hold at once, as terms do not.
    """

    __tablename__ = "slas"
    id: Mapped[int] = mapped_column(_Id, primary_key=True, autoincrement=True)
    uuid: Mapped[str] = mapped_column(String(36), unique=True)
    name: Mapped[str] = mapped_column(String(LARGEST_NAME))
    name_in_use: Mapped[str | None] = mapped_column(String(LARGEST_NAME), unique=True)
    time_zone: Mapped[str] = mapped_column(String(64))
    generation: Mapped[int] = mapped_column(Integer, default=1)
    objectives: Mapped[str] = mapped_column(Text, default="{}")
    failover: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[float] = mapped_column(Double)
    user_id: Mapped[str] = mapped_column(String(LARGEST_NAME))
    withdrawn_at: Mapped[float | None] = mapped_column(Double)
    withdrawn_by: Mapped[str | None] = mapped_column(String(LARGEST_NAME))


class SlaTerms(Table):
    """The terms (JSON) of a class for periods that begin at ``valid_from`` (Unix seconds) or later, until newer ones."""

    __tablename__ = "sla_terms"
    __table_args__ = (UniqueConstraint("sla_id", "generation"), _SHARED)
    id: Mapped[int] = mapped_column(_Id, primary_key=True, autoincrement=True)
    sla_id: Mapped[int] = mapped_column(ForeignKey("slas.id"))
    generation: Mapped[int] = mapped_column(Integer)
    valid_from: Mapped[int] = mapped_column(BigInteger)
    terms: Mapped[str] = mapped_column(Text)
    changed_at: Mapped[float] = mapped_column(Double)
    user_id: Mapped[str] = mapped_column(String(LARGEST_NAME))


class SlaAttachment(Table):
    """A class that counts for an instance (``target`` its uuid), all of a flavor (its name) or all of a project (its id).

    ``lasting`` names scope and target while it lasts, and is None then: so that no two last at once.
    """

    __tablename__ = "sla_attachments"
    __table_args__ = (Index("ix_sla_attachments_scope_target", "scope", "target"), _SHARED)
    id: Mapped[int] = mapped_column(_Id, primary_key=True, autoincrement=True)
    sla_id: Mapped[int] = mapped_column(ForeignKey("slas.id"), index=True)
    scope: Mapped[str] = mapped_column(String(16))
    target: Mapped[str] = mapped_column(String(LARGEST_NAME))
    start: Mapped[int] = mapped_column(BigInteger)
    until: Mapped[int | None] = mapped_column(BigInteger)
    lasting: Mapped[str | None] = mapped_column(String(16 + 1 + LARGEST_NAME), unique=True)
    user_id: Mapped[str] = mapped_column(String(LARGEST_NAME))
    ended_by: Mapped[str | None] = mapped_column(String(LARGEST_NAME))


class Withdrawable:
    """Columns: who made it, when and why, and the same of its withdrawal."""

    reason: Mapped[str] = mapped_column(Text)
    user_id: Mapped[str] = mapped_column(String(LARGEST_NAME))
    created_at: Mapped[float] = mapped_column(Double)
    withdrawn_at: Mapped[float | None] = mapped_column(Double)
    withdrawn_by: Mapped[str | None] = mapped_column(String(LARGEST_NAME))
    withdrawn_reason: Mapped[str | None] = mapped_column(Text)


class Exclusion(Withdrawable, Table):
    """A window that does not count: on a host, for a project or an instance (``target``), or for all (empty)."""

    __tablename__ = "sla_exclusions"
    id: Mapped[int] = mapped_column(_Id, primary_key=True, autoincrement=True)
    kind: Mapped[str] = mapped_column(String(16))
    scope: Mapped[str] = mapped_column(String(16))
    target: Mapped[str] = mapped_column(String(LARGEST_NAME))
    start: Mapped[int] = mapped_column(BigInteger)
    until: Mapped[int] = mapped_column(BigInteger, index=True)


class Correction(Withdrawable, Table):
    """Up to ``seconds`` of one status of an objective in a period, counted as another: ``source`` and ``target``."""

    __tablename__ = "sla_corrections"
    __table_args__ = (Index("ix_sla_corrections_sla_id_period", "sla_id", "period"), _SHARED)
    id: Mapped[int] = mapped_column(_Id, primary_key=True, autoincrement=True)
    sla_id: Mapped[int] = mapped_column(ForeignKey("slas.id"))
    period: Mapped[str] = mapped_column(String(7))
    instance_id: Mapped[int] = mapped_column(ForeignKey("instances.id"))
    metric: Mapped[str] = mapped_column(String(32))
    seconds: Mapped[int] = mapped_column(Integer)
    source: Mapped[str] = mapped_column(String(16))
    target: Mapped[str] = mapped_column(String(16))


class SlaPeriod(Table):
    """A period of a class whose sums are stored, up to the instance ``after_instance_id``; all of them from ``closed_at`` on."""

    __tablename__ = "sla_periods"
    sla_id: Mapped[int] = mapped_column(ForeignKey("slas.id"), primary_key=True)
    period: Mapped[str] = mapped_column(String(7), primary_key=True)
    after_instance_id: Mapped[int] = mapped_column(_Id, default=0)
    closed_at: Mapped[float | None] = mapped_column(Double)


class SlaSum(SecondsByStatus, Table):
    """Seconds of an objective in a stored period; ``exclusion_id`` 0: all of them, else those that this exclusion takes out."""

    __tablename__ = "sla_sums"
    sla_id: Mapped[int] = mapped_column(ForeignKey("slas.id"), primary_key=True)
    period: Mapped[str] = mapped_column(String(7), primary_key=True)
    instance_id: Mapped[int] = mapped_column(ForeignKey("instances.id"), primary_key=True)
    metric: Mapped[str] = mapped_column(String(32), primary_key=True)
    exclusion_id: Mapped[int] = mapped_column(_Id, primary_key=True, autoincrement=False)
