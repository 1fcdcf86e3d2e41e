"""Alembic's migrations of the database, and how `stella-manage db` runs them."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from stella.db.database import Database


def _config(database: Database) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["engine"] = database.engine
    return config


def sync(database: Database) -> str:
    """Bring the database to this release's version, which is returned. Does nothing when it is there already."""
    command.upgrade(_config(database), "head")
    return newest(database)


def newest(database: Database) -> str:
    """The version that this release needs."""
    return ScriptDirectory.from_config(_config(database)).get_current_head() or ""


def current(database: Database) -> str:
    """The version that the database has; empty when it was never synchronised."""
    with database.engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision() or ""
