"""One attempt from claim to end: plan, step, checkpoint, until nothing is left or something stops it.

Whatever happens here, the end is one of: a state written under the fence, or silence, which the
reaper reads. Nothing is kept in memory that a resumed attempt would miss.
"""

import asyncio
import json
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

import structlog

from app.attempts.errors import AttemptLost
from app.attempts.leases import Lease
from app.budgets.errors import BudgetExhausted
from app.core import ids
from app.core.errors import TowpathError, Unavailable
from app.core.ids import AttemptId, JobId, StepId
from app.execution import faults
from app.execution.bounds import bounded
from app.execution.errors import ResultTooLarge, StepFailed, StepTimedOut
from app.execution.faults import DATABASE_PAUSE
from app.execution.runtime import Close, Mark, Runtime
from app.execution.steps import Bench, Outcome, run_step
from app.jobs import endings
from app.jobs.endings import Ending
from app.jobs.transitions import Claimed, End, Note
from app.tools.errors import ToolInDoubt
from app.workflows import checkpoints, engine
from app.workflows.checkpoints import Checkpoint
from app.workflows.definitions import AnyStep, Definition, SingleStep, ToolStep, TransformStep
from app.workflows.engine import Done, Fan, Recorded, Run

log = structlog.get_logger()

STEP_SUCCEEDED: Final = "step.succeeded"  # note.sql looks for it
SEAT_SECONDS: Final = 1.0  # an attempt waits here for a slot; other workers may have one


class _Failed(Exception):
    """A step's fault on its way to the attempt's ending, with the fault it was."""

    def __init__(self, step: str, cause: TowpathError) -> None:
        super().__init__(step)
        self.step = step
        self.cause = cause


async def run_all(runtime: Runtime, items: Sequence[tuple[JobId, AttemptId]]) -> None:
    """Run the attempts of one message beside each other, as far as there are slots."""
    if len(items) == 1:
        await run(runtime, *items[0])
        return
    tasks = [asyncio.create_task(run(runtime, *item)) for item in items]
    try:
        await asyncio.wait(tasks)
    finally:
        for task in tasks:  # none is left, but where this one was cancelled
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, Exception):
                log.error("attempt.broke", exc_info=outcome)


async def run(runtime: Runtime, job: JobId, attempt: AttemptId) -> None:
    """Run one attempt. Returns when it has ended, was lost, or there was nothing to claim.

    One that finds no slot in time goes back to the queue, at no cost to its job.
    """
    with structlog.contextvars.bound_contextvars(
        job=ids.wire("job", job), attempt=ids.wire("att", attempt)
    ):
        try:
            await _seat(runtime)
        except TimeoutError:
            end = End(job, attempt, "", {}, endings.unseated(), from_state="dispatched")
            await _end(runtime, Close(end))
            return
        try:
            await _run(runtime, job, attempt)
        finally:
            runtime.seats.release()


async def _seat(runtime: Runtime) -> None:
    """Take a slot. Raises TimeoutError."""
    if not runtime.seats.locked():
        await runtime.seats.acquire()  # at once
        return
    async with asyncio.timeout(SEAT_SECONDS):
        await runtime.seats.acquire()


async def _run(runtime: Runtime, job: JobId, attempt: AttemptId) -> None:
    lease = runtime.holdings.take(attempt, job)
    if lease is None:
        return  # the message came twice
    try:
        claimed = await runtime.claims.submit((job, attempt))
        if claimed is None:
            return
        tenant = ids.wire("ten", claimed.tenant)
        with structlog.contextvars.bound_contextvars(tenant=tenant, trace=claimed.traceparent):
            await _attend(runtime, lease, claimed)
    except Unavailable:
        # Not claimed, or silent from here on: either lease runs out, and the reaper takes over.
        log.warning("attempt.unavailable")
    finally:
        runtime.holdings.drop(lease)


async def _attend(runtime: Runtime, lease: Lease, claimed: Claimed) -> None:
    lease.work = asyncio.create_task(_work(runtime, claimed))
    if lease.reason is not None or claimed.cancelled:
        lease.stop("cancelled")
    terminated = False
    last: Mark | None = None
    try:
        ending, last = await lease.work
    except asyncio.CancelledError:
        terminated = lease.reason is None
        ending = _stopped(lease, claimed)
    except AttemptLost:
        ending = None
    except Exception as error:  # noqa: BLE001 - the outermost place of an attempt: any fault is its ending
        step, cause = (error.step, error.cause) if isinstance(error, _Failed) else (None, error)
        ending = await faults.ending_of(runtime, claimed, step, cause)
    if ending is not None:
        await asyncio.shield(_end(runtime, _close(claimed, ending, last)))
    if terminated:
        raise asyncio.CancelledError


