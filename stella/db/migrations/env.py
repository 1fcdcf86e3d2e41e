"""What Alembic runs for each command: the migrations, on the engine that `stella.db.migrations` passes in."""

from alembic import context

from stella.db.models import Table

with context.config.attributes["engine"].connect() as connection:
    context.configure(connection=connection, target_metadata=Table.metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()
