"""Grants: what a tenant may push and call, given, bounded, taken back and told to the trail."""

from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit.trail import Actor
from app.core.errors import Invalid, NotFound
from app.core.ids import TenantId
from app.tools import grants, registry
from app.workflows import versions
from tests.fakes.far_end import FarEnd

ADA = Actor("operator", "ada")
TOOLS = registry.build(registry.PURE, FarEnd().tools())


async def give(
    session: AsyncSession, tenant: TenantId, tool: str, limits: dict[str, Any] | None = None
) -> None:
    await grants.grant(session, tenant, tool, limits, tools=TOOLS, actor=ADA, reason="asked")


def calling(given: dict[str, Any]) -> dict[str, Any]:
    step = {"id": "tell", "kind": "tool", "tool": "far.keyed", "in": given}
    return {"name": "w", "input": {"type": "object"}, "steps": [step], "output": None}


async def push(session: AsyncSession, tenant: TenantId, given: dict[str, Any]) -> list[Any]:
    """Push a workflow that calls far.keyed: its faults, none where it is taken."""
    try:
        await versions.push(session, tenant, calling(given), actor=ADA, tools=TOOLS)
    except Invalid as refusal:
        return list(refusal.context["errors"])
    return []


async def test_nothing_but_what_is_free_may_be_used_without_a_grant(
    session: AsyncSession, tenant: TenantId
) -> None:
    usable = registry.granted(TOOLS, await grants.of(session, tenant))
    assert set(usable.tools) == {"calculator", "json.extract"}
    [fault] = await push(session, tenant, {"n": 1})
    assert fault["pointer"] == "/steps/0/tool"
    assert fault["message"].startswith("no tool is called far.keyed")
    await give(session, tenant, "far.keyed")
    assert await push(session, tenant, {"n": 1}) == []
    await grants.revoke(session, tenant, "far.keyed", actor=ADA, reason="over")
    assert len(await push(session, tenant, {"n": 2})) == 1


async def test_what_is_written_out_is_held_against_the_limits_when_it_is_pushed(
    session: AsyncSession, tenant: TenantId
) -> None:
    await give(session, tenant, "far.keyed", {"properties": {"n": {"maximum": 9}}})
    assert await push(session, tenant, {"n": 9}) == []
    [fault] = await push(session, tenant, {"n": 10})
    assert fault["pointer"] == "/steps/0/in/n"
    assert "maximum of 9" in fault["message"]
    assert await push(session, tenant, {"n": "=input.n"}) == []  # known when the step runs
    [odd] = await push(session, tenant, {"n": "nine"})
    assert odd["pointer"] == "/steps/0/in/n"


async def test_grants_are_replaced_listed_and_told_to_the_trail(
    session: AsyncSession, tenant: TenantId
) -> None:
    await give(session, tenant, "far.keyed")
    await give(session, tenant, "far.keyed", {"maxProperties": 1})
    [held] = await grants.listed(session, tenant)
    assert (held.tool, held.arguments, held.granted_by) == (
        "far.keyed",
        {"maxProperties": 1},
        "ada",
    )
    await grants.revoke(session, tenant, "far.keyed", actor=ADA, reason="over")
    assert await grants.listed(session, tenant) == []
    with pytest.raises(NotFound):
        await grants.revoke(session, tenant, "far.keyed", actor=ADA, reason="again")


@pytest.mark.parametrize(
    ("tool", "limits", "pointer"),
    [("far.kyed", None, "/tool"), ("calculator", None, "/tool"), ("far.keyed", {"type": 7}, "/arguments")],
)  # fmt: skip
async def test_a_grant_that_makes_no_sense_is_refused(
    session: AsyncSession, tenant: TenantId, tool: str, limits: Any, pointer: str
) -> None:
    with pytest.raises(Invalid) as refused:
        await give(session, tenant, tool, limits)
    assert refused.value.context["errors"][0]["pointer"] == pointer
