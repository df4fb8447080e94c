"""The operations that compete for a job's row, and a way to run two of them against each other.

The first one does all its work and is held up in its commit: a deferred trigger, which only these tests
install, waits there for a lock that the test holds. Meanwhile the second begins. So both are the real
functions, in transactions of their own, and what the second waits for is the first.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from dataclasses import replace as replaced
from datetime import timedelta
from typing import Any, Final

import psycopg
from psycopg.types.json import Jsonb

from app.attempts import leases
from app.attempts.leases import Holdings
from app.audit.trail import Actor
from app.core import ids
from app.core.db import Database
from app.core.errors import TowpathError
from app.core.ids import AttemptId, JobId, TenantId, WorkerId
from app.intake import admission
from app.intake.admission import Asker, Desk, JobSpec
from app.intake.uniqueness import Unique
from app.jobs import endings, moving, transitions
from app.jobs.moving import Place
from app.jobs.transitions import End
from app.scheduling import dispatch, reaper
from app.scheduling.config import SchedulingConfig
from app.scheduling.shards import Lead
from app.switches import pauses
from tests.waiting import until

Connection = psycopg.AsyncConnection[Any]

LOCK: Final = 7_214_777
LEASE: Final = timedelta(seconds=6)
BEAT: Final = timedelta(
    minutes=10
)  # longer than any other lease: whoever finds it knows who renewed
HEAD_START: Final = timedelta(seconds=60)
ACTOR: Final = Actor("operator", "pairs")
STALL: Final = f"""
CREATE FUNCTION stall() RETURNS trigger LANGUAGE plpgsql SET lock_timeout = 0 AS
$$ BEGIN PERFORM pg_advisory_xact_lock_shared({LOCK}); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER stall AFTER INSERT ON job_event DEFERRABLE INITIALLY DEFERRED
   FOR EACH ROW EXECUTE FUNCTION stall();
CREATE CONSTRAINT TRIGGER stall AFTER UPDATE ON attempt DEFERRABLE INITIALLY DEFERRED
   FOR EACH ROW EXECUTE FUNCTION stall();
CREATE CONSTRAINT TRIGGER stall AFTER INSERT ON pause DEFERRABLE INITIALLY DEFERRED
   FOR EACH ROW EXECUTE FUNCTION stall();
"""


@dataclass(frozen=True, slots=True)
class Side:
    """What one of the two works with: its own connections, and a worker of its own."""

    first: bool
    worker: WorkerId
    hot: Connection
    passing: Connection  # as a dispatcher's
    desk: Desk


@dataclass(frozen=True, slots=True)
class Scene:
    """One job that both are after, and who holds it."""

    db: Database
    admin: psycopg.Connection
    tenant: TenantId
    lead: Lead
    worker: WorkerId  # who has it, where it runs
    job: JobId
    attempt: AttemptId
    name: str  # its idempotency key and its unique key

    @property
    def asker(self) -> Asker:
        return Asker(self.tenant, None, ACTOR)


async def admit(scene: Scene, side: Side) -> str:
    # Whoever comes second asks again: a request of its own under the same key.
    job = scene.job if side.first else None
    made = await admission.admit(
        side.desk, scene.asker, JobSpec("noop", {}), key=scene.name, job=job
    )
    return made.outcome


async def release(scene: Scene, side: Side) -> str:
    done = await dispatch.release(side.passing, scene.lead, SchedulingConfig(), LEASE)
    groups = [group for lane in done.released.values() for group in lane]
    return _or_nothing(scene.job in {item.job for group in groups for item in group}, "released")


async def claim(scene: Scene, side: Side) -> str:
    items = [(scene.job, scene.attempt)]
    [found] = await transitions.claim(side.hot, items, worker=side.worker, lease=LEASE)
    return _or_nothing(found is not None, "claimed")


async def heartbeat(scene: Scene, side: Side) -> str:
    holdings = Holdings(scene.worker)
    holdings.take(scene.attempt, scene.job)
    await leases.renew(side.hot, holdings, BEAT)
    row = scene.admin.execute(
        "SELECT lease_until > now() + interval '5 minutes' FROM attempt WHERE id = %s",
        (scene.attempt,),
    ).fetchone()
    return _or_nothing(row is not None and bool(row[0]), "renewed")


async def finish(scene: Scene, side: Side) -> str:
    end = End(scene.job, scene.attempt, "noop", {}, endings.succeeded({"done": True}))
    [state] = await transitions.end(side.hot, [end])
    return state or "nothing"


async def cancel(scene: Scene, side: Side) -> str:
    async with scene.db.transaction() as session:
        return await transitions.cancel(
            session, scene.tenant, scene.job, actor=ACTOR, request_id=None
        )


async def expire(scene: Scene, side: Side) -> str:
    return _or_nothing(await transitions.expire_idle(side.hot, 10) == 1, "expired")


async def reap(scene: Scene, side: Side) -> str:
    return _or_nothing(await reaper.reap(side.hot) == 1, "reaped")


async def pause(scene: Scene, side: Side) -> str:
    async with scene.db.transaction() as session:
        tenant = pauses.of_tenant(scene.tenant)
        await pauses.pause(session, tenant, actor=ACTOR, reason="pairs")
    return "paused"


async def move(scene: Scene, side: Side) -> str:
    async with scene.db.transaction() as session:
        await moving.move(
            session, scene.tenant, scene.job, Place("batch"), head_start=HEAD_START, actor=ACTOR
        )
    return "moved"


async def replace(scene: Scene, side: Side) -> str:
    spec = JobSpec("noop", {}, unique=Unique(scene.name, None, "replace"))
    made = await admission.admit(side.desk, scene.asker, spec, key=None)
    return "replaced" if made.outcome == "created" else made.outcome


def _or_nothing(done: bool, said: str) -> str:
    return said if done else "nothing"


@dataclass(frozen=True, slots=True)
class Operation:
    """One of those who compete: in which states of a job it has something to do, and what it then says."""

    run: Callable[[Scene, Side], Awaitable[str]]
    states: tuple[str, ...]
    said: tuple[str, ...]


OPERATIONS: Final = {
    "admit": Operation(admit, ("none",), ("created",)),
    "dispatch": Operation(release, ("queued",), ("released",)),
    "claim": Operation(claim, ("dispatched",), ("claimed",)),
    "heartbeat": Operation(heartbeat, ("running",), ("renewed",)),
    "finish": Operation(finish, ("running",), ("succeeded",)),
    "cancel": Operation(cancel, ("queued", "dispatched", "running"), ("cancelled", "running")),
    "expire": Operation(expire, ("queued", "dispatched"), ("expired",)),
    "reap": Operation(reap, ("running", "dispatched"), ("reaped",)),
    "pause": Operation(pause, ("queued", "dispatched", "running"), ("paused",)),
    "move": Operation(move, ("queued",), ("moved",)),
    "replace": Operation(replace, ("queued",), ("replaced",)),
}


def start_of(first: str, second: str) -> str:
    """The state in which both have something to do; else one of the first's."""
    mine, other = OPERATIONS[first].states, OPERATIONS[second].states
    return next((state for state in mine if state in other), mine[0])


