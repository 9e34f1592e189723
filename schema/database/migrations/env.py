"""Alembic's entry: runs migrations on the connection that `schema.database.migrations.runner` has made ready."""

from alembic import context

from schema.database.tables import metadata


def run() -> None:
    """Run the migrations the command asks for."""
    given = context.config.attributes
    context.configure(
        connection=given["connection"],
        target_metadata=metadata,
        render_as_batch=True,
        on_version_apply=given["on_version_apply"],
    )
    with context.begin_transaction():
        context.run_migrations()


run()
