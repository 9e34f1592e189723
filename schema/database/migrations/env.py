"""Alembic's entry: runs migrations on the connection that `schema.database.migrations.runner` has made ready."""

from alembic import context

from schema.database.tables import metadata


def run() -> None:
    """Run the migrations the command asks for."""
    context.configure(
        connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True
    )
    with context.begin_transaction():
        context.run_migrations()


run()
