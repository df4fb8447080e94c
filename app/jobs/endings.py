"""How an attempt ends and where its job goes then: the rules, pure."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

MAX_LOSSES: Final = 3  # workers a job may take down that ran it alone: then it is poison
# Losses beside other jobs, since the last checkpoint, before it runs alone. One blames nobody: of the
# hundreds in a process that died most are harmless, and alone they would wait for each other.
TRUSTED_LOSSES: Final = 1
MAX_INTERRUPTIONS: Final = 20  # shutdowns and deploys; more is a fault of ours, not of the job
DELIVERY_CAP: Final = timedelta(seconds=60)
SWITCH_PAUSE: Final = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Ending:
    """What the end of an attempt does to its job. `failures` and the like are added to the counters."""

    outcome: str
    state: str
    output: Any | None = None
    error: dict[str, Any] | None = None
    attempt_error: dict[str, Any] | None = None
    waiting_for: str | None = None
    wake_in: timedelta | None = None
    need_nanousd: int | None = None
    quarantine: bool | None = None  # into it, out of it, or no change
    counters: dict[str, int] = field(default_factory=dict)

    @property
    def ends(self) -> bool:
        """Whether the job is over."""
        return self.state in ("succeeded", "failed", "cancelled", "expired")


def fault(
    code: str, message: str, *, step: str | None = None, retryable: bool = False
) -> dict[str, Any]:
    """A job's or an attempt's error as the API shows it."""
    return {"code": code, "message": message, "step": step, "retryable": retryable}


def succeeded(output: Any) -> Ending:
    """All steps are recorded."""
    return Ending("succeeded", "succeeded", output=output)


def cancelled() -> Ending:
    """The client asked for it."""
    return Ending("cancelled", "cancelled")


def expired() -> Ending:
    """The deadline passed while it ran."""
    error = fault(
        "deadline_passed", "The deadline passed before the job could finish.", retryable=True
    )
    return Ending("expired", "expired", error=error, attempt_error=error)


def failed(error: dict[str, Any], *, again_in: timedelta | None) -> Ending:
    """A fault in the work: again after a while, or, where there is no again, the job has failed."""
    if again_in is None:
        return Ending(
            "failed", "failed", error=error, attempt_error=error, counters={"failures": 1}
        )
    return Ending(
        "failed", "waiting", attempt_error=error, waiting_for="backoff", wake_in=again_in,
        counters={"failures": 1},
    )  # fmt: skip


def parked_for_money(need_nanousd: int) -> Ending:
    """No room for the next call now: wait for money, without a slot and without a cost."""
    return Ending("parked", "waiting", waiting_for="budget", need_nanousd=need_nanousd)


def parked_for_a_person(error: dict[str, Any]) -> Ending:
    """Whether an unsafe call had its effect isn't known: a person says how it goes on."""
    return Ending("parked", "waiting", attempt_error=error, waiting_for="intervention")


def switched_off() -> Ending:
    """An operator has switched model calls off: look again later, without a slot and without a cost."""
    return Ending("parked", "waiting", waiting_for="backoff", wake_in=SWITCH_PAUSE)


def interrupted(interruptions: int) -> Ending:
    """The worker shuts down: back to the queue, at no attempt's cost, up to a cap."""
    if interruptions + 1 < MAX_INTERRUPTIONS:
        return Ending("interrupted", "queued", counters={"interruptions": 1})
    error = fault(
        "interrupted_too_often", f"Interrupted by {MAX_INTERRUPTIONS} shutdowns.", retryable=True
    )
    return Ending(
        "interrupted", "failed", error=error, attempt_error=error, counters={"interruptions": 1}
    )


def lost(shared_losses: int) -> Ending:
    """The worker fell silent while it ran the job beside others: again, soon alone. Nothing is counted to a cap."""
    error = fault("worker_lost", "The worker that ran the job was lost.", retryable=True)
    alone = True if shared_losses >= TRUSTED_LOSSES else None
    return Ending(
        "lost", "queued", attempt_error=error, quarantine=alone, counters={"shared_losses": 1}
    )


def lost_alone(losses: int) -> Ending:
    """The worker fell silent that ran this job and no other: again after a growing delay, up to the cap."""
    error = fault("worker_lost", "The worker that ran the job alone was lost.", retryable=True)
    if losses + 1 < MAX_LOSSES:
        return Ending(
            "lost", "waiting", attempt_error=error, waiting_for="backoff",
            wake_in=timedelta(seconds=2 ** (losses + 1)), counters={"losses": 1},
        )  # fmt: skip
    message = f"Running alone, the job was lost with its worker {MAX_LOSSES} times."
    final = fault("worker_lost", message, retryable=True)
    return Ending("lost", "failed", error=final, attempt_error=error, counters={"losses": 1})


def acquitted() -> Ending:
    """Alone, the job got past where its workers were lost: back to its lane, at no cost."""
    return Ending("parked", "queued", quarantine=False)


def undelivered(times: int) -> Ending:
    """No worker took the attempt up in time: no counter of the job's, but a growing delay."""
    error = fault("lost_in_dispatch", "No worker claimed the attempt in time.", retryable=True)
    if times == 0:
        return Ending("undelivered", "queued", attempt_error=error, counters={"undelivered": 1})
    delay = min(DELIVERY_CAP, timedelta(seconds=2 ** min(times - 1, 6)))
    return Ending(
        "undelivered", "waiting", attempt_error=error, waiting_for="backoff", wake_in=delay,
        counters={"undelivered": 1},
    )  # fmt: skip


def unpublished() -> Ending:
    """The broker refused the message: back to the queue at once."""
    error = fault("not_published", "The broker did not take the message.", retryable=True)
    return Ending("undelivered", "queued", attempt_error=error)


def unseated() -> Ending:
    """The worker that took the message had no slot: back to the queue, another one may have."""
    error = fault("no_slot", "The worker that took the message had no free slot.", retryable=True)
    return Ending("undelivered", "queued", attempt_error=error)
