"""One attempt from claim to end: plan, step, checkpoint, until nothing is left or something stops it.

Whatever happens here, the end is one of: a state written under the fence, or silence, which the
reaper reads. Nothing is kept in memory that a resumed attempt would miss.
"""

import asyncio
import json
import time
from datetime import timedelta
from typing import Any, Final

import structlog

from app.attempts.errors import AttemptLost
from app.attempts.leases import Lease
from app.budgets.errors import BudgetExhausted
from app.core import backoff, ids
from app.core.errors import TowpathError, Unavailable
from app.core.ids import AttemptId, JobId, StepId
from app.execution.errors import ResultTooLarge, StepFailed
from app.execution.runtime import Mark, Runtime
from app.execution.steps import Bench, Outcome, run_step
from app.jobs import endings
from app.jobs.endings import Ending
from app.jobs.transitions import Claimed, End, Note, Noted
from app.llm.errors import ProviderFailed
from app.switches.errors import Disabled
from app.workflows import checkpoints, engine
from app.workflows.checkpoints import Checkpoint
from app.workflows.definitions import Definition, ModelStep, PlainStep, TransformStep
from app.workflows.engine import Done, Fan, Recorded, Run

log = structlog.get_logger()

DATABASE_PAUSE: Final = 0.5  # seconds between tries while the database is away


class _Failed(Exception):
    """A step's fault on its way to the attempt's ending, with the fault it was."""

    def __init__(self, step: str, cause: TowpathError) -> None:
        super().__init__(step)
        self.step = step
        self.cause = cause


async def run(runtime: Runtime, job: JobId, attempt: AttemptId) -> None:
    """Run one attempt. Returns when it has ended, was lost, or there was nothing to claim."""
    lease = runtime.holdings.take(attempt, job)
    if lease is None:
        return  # the message came twice
    with structlog.contextvars.bound_contextvars(
        job=ids.wire("job", job), attempt=ids.wire("att", attempt)
    ):
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
    try:
        ending = await lease.work
    except asyncio.CancelledError:
        terminated = lease.reason is None
        ending = _stopped(lease, claimed)
    except AttemptLost:
        ending = None
    except Exception as error:  # noqa: BLE001 - the outermost place of an attempt: any fault is its ending
        ending = _faulted(runtime, claimed, error)
    if ending is not None:
        await asyncio.shield(_end(runtime, claimed, ending))
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


def _faulted(runtime: Runtime, claimed: Claimed, error: Exception) -> Ending:
    step, cause = None, error
    if isinstance(error, _Failed):
        step, cause = error.step, error.cause
    if isinstance(cause, BudgetExhausted) and not cause.final:
        return endings.parked_for_money(cause.need_nanousd)
    if isinstance(cause, Disabled):
        return endings.switched_off()
    tries = claimed.failures + 1
    delay = backoff.delay(
        tries, base=runtime.config.retry_base, cap=runtime.config.retry_cap, rng=runtime.rng
    )
    if isinstance(cause, TowpathError):
        retryable = isinstance(cause, ProviderFailed) and cause.retryable
        if isinstance(cause, ProviderFailed) and cause.retry_after_seconds is not None:
            # The provider's own word, and a little after it: not all come back at the same moment.
            delay = timedelta(seconds=cause.retry_after_seconds + runtime.rng.random())
        fault = endings.fault(cause.code, cause.message, step=step, retryable=retryable)
    else:
        log.error("attempt.crashed", exc_info=error)
        fault = endings.fault(
            "internal_error", "A fault of the platform.", step=step, retryable=True
        )
    return endings.failed(
        fault, failures=claimed.failures, max_attempts=claimed.max_attempts, delay=delay
    )


async def _end(runtime: Runtime, claimed: Claimed, ending: Ending) -> None:
    end = End(claimed.job, claimed.attempt, claimed.workflow, claimed.metadata, ending)
    while True:
        try:
            state = await runtime.ends.submit(end)
        except Unavailable:
            await asyncio.sleep(DATABASE_PAUSE)
        else:
            log.info("attempt.ended", outcome=ending.outcome, state=state)
            return


