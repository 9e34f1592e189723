"""Alembic's entry: runs the migrations on the URL that `schema.database.migrate` gives."""

from alembic import context
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from schema.tables import metadata


def run() -> None:
    """Run the migrations the command asks for, each in a transaction where the database has them for DDL."""
    engine = create_engine(context.config.attributes["url"], poolclass=NullPool, hide_parameters=True)
    with engine.connect() as connection:
        context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
        with context.begin_transaction():
            context.run_migrations()


run()
