"""The tables on both databases."""

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from stella.db.models import Table
from tests.functional.conftest import BOTH_DATABASES, Cloud

pytestmark = BOTH_DATABASES


def test_the_migrations_make_what_the_tables_say(cloud: Cloud) -> None:
    with cloud.database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        assert compare_metadata(context, Table.metadata) == []
