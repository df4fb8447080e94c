"""What tools a process has: built in ones, and those of installed packages, each or its refusal by name."""

import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from app.core import clock
from app.core.errors import Invalid
from app.core.ids import JobId, TenantId
from app.tools import registry
from app.tools.built_in import calculator
from app.tools.errors import ToolFailed, UnknownTool
from app.tools.tool import Call, Tool
from app.workflows import definitions
from tests.fakes import receiver
from tests.fakes.far_end import FarEnd
from tests.fakes.receiver import Reply

PAGE = Path(__file__).parents[2] / "docs" / "handbook" / "custom-tools.md"


def block(language: str) -> str:
    """The one code block of that language on the handbook's page."""
    [found] = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    return str(found)


Install = Callable[[str, str, str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Puts a package with an entry point on the path, as pip would."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def put(name: str, module: str, points: str) -> None:
        (tmp_path / f"{name}.py").write_text(module)
        facts = tmp_path / f"{name}-1.0.dist-info"
        facts.mkdir()
        (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (facts / "entry_points.txt").write_text(f"[{registry.GROUP}]\n{points}\n")

    yield put
    for name in set(sys.modules) - before:
        del sys.modules[name]


def made(name: str, **more: Any) -> Tool:
    return FarEnd().tool("idempotent", name=name, **more)


async def test_the_package_of_the_handbook_is_found_and_works(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tomllib.loads(block("toml"))["project"]
    [(point, value)] = project["entry-points"][registry.GROUP].items()
    install(value.split(":")[0], block("python"), f"{point} = {value}")
    found = registry.load(registry.PURE)
    assert found.refused == {}
    lookup, remind = found.tools["crm.lookup"].tool, found.tools["crm.remind"].tool
    assert (lookup.effect, remind.effect) == ("idempotent", "keyed")
    async with receiver.receiving() as crm:
        monkeypatch.setenv("CRM_URL", f"http://{crm.host}:{crm.port}")
        nobody = UUID(int=7)
        call = Call({"customer": "C-7"}, TenantId(nobody), JobId(nobody), "s", 0, "the-key", clock.now())  # fmt: skip
        crm.replies = [Reply(body=b'{"name": "Ada", "tier": "gold"}'), Reply(404), Reply(503), Reply(201)]  # fmt: skip
        assert await lookup.run(call) == {"name": "Ada", "tier": "gold"}
        with pytest.raises(ToolFailed) as unknown:
            await lookup.run(call)
        assert not unknown.value.retryable
        with pytest.raises(ToolFailed) as closed:
            await lookup.run(call)
        assert closed.value.retryable
        told = replace(call, arguments={"customer": "C-7", "text": "call back"})
        assert await remind.run(told) == {"reminded": True}
        assert crm.got[-1].headers["idempotency-key"] == "the-key"


def test_a_broken_package_is_refused_by_name_and_the_others_stay(install: Install) -> None:
    tool = (
        "from app.tools.tool import Tool\n"
        "async def run(call): return None\n"
        "def made(name, **more):\n"
        "    given = dict(name=name, version='1', description='d', input={'type': 'object'}, run=run, effect='keyed')\n"
        "    return Tool(**given | more)\n"
    )
    install("good", tool + "TOOLS = [made('good.one'), made('good.two')]\n", "good = good:TOOLS")
    install("lost", "import nowhere_to_be_found\n", "lost = lost:TOOLS")
    install("odd", "TOOLS = ['no tool']\n", "odd = odd:TOOLS")
    install("shadow", tool + "TOOL = made('calculator')\n", "shadow = shadow:TOOL")
    install("vague", tool + "TOOL = made('vague', effect='perhaps')\n", "vague = vague:TOOL")
    install("skewed", tool + "TOOL = made('skewed', output={'type': 7})\n", "skewed = skewed:TOOL")
    found = registry.load(registry.PURE)
    assert {"good.one", "good.two", "calculator", "json.extract"} == set(found.tools)
    assert found.tools["calculator"].tool is calculator.TOOL
    assert set(found.refused) == {"lost", "odd", "calculator", "vague", "skewed"}
    assert "nowhere_to_be_found" in found.refused["lost"]
    assert "str, not a Tool" in found.refused["odd"]
    with pytest.raises(UnknownTool, match=r"refused when the process started: .*nowhere"):
        registry.get(found, "lost")


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "No Name"}, {"name": "x" * 64}, {"name": "a..b"}, {"input": {"type": "string"}}, {"version": ""},
        {"description": ""}, {"effect": "perhaps"}, {"timeout": timedelta(0)}, {"output_bytes": 0},
    ],
)  # fmt: skip
def test_a_tool_that_can_not_be_what_it_says_is_none(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        replace(made("fine"), **wrong)


def workflow(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"name": "w", "input": {"type": "object"}, "steps": list(steps), "output": None}


@pytest.mark.parametrize(
    ("step", "pointer", "message"),
    [
        ({"tool": "calculater", "in": {"expression": "1"}}, "/steps/0/tool", "did you mean calculator?"),
        ({"tool": "crm.lookup"}, "/steps/0/tool", "no tool is called crm.lookup"),
        ({"tool": "calculator"}, "/steps/0/in", "calculator wants expression"),
        ({"tool": "calculator", "in": {"expression": "1", "expresion": 2}}, "/steps/0/in/expresion", "did you mean expression?"),
        ({"tool": "Calculator"}, "/steps/0/tool", "pattern"),
        ({}, "/steps/0/tool", "required"),
    ],
)  # fmt: skip
def test_a_step_that_calls_no_such_tool_is_refused_with_a_pointer(
    step: dict[str, Any], pointer: str, message: str
) -> None:
    for inside in (False, True):
        one = {"id": "one", "kind": "tool"} | step
        whole = {"id": "all", "kind": "map", "over": "=input.xs", "step": one} if inside else one
        with pytest.raises(Invalid) as refused:
            definitions.parse(workflow(whole))
        fault = refused.value.context["errors"][0]
        where = pointer.replace("/steps/0", "/steps/0/step") if inside else pointer
        assert fault["pointer"] == where
        assert message in fault["message"]
