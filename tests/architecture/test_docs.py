"""The documents: what is drawn is in step with the code, and what they name is there."""

import ast
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from app.cli.main import app
from scripts import _docs

ROOT = Path(__file__).parents[2]
BLUEPRINT = ROOT / "docs" / "blueprint.md"
COVERAGE = ROOT / "docs" / "coverage.md"
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [str(path.relative_to(ROOT)) for path in DOCUMENTS]

TEST = re.compile(r"\b(tests/[\w/]+\.py)::(\w+)")
LINE = re.compile(r"^- \[([x ])\] (.+)$", re.MULTILINE)
VARIABLE = re.compile(r"\bTOWPATH_[A-Z0-9_]+")
LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
PLACE = re.compile(
    r"`((?:app|workers|tests|migrations|bench|gameday|scripts|docs|deploy)/[\w./-]*)[`:]"
)
COMMAND = re.compile(r"(?:`|bin/)towpath ([a-z][^`\n]*)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
SECTION = re.compile(r'docs/blueprint\.md, "([^"]+)"')
CODE = re.compile(r"\bcodes? `([a-z_]+)`|`([a-z_]+)` means")


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def prose(text: str) -> str:
    """Without what stands between fences."""
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


@cache
def headings(path: Path) -> list[str]:
    return HEADING.findall(prose(path.read_text(encoding="utf-8")))


def anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@cache
def functions_in(path: Path) -> frozenset[str]:
    if not path.exists():
        return frozenset()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(
        node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


@cache
def code_trees() -> list[ast.Module]:
    paths = [path for room in ("app", "workers") for path in sorted((ROOT / room).rglob("*.py"))]
    return [ast.parse(path.read_text(encoding="utf-8")) for path in paths]


def codes() -> set[str]:
    """The code of each error class, and of each fault that a job can end with."""
    found = set()
    for node in (node for tree in code_trees() for node in ast.walk(tree)):
        match node:
            case (
                ast.Assign(targets=[ast.Name(id="code")], value=ast.Constant(value=str(code)))
                | ast.AnnAssign(target=ast.Name(id="code"), value=ast.Constant(value=str(code)))
                | ast.Call(func=ast.Name(id="fault"), args=[ast.Constant(value=str(code)), *_])
            ):
                found.add(code)
    return found


def tables() -> set[str]:
    return {
        str(node.value.value)
        for tree in code_trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id == "__tablename__"
        and isinstance(node.value, ast.Constant)
    }


def test_what_is_drawn_is_what_the_code_has_now() -> None:
    texts = [path.read_text(encoding="utf-8") for path in (BLUEPRINT, _docs.PAIRS)]
    drawn = re.findall(r"<!-- drawn: (\w+) -->", "".join(texts))
    assert sorted(drawn) == sorted(_docs.DRAWN)
    assert [_docs.redrawn(text) for text in texts] == texts, "run scripts/docs"


def test_every_setting_is_said_to_be_something() -> None:
    settings = {one.variable: one.meaning for one in _docs.each_setting()}
    assert [name for name, meaning in settings.items() if not meaning] == []
    assert set(_docs.SAID) - set(settings) == set()


@pytest.mark.parametrize("name", NAMES)
def test_every_test_that_a_document_names_is_there(name: str) -> None:
    found = TEST.findall(text_of(name))
    assert [
        f"{path}::{test}" for path, test in found if test not in functions_in(ROOT / path)
    ] == []


def test_a_line_is_covered_by_a_test_or_it_is_open() -> None:
    lines = LINE.findall(COVERAGE.read_text(encoding="utf-8"))
    wrong = [
        said
        for mark, said in lines
        if bool(TEST.search(said)) != (mark == "x" or ": part. " in said)
    ]
    assert len(lines) > 100
    assert wrong == []


@pytest.mark.parametrize("name", NAMES)
def test_every_variable_that_a_document_names_is_a_setting(name: str) -> None:
    known = {one.variable for one in _docs.each_setting()}
    # A prefix such as TOWPATH_ itself, or that of a block, stands for its members.
    found = [each for each in VARIABLE.findall(text_of(name)) if not each.endswith("_")]
    assert sorted(set(found) - known) == []


@pytest.mark.parametrize("name", NAMES)
def test_every_link_leads_somewhere(name: str) -> None:
    home = (ROOT / name).parent
    lost = []
    for link in LINK.findall(prose(text_of(name))):
        file, _, place = link.partition("#")
        if file.startswith(("http://", "https://")):
            continue
        target = (home / file).resolve() if file else ROOT / name
        there = target.exists() and (
            not place or place in {anchor(heading) for heading in headings(target)}
        )
        if not there:
            lost.append(link)
    assert lost == []


@pytest.mark.parametrize("name", NAMES)
def test_every_place_in_the_code_that_a_document_names_is_there(name: str) -> None:
    found = PLACE.findall(text_of(name))
    assert [place for place in found if not (ROOT / place).exists()] == []


@pytest.mark.parametrize("name", NAMES)
def test_every_command_that_a_document_names_is_there(name: str) -> None:
    unknown = []
    for words in COMMAND.findall(text_of(name)):
        here: Any = typer.main.get_command(app)
        for word in words.split():
            if not hasattr(here, "get_command") or word.startswith("-"):
                break  # what follows a command is its own
            known = here.get_command(None, word)
            if known is None:
                unknown.append(words)
                break
            here = known
    assert unknown == []


def test_every_section_that_the_code_refers_to_is_there() -> None:
    paths = [path for kind in ("py", "sql") for path in (ROOT / "app").rglob(f"*.{kind}")]
    named = {title for path in paths for title in SECTION.findall(path.read_text(encoding="utf-8"))}
    assert "Grouped commits" in named
    assert named - set(headings(BLUEPRINT)) == set()


def test_every_error_code_of_the_guide_is_one_that_is_given() -> None:
    named = {one or other for one, other in CODE.findall(text_of("docs/guide/errors.md"))}
    assert {"budget_exhausted", "worker_lost"} <= named
    assert named - codes() == set()


def test_every_loop_of_control_is_told_of() -> None:
    tree = ast.parse(text_of("workers/control.py"))
    made = next(
        node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "loops"
    )
    names = {
        str(key.value)
        for node in ast.walk(made)
        if isinstance(node, ast.Dict)
        for key in node.keys
        if isinstance(key, ast.Constant)
    }
    rows = set(re.findall(r"^\| (\w+) \|", BLUEPRINT.read_text(encoding="utf-8"), re.MULTILINE))
    assert names
    assert names - rows == set()


def test_every_table_has_its_place_in_the_map_of_data_classes() -> None:
    _, _, after = BLUEPRINT.read_text(encoding="utf-8").partition("\n## Map of data classes\n")
    mapped = set(re.findall(r"`(\w+)`", after.partition("\n## ")[0]))
    assert tables() - mapped == set()


def test_no_two_pages_of_the_corpus_share_a_name() -> None:
    """They are ingested under their files' names, and a second of one name would replace the first."""
    pages = [
        path.name
        for folder in ("handbook", "guide")
        for path in (ROOT / "docs" / folder).glob("*.md")
    ]
    assert sorted(set(pages)) == sorted(pages)
