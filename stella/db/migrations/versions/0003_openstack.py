"""What OpenStack tells of hosts and instances, and the part of an SLO that its user asked for."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0003"
down_revision = "0002"

_LARGE_TEXT = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")


def upgrade() -> None:
    with op.batch_alter_table("hosts") as hosts:
        hosts.add_column(sa.Column("resource_provider", sa.String(length=36), nullable=True))
    with op.batch_alter_table("instances") as instances:
        instances.add_column(sa.Column("flavor_objectives", sa.Text(), nullable=True))
        instances.add_column(sa.Column("cloud_state", sa.String(length=32), nullable=True))
        instances.add_column(sa.Column("limits", sa.Text(), nullable=True))
    op.execute("UPDATE instances SET limits = '[]'")
    with op.batch_alter_table("instances") as instances:
        instances.alter_column("limits", existing_type=sa.Text(), nullable=False)
    with op.batch_alter_table("slos") as slos:
        slos.add_column(sa.Column("added", _LARGE_TEXT, nullable=True))
    op.execute("UPDATE slos SET added = objectives")
