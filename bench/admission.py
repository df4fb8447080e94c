"""Requests admitted a second through HTTP, with everything on, beside a FastAPI echo of the same body."""

import asyncio
import json
import statistics
import subprocess
import sys
from typing import Any

from bench import load
from bench.ground import commits_per_second, console, ground
from tests.arrange import NOOP
from tests.stack import ROOT, free_port
from tests.waiting import until

BODY = json.dumps(
    {"workflow": "noop", "input": {"question": "When did the locks open?", "n": 7}}
).encode()


async def run(clients: int = 32, seconds: float = 4.0, rounds: int = 3) -> dict[str, Any]:
    """Rounds of echo and admission in turn; medians. Fields: echo_rps, admitted_rps, ratio, latencies."""
    async with ground(start=("api",)) as stack:
        await stack.push(NOOP)
        port = free_port()
        echo = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "bench.echo:app", "--port", str(port), "--no-access-log",
             "--loop", "uvloop", "--http", "httptools", "--log-level", "critical"],
            cwd=ROOT,
        )  # fmt: skip
        try:

            def request(number: int) -> bytes:
                headers = {
                    "Authorization": f"Bearer {stack.key}",
                    "Idempotency-Key": f"bench-{number}",
                }
                return load.post("/v1/jobs", BODY, headers)

            async def up() -> bool:
                try:
                    await asyncio.to_thread(load.blast, port, request, clients=1, seconds=0.1)
                except OSError:
                    return False
                return True

            await until(up, what="the echo answers")
            echoes, admitted, first = [], [], 0
            for place in range(rounds):
                console.print(f"round {place + 1} of {rounds}")
                echoes.append(
                    await asyncio.to_thread(
                        load.blast, port, request, clients=clients, seconds=seconds
                    )
                )
                one = await asyncio.to_thread(
                    load.blast, stack.port, request, clients=clients, seconds=seconds, first=first
                )
                first += 10_000_000
                admitted.append(one)
            stored = await stack.value("SELECT count(*) FROM job")
            commits = await commits_per_second(stack.superuser_url)
        finally:
            echo.terminate()
            echo.wait()
    answered = sum(one.statuses[202] for one in admitted)
    echo_rps = statistics.median(one.per_second for one in echoes)
    admitted_rps = statistics.median(one.per_second for one in admitted)
    return {
        "clients": clients,
        "echo_rps": round(echo_rps),
        "admitted_rps": round(admitted_rps),
        "ratio": round(admitted_rps / echo_rps, 3),
        "admitted_p50_ms": round(statistics.median(one.percentile_ms(0.5) for one in admitted), 2),
        "admitted_p99_ms": round(statistics.median(one.percentile_ms(0.99) for one in admitted), 2),
        "postgres_commits_per_second": round(commits),
        "stored_share": round(stored / answered, 4),
        "other_statuses": sum(sum(one.statuses.values()) for one in admitted) - answered,
    }
