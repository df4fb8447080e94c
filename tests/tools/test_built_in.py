"""The pure built-in tools: right answers, and nothing that runs away."""

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import jmespath
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core import clock
from app.core.ids import JobId, TenantId
from app.tools.built_in import calculator, json_extract
from app.tools.errors import ToolFailed
from app.tools.tool import Call


@pytest.mark.parametrize(
    ("expression", "value", "exact"),
    [
        ("1 + 2 * 3", 7, "7"),
        ("0.1 + 0.2", 0.3, "0.3"),
        ("-(7 // 2) ** 2", -9, "-9"),
        ("10 / 4", 2.5, "2.5"),
        ("2 ** 0.5 * 2 ** 0.5 - 2 < 1", None, None),
        ("round(2.345, 2)", 2.35, "2.35"),
        ("max(1, min(5, 3), 2)", 3, "3"),
        ("sqrt(16) + abs(-1) + floor(1.9) + ceil(1.1)", 8, "8"),
        ("1e3 * 1.1", 1100, "1100"),
        ("9007199254740993 * 10", 9.007199254740993e16, "90071992547409930"),
    ],
)
def test_arithmetic_is_exact(expression: str, value: Any, exact: str | None) -> None:
    if exact is None:
        with pytest.raises(ToolFailed, match="only numbers"):
            calculator.calculate(expression)
    else:
        assert calculator.calculate(expression) == {"value": value, "exact": exact}


@pytest.mark.parametrize(
    "expression",
    [
        "1/0", "9**9**9**9", "10**1001", "0**-1", "sqrt(-1)", "(-8)**0.5", "1e400", "", "1 +", "x",
        "__import__('os').system('true')", "(1).real", "[1][0]", "'a' * 9", "True + 1", "abs(1, 2)",
        "lambda: 1", "round(1, 99)", "min(x=1)", "-" * 499 + "1",
    ],
)  # fmt: skip
def test_what_has_no_value_is_refused(expression: str) -> None:
    with pytest.raises(ToolFailed):
        calculator.calculate(expression)


@given(st.text(alphabet="0123456789.+-*/%() e,abs", max_size=40))
def test_any_text_is_answered_or_refused(text: str) -> None:
    try:
        answer = calculator.calculate(text)
    except ToolFailed:
        return
    assert len(json.dumps(answer, allow_nan=False)) < 4_000


async def extract(expression: str, data: Any) -> Any:
    nobody = UUID(int=0)
    arguments = {"expression": expression, "data": data}
    call = Call(arguments, TenantId(nobody), JobId(nobody), "s", 0, "k", clock.now())
    return await json_extract.TOOL.run(call)


async def test_an_expression_selects_a_part_of_the_data() -> None:
    data = {"items": [{"id": 1, "ok": True}, {"id": 2, "ok": False}]}
    assert await extract("items[?ok].id | [0]", data) == 1
    assert await extract("{n: length(items), ids: items[].id}", data) == {"n": 2, "ids": [1, 2]}
    assert await extract("nothing.here", data) is None


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("items[", "Incomplete expression"),
        ("length(`1`)", "invalid type"),
        (" | ".join(["[@,@]"] * 7), "more than 64 times"),
        (" | ".join(["[@,@][]"] * 40), "more than 64 times"),
        ("to_string([" * 7 + "@" + "])" * 7, "more than 64 times"),
        ("(" * 500 + "@" + ")" * 499, "."),
    ],
)
async def test_what_is_wrong_or_may_grow_without_bound_is_refused(
    expression: str, message: str
) -> None:
    with pytest.raises(ToolFailed, match=message):
        await extract(expression, {"items": []})


async def test_data_is_bounded_too() -> None:
    assert await extract("length(@)", ["x" * 100] * 1_000) == 1_000  # in a thread
    with pytest.raises(ToolFailed, match="at most"):
        await extract("length(@)", ["x" * 1_000] * 1_000)


def doubled(times: int) -> str:
    return " | ".join(["[@,@]"] * times)


@pytest.mark.parametrize(
    ("expression", "times"),
    [("a.b[].c", 1), ("[a, b, c]", 3), ("{x: [@,@], y: @}", 3), (doubled(5), 32), ("a[*].[b,c]", 2),
     ("join(',', a[].b)", 2), ("sort_by(a, &b)", 2)],
)  # fmt: skip
def test_copies_are_counted_along_the_expression(expression: str, times: int) -> None:
    parse: Callable[[str], Any] = jmespath.compile
    assert json_extract.copies(parse(expression).parsed) == times
