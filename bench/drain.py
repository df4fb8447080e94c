"""No-op jobs a second, from the first claim to the last finish, through one worker process, all records on."""

import asyncio
from typing import Any

from rich.progress import Progress

from bench.ground import commits_per_second, console, ground, watched
from tests.arrange import NOOP
from tests.stack import Stack
from tests.waiting import until

BULK = 500


async def fill(stack: Stack, workflow: str, count: int, **fields: Any) -> None:
    """Admit so many jobs through the bulk route."""
    for first in range(0, count, BULK):
        items = [
            {"workflow": workflow, "input": {"n": first + n}} | fields
            for n in range(min(BULK, count - first))
        ]
        status, answer = await stack.call("POST", "/v1/jobs/bulk", json={"jobs": items})
        assert status == 207, answer  # noqa: S101 - a bench that isn't fed measures nothing


async def span(stack: Stack) -> tuple[int, float]:
    """Jobs that succeeded, and seconds between the first start and the last end."""
    [row] = await stack.rows(
        "SELECT count(*) AS done, extract(epoch FROM max(finished_at) - min(started_at)) AS seconds"
        " FROM job WHERE state = 'succeeded'"
    )
    return row["done"], float(row["seconds"] or 0)


async def run() -> dict[str, Any]:
    """Fields: jobs_per_second, a message each, as deployed; without Flower's events; in the batch lane, whose
    messages are groups; CPU of the worker a job.
    """
    deployed = await once()
    alone = await once("--no-events")
    grouped = await once(lane="batch")
    return deployed | {
        "jobs_per_second_without_events": alone["jobs_per_second"],
        "batch_jobs_per_second": grouped["jobs_per_second"],
        "batch_worker_cpu_ms": grouped["worker_cpu_ms"],
    }


async def once(
    *options: str, lane: str = "standard", jobs: int = 2_000, slots: int = 200
) -> dict[str, Any]:
    """One drain of a fresh queue."""
    async with ground(start=("api",), slots=slots) as stack:
        await stack.push(NOOP)
        await fill(stack, "noop", jobs, lane=lane)
        commits = await commits_per_second(stack.superuser_url)
        await stack.start_worker("worker", *options)
        pid = stack.processes["worker"].pid
        with Progress(console=console) as bar:
            task = bar.add_task("drain", total=jobs)

            async def finished() -> bool:
                done, _ = await span(stack)
                bar.update(task, completed=done)
                await asyncio.sleep(0.2)
                return done >= jobs

            stack.start("control")
            _, cost = await watched(pid, until(finished, seconds=300, what="the queue is drained"))
        done, seconds = await span(stack)
        [twice] = await stack.rows(
            "SELECT count(*) AS n FROM (SELECT FROM attempt GROUP BY job HAVING count(*) > 1) t"
        )
    return {
        "jobs": done,
        "jobs_per_second": round(done / seconds, 1),
        "worker_cpu_ms": round(1000 * cost.cpu_seconds / done, 3),
        "worker_peak_mb": round(cost.peak_mb),
        "attempted_twice": twice["n"],
        "postgres_commits_per_second": round(commits),
    }
