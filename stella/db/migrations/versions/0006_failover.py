"""Places kept for the loss of a host, classes that ask for them; no two attachments of one target last at once."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TABLE: Any = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}


def upgrade() -> None:
    """From 0005 to 0006."""
    _add("hosts", sa.Column("failover_cpu_cores", sa.Double(), nullable=True), sa.Double(), 0.0)
    _add("slas", sa.Column("failover", sa.Boolean(), nullable=True), sa.Boolean(), False)
    with op.batch_alter_table("sla_attachments") as attachments:
        attachments.add_column(sa.Column("lasting", sa.String(length=272), nullable=True))
    attached = sa.table("sla_attachments", *map(sa.column, ("id", "scope", "target", "until", "lasting")))
    newest = (  # where two were stored at the same moment, one of them
        sa.select(sa.func.max(attached.c.id))
        .where(attached.c.until.is_(None))
        .group_by(attached.c.scope, attached.c.target)
    )
    ids = [row[0] for row in op.get_bind().execute(newest)]
    named = attached.c.scope + sa.literal(" ") + attached.c.target
    op.execute(attached.update().where(attached.c.id.in_(ids)).values(lasting=named))
    with op.batch_alter_table("sla_attachments") as attachments:
        attachments.create_unique_constraint(op.f("uq_sla_attachments_lasting"), ["lasting"])
    op.create_table(
        "failover_places",
        sa.Column("instance_id", _ID, nullable=False),
        sa.Column("host_id", _ID, nullable=False),
        sa.Column("reserved_cpu_cores", sa.Double(), nullable=False),
        sa.Column("reserved_io_ratio", sa.Double(), nullable=False),
        sa.Column("changed_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["instance_id"], ["instances.id"], name=op.f("fk_failover_places_instance_id")),
        sa.ForeignKeyConstraint(["host_id"], ["hosts.id"], name=op.f("fk_failover_places_host_id")),
        sa.PrimaryKeyConstraint("instance_id", name=op.f("pk_failover_places")),
        **_TABLE,
    )
    op.create_index(op.f("ix_failover_places_host_id"), "failover_places", ["host_id"])


def _add(table: str, column: Any, kind: Any, value: Any) -> None:
    """A column that must have a value, on a table that may have rows."""
    with op.batch_alter_table(table) as changed:
        changed.add_column(column)
    op.execute(sa.table(table, sa.column(column.name)).update().values({column.name: value}))
    with op.batch_alter_table(table) as changed:
        changed.alter_column(column.name, existing_type=kind, nullable=False)
