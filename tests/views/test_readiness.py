"""Readiness: what stands still is named, what has stopped for good is not waited for."""

from typing import Any

import psycopg
import pytest

from app.core import ids
from app.core.db import Database
from app.core.errors import Unavailable
from app.health import pulses
from app.health.pulses import Pulses
from app.views import readiness


async def parts(db: Database) -> dict[str, str]:
    """What stands still, by its name."""
    try:
        await readiness.progress(db)
    except Unavailable as fault:
        return {one["part"]: one["detail"] for one in fault.context["parts"]}
    return {}


async def written(db: Database, **told: str | None) -> None:
    living = Pulses()
    for part, fault in told.items():
        living.beat(part, fault)
    async with await db.connect_hot() as connection:
        await pulses.write(connection, living)
        await pulses.write(connection, living)  # nothing is left to tell


def worker(admin: psycopg.Connection, seen: int, heard: int, stopping: bool = False) -> None:
    admin.execute(
        "INSERT INTO worker (id, host, pid, lanes, slots, started_at, seen_at, heard_at, stopping_at)"
        " SELECT %s, 'h', 1, '{batch}', 1, app_now(), app_now() - %s * s, app_now() - %s * s,"
        "        CASE WHEN %s THEN app_now() END FROM (SELECT interval '1 s' AS s) AS one",
        (ids.new(), seen, heard, stopping),
    )


async def test_a_loop_is_missed_after_ten_seconds(db: Database, admin: psycopg.Connection) -> None:
    assert await parts(db) == {}  # one that never ran has not stopped
    await written(db, dispatcher=None, sealer=None)
    assert await parts(db) == {}
    admin.execute("UPDATE pulse SET at = at - interval '11 s' WHERE part = 'sealer'")
    assert await parts(db) == {"sealer": "nothing for 11 s"}
    assert await readiness.schema_version(db) == "0002"
    await written(db, sealer=None)
    assert await parts(db) == {}


async def test_a_fault_is_told_in_its_words(db: Database) -> None:
    await written(db, broker="it may evict messages")
    assert await parts(db) == {"broker": "it may evict messages"}
    await written(db, broker=None)
    assert await parts(db) == {}


async def test_a_part_that_was_taken_away_is_not_missed(
    db: Database, admin: psycopg.Connection
) -> None:
    await written(db, dispatcher=None, former=None)
    admin.execute("UPDATE pulse SET at = at - interval '1 h' WHERE part = 'former'")
    async with await db.connect_hot() as connection:
        await pulses.keep(connection, ["dispatcher"])
    assert await parts(db) == {}


@pytest.mark.parametrize(
    ("workers", "expected"),
    [
        ([], None),
        ([(0, 0)], None),
        ([(0, 0), (0, 9)], "1 of 2 receive nothing"),
        ([(11, 11)], "none is left of 1"),
        ([(11, 11), (0, 0)], None),  # another took its place
        ([(11, 11, True)], None),  # it has said goodbye
    ],
)
async def test_workers_that_are_deaf_or_gone_are_missed(
    db: Database, admin: psycopg.Connection, workers: list[Any], expected: str | None
) -> None:
    for one in workers:
        worker(admin, *one)
    assert (await parts(db)).get("workers") == expected


async def test_work_that_fails_is_no_progress(db: Database) -> None:
    living = Pulses()

    async def fails() -> None:
        raise ValueError("no")

    async def works(number: int) -> int:
        return number

    with pytest.raises(ValueError, match="no"):
        await living.after("sealer", fails)()
    assert living.told == {}
    assert await living.after("sealer", works)(3) == 3
    assert living.told == {"sealer": None}
