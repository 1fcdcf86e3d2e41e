"""Roll-ups, the engine's lease, quotas, live points, and who is silent or gone."""

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TABLE: Any = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}


def upgrade() -> None:
    op.create_table(
        "leases",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("holder", sa.String(length=255), nullable=True),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("renewal", sa.BigInteger(), nullable=False),
        sa.Column("renewed_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leases")),
        **_TABLE,
    )
    op.create_table(
        "projects",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("project_id", sa.String(length=255), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("limits", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_projects")),
        sa.UniqueConstraint("project_id", name=op.f("uq_projects_project_id")),
        **_TABLE,
    )
    op.create_table(
        "points",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("instance_id", _ID, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("objectives", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["instance_id"], ["instances.id"], name=op.f("fk_points_instance_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_points")),
        sa.UniqueConstraint("instance_id", "at", name=op.f("uq_points_instance_id_at")),
        **_TABLE,
    )
    op.create_index("ix_points_at", "points", ["at"])
    _create_rollups()
    op.create_table(
        "slo_floors",
        sa.Column("slo_id", _ID, nullable=False),
        sa.Column("metric", sa.String(length=32), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["slo_id"], ["slos.id"], name=op.f("fk_slo_floors_slo_id")),
        sa.PrimaryKeyConstraint("slo_id", "metric", name=op.f("pk_slo_floors")),
        **_TABLE,
    )
    _fill_floors()
    with op.batch_alter_table("hosts") as hosts:
        hosts.add_column(sa.Column("silent_since", sa.Double(), nullable=True))
        hosts.create_index("ix_hosts_credential_sha256", ["credential_sha256"], unique=True)
    with op.batch_alter_table("instances") as instances:
        instances.add_column(sa.Column("gone_at", sa.Double(), nullable=True))
        instances.add_column(sa.Column("watched_until", sa.Double(), nullable=True))
        instances.create_index(op.f("ix_instances_gone_at"), ["gone_at"])
        instances.create_index("ix_instances_host_id_watched_until", ["host_id", "watched_until"])
    op.execute("UPDATE instances SET gone_at = reported_at WHERE state = 'gone'")
    with op.batch_alter_table("minutes") as minutes:
        minutes.add_column(sa.Column("is_rolled_up", sa.Boolean(), nullable=False, server_default=sa.false()))
        minutes.create_index("ix_minutes_is_rolled_up", ["is_rolled_up", "start"])
        minutes.create_index("ix_minutes_start", ["start"])
    with op.batch_alter_table("violations") as violations:
        violations.add_column(sa.Column("merged_into_id", _ID, nullable=True))
        violations.create_foreign_key(op.f("fk_violations_merged_into_id"), "violations", ["merged_into_id"], ["id"])


def _create_rollups() -> None:
    op.create_table(
        "rollups",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("instance_id", _ID, nullable=False),
        sa.Column("metric", sa.String(length=32), nullable=False),
        sa.Column("span_seconds", sa.Integer(), nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("met_seconds", sa.Integer(), nullable=False),
        sa.Column("violated_seconds", sa.Integer(), nullable=False),
        sa.Column("degraded_seconds", sa.Integer(), nullable=False),
        sa.Column("no_demand_seconds", sa.Integer(), nullable=False),
        sa.Column("self_limited_seconds", sa.Integer(), nullable=False),
        sa.Column("unknown_seconds", sa.Integer(), nullable=False),
        sa.Column("causes", sa.Text(), nullable=False),
        sa.Column("usage_seconds", sa.Integer(), nullable=False),
        sa.Column("usage_mean", sa.Double(), nullable=True),
        sa.Column("usage_min", sa.Double(), nullable=True),
        sa.Column("usage_max", sa.Double(), nullable=True),
        sa.Column("demand_seconds", sa.Integer(), nullable=False),
        sa.Column("demand_mean", sa.Double(), nullable=True),
        sa.Column("is_rolled_up", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["instance_id"], ["instances.id"], name=op.f("fk_rollups_instance_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rollups")),
        sa.UniqueConstraint(
            "instance_id",
            "metric",
            "span_seconds",
            "start",
            name=op.f("uq_rollups_instance_id_metric_span_seconds_start"),
        ),
        **_TABLE,
    )
    op.create_index("ix_rollups_span_seconds_is_rolled_up", "rollups", ["span_seconds", "is_rolled_up", "start"])


def _fill_floors() -> None:
    """The floors of the SLOs that are in force already."""
    connection = op.get_bind()
    floors = sa.table("slo_floors", sa.column("slo_id"), sa.column("metric"), sa.column("value"))
    rows = connection.execute(sa.text("SELECT id, objectives FROM slos WHERE objectives IS NOT NULL")).all()
    for slo_id, objectives in rows:
        for metric, objective in json.loads(objectives).items():
            if objective.get("floor") is not None:
                connection.execute(floors.insert().values(slo_id=slo_id, metric=metric, value=objective["floor"]))
