"""`calculator`: exact decimal arithmetic on one expression. Parsed and walked, never evaluated as code."""

import ast
import decimal
import operator
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from app.tools.errors import ToolFailed
from app.tools.tool import Call, Tool

MAX_LENGTH: Final = 500
MAX_DEPTH: Final = 50
MAX_EXPONENT: Final = 1_000
SAFE_INTEGER: Final = 2**53  # the largest that every JSON reader keeps exactly

# 50 digits; what passes 10**1000 is refused, so that no text gets longer than its use.
_CONTEXT: Final = decimal.Context(
    prec=50, Emax=MAX_EXPONENT, Emin=-MAX_EXPONENT,
    traps=[decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow],
)  # fmt: skip
_BINARY: Final[dict[type[ast.operator], Callable[[Decimal, Decimal], Decimal]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_UNARY: Final[dict[type[ast.unaryop], Callable[[Decimal], Decimal]]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}
_FUNCTIONS: Final[dict[str, tuple[range, Callable[..., Decimal]]]] = {
    "abs": (range(1, 2), abs),
    "sqrt": (range(1, 2), Decimal.sqrt),
    "floor": (range(1, 2), lambda it: it.to_integral_value(decimal.ROUND_FLOOR)),
    "ceil": (range(1, 2), lambda it: it.to_integral_value(decimal.ROUND_CEILING)),
    "round": (range(1, 3), lambda it, places=Decimal(0): _rounded(it, places)),
    "min": (range(1, 100), min),
    "max": (range(1, 100), max),
}


async def run(call: Call) -> dict[str, Any]:
    """The value of `expression`. Raises ToolFailed where it has none."""
    return calculate(call.arguments["expression"])


def calculate(expression: str) -> dict[str, Any]:
    """`value` as a JSON number, and `exact`, the same in decimal digits."""
    try:
        tree = ast.parse(expression.strip(), mode="eval")
        with decimal.localcontext(_CONTEXT):
            value = +_value(tree.body, MAX_DEPTH)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ToolFailed(f"{expression!r} is not an expression", tool="calculator") from None
    except decimal.DivisionByZero:
        raise ToolFailed("a division by zero", tool="calculator") from None
    except decimal.DecimalException:
        raise ToolFailed("the value is undefined or too large", tool="calculator") from None
    exact = format(value.normalize(_CONTEXT), "f")
    whole = value == value.to_integral_value() and abs(value) <= SAFE_INTEGER
    return {"value": int(value) if whole else _float(value), "exact": exact}


def _float(value: Decimal) -> float:
    try:
        return float(value) if abs(value) < Decimal("1e308") else _too_large()
    except OverflowError:
        return _too_large()


def _too_large() -> float:
    raise ToolFailed("the value is undefined or too large", tool="calculator")


def _value(node: ast.expr, depth: int) -> Decimal:
    if depth == 0:
        raise ToolFailed(f"nests deeper than {MAX_DEPTH} levels", tool="calculator")
    match node:
        case ast.Constant(value=bool()):
            pass
        case ast.Constant(value=int(number)):
            return Decimal(number)
        case ast.Constant(value=float(number)):
            return Decimal(repr(number))  # the digits that were written
        case ast.BinOp(left, op, right) if type(op) in _BINARY:
            return _BINARY[type(op)](_value(left, depth - 1), _value(right, depth - 1))
        case ast.UnaryOp(op, operand) if type(op) in _UNARY:
            return _UNARY[type(op)](_value(operand, depth - 1))
        case ast.Call(ast.Name(name), arguments, []) if name in _FUNCTIONS:
            counts, function = _FUNCTIONS[name]
            if len(arguments) in counts:
                return function(*[_value(one, depth - 1) for one in arguments])
        case _:
            pass
    raise ToolFailed(
        f"only numbers, + - * / // % ** and {', '.join(_FUNCTIONS)} may stand in an expression",
        tool="calculator",
    )


def _rounded(value: Decimal, places: Decimal) -> Decimal:
    if places != places.to_integral_value() or not 0 <= places <= 30:
        raise ToolFailed("round takes 0 to 30 places", tool="calculator")
    return value.quantize(Decimal(1).scaleb(-int(places)), decimal.ROUND_HALF_UP)


TOOL: Final = Tool(
    name="calculator",
    version="1",
    description="Exact decimal arithmetic: + - * / // % **, abs, ceil, floor, max, min, round, sqrt.",
    input={
        "type": "object",
        "properties": {
            "expression": {"type": "string", "minLength": 1, "maxLength": MAX_LENGTH},
        },
        "required": ["expression"],
        "additionalProperties": False,
    },
    output={
        "type": "object",
        "properties": {"value": {"type": "number"}, "exact": {"type": "string"}},
        "required": ["value", "exact"],
    },
    run=run,
    effect="idempotent",
)
