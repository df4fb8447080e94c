"""`json.extract`: the answer of a JMESPath over data, with bounds on what it may cost.

An expression can't loop, but it can copy: a multi-select writes its input several times, and `to_string`
escapes what it is given. Both multiply along the expression, so their product is bounded before it runs.
"""

import asyncio
import json
from functools import lru_cache
from typing import Any, Final

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.parser import ParsedResult

from app.tools.errors import ToolFailed
from app.tools.tool import Call, Tool

MAX_EXPRESSION: Final = 1_000  # characters
MAX_DATA_BYTES: Final = 512 * 1024
MAX_COPIES: Final = 64
INLINE_BYTES: Final = (
    16 * 1024
)  # more is searched in a thread: it may take longer than a heartbeat likes


async def run(call: Call) -> Any:
    """The answer of `expression` over `data`. Raises ToolFailed."""
    expression, data = call.arguments["expression"], call.arguments["data"]
    size = len(json.dumps(data))
    if size > MAX_DATA_BYTES:
        raise ToolFailed(f"data of {size} bytes; at most {MAX_DATA_BYTES} are searched", tool="json.extract")  # fmt: skip
    if size <= INLINE_BYTES:
        return _search(expression, data)
    return await asyncio.to_thread(_search, expression, data)


def _search(expression: str, data: Any) -> Any:
    try:
        return _compiled(expression).search(data)
    except JMESPathError as error:
        raise ToolFailed(str(error).split("\n")[0], tool="json.extract") from error


@lru_cache(maxsize=1024)
def _compiled(expression: str) -> ParsedResult:
    try:
        compiled = jmespath.compile(expression)
    except RecursionError:
        raise ToolFailed("the expression nests too deeply", tool="json.extract") from None
    if copies(dict(compiled.parsed)) > MAX_COPIES:
        raise ToolFailed(
            f"the expression may copy its data more than {MAX_COPIES} times", tool="json.extract"
        )
    return compiled


def copies(node: dict[str, Any]) -> int:
    """How often what an expression is given may stand in its answer, at most."""
    inside = [copies(child) for child in node["children"] if isinstance(child, dict)]
    match node["type"]:
        case "multi_select_list" | "multi_select_dict":
            return max(1, sum(inside))
        case "function_expression":
            own = 2 if node["value"] == "to_string" else 1
            return max(1, sum(inside)) * own
        case _:
            product = 1
            for one in inside:
                product *= one
            return product


TOOL: Final = Tool(
    name="json.extract",
    version="1",
    description="The part of `data` that a JMESPath expression selects.",
    input={
        "type": "object",
        "properties": {
            "expression": {"type": "string", "minLength": 1, "maxLength": MAX_EXPRESSION},
            "data": {},
        },
        "required": ["expression", "data"],
        "additionalProperties": False,
    },
    run=run,
    effect="idempotent",
)
