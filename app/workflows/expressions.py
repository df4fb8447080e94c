"""Values of a definition: JMESPath over {input, steps, item} where a text begins with "=", else itself."""

from functools import lru_cache
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.parser import ParsedResult

from app.workflows.errors import ExpressionFailed


@lru_cache(maxsize=4096)
def _compiled(expression: str) -> ParsedResult:
    return jmespath.compile(expression)


def fault(value: str) -> str | None:
    """What is wrong with an expression ("=…"), or None."""
    try:
        _compiled(value[1:])
    except JMESPathError as error:
        return str(error).split("\n")[0]
    return None


def resolve(value: Any, scope: dict[str, Any]) -> Any:
    """The value with its expressions answered, however deep they lie. Raises ExpressionFailed."""
    if isinstance(value, str) and value.startswith("="):
        try:
            return _compiled(value[1:]).search(scope)
        except JMESPathError as error:
            raise ExpressionFailed(f"{value}: {error}", expression=value) from error
    if isinstance(value, dict):
        return {name: resolve(part, scope) for name, part in value.items()}
    if isinstance(value, list):
        return [resolve(part, scope) for part in value]
    return value


def truthy(value: Any, scope: dict[str, Any]) -> bool:
    """JMESPath's own truth of a value: false, null and what is empty are not true; 0 is."""
    answer = resolve(value, scope)
    return answer not in (None, False, "", [], {}) or (answer == 0 and answer is not False)
