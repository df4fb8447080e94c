"""One call of a tool: arguments checked, the effect's record, time and size bounded, the result checked.

An idempotent tool is simply called: a call costs no round trip of its own. A keyed or an unsafe one
is written down before it is made and after it, so that a recorded call is never made again.
"""

import asyncio
import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import jsonschema
import structlog

from app.attempts.errors import AttemptLost
from app.audit import denials, trail
from app.audit.denials import Denials
from app.core import clock, ids
from app.core.db import Database
from app.core.errors import TowpathError, Unavailable
from app.core.ids import AttemptId, JobId, TenantId, ToolCallId
from app.core.recent import Recent
from app.tools import effects, grants, registry
from app.tools.effects import Begin, Begun, Done, Effects, End
from app.tools.errors import (
    ToolArgumentsInvalid,
    ToolCrashed,
    ToolFailed,
    ToolInDoubt,
    ToolNotAllowed,
    ToolOutputInvalid,
    ToolOutputTooLarge,
    ToolTimedOut,
    UnknownTool,
)
from app.tools.registry import Bound, Registry
from app.tools.tool import Call

KNOWN: Final = timedelta(seconds=1)  # how long what a tenant may use is believed
SHOWN: Final = 300  # characters of a schema's complaint
PAUSE: Final = 0.5  # seconds between tries to record an outcome while the database is away

_NUL: Final = "\\u0000"  # as JSON spells it; the database keeps none

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Place:
    """Where in which job a call is made. The same over attempts, but for the attempt."""

    tenant: TenantId
    job: JobId
    attempt: AttemptId
    step: str
    item: int
    turn: int = 0
    deadline: datetime | None = None  # of the job
    traceparent: str | None = None

    @property
    def effect_key(self) -> str:
        """What a far end knows a repeated call by."""
        return f"{self.job.hex}:{self.step}:{self.item}:{self.turn}"


@dataclass(frozen=True, slots=True)
class Answer:
    """A result. `recorded`: it came from an earlier call; `tries`: calls under the key, where counted."""

    result: Any
    tool: str
    version: str
    effect: str
    recorded: bool = False
    tries: int = 1


@dataclass(frozen=True, slots=True)
class Toolbox:
    """The tools of a worker process, its records, and calls that were cut off and haven't ended yet."""

    db: Database
    registry: Registry
    granted: Recent[TenantId, Registry]
    effects: Effects
    denials: Denials = field(default_factory=Denials)
    abandoned: set["asyncio.Future[Any]"] = field(default_factory=set)

    async def close(self) -> None:
        """Wait for what is being recorded; a tool that won't end is left behind."""
        await self.effects.close()


def open_toolbox(db: Database, tools: Registry) -> Toolbox:
    """A toolbox on this database; nothing is connected yet."""

    async def look(tenant: TenantId) -> Registry:
        async with db.transaction() as session:
            return registry.granted(tools, await grants.of(session, tenant))

    return Toolbox(db, tools, Recent(look, KNOWN), effects.open_effects(db))


async def call(
    box: Toolbox,
    place: Place,
    name: str,
    arguments: dict[str, Any],
    *,
    seconds: float | None = None,
) -> Answer:
    """Call a tool, or read what an earlier attempt's call brought. `seconds` shortens the tool's own time.

    Raises UnknownTool, ToolArgumentsInvalid, ToolNotAllowed, ToolFailed, ToolCrashed, ToolTimedOut, ToolOutputInvalid,
    ToolOutputTooLarge, ToolInDoubt, AttemptLost, Unavailable.
    """
    bound = await _permitted(box, place, name, arguments)
    now = clock.now()
    limit = bound.tool.timeout
    if seconds is not None:
        limit = min(limit, timedelta(seconds=seconds))
    if place.deadline is not None:
        limit = max(min(limit, place.deadline - now), timedelta(0))
    asked = Call(
        arguments, place.tenant, place.job, place.step, place.item, place.effect_key, now + limit,
        place.traceparent,
    )  # fmt: skip
    if bound.tool.effect == "idempotent":
        return _answer(bound, checked(bound, await _run(box, bound, asked, limit)))
    return await _once(box, place, bound, asked, limit)


async def _permitted(box: Toolbox, place: Place, name: str, arguments: dict[str, Any]) -> Bound:
    """The tool, where the tenant may call it with these arguments; a refusal is told to the trail."""
    tools = box.registry if name in registry.FREE else await box.granted.get(place.tenant)
    try:
        bound = registry.get(tools, name)
    except UnknownTool as refusal:
        if name in box.registry.tools:  # to the tenant it looks as if there were none
            refusal.retryable = False
            await _tell(box, place, name, "not granted")
        raise
    faults = _faults(bound.input, arguments)
    if faults:
        raise ToolArgumentsInvalid(_first(name, faults), tool=name, errors=faults)
    faults = _faults(bound.limits, arguments)
    if faults:
        await _tell(box, place, name, "its arguments are outside of the grant")
        raise ToolNotAllowed(_first(name, faults), tool=name, errors=faults)
    return bound


async def _tell(box: Toolbox, place: Place, name: str, why: str) -> None:
    facts = {"step": place.step, "why": why}
    await denials.note(
        box.db, box.denials, place.tenant, actor=trail.Actor("system", "tools"),
        action=f"tool {name}", target=ids.wire("job", place.job), facts=facts,
    )  # fmt: skip


