"""Runs the migrations on the connection that `webhook_app.store.migrations` hands over; never imports the app."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
