"""Group commit: while one transaction is in flight, the calls that arrive form the next batch.

Every item carries an id made before it was submitted, so that a batch sent again after a lost
connection finds its first outcome. Figures: docs/blueprint.md, "Grouped commits".
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar

import psycopg

from app.core.db import Database
from app.core.errors import Unavailable

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")
Run = Callable[[psycopg.AsyncConnection[Any], Sequence[Item]], Awaitable[Sequence[Outcome]]]

LIMIT: Final = 256
LIMIT_BYTES: Final = 4 * 1024 * 1024
RESENDS: Final = 3  # after a lost connection; then the database counts as out of reach
# A group joins a few dozen items to large tables by their keys. Statistics lag behind a burst, so the
# plans that read or hash a whole table are taken off the list. Then a kept plan is as good as a new one;
# not so under HOT, which plans anew for each row's foreign keys too: 327 us a job admitted, not 165.
SETTINGS: Final = {
    "lock_timeout": "1s",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}

# For groups that need not outlive a crash of the server: what builds on them, and waits for the disk, makes
# them durable with itself.
HASTY: Final = {**SETTINGS, "synchronous_commit": "off"}

# One bad item (SQLSTATE 22, 23), a deadlock or a lock held too long must not fail its neighbours.
_SPLITTING: Final = (
    psycopg.DataError,
    psycopg.IntegrityError,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.LockNotAvailable,
)


class GroupCommit(Generic[Item, Outcome]):
    """Gathers the items of many callers into one transaction at a time, on a connection of its own.

    `run` gets the connection and a batch, and gives one outcome an item, in order; it must be safe
    to run twice with the same items. What callers expect (a conflict, an empty budget) is an
    outcome; what `run` raises for an item alone is raised to that item's caller.
    """

    def __init__(
        self,
        run: Run[Item, Outcome],
        db: Database,
        *,
        limit: int = LIMIT,
        limit_bytes: int = LIMIT_BYTES,
        weigh: Callable[[Item], int] | None = None,
        settings: Mapping[str, str] = SETTINGS,
    ) -> None:
        self._run = run
        self._db = db
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._weigh = weigh
        self._settings = settings
        self._waiting: list[tuple[Item, asyncio.Future[Outcome]]] = []
        self._drainer: asyncio.Task[None] | None = None
        self._connection: psycopg.AsyncConnection[Any] | None = None

    async def submit(self, item: Item) -> Outcome:
        """The outcome of this item, once its group has committed. Raises Unavailable without a database.

        A caller that is cancelled while it waits leaves its item in the group: it may be committed.
        """
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._drainer is None:
            self._drainer = asyncio.create_task(self._drain())
        return await future

    @property
    def pending(self) -> int:
        """How many items wait for a group."""
        return len(self._waiting)

    async def close(self) -> None:
        """Wait for what is in flight, then give the connection back."""
        while self._drainer is not None:
            await asyncio.wait([self._drainer])
        await self._disconnect()

    async def _drain(self) -> None:
        try:
            while self._waiting:
                await self._commit(self._take())
        finally:
            self._drainer = None

    def _take(self) -> list[tuple[Item, asyncio.Future[Outcome]]]:
        count, size = 0, 0
        for item, _ in self._waiting[: self._limit]:
            size += self._weigh(item) if self._weigh is not None else 0
            if count and size > self._limit_bytes:
                break
            count += 1
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        return batch

    async def _commit(self, batch: list[tuple[Item, asyncio.Future[Outcome]]]) -> None:
        try:
            outcomes = await self._send([item for item, _ in batch])
        except _SPLITTING as error:
            if len(batch) > 1:
                for one in batch:
                    await self._commit([one])
            else:
                _refuse(batch, error)
        except Exception as error:  # noqa: BLE001 - whatever it is belongs to the callers, not to the drainer
            _refuse(batch, error)
        else:
            for (_, future), outcome in zip(batch, outcomes, strict=True):
                if not future.done():  # its caller may have gone
                    future.set_result(outcome)

    async def _send(self, items: list[Item]) -> Sequence[Outcome]:
        for attempt in range(RESENDS):
            try:
                if self._connection is None:
                    self._connection = await self._db.connect_hot(settings=self._settings)
                return await self._run(self._connection, items)
            except _SPLITTING:
                raise
            except psycopg.OperationalError as error:
                await self._disconnect()
                if attempt + 1 == RESENDS:
                    raise Unavailable("the database is out of reach", retry_after=1) from error
            except BaseException:
                # Cancelled or failed half way: the connection's state is unknown to the next batch.
                await self._disconnect()
                raise
        raise AssertionError("unreachable")

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(psycopg.Error):
                await connection.close()


def _refuse(batch: Sequence[tuple[Any, asyncio.Future[Any]]], error: Exception) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error)
