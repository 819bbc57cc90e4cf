"""Run by alembic: migrates the connection that `Store.open` hands over, inside its transaction."""

from alembic import context

from polymode.web.reviews.tables import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