async def _work(runtime: Runtime, claimed: Claimed) -> Ending:
    bench = Bench(runtime, claimed)
    definition = await runtime.definitions.get((claimed.tenant, claimed.version))
    recorded: Recorded = {}
    if claimed.number > 1:
        async with runtime.db.transaction() as session:
            recorded = await checkpoints.load(session, claimed.job)
    while True:
        if runtime.holdings.stopping:
            return endings.interrupted(_interruptions(runtime, claimed))
        match _plan(definition, claimed, recorded):
            case Done(output):
                _measure(runtime, "output", output)
                return endings.succeeded(output)
            case Run(step, arguments):
                assert isinstance(step, ModelStep | PlainStep | TransformStep)  # noqa: S101 - a map is a Fan
                done = len({name for name, _ in recorded}) + 1
                progress = {"done": done, "total": len(definition.steps), "label": step.id}
                recorded[step.id, 0] = await _record(bench, step, step.id, 0, arguments, progress)
            case Fan() as fan:
                await _fan(bench, fan, recorded)


def _interruptions(runtime: Runtime, claimed: Claimed) -> int:
    """How often the job was interrupted since its last checkpoint."""
    lease = runtime.holdings.leases.get(claimed.attempt)
    return 0 if lease is not None and lease.recorded else claimed.interruptions


def _plan(definition: Definition, claimed: Claimed, recorded: Recorded) -> engine.Next:
    try:
        return engine.plan(definition, claimed.input, recorded)
    except TowpathError as error:
        raise _Failed("plan", error) from error


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
                result = await _record(bench, fan.inner, fan.step.id, item, arguments, progress)
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


async def _record(
    bench: Bench,
    step: ModelStep | PlainStep | TransformStep,
    name: str,
    item: int,
    arguments: dict[str, Any],
    progress: dict[str, Any],
) -> Any:
    """Run a step and checkpoint how it ended. Gives its result; raises _Failed, AttemptLost."""
    runtime, started = bench.runtime, time.monotonic()
    try:
        outcome = await _persist(bench, step, name, item, arguments)
        _measure(runtime, name, outcome.result)
    except (AttemptLost, BudgetExhausted) as error:
        if isinstance(error, BudgetExhausted):
            raise _Failed(name, error) from error
        raise
    except TowpathError as error:
        fault = endings.fault(error.code, error.message, step=name)
        await _mark(bench, step, name, item, Outcome(None), fault, started, None)
        raise _Failed(name, error) from error
    noted = await _mark(bench, step, name, item, outcome, None, started, progress)
    lease = runtime.holdings.leases.get(bench.claimed.attempt)
    if lease is not None:
        lease.recorded = True
        if noted.cancelled or noted.expired:
            lease.stop("cancelled" if noted.cancelled else "expired")
            await asyncio.sleep(0)  # the cancellation arrives here
    return outcome.result


async def _persist(
    bench: Bench,
    step: ModelStep | PlainStep | TransformStep,
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


async def _mark(
    bench: Bench,
    step: ModelStep | PlainStep | TransformStep,
    name: str,
    item: int,
    outcome: Outcome,
    fault: dict[str, Any] | None,
    started: float,
    progress: dict[str, Any] | None,
) -> Noted:
    claimed = bench.claimed
    checkpoint = Checkpoint(
        StepId(ids.new()), claimed.tenant, claimed.job, claimed.attempt, name, item, step.kind,
        outcome.result, fault, outcome.facts, timedelta(seconds=time.monotonic() - started),
    )  # fmt: skip
    word = "step.succeeded" if fault is None else "step.failed"
    data = {"step": name, "item": item, "kind": step.kind} | (
        {} if fault is None else {"error": fault}
    )
    mark = Mark(Note(claimed.job, claimed.attempt, word, data, progress), checkpoint)
    while True:
        try:
            noted = await bench.runtime.marks.submit(mark)
        except Unavailable:
            await asyncio.sleep(DATABASE_PAUSE)
            continue
        if noted is None:
            raise AttemptLost("The attempt is not current any more.")
        return noted


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
