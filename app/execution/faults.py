"""What becomes of an attempt in which something went wrong: parked, tried again after a pause, or failed."""

import asyncio
from datetime import timedelta
from typing import Any, Final

import structlog

from app.budgets.errors import BudgetExhausted
from app.core import backoff
from app.core.errors import TowpathError, Unavailable
from app.execution.runtime import Runtime
from app.jobs import endings
from app.jobs.endings import Ending
from app.jobs.transitions import Claimed
from app.llm.errors import ProviderFailed
from app.switches.errors import Disabled
from app.tools.errors import ToolInDoubt
from app.workflows import checkpoints
from app.workflows.retries import MAX_ATTEMPTS, PASSING, Policy

log = structlog.get_logger()

DATABASE_PAUSE: Final = 0.5  # seconds between tries while the database is away


async def ending_of(
    runtime: Runtime, claimed: Claimed, step: str | None, cause: Exception
) -> Ending:
    """The ending of an attempt that `cause` broke off, in `step` where that is known."""
    if isinstance(cause, BudgetExhausted) and not cause.final:
        return endings.parked_for_money(cause.need_nanousd)
    if isinstance(cause, Disabled):
        return endings.switched_off()
    if isinstance(cause, ToolInDoubt):
        return endings.parked_for_a_person(_fault(step, cause))
    fault = _fault(step, cause)
    if not fault["retryable"]:
        return endings.failed(fault, again_in=None)
    policy, tries = await _standing(runtime, claimed, step)
    again = (
        fault["code"] in policy.on
        and tries < policy.max_attempts
        and claimed.failures + 1 < claimed.max_attempts
    )
    return endings.failed(fault, again_in=_pause(runtime, policy, tries, cause) if again else None)


def _fault(step: str | None, cause: Exception) -> dict[str, Any]:
    if isinstance(cause, TowpathError):
        return endings.fault(cause.code, cause.message, step=step, retryable=cause.retryable)
    log.error("attempt.crashed", exc_info=cause)
    return endings.fault("internal_error", "A fault of the platform.", step=step, retryable=True)


async def _standing(runtime: Runtime, claimed: Claimed, step: str | None) -> tuple[Policy, int]:
    """The policy that holds for a step, and how often it was tried in this run: of an unknown step, the job."""
    config = runtime.config
    platform = Policy(MAX_ATTEMPTS, config.retry_base, 2.0, config.retry_cap, PASSING)
    while True:
        try:
            definition = await runtime.definitions.get((claimed.tenant, claimed.version))
            policy = platform.over(definition.retry)
            own = next((one for one in definition.steps if one.id == step), None)
            if own is None:
                return policy, claimed.failures + 1
            async with runtime.db.transaction() as session:
                tries = await checkpoints.failures(session, claimed.job, own.id, claimed.run)
            return policy.over(own.retry), max(1, tries)
        except Unavailable:
            await asyncio.sleep(DATABASE_PAUSE)


def _pause(runtime: Runtime, policy: Policy, tries: int, cause: Exception) -> timedelta:
    pause = backoff.delay(
        tries, base=policy.base, factor=policy.factor, cap=policy.cap, rng=runtime.rng
    )
    if isinstance(cause, ProviderFailed) and cause.retry_after_seconds is not None:
        # The provider's own word, and a little after it: not all come back at the same moment.
        asked = timedelta(seconds=min(cause.retry_after_seconds, 86_400) + runtime.rng.random())
        pause = max(pause, min(asked, runtime.config.retry_after_cap))
    return pause
