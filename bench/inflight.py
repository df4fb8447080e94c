"""A thousand model calls of one second in one worker process, each reserved, made, settled and finished."""

import asyncio
import subprocess
import sys
from typing import Any

import aiohttp

from bench.drain import fill, span
from bench.ground import console, ground, watched
from tests.stack import ROOT, free_port
from tests.waiting import until

CALL = {
    "name": "call",
    "input": {"type": "object"},
    "steps": [
        {
            "id": "ask",
            "kind": "model",
            "prompt": "plain@1",
            "in": {"text": "What is a lock?"},
            "max_tokens": 16,
        }
    ],
    "output": "=steps.ask.text",
}


async def run() -> dict[str, Any]:
    """Fields: wall_seconds (first start to last end), cpu_ms (of the worker, a call), peak_mb, most at once;
    the same in the batch lane, whose messages are groups.
    """
    alone, grouped = await once("standard"), await once("batch")
    return alone | {
        f"batch_{name}": grouped[name] for name in ("wall_seconds", "cpu_ms", "peak_mb")
    }


async def once(lane: str, jobs: int = 1_000, seconds: float = 1.0) -> dict[str, Any]:
    """A thousand calls in one lane."""
    port = free_port()
    provider = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.fakes.provider",
            "--port",
            str(port),
            "--seconds",
            str(seconds),
        ],
        cwd=ROOT,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        async with (
            aiohttp.ClientSession() as http,
            ground(start=("api",), slots=jobs + jobs // 8, provider_url=f"{url}/v1") as stack,
        ):
            await stack.push(CALL)
            await fill(stack, "call", jobs, lane=lane)
            # One lane alone: with others beside it a tenth of the slots would wait for theirs.
            await stack.start_worker("worker", "--lanes", lane)
            pid = stack.processes["worker"].pid

            async def finished() -> bool:
                done, _ = await span(stack)
                console.print(f"{done} of {jobs}", end="\r")
                await asyncio.sleep(0.2)
                return done >= jobs

            stack.start("control")
            _, cost = await watched(pid, until(finished, seconds=120, what="all calls are done"))
            done, wall = await span(stack)
            async with http.get(f"{url}/fake/calls") as answer:
                stats = await answer.json()
            [money] = await stack.rows(
                "SELECT count(*) AS lines, sum(cost_nanousd) AS cost FROM usage_line"
            )
    finally:
        provider.terminate()
        provider.wait()
    return {
        "calls": done,
        "wall_seconds": round(wall, 2),
        "cpu_ms": round(1000 * cost.cpu_seconds / done, 2),
        "peak_mb": round(cost.peak_mb),
        "most_in_flight": stats["most_open"],
        "usage_lines": money["lines"],
        "cost_nanousd": int(money["cost"]),
    }