async def arrange(
    db: Database,
    admin: psycopg.Connection,
    tenant: TenantId,
    lead: Lead,
    side: Side,
    pair: tuple[str, str],
) -> Scene:
    """A job in the state where the two meet."""
    state = start_of(*pair)
    job = JobId(ids.new())
    name = f"{pair[0]}-{pair[1]}"
    scene = Scene(db, admin, tenant, lead, side.worker, job, AttemptId(ids.new()), name)
    if state == "none":
        return scene
    await admit(scene, side)
    admin.execute(
        "INSERT INTO unique_key (tenant, name, job) VALUES (%s, %s, %s)", (tenant, scene.name, job)
    )
    if state != "queued":
        [released] = await transitions.dispatch(side.hot, [job], LEASE)
        scene = replaced(scene, attempt=released.attempt)
    if state == "running":
        assert await claim(scene, side) == "claimed"
    if "expire" in pair:
        admin.execute(
            "UPDATE job SET deadline_at = now() - interval '1 second' WHERE id = %s", (job,)
        )
    if "reap" in pair:
        admin.execute("UPDATE attempt SET lease_until = now() - interval '1 second'"
                      " WHERE job = %s", (job,))  # fmt: skip
    return scene


async def race(
    scene: Scene, pair: tuple[str, str], sides: tuple[Side, Side]
) -> tuple[str, str, str, str]:
    """Both, the second while the first is held up in its commit: how the second met it, what each said, and
    the state of the job in the end.
    """
    admin = scene.admin
    admin.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
    first = asyncio.ensure_future(_said(pair[0], scene, sides[0]))
    try:
        await until(_held(admin, 1, first), what=f"{pair[0]} is held up in its commit")
        holder = _stalled(admin)[0]
        second = asyncio.ensure_future(_said(pair[1], scene, sides[1]))
        found = ""

        async def met() -> bool:
            nonlocal found
            if second.done() or len(_stalled(admin)) == 2:
                found = "passes"
            elif admin.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND %s = ANY (pg_blocking_pids(pid))", (holder,),
            ).fetchone() != (0,):  # fmt: skip
                found = "waits"
            return bool(found)

        await until(met, what=f"{pair[1]} waits for {pair[0]}, or doesn't")
    finally:
        admin.execute("SELECT pg_advisory_unlock(%s)", (LOCK,))
    said = await first, await second
    row = admin.execute("SELECT state FROM job WHERE id = %s", (scene.job,)).fetchone()
    return found, *said, "" if row is None else str(row[0])


async def _said(name: str, scene: Scene, side: Side) -> str:
    try:
        return await OPERATIONS[name].run(scene, side)
    except TowpathError as refusal:
        return refusal.code


def _stalled(admin: psycopg.Connection) -> list[int]:
    rows = admin.execute(
        "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND NOT granted"
        " ORDER BY waitstart", (LOCK,),
    )  # fmt: skip
    return [row[0] for row in rows.fetchall()]


def _held(
    admin: psycopg.Connection, count: int, task: "asyncio.Future[str]"
) -> Callable[[], Awaitable[bool]]:
    async def held() -> bool:
        if task.done():
            raise AssertionError(f"it ended without a commit to hold up: {task.result()}")
        return len(_stalled(admin)) == count

    return held


def clear(admin: psycopg.Connection) -> None:
    """Leave nothing for the next pair."""
    admin.execute("DELETE FROM pause")
    admin.execute(
        "UPDATE attempt SET state = 'ended', outcome = 'lost', ended_at = now() WHERE ended_at IS NULL"
    )
    admin.execute(
        "UPDATE job SET state = 'cancelled', finished_at = now(), current_attempt = NULL, waiting_for = NULL,"
        " wake_at = NULL, output = NULL, error = %s WHERE finished_at IS NULL",
        (Jsonb({"code": "cleared"}),),
    )
