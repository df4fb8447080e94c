"""What a job leaves and costs: bytes a table, WAL, transactions, CPU by process. Two kinds: no-op, one model call."""

import asyncio
from typing import Any, Final

import psutil
import redis

from bench.drain import fill
from bench.ground import console, cpu_seconds, ground
from tests.arrange import NOOP
from tests.fakes import provider
from tests.stack import Stack
from tests.waiting import until

JOBS: Final = 2_000
ASK: Final = {
    "name": "ask",
    "input": {"type": "object"},
    "steps": [
        {
            "id": "say",
            "kind": "model",
            "prompt": "plain@1",
            "in": {"text": "say yes"},
            "max_tokens": 8,
        }
    ],
    "output": {"said": "=steps.say.text"},
}
# Tables that don't grow with jobs: their size says nothing of one.
SIZES: Final = """
SELECT c.relname AS name, pg_total_relation_size(c.oid) AS whole, pg_indexes_size(c.oid) AS indexes
  FROM pg_class c WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace
"""


async def run() -> dict[str, Any]:
    """Fields, each for `noop` and `ask`: a job's bytes by table and in all, WAL bytes, transactions, CPU ms."""
    figures: dict[str, Any] = {}
    async with (
        provider.serving() as fake,
        ground(start=("api",), slots=200, provider_url=fake.base_url) as stack,
    ):
        before = 0
        for name, start in (("api", None), ("worker", stack.start_worker), ("control", None)):
            if start is not None:
                await start(name)
            elif name not in stack.processes:
                stack.start(name)
            now = await _settled(stack)
            figures[f"connections_{name}"], before = now - before, now
        for definition in (NOOP, ASK):
            name = str(definition["name"])
            console.print(f"{JOBS:,} jobs of {name}")
            await stack.push(definition)
            figures |= {f"{name}_{key}": value for key, value in (await _of(stack, name)).items()}
        broker_url = (
            stack.env["TOWPATH_BROKER_URL"].replace("redis+socket", "unix").partition("?")[0]
        )
        with redis.Redis.from_url(broker_url) as broker:
            figures["broker_peak_bytes"] = broker.info("memory")["used_memory_peak"]
    return figures


async def _settled(stack: Stack) -> int:
    """Connections to the database once a process has opened its own, but for ours that asks."""
    seen: list[int] = []

    async def same() -> bool:
        await asyncio.sleep(1.0)
        seen.append((await _state(stack))["connections"] - 1)
        return len(seen) > 8 and len(set(seen[-3:])) == 1

    await until(same, seconds=60, what="connections settle")
    return seen[-1]


async def _of(stack: Stack, workflow: str) -> dict[str, Any]:
    # Pages that are half full are not counted to the first job.
    await fill(stack, workflow, JOBS // 10)
    await _ended(stack, workflow, JOBS // 10)
    sizes, state, cpu = (
        await _sizes(stack),
        await _state(stack),
        _cpu(stack, await _postmaster(stack)),
    )
    await fill(stack, workflow, JOBS)
    await _ended(stack, workflow, JOBS + JOBS // 10)
    await asyncio.sleep(3)  # the sealer and the rollups come after
    after, moved, used = (
        await _sizes(stack),
        await _state(stack),
        _cpu(stack, await _postmaster(stack)),
    )
    grown = {
        name: (whole - sizes[name][0], indexes - sizes[name][1])
        for name, (whole, indexes) in after.items()
        if whole > sizes[name][0]
    }
    told: dict[str, Any] = {}
    for name, (whole, indexes) in sorted(grown.items(), key=lambda one: -one[1][0]):
        if whole // JOBS:
            told |= {f"bytes_{name}": whole // JOBS, f"bytes_{name}_indexes": indexes // JOBS}
    told |= {
        "bytes": sum(whole for whole, _ in grown.values()) // JOBS,
        "wal_bytes": (moved["wal"] - state["wal"]) // JOBS,
        "transactions": round((moved["commits"] - state["commits"]) / JOBS, 2),
        **{
            f"{name}_cpu_ms": round(1000 * (used[name] - cpu[name]) / JOBS, 3)
            for name in sorted(used)
        },
    }
    return told


async def _ended(stack: Stack, workflow: str, count: int) -> None:
    async def all_ended() -> bool:
        query = "SELECT count(*) FROM job WHERE workflow = %s AND state = 'succeeded'"
        await asyncio.sleep(0.3)
        return bool(await stack.value(query, workflow) == count)

    await until(all_ended, seconds=300, what=f"{count} jobs have ended")


async def _sizes(stack: Stack) -> dict[str, tuple[int, int]]:
    return {row["name"]: (row["whole"], row["indexes"]) for row in await stack.rows(SIZES)}


async def _state(stack: Stack) -> dict[str, int]:
    [row] = await stack.rows(
        "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint AS wal, xact_commit AS commits,"
        " (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()) AS connections"
        "  FROM pg_stat_database WHERE datname = current_database()"
    )
    return dict(row)


async def _postmaster(stack: Stack) -> int:
    told = await stack.value("SELECT pg_read_file('postmaster.pid')")
    return int(str(told).splitlines()[0])


def _cpu(stack: Stack, postmaster: int) -> dict[str, float]:
    used = {name: cpu_seconds(process.pid) for name, process in stack.processes.items()}
    server = psutil.Process(postmaster)
    ended = server.cpu_times()
    living = [child.cpu_times() for child in server.children(recursive=True)]
    used["postgres"] = (
        ended.children_user
        + ended.children_system
        + sum(times.user + times.system for times in (ended, *living))
    )
    return used
