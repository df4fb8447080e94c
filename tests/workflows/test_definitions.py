"""The language: what is refused, and where the pointer points."""

import copy
from typing import Any

import pytest

from app.core.errors import Invalid
from app.workflows import definitions, versions

GOOD: dict[str, Any] = {
    "name": "good",
    "input": {"type": "object", "required": ["q"], "properties": {"q": {"type": "string"}}},
    "steps": [
        {"id": "first", "kind": "transform", "value": "=input.q"},
        {
            "id": "second",
            "kind": "map",
            "over": "=steps.first",
            "step": {
                "id": "one",
                "kind": "model",
                "prompt": "draft@1",
                "in": {"q": "=item"},
                "max_tokens": 5,
            },
        },
    ],
    "output": {"all": "=steps.second"},
}


def changed(path: list[str | int], value: Any) -> dict[str, Any]:
    """GOOD with one place replaced."""
    data = copy.deepcopy(GOOD)
    here: Any = data
    for part in path[:-1]:
        here = here[part]
    here[path[-1]] = value
    return data


def test_a_good_definition_is_taken() -> None:
    assert definitions.parse(GOOD).name == "good"


@pytest.mark.parametrize(
    ("path", "value", "pointer"),
    [
        (["name"], "Bad Name", "/name"),
        (["extra"], 1, "/extra"),
        (["steps"], [], "/steps"),
        (["concurrency"], 0, "/concurrency"),
        (["limits"], [{"key": "Crm", "max": 1}], "/limits/0/key"),
        (["limits"], [{"key": "crm", "max": 0}], "/limits/0/max"),
        (["limits"], [{"key": "crm", "max": 1}, {"key": "crm", "max": 2}], "/limits/1/key"),
        (["timeout_seconds"], 0, "/timeout_seconds"),
        (["steps", 0, "timeout_seconds"], -1, "/steps/0/timeout_seconds"),
        (["retry"], {"max_attempts": 0}, "/retry/max_attempts"),
        (["retry"], {"tries": 3}, "/retry/tries"),
        (["retry"], {"on": ["provider_failed", "step_failed"]}, "/retry/on/1"),  # permanent
        (["steps", 0, "retry"], {"base_seconds": 0}, "/steps/0/retry/base_seconds"),
        (["steps", 0, "retry"], {"factor": 0.5}, "/steps/0/retry/factor"),
        (["steps", 0, "retry"], {"cap_seconds": 1e9}, "/steps/0/retry/cap_seconds"),
        (["steps", 1, "step", "retry"], {"max_attempts": 2}, "/steps/1/step/retry"),
        (["steps", 0, "kind"], "teleport", "/steps/0"),
        (["steps", 0, "value"], "=input.[", "/steps/0/value"),
        (["steps", 0, "when"], "=steps.second", "/steps/0/when"),
        (["steps", 1, "over"], "=steps.nowhere", "/steps/1/over"),
        (["steps", 1, "step", "max_tokens"], 0, "/steps/1/step/max_tokens"),
        (["steps", 1, "step", "max_tokens"], -1, "/steps/1/step/max_tokens"),
        (["steps", 1, "step", "prompt"], "draft", "/steps/1/step/prompt"),
        (["steps", 1, "step", "in"], {"q": "=steps.second"}, "/steps/1/step/in/q"),
        (["steps", 1, "step", "when"], "=item", "/steps/1/step/when"),
        (["steps", 1, "id"], "first", "/steps/1/id"),
        (["input"], {"type": "thing"}, "/input"),
        (["output"], "=steps.missing", "/output"),
    ],
)
def test_each_fault_has_its_pointer(path: list[str | int], value: Any, pointer: str) -> None:
    with pytest.raises(Invalid) as refusal:
        definitions.parse(changed(path, value))
    assert pointer in [fault["pointer"] for fault in refusal.value.context["errors"]]


def test_an_input_is_checked_with_pointers() -> None:
    with pytest.raises(Invalid) as refusal:
        definitions.check_input('{"type": "object", "properties": {"a": {"type": "object", '
                                '"properties": {"b": {"type": "string"}}}}}', {"a": {"b": 1}})  # fmt: skip
    assert refusal.value.context["errors"][0]["pointer"] == "/input/a/b"


def test_a_deep_schema_is_refused_by_its_size_not_by_the_stack() -> None:
    """C005, in a definition."""
    deep: dict[str, Any] = {"type": "object"}
    for _ in range(1_000):
        deep = {"type": "object", "properties": {"a": deep}}
    with pytest.raises(Invalid):
        definitions.parse(changed(["input"], deep))


def test_what_is_shipped_is_valid() -> None:
    shipped = versions.shipped()
    assert {raw["name"] for raw in shipped} >= {"answer", "summarize", "towpath.ingest"}
    for raw in shipped:
        definitions.parse(raw)


def test_a_map_is_predicted_by_the_length_of_the_input() -> None:
    definition = definitions.parse(GOOD)
    [short] = definitions.predict(definition, 100)
    [long] = definitions.predict(definition, 100_000)
    assert (short.calls, long.calls) == (1, 63)
