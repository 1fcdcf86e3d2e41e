"""Classes of SLAs, what they are attached to, exclusions, corrections, and the sums of periods that are over."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TABLE: Any = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}


def _id(name: str = "id") -> Any:
    return sa.Column(name, _ID, autoincrement=name == "id", nullable=False)


def _text(name: str, length: int, *, nullable: bool = False) -> Any:
    return sa.Column(name, sa.String(length=length), nullable=nullable)


def _time(name: str, *, nullable: bool = False) -> Any:
    return sa.Column(name, sa.Double(), nullable=nullable)


def _withdrawn() -> list[Any]:
    return [
        _time("withdrawn_at", nullable=True),
        _text("withdrawn_by", 255, nullable=True),
        sa.Column("withdrawn_reason", sa.Text(), nullable=True),
    ]


def _foreign(table: str, column: str, other: str) -> Any:
    return sa.ForeignKeyConstraint([column], [f"{other}.id"], name=op.f(f"fk_{table}_{column}"))


def upgrade() -> None:
    with op.batch_alter_table("instances") as instances:
        instances.add_column(_text("flavor", 255, nullable=True))
        instances.add_column(sa.Column("disk_bytes", sa.BigInteger(), nullable=True))
        instances.create_index(op.f("ix_instances_flavor"), ["flavor"])
    _create_classes()
    _create_exclusions()
    _create_sums()


def _create_classes() -> None:
    op.create_table(
        "slas",
        _id(),
        _text("uuid", 36),
        _text("name", 255),
        _text("name_in_use", 255, nullable=True),
        _text("time_zone", 64),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("objectives", sa.Text(), nullable=False),
        _time("created_at"),
        _text("user_id", 255),
        _time("withdrawn_at", nullable=True),
        _text("withdrawn_by", 255, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_slas")),
        sa.UniqueConstraint("uuid", name=op.f("uq_slas_uuid")),
        sa.UniqueConstraint("name_in_use", name=op.f("uq_slas_name_in_use")),
        **_TABLE,
    )
    op.create_table(
        "sla_terms",
        _id(),
        sa.Column("sla_id", _ID, nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("valid_from", sa.BigInteger(), nullable=False),
        sa.Column("terms", sa.Text(), nullable=False),
        _time("changed_at"),
        _text("user_id", 255),
        _foreign("sla_terms", "sla_id", "slas"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sla_terms")),
        sa.UniqueConstraint("sla_id", "generation", name=op.f("uq_sla_terms_sla_id_generation")),
        **_TABLE,
    )
    op.create_table(
        "sla_attachments",
        _id(),
        sa.Column("sla_id", _ID, nullable=False),
        _text("scope", 16),
        _text("target", 255),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=True),
        _text("user_id", 255),
        _text("ended_by", 255, nullable=True),
        _foreign("sla_attachments", "sla_id", "slas"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sla_attachments")),
        **_TABLE,
    )
    op.create_index(op.f("ix_sla_attachments_sla_id"), "sla_attachments", ["sla_id"])
    op.create_index("ix_sla_attachments_scope_target", "sla_attachments", ["scope", "target"])


def _create_exclusions() -> None:
    op.create_table(
        "sla_exclusions",
        _id(),
        _text("kind", 16),
        _text("scope", 16),
        _text("target", 255),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        _text("user_id", 255),
        _time("created_at"),
        *_withdrawn(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sla_exclusions")),
        **_TABLE,
    )
    op.create_index(op.f("ix_sla_exclusions_until"), "sla_exclusions", ["until"])
    op.create_table(
        "sla_corrections",
        _id(),
        sa.Column("sla_id", _ID, nullable=False),
        _text("period", 7),
        sa.Column("instance_id", _ID, nullable=False),
        _text("metric", 32),
        sa.Column("seconds", sa.Integer(), nullable=False),
        _text("source", 16),
        _text("target", 16),
        sa.Column("reason", sa.Text(), nullable=False),
        _text("user_id", 255),
        _time("created_at"),
        *_withdrawn(),
        _foreign("sla_corrections", "sla_id", "slas"),
        _foreign("sla_corrections", "instance_id", "instances"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sla_corrections")),
        **_TABLE,
    )
    op.create_index("ix_sla_corrections_sla_id_period", "sla_corrections", ["sla_id", "period"])


def _create_sums() -> None:
    op.create_table(
        "sla_periods",
        sa.Column("sla_id", _ID, nullable=False),
        _text("period", 7),
        sa.Column("after_instance_id", _ID, nullable=False),
        _time("closed_at", nullable=True),
        _foreign("sla_periods", "sla_id", "slas"),
        sa.PrimaryKeyConstraint("sla_id", "period", name=op.f("pk_sla_periods")),
        **_TABLE,
    )
    statuses = ("met", "violated", "degraded", "no_demand", "self_limited", "unknown")
    op.create_table(
        "sla_sums",
        sa.Column("sla_id", _ID, nullable=False),
        _text("period", 7),
        sa.Column("instance_id", _ID, nullable=False),
        _text("metric", 32),
        sa.Column("exclusion_id", _ID, nullable=False),
        *(sa.Column(f"{name}_seconds", sa.Integer(), nullable=False) for name in statuses),
        _foreign("sla_sums", "sla_id", "slas"),
        _foreign("sla_sums", "instance_id", "instances"),
        sa.PrimaryKeyConstraint("sla_id", "period", "instance_id", "metric", "exclusion_id", name=op.f("pk_sla_sums")),
        **_TABLE,
    )