def _stopped(lease: Lease, claimed: Claimed) -> Ending | None:
    match lease.reason:
        case "lost":
            return None
        case "cancelled":
            return endings.cancelled()
        case "expired":
            return endings.expired()
        case _:
            return endings.interrupted(0 if lease.recorded else claimed.interruptions)


def _close(claimed: Claimed, ending: Ending, last: Mark | None) -> Close:
    note, checkpoint = (None, None) if last is None else (last.note, last.checkpoint)
    end = End(
        claimed.job, claimed.attempt, claimed.workflow, claimed.metadata, ending, last=note
    )  # fmt: skip
    return Close(end, checkpoint)


async def _end(runtime: Runtime, close: Close) -> None:
    while True:
        try:
            state = await runtime.ends.submit(close)
        except Unavailable:
            await asyncio.sleep(DATABASE_PAUSE)
        else:
            log.info("attempt.ended", outcome=close.end.ending.outcome, state=state)
            return


async def _work(runtime: Runtime, claimed: Claimed) -> tuple[Ending, Mark | None]:
    """How the attempt ends, and the last step's mark where it is still to be written, with the end."""
    bench = Bench(runtime, claimed)
    definition = await runtime.definitions.get((claimed.tenant, claimed.version))
    recorded: Recorded = {}
    if claimed.number > 1:
        async with runtime.db.transaction() as session:
            recorded = await checkpoints.load(session, claimed.job)
    proven = False
    while True:
        if runtime.holdings.stopping:
            return endings.interrupted(_interruptions(runtime, claimed)), None
        match _plan(definition, claimed, recorded):
            case Done(output):
                _measure(runtime, "output", output)
                return endings.succeeded(output), None
            case _ if proven:
                return endings.acquitted(), None
            case Run(step, arguments):
                done = len({name for name, _ in recorded}) + 1
                progress = {"done": done, "total": len(definition.steps), "label": step.id}
                result, mark = await _perform(bench, step, step.id, 0, arguments, progress)
                recorded[step.id, 0] = result
                end = _last(runtime, definition, claimed, recorded)
                if end is not None:
                    return endings.succeeded(end.output), mark
                await _note(bench, mark)
            case Fan() as fan:
                await _map(bench, fan, recorded)
        proven = claimed.quarantined  # alone it got past where its workers were lost


def _last(
    runtime: Runtime, definition: Definition, claimed: Claimed, recorded: Recorded
) -> Done | None:
    """The end, where nothing is left to do: one commit then records the last step and ends the job.

    None where a step is left, or the output is at fault, which is told once the step is recorded.
    """
    try:
        following = engine.plan(definition, claimed.input, recorded)
        if not isinstance(following, Done):
            return None
        _measure(runtime, "output", following.output)
    except TowpathError:
        return None
    return following


def _interruptions(runtime: Runtime, claimed: Claimed) -> int:
    """How often the job was interrupted since its last checkpoint."""
    lease = runtime.holdings.leases.get(claimed.attempt)
    return 0 if lease is not None and lease.recorded else claimed.interruptions


def _plan(definition: Definition, claimed: Claimed, recorded: Recorded) -> engine.Next:
    try:
        return engine.plan(definition, claimed.input, recorded)
    except TowpathError as error:
        raise _Failed("plan", error) from error


async def _map(bench: Bench, fan: Fan, recorded: Recorded) -> None:
    """Run a map within the time that it may take as a whole."""
    limit, started = fan.step.timeout_seconds, time.monotonic()
    if limit is None:
        await _fan(bench, fan, recorded)
        return
    try:
        await bounded(_fan(bench, fan, recorded), fan.step.id, limit)
    except StepTimedOut as error:
        fault = endings.fault(error.code, error.message, step=fan.step.id, retryable=True)
        await _note(
            bench, _mark(bench, fan.step, fan.step.id, 0, Outcome(None), fault, started, None)
        )
        raise _Failed(fan.step.id, error) from error


