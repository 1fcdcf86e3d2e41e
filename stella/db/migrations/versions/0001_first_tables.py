"""Hosts, instances, SLOs and their history, minutes, violations, decisions."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0001"
down_revision = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_LARGE_TEXT = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")
_TABLE: Any = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}


def upgrade() -> None:
    op.create_table(
        "hosts",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("credential_sha256", sa.String(length=64), nullable=True),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("intent_revision", sa.Integer(), nullable=False),
        sa.Column("mode", sa.String(length=16), nullable=False),
        sa.Column("capacity_cpu_cores", sa.Double(), nullable=True),
        sa.Column("one_cpu_capacity_cores", sa.Double(), nullable=True),
        sa.Column("reserved_cpu_cores", sa.Double(), nullable=False),
        sa.Column("free_cpu_cores", sa.Double(), nullable=False),
        sa.Column("cpus", sa.Text(), nullable=False),
        sa.Column("reservation_margin_ratio", sa.Double(), nullable=True),
        sa.Column("reported", _LARGE_TEXT, nullable=False),
        sa.Column("reported_at", sa.Double(), nullable=True),
        sa.Column("agent", sa.String(length=255), nullable=True),
        sa.Column("epoch", sa.String(length=64), nullable=True),
        sa.Column("sequence", sa.BigInteger(), nullable=True),
        sa.Column("enrolled_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hosts")),
        sa.UniqueConstraint("name", name=op.f("uq_hosts_name")),
        **_TABLE,
    )
    op.create_index(op.f("ix_hosts_mode_free_cpu_cores"), "hosts", ["mode", "free_cpu_cores"], unique=False)

    op.create_table(
        "instances",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("host_id", _ID, nullable=False),
        sa.Column("previous_host_id", _ID, nullable=True),
        sa.Column("project_id", sa.String(length=255), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("shape", sa.Text(), nullable=False),
        sa.Column("costs", sa.Text(), nullable=False),
        sa.Column("reported", _LARGE_TEXT, nullable=False),
        sa.Column("reported_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["host_id"], ["hosts.id"], name=op.f("fk_instances_host_id")),
        sa.ForeignKeyConstraint(["previous_host_id"], ["hosts.id"], name=op.f("fk_instances_previous_host_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_instances")),
        sa.UniqueConstraint("uuid", name=op.f("uq_instances_uuid")),
        **_TABLE,
    )
    op.create_index(op.f("ix_instances_host_id"), "instances", ["host_id"], unique=False)
    op.create_index(op.f("ix_instances_project_id"), "instances", ["project_id"], unique=False)

    op.create_table(
        "streams",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("host_id", _ID, nullable=False),
        sa.Column("agent", sa.String(length=255), nullable=False),
        sa.Column("epoch", sa.String(length=64), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("sent_at", sa.Double(), nullable=False),
        sa.Column("first_reported_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["host_id"], ["hosts.id"], name=op.f("fk_streams_host_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_streams")),
        sa.UniqueConstraint("host_id", "agent", "epoch", name=op.f("uq_streams_host_id_agent_epoch")),
        **_TABLE,
    )
    op.create_table(
        "decisions",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("decided_at", sa.Double(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("host_id", _ID, nullable=True),
        sa.Column("instance_id", _ID, nullable=True),
        sa.Column("user_id", sa.String(length=255), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("detail", _LARGE_TEXT, nullable=False),
        sa.ForeignKeyConstraint(["host_id"], ["hosts.id"], name=op.f("fk_decisions_host_id")),
        sa.ForeignKeyConstraint(["instance_id"], ["instances.id"], name=op.f("fk_decisions_instance_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decisions")),
        **_TABLE,
    )
    op.create_index(op.f("ix_decisions_decided_at"), "decisions", ["decided_at"], unique=False)
    op.create_index(op.f("ix_decisions_host_id"), "decisions", ["host_id"], unique=False)
    op.create_index(op.f("ix_decisions_instance_id"), "decisions", ["instance_id"], unique=False)

    op.create_table(
        "minutes",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("instance_id", _ID, nullable=False),
        sa.Column("host_id", _ID, nullable=False),
        sa.Column("metric", sa.String(length=32), nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("is_stretch", sa.Boolean(), nullable=False),
        sa.Column("span_seconds", sa.Integer(), nullable=False),
        sa.Column("met_seconds", sa.Integer(), nullable=False),
        sa.Column("violated_seconds", sa.Integer(), nullable=False),
        sa.Column("degraded_seconds", sa.Integer(), nullable=False),
        sa.Column("no_demand_seconds", sa.Integer(), nullable=False),
        sa.Column("self_limited_seconds", sa.Integer(), nullable=False),
        sa.Column("unknown_seconds", sa.Integer(), nullable=False),
        sa.Column("causes", sa.Text(), nullable=False),
        sa.Column("usage_mean", sa.Double(), nullable=True),
        sa.Column("usage_min", sa.Double(), nullable=True),
        sa.Column("usage_max", sa.Double(), nullable=True),
        sa.Column("demand_mean", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["host_id"], ["hosts.id"], name=op.f("fk_minutes_host_id")),
        sa.ForeignKeyConstraint(["instance_id"], ["instances.id"], name=op.f("fk_minutes_instance_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_minutes")),
        sa.UniqueConstraint(
            "instance_id", "metric", "start", "is_stretch", name=op.f("uq_minutes_instance_id_metric_start_is_stretch")
        ),
        **_TABLE,
    )
    op.create_table(
        "slo_history",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("instance_id", _ID, nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("changed_at", sa.Double(), nullable=False),
        sa.Column("user_id", sa.String(length=255), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.Column("remote_address", sa.String(length=64), nullable=False),
        sa.Column("before", _LARGE_TEXT, nullable=True),
        sa.Column("after", _LARGE_TEXT, nullable=True),
        sa.ForeignKeyConstraint(["instance_id"], ["instances.id"], name=op.f("fk_slo_history_instance_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_slo_history")),
        **_TABLE,
    )
    op.create_index(op.f("ix_slo_history_instance_id"), "slo_history", ["instance_id"], unique=False)

    op.create_table(
        "slos",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("instance_id", _ID, nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("objectives", _LARGE_TEXT, nullable=True),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("reserved_cpu_cores", sa.Double(), nullable=False),
        sa.Column("reserved_io_ratio", sa.Double(), nullable=False),
        sa.Column("estimated", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("largest", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["instance_id"], ["instances.id"], name=op.f("fk_slos_instance_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_slos")),
        sa.UniqueConstraint("instance_id", name=op.f("uq_slos_instance_id")),
        **_TABLE,
    )
    op.create_table(
        "violations",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("host_id", _ID, nullable=False),
        sa.Column("reported_id", sa.String(length=128), nullable=False),
        sa.Column("instance_id", _ID, nullable=False),
        sa.Column("metric", sa.String(length=32), nullable=False),
        sa.Column("opened_at", sa.Double(), nullable=False),
        sa.Column("closed_at", sa.Double(), nullable=True),
        sa.Column("cause", sa.String(length=16), nullable=True),
        sa.Column("offender", sa.String(length=36), nullable=True),
        sa.Column("evidence", _LARGE_TEXT, nullable=False),
        sa.ForeignKeyConstraint(["host_id"], ["hosts.id"], name=op.f("fk_violations_host_id")),
        sa.ForeignKeyConstraint(["instance_id"], ["instances.id"], name=op.f("fk_violations_instance_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_violations")),
        sa.UniqueConstraint("host_id", "reported_id", name=op.f("uq_violations_host_id_reported_id")),
        **_TABLE,
    )
    op.create_index(op.f("ix_violations_closed_at"), "violations", ["closed_at"], unique=False)
    op.create_index(op.f("ix_violations_instance_id"), "violations", ["instance_id"], unique=False)
    op.create_index(op.f("ix_violations_opened_at"), "violations", ["opened_at"], unique=False)