async def _once(box: Toolbox, place: Place, bound: Bound, asked: Call, limit: timedelta) -> Answer:
    tool, mine = bound.tool, ToolCallId(ids.new())
    if _NUL in json.dumps(asked.arguments):
        raise ToolArgumentsInvalid(f"{tool.name}: /in: holds a NUL character", tool=tool.name)
    begin = Begin(
        place.effect_key, place.tenant, place.job, place.attempt, mine, place.step, place.item,
        tool.name, tool.version, tool.effect, asked.arguments,
    )  # fmt: skip
    match await box.effects.begins.submit(begin):
        case "lost":
            raise AttemptLost("The attempt is not current any more.")
        case "in doubt":
            raise ToolInDoubt(
                f"{tool.name} was called before and its outcome isn't known: a person decides",
                tool=tool.name,
            )
        case Done(result, error):
            if error is not None:
                raise _recorded_fault(tool.name, error)
            return _answer(bound, result, recorded=True)
        case Begun(tries):
            return await _make(box, bound, asked, limit, mine, tries)


async def _make(
    box: Toolbox, bound: Bound, asked: Call, limit: timedelta, mine: ToolCallId, tries: int
) -> Answer:
    """Make a call that has begun, and record how it ends."""
    tool = bound.tool
    try:
        result = checked(bound, await _run(box, bound, asked, limit))
    except ToolFailed:
        await _end(box, End(asked.effect_key, mine, void=True))
        raise
    except (ToolOutputInvalid, ToolOutputTooLarge) as error:
        # It happened, and what came back can't be kept: a repeated call is no remedy.
        kept = {"code": error.code, "message": error.message}
        await _end(box, End(asked.effect_key, mine, error=kept))
        raise
    except (ToolTimedOut, ToolCrashed) as error:
        if tool.effect == "keyed":
            raise
        raise ToolInDoubt(
            f"{tool.name} may have had its effect before it broke off ({error.message}): a person decides",
            tool=tool.name,
        ) from error
    await _end(box, End(asked.effect_key, mine, result=result))
    return _answer(bound, result, tries=tries)


def _answer(bound: Bound, result: Any, *, recorded: bool = False, tries: int = 1) -> Answer:
    tool = bound.tool
    return Answer(result, tool.name, tool.version, tool.effect, recorded, tries)


def _recorded_fault(tool: str, error: dict[str, Any]) -> TowpathError:
    known = {kind.code: kind for kind in (ToolOutputInvalid, ToolOutputTooLarge)}
    return known[error["code"]](error["message"], tool=tool)


async def _end(box: Toolbox, end: End) -> None:
    # What happened outside is worth an outage's wait: unrecorded, it would be in doubt.
    while True:
        try:
            await box.effects.ends.submit(end)
        except Unavailable:
            await asyncio.sleep(PAUSE)
        else:
            return


async def _run(box: Toolbox, bound: Bound, asked: Call, limit: timedelta) -> Any:
    """What the tool gives, in its time. One that doesn't end when it is told to is left behind."""
    name, seconds = bound.tool.name, limit.total_seconds()
    try:
        work = asyncio.ensure_future(bound.tool.run(asked))
        try:
            await asyncio.wait((work,), timeout=seconds)
        finally:
            if not work.done():
                _abandon(box, work)
        if work.done() and not work.cancelled():
            return work.result()
    except TowpathError:
        raise
    except Exception as error:
        _log.exception("tool.crashed", tool=name)
        raise ToolCrashed(f"{name} broke off: {type(error).__name__}", tool=name) from error
    if work.done():  # cancelled by itself: it must not look like this job's own cancellation
        raise ToolCrashed(f"{name} was cancelled from inside", tool=name)
    raise ToolTimedOut(
        f"{name} gave no result within {seconds:g} s", tool=name, timeout_seconds=seconds
    )


def _abandon(box: Toolbox, work: "asyncio.Future[Any]") -> None:
    work.cancel()
    box.abandoned.add(work)
    work.add_done_callback(lambda done: _ended(box, done))


def _ended(box: Toolbox, work: "asyncio.Future[Any]") -> None:
    box.abandoned.discard(work)
    if not work.cancelled() and work.exception() is not None:
        _log.warning("tool.ended_late", error=type(work.exception()).__name__)


def _faults(
    schema: jsonschema.Draft202012Validator | None, arguments: dict[str, Any]
) -> list[dict[str, str]]:
    if schema is None or schema.is_valid(arguments):
        return []
    return [
        {"pointer": _pointer("/in", fault), "message": fault.message[:SHOWN]}
        for fault in schema.iter_errors(arguments)
    ]


def _first(name: str, faults: list[dict[str, str]]) -> str:
    return f"{name}: {faults[0]['pointer']}: {faults[0]['message']}"


def _pointer(start: str, fault: jsonschema.ValidationError) -> str:
    parts = (str(part).replace("~", "~0").replace("/", "~1") for part in fault.absolute_path)
    return start + "".join(f"/{part}" for part in parts)


def checked(bound: Bound, result: Any) -> Any:
    """The result, where the tool may give it. Raises ToolOutputInvalid, ToolOutputTooLarge."""
    tool = bound.tool
    try:
        text = json.dumps(result, allow_nan=False, ensure_ascii=False)
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise ToolOutputInvalid(f"{tool.name}: the result is not JSON: {error}", tool=tool.name) from error  # fmt: skip
    if _NUL in text:
        raise ToolOutputInvalid(f"{tool.name}: the result holds a NUL character", tool=tool.name)
    if size > tool.output_bytes:
        message = f"{tool.name}: a result of {size} bytes; at most {tool.output_bytes} are kept"
        raise ToolOutputTooLarge(
            message, tool=tool.name, size_bytes=size, limit_bytes=tool.output_bytes
        )
    fault = None if bound.output is None else jsonschema.exceptions.best_match(bound.output.iter_errors(result))  # fmt: skip
    if fault is not None:
        where = _pointer("", fault) or "/"
        raise ToolOutputInvalid(
            f"{tool.name}: the result doesn't fit its schema: {where}: {fault.message[:SHOWN]}",
            tool=tool.name,
        )
    return result
