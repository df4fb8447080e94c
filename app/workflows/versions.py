"""Versions of workflows: immutable, numbered by tenant and name; one of them is released."""

import hashlib
import json
from dataclasses import dataclass
from importlib import resources
from typing import Any

import yaml
from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import trail
from app.core import ids
from app.core.ids import TenantId, VersionId
from app.tools import grants, registry
from app.tools.registry import Registry
from app.workflows import definitions
from app.workflows.errors import UnknownWorkflow
from app.workflows.models import Workflow, WorkflowVersion

SYSTEM = trail.Actor("system", "shipped")


@dataclass(frozen=True, slots=True)
class Pushed:
    """The version that holds a definition, and whether this push made it."""

    id: VersionId
    workflow: str
    number: int
    created: bool


async def push(
    session: AsyncSession,
    tenant: TenantId,
    raw: Any,
    *,
    actor: trail.Actor,
    request_id: str | None = None,
    tools: Registry | None = None,
) -> Pushed:
    """Store a definition as the next version of its name, and release it.

    It may call those of `tools` that the tenant may use (None: the pure built-in ones). A definition equal
    to the released one makes no new version. Raises Invalid with pointers.
    Locks the workflow's row: two pushes of one name take turns.
    """
    usable = tools and registry.granted(tools, await grants.of(session, tenant))
    definition = definitions.parse(raw, usable)
    name = definition.name
    new = insert(Workflow).values(tenant=tenant, name=name, released=0, created_at=func.app_now())
    await session.execute(new.on_conflict_do_nothing())
    held = select(Workflow).where(Workflow.tenant == tenant, Workflow.name == name)
    workflow = (await session.execute(held.with_for_update())).scalar_one()
    digest = hashlib.sha256(json.dumps(raw, sort_keys=True).encode()).digest()
    if workflow.released:
        current = await find(session, tenant, name, workflow.released)
        if current.digest == digest:
            return Pushed(current.id, name, current.number, created=False)
    mine = (WorkflowVersion.tenant == tenant, WorkflowVersion.workflow == name)
    last = (
        await session.execute(select(func.max(WorkflowVersion.number)).where(*mine))
    ).scalar() or 0
    version = VersionId(ids.new())
    await session.execute(
        insert(WorkflowVersion).values(
            id=version, tenant=tenant, workflow=name, number=last + 1, definition=raw, digest=digest,
            created_at=func.app_now(),
        )
    )  # fmt: skip
    await session.execute(
        update(Workflow)
        .where(Workflow.tenant == tenant, Workflow.name == name)
        .values(released=last + 1)
        .execution_options(synchronize_session=False)
    )
    entry = trail.entry(
        tenant, actor=actor, action="workflow.push", object=ids.wire("wfv", version),
        before={"released": workflow.released}, after={"workflow": name, "released": last + 1},
        request_id=request_id,
    )  # fmt: skip
    await trail.append(session, entry)
    return Pushed(version, name, last + 1, created=True)


async def find(
    session: AsyncSession, tenant: TenantId, name: str, number: int | None = None
) -> WorkflowVersion:
    """A version by number, or the released one. Raises UnknownWorkflow."""
    query = select(WorkflowVersion).where(
        WorkflowVersion.tenant == tenant, WorkflowVersion.workflow == name
    )
    if number is None:
        released = select(Workflow.released).where(Workflow.tenant == tenant, Workflow.name == name)
        query = query.where(WorkflowVersion.number == released.scalar_subquery())
    else:
        query = query.where(WorkflowVersion.number == number)
    found = (await session.execute(query)).scalar_one_or_none()
    if found is None:
        spelled = name if number is None else f"{name}@{number}"
        raise UnknownWorkflow(f"No workflow {spelled}.", workflow=spelled)
    return found


async def by_id(session: AsyncSession, tenant: TenantId, version: VersionId) -> WorkflowVersion:
    """A version by its id. Raises UnknownWorkflow."""
    found = await session.get(WorkflowVersion, version)
    if found is None or found.tenant != tenant:
        raise UnknownWorkflow("No such version.", workflow=str(version))
    return found


async def listed(session: AsyncSession, tenant: TenantId) -> list[Workflow]:
    """A tenant's workflows by name."""
    query = select(Workflow).where(Workflow.tenant == tenant).order_by(Workflow.name)
    return list((await session.scalars(query)).all())


async def of(session: AsyncSession, tenant: TenantId, name: str) -> list[WorkflowVersion]:
    """All versions of one workflow, newest first. Raises UnknownWorkflow where there is none."""
    query = (
        select(WorkflowVersion)
        .where(WorkflowVersion.tenant == tenant, WorkflowVersion.workflow == name)
        .order_by(WorkflowVersion.number.desc())
    )
    found = list((await session.scalars(query)).all())
    if not found:
        raise UnknownWorkflow(f"No workflow {name}.", workflow=name)
    return found


def shipped() -> list[dict[str, Any]]:
    """The definitions that come with Towpath."""
    folder = resources.files("app.workflows") / "shipped"
    files = sorted(
        (file for file in folder.iterdir() if file.name.endswith(".yaml")), key=lambda f: f.name
    )
    return [yaml.safe_load(file.read_text(encoding="utf-8")) for file in files]


async def push_shipped(session: AsyncSession, tenant: TenantId) -> list[Pushed]:
    """Give a tenant the shipped workflows, or their newer versions."""
    return [await push(session, tenant, raw, actor=SYSTEM) for raw in shipped()]
