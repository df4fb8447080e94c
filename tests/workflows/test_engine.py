"""The planner is a pure, total function: what is recorded is never planned again."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.workflows import definitions, engine
from app.workflows.engine import Done, Fan, Recorded, Run
from app.workflows.errors import ExpressionFailed


def define(*steps: dict[str, Any], output: Any = "=steps") -> definitions.Definition:
    raw = {"name": "w", "input": {"type": "object"}, "steps": list(steps), "output": output}
    return definitions.parse(raw)


def transform(name: str, value: Any, **more: Any) -> dict[str, Any]:
    return {"id": name, "kind": "transform", "value": value} | more


def test_steps_come_in_order_with_their_arguments_resolved() -> None:
    definition = define(
        transform("a", "=input.x"), transform("b", {"twice": ["=steps.a", "=steps.a"]})
    )
    first = engine.plan(definition, {"x": 1}, {})
    assert isinstance(first, Run)
    assert (first.step.id, first.arguments) == ("a", {"value": 1})
    second = engine.plan(definition, {"x": 1}, {("a", 0): 1})
    assert isinstance(second, Run)
    assert second.arguments == {"value": {"twice": [1, 1]}}
    done = engine.plan(definition, {"x": 1}, {("a", 0): 1, ("b", 0): 2})
    assert done == Done({"a": 1, "b": 2})


@pytest.mark.parametrize(("value", "runs"), [(True, True), (0, True), ("x", True), (False, False), (None, False), ([], False), ("", False)])  # fmt: skip
def test_a_condition_is_jmespaths_truth(value: Any, runs: bool) -> None:
    definition = define(transform("a", 1, when="=input.x"), output="=steps.a")
    planned = engine.plan(definition, {"x": value}, {})
    assert isinstance(planned, Run) is runs
    assert runs or planned == Done(None)


def test_a_map_plans_only_what_is_missing() -> None:
    inner = {"id": "one", "kind": "transform", "value": {"i": "=index", "v": "=item"}}
    definition = define(
        {"id": "m", "kind": "map", "over": "=input.xs", "step": inner}, output="=steps.m"
    )
    fan = engine.plan(definition, {"xs": [7, 8, 9]}, {("m", 1): "done"})
    assert isinstance(fan, Fan)
    assert fan.open == [(0, {"value": {"i": 0, "v": 7}}), (2, {"value": {"i": 2, "v": 9}})]
    recorded: Recorded = {("m", 0): "a", ("m", 1): "b", ("m", 2): "c"}
    assert engine.plan(definition, {"xs": [7, 8, 9]}, recorded) == Done(["a", "b", "c"])
    assert engine.plan(definition, {"xs": []}, {}) == Done([])


@pytest.mark.parametrize("items", [None, "text", {"a": 1}, 5, list(range(1_001))])
def test_a_map_over_what_is_no_list_or_too_long_is_a_fault(items: Any) -> None:
    inner = {"id": "one", "kind": "transform", "value": 1}
    definition = define({"id": "m", "kind": "map", "over": "=input.xs", "step": inner})
    with pytest.raises(ExpressionFailed):
        engine.plan(definition, {"xs": items}, {})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.lists(st.booleans(), min_size=1, max_size=8), json_values)
def test_every_job_ends_in_as_many_steps_as_it_has(wanted: list[bool], data: Any) -> None:
    steps = [
        transform(f"s{n}", ["=input.d", f"=steps.s{n - 1}" if n else 0], when=f"=input.w[{n}]")
        for n in range(len(wanted))
    ]
    definition = define(*steps)
    recorded: Recorded = {}
    given_input = {"d": data, "w": wanted}
    for _ in range(len(wanted) + 1):
        planned = engine.plan(definition, given_input, recorded)
        if isinstance(planned, Done):
            break
        assert isinstance(planned, Run)
        assert (planned.step.id, 0) not in recorded
        recorded[planned.step.id, 0] = planned.arguments["value"]
    else:
        raise AssertionError("it did not end")
    assert {name for name, _ in recorded} == {f"s{n}" for n, want in enumerate(wanted) if want}
