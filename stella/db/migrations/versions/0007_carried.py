"""SLOs that came with their instance from another host, where they were kept."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """From 0006 to 0007. The release before does not know the column, so that it may stay empty."""
    with op.batch_alter_table("slos") as slos:
        slos.add_column(sa.Column("carried", sa.Boolean(), nullable=True))
