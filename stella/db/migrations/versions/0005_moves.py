"""Relief: moves and their effect, the mode of relief and the fence of a host, instances that are not moved."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0005"
down_revision = "0004"

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_LARGE_TEXT = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")
_TABLE = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}


def upgrade() -> None:
    with op.batch_alter_table("hosts") as hosts:
        hosts.add_column(sa.Column("relief_mode", sa.String(length=16), nullable=True))
        hosts.add_column(sa.Column("fenced_at", sa.Double(), nullable=True))
    with op.batch_alter_table("instances") as instances:
        instances.add_column(sa.Column("relief_opt_out", sa.Boolean(), nullable=True))
    op.execute("UPDATE instances SET relief_opt_out = 0")
    with op.batch_alter_table("instances") as instances:
        instances.alter_column("relief_opt_out", existing_type=sa.Boolean(), nullable=False)
    op.create_table(
        "moves",
        sa.Column("decision_id", _ID, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("instance_id", _ID, nullable=True),
        sa.Column("from_host_id", _ID, nullable=False),
        sa.Column("to_host_id", _ID, nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("resources", sa.Text(), nullable=False),
        sa.Column("victims", _LARGE_TEXT, nullable=False),
        sa.Column("freed_cpu_cores", sa.Double(), nullable=False),
        sa.Column("predicted_effect", sa.Double(), nullable=False),
        sa.Column("measured_effect", sa.Double(), nullable=True),
        sa.Column("helped", sa.Boolean(), nullable=True),
        sa.Column("decided_at", sa.Double(), nullable=False),
        sa.Column("changed_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=True),
        *(
            sa.ForeignKeyConstraint([column], [target], name=op.f(f"fk_moves_{column}"))
            for column, target in (
                ("decision_id", "decisions.id"),
                ("instance_id", "instances.id"),
                ("from_host_id", "hosts.id"),
                ("to_host_id", "hosts.id"),
            )
        ),
        sa.PrimaryKeyConstraint("decision_id", name=op.f("pk_moves")),
        **_TABLE,
    )
    op.create_index("ix_moves_to_host_id_state", "moves", ["to_host_id", "state"])
    op.create_index("ix_moves_state_decided_at", "moves", ["state", "decided_at"])
    op.create_index(op.f("ix_moves_instance_id"), "moves", ["instance_id"])
    op.create_index(op.f("ix_moves_from_host_id"), "moves", ["from_host_id"])
