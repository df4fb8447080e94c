"""Three control processes share out the dispatcher's shards; one is killed, one is frozen."""

import signal
import time

from tests.arrange import NOOP
from tests.stack import Stack
from tests.waiting import until
from workers.sharding import FAMILY, PRESENT

SHARDS = 3
JOBS = 500
LOCKS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = %s AND objid "


async def shared_by(stack: Stack, processes: int, seconds: float = 30) -> float:
    """Seconds until every shard is led, by so many processes."""
    began = time.monotonic()

    async def led() -> bool:
        present = await stack.value(LOCKS + "= %s", FAMILY, PRESENT)
        leads = await stack.value(LOCKS + "< %s", FAMILY, PRESENT)
        return bool(present == processes and leads == SHARDS)

    await until(led, seconds=seconds, what=f"{processes} processes lead all shards")
    return time.monotonic() - began


async def test_c022_who_leads_may_be_killed_or_freeze_and_each_job_is_released_once(
    stack: Stack,
) -> None:
    await stack.push(NOOP)
    stack.env["TOWPATH_DISPATCH_SHARDS"] = str(SHARDS)
    for name in ("one", "two"):  # the first, which knows of one shard, does as they do
        stack.start("control", as_name=name)
    await shared_by(stack, 3, seconds=120)
    for _ in range(JOBS // 250):
        jobs = [{"workflow": "noop", "input": {}}] * 250
        status, _ = await stack.call("POST", "/v1/jobs/bulk", json={"jobs": jobs})
        assert status == 207

    async def under_way() -> bool:
        return bool(await stack.value("SELECT count(*) FROM job WHERE state = 'succeeded'"))

    await until(under_way, what="jobs end")
    stack.kill("control")
    killed = await shared_by(stack, 2)
    stack.kill("two", signal.SIGSTOP)
    frozen = await shared_by(stack, 1)
    print(f"all led again {killed:.2f} s after a kill, {frozen:.2f} s after a freeze")  # noqa: T201
    later = [await stack.post_job("noop") for _ in range(3)]
    stack.kill("two", signal.SIGCONT)

    async def drained() -> bool:
        done = await stack.value("SELECT count(*) FROM job WHERE state = 'succeeded'")
        return bool(done == JOBS + len(later))

    await until(drained, seconds=60, what="every job has ended")
    await shared_by(stack, 2)  # who was frozen has found out, and takes part again
    outcomes = await stack.rows(
        "SELECT outcome, count(DISTINCT job) AS jobs, count(*) AS n FROM attempt GROUP BY 1"
    )
    [done] = [row for row in outcomes if row["outcome"] == "succeeded"]
    assert (done["jobs"], done["n"]) == (JOBS + len(later), JOBS + len(later))
    # A release that was killed before it was published goes back to the queue, and nothing else does.
    assert {row["outcome"] for row in outcomes} <= {"succeeded", "undelivered"}
