"""Alembic's environment: one connection as the owner, under lock and statement timeouts."""

from alembic import context
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool

from migrations.tables import METADATA

# A migration that waits for a lock holds up every query behind it: give up soon, and try again.
TIMEOUTS = ("SET lock_timeout = '3s'", "SET statement_timeout = '15min'")


def run() -> None:
    """Run the migrations on the url that the caller put into the configuration."""
    url = make_url(context.config.attributes["url"]).set(drivername="postgresql+psycopg")
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        for timeout in TIMEOUTS:
            connection.execute(text(timeout))
        connection.commit()
        context.configure(connection, target_metadata=METADATA, transaction_per_migration=True)
        with context.begin_transaction():
            context.run_migrations()
    engine.dispose()


run()
