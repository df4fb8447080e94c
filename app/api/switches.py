"""Operators' routes over the kill switches: shown, turned off, turned on."""

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, ConfigDict, StrictBool

from app.api import asking
from app.api.openapi import raises
from app.api.operations import ReasonBody
from app.api.routing import Admin, OnPlatform, Route
from app.api.wire import Listed, Moment, answer, missing
from app.switches import levers

router: Final = APIRouter(route_class=Route, tags=["operators"])

SwitchName = Annotated[
    str, Path(alias="switch", max_length=64, description=f"One of {', '.join(levers.NAMES)}.")
]
_SWITCH: Final[dict[str, Any]] = {
    "object": "switch", "name": "model_calls", "off": True, "reason": "the provider leaks",
    "by": "key_01kb1c2v3e4m5n6p7q8r9s0t1v", "since": "2026-11-25T06:00:00.000000Z",
}  # fmt: skip


class SwitchMove(ReasonBody):
    """Off or on, and why."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"off": True, "reason": "the provider leaks"}]},
    )

    off: StrictBool


class SwitchBody(BaseModel):
    """A kill switch, and who last moved it. The last three are null where nobody ever did."""

    model_config = ConfigDict(json_schema_extra={"examples": [_SWITCH]})

    object: Literal["switch"] = "switch"
    name: str
    off: bool
    reason: str | None
    by: str | None
    since: Moment | None

    @classmethod
    def of(cls, state: levers.State) -> "SwitchBody":
        """A switch as it stands."""
        return cls(
            name=state.name, off=state.off, reason=state.reason, by=state.set_by, since=state.set_at
        )


@router.get("/v1/admin/switches", response_model=Listed[SwitchBody])
async def list_switches(caller: Admin, platform: OnPlatform) -> Response:
    """List the kill switches, and who last moved each. All in one page."""
    async with platform.db.transaction() as session:
        found = await levers.states(session)
    return answer(Listed[SwitchBody](data=[SwitchBody.of(one) for one in found], next_cursor=None))


@router.post(
    "/v1/admin/switches/{switch}", response_model=SwitchBody, responses=raises("not_found")
)
async def move_switch(
    body: SwitchMove, switch: SwitchName, caller: Admin, platform: OnPlatform, request: Request
) -> Response:
    """Turn off what hangs on a switch, or let it run again. It is known everywhere within a second."""
    if switch not in levers.NAMES:
        raise missing("switch")
    move = levers.turn_off if body.off else levers.turn_on
    async with platform.db.transaction() as session:
        await move(session, switch, actor=asking.actor(request, caller), reason=body.reason)
        return answer(SwitchBody.of(await levers.state(session, switch)))
