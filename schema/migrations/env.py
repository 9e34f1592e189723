"""Alembic's entry: runs migrations on the connection that `schema.migrations.runner` has made ready."""

from alembic import context

from schema.tables import metadata


def run() -> None:
    """Run the migrations the command asks for."""
    context.configure(
        connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True
    )
    with context.begin_transaction():
        context.run_migrations()


run()
