"""Clients that wait for a job: however many they are, one connection of the process listens for all."""

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import psycopg
import structlog

from app.core import statements
from app.core.db import Database
from app.core.ids import JobId

_LOG: Final = structlog.get_logger(__name__)
_WATCHED: Final = statements.load(__file__, "watched")

CHANNELS: Final = ("jobs_ended", "job_events")
RECHECK_SECONDS: Final = 1.0  # a notification only hastens: whoever waits is looked at this often
RECONNECT_SECONDS: Final = 1.0


@dataclass(slots=True)
class Place:
    """One job that somebody waits for, as it was last seen."""

    seq: int = 0
    finished: bool = False
    watchers: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class Watch:
    """The jobs that clients of this process wait for. Opened and closed with the process."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._places: dict[JobId, Place] = {}
        self._task: asyncio.Task[None] | None = None
        self.closing = False

    def open(self) -> None:
        """Begin to listen."""
        self._task = asyncio.create_task(self._run())

    def release(self) -> None:
        """Let everybody go who waits: the process is about to end."""
        self.closing = True
        for place in self._places.values():
            _tell(place)

    async def close(self) -> None:
        """Let everybody go, and the connection."""
        self.release()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def watchers(self) -> int:
        """How many clients wait."""
        return sum(place.watchers for place in self._places.values())

    @contextlib.contextmanager
    def on(self, job: JobId) -> Iterator[Place]:
        """Watch a job. Read it inside: what happens after this line is told."""
        place = self._places.setdefault(job, Place())
        place.watchers += 1
        try:
            yield place
        finally:
            place.watchers -= 1
            if place.watchers == 0:
                self._places.pop(job, None)

    async def ended(self, place: Place, seconds: float) -> bool:
        """Wait until the job is over, the seconds have passed, or the process is to end."""
        return await self._until(place, lambda: place.finished, seconds)

    async def beyond(self, place: Place, seq: int, seconds: float) -> bool:
        """Wait until the job has an event after `seq`, as `ended` does."""
        return await self._until(place, lambda: place.seq > seq, seconds)

    async def _until(self, place: Place, true: Any, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not true() and not self.closing:
                    await place.changed.wait()
        return bool(true())

    async def _run(self) -> None:
        while True:
            try:
                connection = await self._db.connect_hot(settings={})
                async with connection:
                    await self._follow(connection)
            except (psycopg.Error, OSError) as error:
                # Whoever waits is only told later: a read of the job is still true.
                _LOG.warning("watch lost its connection", reason=type(error).__name__)
                await asyncio.sleep(RECONNECT_SECONDS)

    async def _follow(self, connection: psycopg.AsyncConnection[Any]) -> None:
        loop = asyncio.get_running_loop()
        for channel in CHANNELS:
            await connection.execute(f"LISTEN {channel}")
        due = loop.time()
        while True:
            left = max(0.0, due - loop.time())
            touched: list[JobId] | None = None
            async for note in connection.notifies(timeout=left, stop_after=1):
                touched = self._named(note.payload)
            if touched is None or loop.time() >= due:
                touched, due = list(self._places), loop.time() + RECHECK_SECONDS
            if touched:
                await self._look(connection, touched)

    def _named(self, payload: str) -> list[JobId] | None:
        """The watched jobs of a notification; None where it can't name them all: look at every one."""
        try:
            named = [JobId(UUID(text)) for text in payload.split(",")]
        except ValueError:  # empty, or cut off at the limit of a payload
            return None
        return [job for job in named if job in self._places]

    async def _look(self, connection: psycopg.AsyncConnection[Any], jobs: list[JobId]) -> None:
        cursor = await connection.execute(_WATCHED.raw, {"jobs": jobs})
        for row in await cursor.fetchall():
            place = self._places.get(JobId(row.id))
            if place is not None and (row.event_seq, row.finished) != (place.seq, place.finished):
                place.seq, place.finished = row.event_seq, row.finished
                _tell(place)


def _tell(place: Place) -> None:
    place.changed.set()
    place.changed = asyncio.Event()