async def _fan(bench: Bench, fan: Fan, recorded: Recorded) -> None:
    """Run the missing items of a map, some at once. After a fault no further item begins, but those in
    flight are waited for: a call that is cut off is paid for in full."""
    gate = asyncio.Semaphore(fan.step.concurrency)
    done = fan.total - len(fan.open)
    faults: list[Exception] = []

    async def one(item: int, arguments: dict[str, Any]) -> None:
        nonlocal done
        async with gate:
            if faults or bench.runtime.holdings.stopping:
                return
            progress = {"done": done + 1, "total": fan.total, "label": fan.step.id}
            try:
                result, mark = await _perform(
                    bench, fan.inner, fan.step.id, item, arguments, progress
                )
                await _note(bench, mark)
            except Exception as fault:  # noqa: BLE001 - whatever it is ends the attempt, once all are back
                faults.append(fault)
                return
            recorded[fan.step.id, item] = result
            done += 1

    tasks = [asyncio.create_task(one(item, arguments)) for item, arguments in fan.open]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if faults:
        raise faults[0]


async def _perform(
    bench: Bench,
    step: SingleStep,
    name: str,
    item: int,
    arguments: dict[str, Any],
    progress: dict[str, Any],
) -> tuple[Any, Mark]:
    """Run a step. Gives its result and what is to be recorded of it; a fault is recorded here. Raises _Failed, AttemptLost."""
    runtime, started = bench.runtime, time.monotonic()
    try:
        work = _persist(bench, step, name, item, arguments)
        if isinstance(
            step, TransformStep | ToolStep
        ):  # one waits for nothing, the other bounds itself
            outcome = await work
        else:
            outcome = await bounded(work, name, step.timeout_seconds)
        _measure(runtime, name, outcome.result)
    except AttemptLost:
        raise
    except (BudgetExhausted, ToolInDoubt) as error:  # the step goes on when the job does
        raise _Failed(name, error) from error
    except TowpathError as error:
        fault = endings.fault(error.code, error.message, step=name, retryable=error.retryable)
        await _note(bench, _mark(bench, step, name, item, Outcome(None), fault, started, None))
        raise _Failed(name, error) from error
    return outcome.result, _mark(bench, step, name, item, outcome, None, started, progress)


async def _persist(
    bench: Bench,
    step: SingleStep,
    name: str,
    item: int,
    arguments: dict[str, Any],
) -> Outcome:
    # While the database is away nothing is bought and nothing fails: the step is tried again.
    while True:
        try:
            return await run_step(bench, step, name, item, arguments)
        except Unavailable:
            await asyncio.sleep(DATABASE_PAUSE)


def _mark(
    bench: Bench,
    step: AnyStep,
    name: str,
    item: int,
    outcome: Outcome,
    fault: dict[str, Any] | None,
    started: float,
    progress: dict[str, Any] | None,
) -> Mark:
    claimed = bench.claimed
    checkpoint = Checkpoint(
        StepId(ids.new()), claimed.tenant, claimed.job, claimed.attempt, name, item, step.kind,
        outcome.result, fault, outcome.facts, timedelta(seconds=time.monotonic() - started),
    )  # fmt: skip
    word = STEP_SUCCEEDED if fault is None else "step.failed"
    data = {"step": name, "item": item, "kind": step.kind} | (
        {} if fault is None else {"error": fault}
    )
    return Mark(Note(claimed.job, claimed.attempt, word, data, progress), checkpoint)


async def _note(bench: Bench, mark: Mark) -> None:
    """Record how a step ended. Raises AttemptLost; a cancel or a deadline that is seen here stops the work."""
    runtime = bench.runtime
    while True:
        try:
            noted = await runtime.marks.submit(mark)
        except Unavailable:
            await asyncio.sleep(DATABASE_PAUSE)
            continue
        break
    if noted is None:
        raise AttemptLost("The attempt is not current any more.")
    lease = runtime.holdings.leases.get(bench.claimed.attempt)
    if lease is not None and mark.note.name == STEP_SUCCEEDED:
        lease.recorded = True
        if noted.cancelled or noted.expired:
            lease.stop("cancelled" if noted.cancelled else "expired")
            await asyncio.sleep(0)  # the cancellation arrives here


def _measure(runtime: Runtime, name: str, result: Any) -> None:
    """Refuse what the database could not keep, or should not: too large, not JSON, NUL."""
    try:
        text = json.dumps(result, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise StepFailed(f"{name}: the result is not JSON: {error}", step=name) from error
    if "\\u0000" in text:
        raise StepFailed(f"{name}: the result holds a NUL character", step=name)
    limit = runtime.config.result_bytes
    if len(text) > limit:
        message = f"{name}: a result of {len(text)} bytes; at most {limit} are kept"
        raise ResultTooLarge(message, step=name, size_bytes=len(text), limit_bytes=limit)
