"""The database: Base of all tables, and Database, which opens transactions and hot connections."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Final

import psycopg
from psycopg.rows import namedtuple_row
from sqlalchemy import BigInteger, CheckConstraint, DateTime, LargeBinary, MetaData, Text, Uuid, exc
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import DeclarativeBase

from app.core import ids
from app.core.errors import Unavailable

# A plan made on a short queue was seen to cost up to a second after a burst (docs/blueprint.md).
HOT: Final = {"plan_cache_mode": "force_custom_plan"}
NAMES: Final = {
    "ix": "%(table_name)s_%(column_0_N_name)s",
    "uq": "%(table_name)s_%(column_0_N_name)s_key",
    "ck": "%(table_name)s_%(constraint_name)s",
    "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
    "pk": "%(table_name)s_pkey",
}


def no_json_null(column: str) -> CheckConstraint:
    """The constraint that a nullable JSONB column has: nothing is SQL's NULL, whichever way it is written."""
    return CheckConstraint(f"jsonb_typeof({column}) <> 'null'", name=f"{column}_is_no_json_null")


class Base(DeclarativeBase):
    """Base of every table: plain Python types say the column types."""

    metadata: ClassVar[MetaData] = MetaData(naming_convention=NAMES)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        int: BigInteger,
        str: Text,
        bytes: LargeBinary,
        datetime: DateTime(timezone=True),
        list[str]: ARRAY(Text),
        # None is SQL's NULL: the JSON null beside it would be a second nothing, that IS NULL misses.
        dict[str, Any]: JSONB(none_as_null=True),
        **dict.fromkeys(ids.KINDS, Uuid()),
    }


@dataclass(frozen=True, slots=True)
class Database:
    """Where the rows are. A function that takes `db` owns its transactions."""

    url: str
    engine: AsyncEngine
    sessions: async_sessionmaker[AsyncSession]

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """A session in one transaction: committed at the end, rolled back by an exception.

        Raises Unavailable where the database is out of reach, or a lock or a connection was waited for too long.
        """
        try:
            async with self.sessions.begin() as session:
                yield session
        except (exc.OperationalError, exc.InterfaceError, exc.TimeoutError) as error:
            raise Unavailable("The database is out of reach.", retry_after=1) from error

    async def connect_hot(
        self, *, autocommit: bool = True, settings: Mapping[str, str] = HOT
    ) -> psycopg.AsyncConnection[Any]:
        """A connection of its own for grouped or listening work. The caller closes it."""
        return await connect(self.url, autocommit=autocommit, settings=settings)

    async def close(self) -> None:
        """Close the pool."""
        await self.engine.dispose()


def open_database(url: str, *, pool_size: int = 10) -> Database:
    """A Database on a `postgresql://` url; nothing is connected yet."""
    address = make_url(url).set(drivername="postgresql+psycopg")
    engine = create_async_engine(address, pool_size=pool_size, max_overflow=0, pool_pre_ping=True)
    return Database(url, engine, async_sessionmaker(engine, expire_on_commit=False))


async def connect(
    url: str, *, autocommit: bool = True, settings: Mapping[str, str] = HOT
) -> psycopg.AsyncConnection[Any]:
    """A bare psycopg connection that prepares every statement and gives named tuples."""
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    return await psycopg.AsyncConnection.connect(
        url, autocommit=autocommit, prepare_threshold=0, options=options, row_factory=namedtuple_row
    )
