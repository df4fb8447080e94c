"""What a job counts under: the caps on how many of its kind may run at once, and the hash that joins its kind.

A cap is (whose, of what, name). `whose` is a tenant, or PLATFORM over all tenants.
"""

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from app.audit.trail import PLATFORM
from app.core import ids
from app.core.ids import KeyId, TenantId

Cap = tuple[TenantId, str, str]

KINDS: Final = ("all", "workflow", "key", "resource")
EVERYTHING: Final[Cap] = (PLATFORM, "all", "")

_RESOURCE: Final = "resource:"


def limits(concurrency: int | None, resources: Mapping[str, int]) -> dict[str, int] | None:
    """What a workflow's definition limits, as a job keeps it; None where it limits nothing."""
    most = {f"{_RESOURCE}{name}": count for name, count in sorted(resources.items())}
    if concurrency is not None:
        most["workflow"] = concurrency
    return most or None


def counted(
    tenant: TenantId, workflow: str, key: KeyId | None, kept: Mapping[str, int] | None
) -> tuple[Cap, ...]:
    """Every cap that a running job counts under. `kept` are the limits it was admitted with."""
    return _counted(tenant, workflow, key, tuple(kept or ()))


# A pass of the dispatcher asks for every line of the queue.
@lru_cache(maxsize=50_000)
def _counted(
    tenant: TenantId, workflow: str, key: KeyId | None, kept: tuple[str, ...]
) -> tuple[Cap, ...]:
    found = [
        EVERYTHING, (tenant, "all", ""), (PLATFORM, "workflow", workflow), (tenant, "workflow", workflow),
    ]  # fmt: skip
    if key is not None:
        found.append((tenant, "key", ids.wire("key", key)))
    for limit in kept:
        if limit.startswith(_RESOURCE):
            name = limit.removeprefix(_RESOURCE)
            found += [(PLATFORM, "resource", name), (tenant, "resource", name)]
    return tuple(found)


def own(tenant: TenantId, workflow: str, kept: Mapping[str, int] | None) -> dict[Cap, int]:
    """The caps that a job brings with it, from its workflow's definition."""
    return {
        (tenant, "workflow", workflow)
        if limit == "workflow"
        else (tenant, "resource", limit.removeprefix(_RESOURCE)): most
        for limit, most in (kept or {}).items()
    }


def group(workflow: str, key: KeyId | None, kept: Mapping[str, int] | None) -> int:
    """The hash that jobs under the same caps share. A tenant's queue is kept by it, so that dispatch passes
    over all jobs of a full cap in one step.
    """
    return _hash(workflow, key, tuple(sorted((kept or {}).items())))


@lru_cache(maxsize=10_000)
def _hash(workflow: str, key: KeyId | None, kept: tuple[tuple[str, int], ...]) -> int:
    kind = json.dumps([workflow, None if key is None else str(key), kept]).encode()
    return int.from_bytes(hashlib.blake2b(kind, digest_size=8).digest(), signed=True)
