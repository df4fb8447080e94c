"""The tools of this process: built in ones, and custom ones by entry point. Read once, when it starts."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import metadata
from typing import Any, Final

import jsonschema
import structlog

from app.tools.built_in import calculator, json_extract
from app.tools.errors import UnknownTool
from app.tools.tool import Tool

GROUP: Final = "towpath.tools"  # of entry points; each is a Tool, or a list of them

PURE: Final = (calculator.TOOL, json_extract.TOOL)
FREE: Final = frozenset(tool.name for tool in PURE)  # of everyone, without a grant

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Bound:
    """A tool, with its schemas ready to check."""

    tool: Tool
    input: jsonschema.Draft202012Validator
    output: jsonschema.Draft202012Validator | None  # None: any result will do
    limits: jsonschema.Draft202012Validator | None = (
        None  # what a tenant's grant allows of its arguments
    )


@dataclass(frozen=True, slots=True)
class Registry:
    """Tools by name, and what was refused: the entry point's or the tool's name → why."""

    tools: Mapping[str, Bound]
    refused: Mapping[str, str]


@lru_cache(maxsize=1)
def pure() -> Registry:
    """The built-in tools that need nothing but their arguments."""
    return build(PURE)


def load(built_in: Iterable[Tool]) -> Registry:
    """The given tools, then those of installed packages. A broken one is refused by name, the others stay.

    A custom tool never takes the name of another.
    """
    found, refused = _discover()
    registry = build(built_in, found, refused)
    for name, reason in registry.refused.items():
        _log.error("tool.refused", tool=name, reason=reason)
    return registry


def build(
    built_in: Iterable[Tool], custom: Iterable[Tool] = (), refused: Mapping[str, str] | None = None
) -> Registry:
    """A registry of these tools. What is wrong with a built-in one raises; a custom one is refused."""
    tools = {tool.name: _bind(tool) for tool in built_in}
    refusals = dict(refused or {})
    for tool in custom:
        if tool.name in tools:
            refusals[tool.name] = "there is a tool of this name already"
            continue
        try:
            tools[tool.name] = _bind(tool)
        except jsonschema.SchemaError as error:
            refusals[tool.name] = f"not a JSON Schema: {error.message}"
    return Registry(tools, refusals)


def granted(registry: Registry, grants: Mapping[str, dict[str, Any] | None]) -> Registry:
    """What a tenant may use: what is free, and what it was granted, within the grant's limits.

    To the tenant the others don't exist.
    """
    tools = {
        name: bound if name in FREE else replace(bound, limits=_limits(grants[name]))
        for name, bound in registry.tools.items()
        if name in FREE or name in grants
    }
    return Registry(tools, {name: why for name, why in registry.refused.items() if name in grants})


def _limits(schema: dict[str, Any] | None) -> jsonschema.Draft202012Validator | None:
    return None if schema is None else jsonschema.Draft202012Validator(schema)


def get(registry: Registry, name: str) -> Bound:
    """A tool by name. Raises UnknownTool."""
    found = registry.tools.get(name)
    if found is None:
        raise UnknownTool(fault(registry, name), tool=name)
    return found


def fault(registry: Registry, name: str) -> str:
    """Why there is no tool of this name, with the one that may be meant."""
    if name in registry.refused:
        return f"the tool {name} was refused when the process started: {registry.refused[name]}"
    near = difflib.get_close_matches(name, registry.tools, n=1, cutoff=0.5)
    return f"no tool is called {name}" + (f"; did you mean {near[0]}?" if near else "")


def argument_faults(bound: Bound, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What is wrong with the arguments' names, whatever their values will be: (name, message)."""
    known = bound.tool.input.get("properties", {})
    for name in bound.tool.input.get("required", ()):
        if name not in given:
            yield "", f"{bound.tool.name} wants {name}"
    if bound.tool.input.get("additionalProperties") is False:
        for name in given:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                yield name, f"{bound.tool.name} has no argument {name}{hint}"


def _bind(tool: Tool) -> Bound:
    for schema in (tool.input, tool.output):
        jsonschema.Draft202012Validator.check_schema(schema)
    output = jsonschema.Draft202012Validator(tool.output) if tool.output else None
    return Bound(tool, jsonschema.Draft202012Validator(tool.input), output)


def _discover() -> tuple[list[Tool], dict[str, str]]:
    found: list[Tool] = []
    refused: dict[str, str] = {}
    for point in sorted(metadata.entry_points(group=GROUP), key=lambda it: it.name):
        try:
            loaded = point.load()
            tools = [loaded] if isinstance(loaded, Tool) else list(loaded)
            strange = [tool for tool in tools if not isinstance(tool, Tool)]
            if strange:
                raise TypeError(f"{point.value} gives {type(strange[0]).__name__}, not a Tool")  # noqa: TRY301 - refused like any other
        except Exception as error:  # noqa: BLE001 - a package's own code may raise anything; it is refused by name
            refused[point.name] = f"{type(error).__name__}: {error}"
        else:
            found += tools
    return found, refused
