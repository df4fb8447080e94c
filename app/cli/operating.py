"""What the operators' commands share: the database they work on, and who acts."""

import asyncio
import getpass
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import psycopg
import typer
from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import trail
from app.bootstrap import settings
from app.bootstrap.settings import UnknownSetting
from app.cli import stack
from app.core.db import Database, open_database
from app.core.errors import TowpathError, Unavailable

FAILED: Final = 1  # the command was understood and refused
UNUSABLE: Final = 2  # it could not be tried; typer's own status for wrong arguments too

Answer = TypeVar("Answer")


def run(work: Callable[[Database], Awaitable[Answer]]) -> Answer:
    """Do work on the configured database, or on that of the local stack that runs."""
    try:
        return asyncio.run(_run(_url(), work))
    except (Unavailable, psycopg.OperationalError) as failure:
        raise _ended(f"The database is out of reach: {failure}", UNUSABLE) from None
    except TowpathError as refusal:
        raise _ended(_lines(refusal), FAILED) from None


def transact(work: Callable[[AsyncSession], Awaitable[Answer]]) -> Answer:
    """Do work in one transaction there."""

    async def inside(db: Database) -> Answer:
        async with db.transaction() as session:
            return await work(session)

    return run(inside)


def actor() -> trail.Actor:
    """The person at the keyboard, as far as this machine knows."""
    return trail.Actor("operator", f"{getpass.getuser()}@{socket.gethostname()}")


async def _run(url: str, work: Callable[[Database], Awaitable[Answer]]) -> Answer:
    db = open_database(url, pool_size=1)
    try:
        return await work(db)
    finally:
        await db.close()


def _url() -> str:
    try:
        given = settings.load()
    except (UnknownSetting, ValidationError) as fault:
        raise _ended(str(fault), UNUSABLE) from None
    if given.database_url is not None:
        return given.database_url
    state = stack.Options.of(given).state
    running = stack.read_running(state)
    if running is None:
        raise _ended(
            f"No stack runs on {state}: start `towpath up`, or set TOWPATH_DATABASE_URL.", UNUSABLE
        )
    return str(running["environment"]["TOWPATH_DATABASE_URL"])


def _lines(refusal: TowpathError) -> str:
    faults = refusal.context.get("errors", ())
    told = [f"{fault['pointer'].lstrip('/')}: {fault['message']}" for fault in faults]
    return "\n".join(told) or refusal.message


def _ended(message: str, status: int) -> typer.Exit:
    sys.stderr.write(f"{message}\n")
    return typer.Exit(status)
