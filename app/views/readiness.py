"""Whether a process can work: its database answers and has a schema."""

import asyncio
from typing import Final

from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from app.core.db import Database
from app.core.errors import Unavailable

PATIENCE_SECONDS: Final = 2.0  # a probe wants an answer, not a wait for a connection

_VERSION: Final = text("SELECT version_num FROM alembic_version")


async def schema_version(db: Database) -> str:
    """The revision that the database was migrated to. Raises Unavailable."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS), db.transaction() as session:
            found = (await session.execute(_VERSION)).scalar_one_or_none()
    except TimeoutError as error:
        raise Unavailable("The database does not answer.", retry_after=1) from error
    except ProgrammingError as error:
        raise Unavailable("The database has not been migrated.", retry_after=1) from error
    if found is None:
        raise Unavailable("The database has not been migrated.", retry_after=1)
    return str(found)
