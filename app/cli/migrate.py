"""`towpath migrate`: the schema, by its owner; and the price of the embedded model, without which it can't be called."""

import asyncio

import typer

from app.bootstrap import settings
from app.core.db import open_database
from app.usage import pricing
from migrations import run


def migrate() -> None:
    """Bring the schema up to date as its owner, and enter the embedded model's price."""
    url = settings.load().database_owner_url
    if url is None:
        raise typer.BadParameter("TOWPATH_DATABASE_OWNER_URL is not set: who owns the schema?")
    run.up(url)
    asyncio.run(_seed(url))


async def _seed(url: str) -> None:
    db = open_database(url, pool_size=1)
    async with db.transaction() as session:
        await pricing.seed(session)
    await db.close()
