"""The whole content of a database, to compare before and after."""

from sqlalchemy import select

from stella.db.database import Database
from stella.db.models import Table

Dump = dict[str, list[tuple[object, ...]]]


def dump(database: Database) -> Dump:
    """Every row of every table, by the name of the table."""
    with database.reader() as session:
        return {
            table.name: sorted((tuple(row) for row in session.execute(select(table))), key=repr)
            for table in Table.metadata.sorted_tables
        }
