"""Puts job_event into ranges of its jobs' ids, without copying a row: for when decision 17 says that it pays.

`python -m migrations.ranges OWNER_URL MONTHS`. What is there becomes the first range; a range a month follows,
and one for what is later still. Run twice, it changes nothing.
"""

import sys
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import psycopg
from psycopg import sql

from app.core import clock, ids

AHEAD: Final = timedelta(
    hours=1
)  # until the first range ends: by then the change has long been made
LOCK_TIMEOUT: Final = "2s"  # of the exclusive lock at the end, which is held for milliseconds


def split(owner_url: str, months: int) -> bool:
    """Put job_event into ranges. Gives whether there was anything to do.

    Its rows are looked at once, under a lock that lets all reads and writes pass. Raises psycopg's
    LockNotAvailable where the exclusive lock isn't to be had in time: nothing is changed then, try again.
    """
    first, *later = _bounds(clock.now() + AHEAD, months)
    with psycopg.connect(owner_url, autocommit=True) as owner:
        kind = owner.execute(
            "SELECT relkind FROM pg_class WHERE oid = 'job_event'::regclass"
        ).fetchone()
        if kind is None or kind[0] == "p":
            return False
        owner.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
        # The promise that all rows are before the bound saves the look at them under the exclusive lock.
        owner.execute("ALTER TABLE job_event DROP CONSTRAINT IF EXISTS before_ranges")
        promise = sql.SQL(
            "ALTER TABLE job_event ADD CONSTRAINT before_ranges CHECK (job < {}) NOT VALID"
        )
        owner.execute(promise.format(first))
        owner.execute("ALTER TABLE job_event VALIDATE CONSTRAINT before_ranges")
        with owner.transaction():
            _change(owner, first, later)
        owner.execute("ALTER TABLE job_event_past DROP CONSTRAINT before_ranges")
    return True


def _bounds(start: datetime, months: int) -> list[UUID]:
    """The ids at which ranges end: first that of all that is there, then of each month."""
    found, at = [start], start.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    for _ in range(months):
        at = (at + timedelta(days=32)).replace(day=1)
        found.append(at)
    return [ids.derived(moment, bytes(10)) for moment in found]


def _change(owner: psycopg.Connection, first: UUID, later: list[UUID]) -> None:
    owner.execute("ALTER TABLE job_event RENAME TO job_event_past")
    owner.execute("ALTER INDEX job_event_pkey RENAME TO job_event_past_pkey")
    owner.execute(
        "CREATE TABLE job_event (LIKE job_event_past INCLUDING DEFAULTS,"
        " CONSTRAINT job_event_pkey PRIMARY KEY (job, seq),"
        " CONSTRAINT job_event_tenant_job_fkey FOREIGN KEY (tenant, job) REFERENCES job (tenant, id))"
        " PARTITION BY RANGE (job)"
    )
    attach = (
        "ALTER TABLE job_event ATTACH PARTITION job_event_past FOR VALUES FROM (MINVALUE) TO ({})"
    )
    owner.execute(sql.SQL(attach).format(first))
    made = "CREATE TABLE {} PARTITION OF job_event FOR VALUES FROM ({}) TO ({})"
    for place, (low, high) in enumerate(zip([first, *later], later, strict=False), start=1):
        owner.execute(sql.SQL(made).format(sql.Identifier(f"job_event_{place}"), low, high))
    owner.execute("CREATE TABLE job_event_later PARTITION OF job_event DEFAULT")
    owner.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON job_event TO towpath_app")


if __name__ == "__main__":
    sys.stdout.write("split\n" if split(sys.argv[1], int(sys.argv[2])) else "nothing to do\n")
