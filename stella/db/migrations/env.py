"""What Alembic runs for each command: the migrations, on the engine that `stella.db.migrations` passes in."""

from alembic import context

from stella.db.sla_models import Sla  # knows all tables: those of SLAs rest on the others

with context.config.attributes["engine"].connect() as connection:
    context.configure(connection=connection, target_metadata=Sla.metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()
