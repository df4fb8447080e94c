"""Draws what the documents take from the code: the rooms, the states of a job, the settings, the prices.

A drawn part stands between `<!-- drawn: NAME -->` and `<!-- end -->`. `scripts/docs` writes all of
them anew; `scripts/docs --check` and tests/architecture/test_docs.py say which are stale.
"""

import ast
import inspect
import io
import json
import re
import sys
import textwrap
import tokenize
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

from app.bootstrap.settings import NESTED, PREFIX, Settings
from app.core import clock, money
from app.core.ids import PriceId
from app.intake.admission import UNPREDICTED_NANOUSD
from app.jobs import states
from app.llm.counting import MESSAGE_OVERHEAD_TOKENS, PROMPT_OVERHEAD_TOKENS
from app.usage import pricing
from app.usage.pricing import Price, Tokens
from app.workflows import definitions
from tests.concurrency.outcomes import OUTCOMES

ROOT: Final = Path(__file__).parents[1]
BLUEPRINT: Final = ROOT / "docs" / "blueprint.md"
PAIRS: Final = ROOT / "docs" / "pairs.md"
# One call of the embedded model: two messages of 700 bytes, an answer of at most 120 tokens.
EXAMPLE_BYTES: Final = 700
EXAMPLE_MAX_TOKENS: Final = 120
EXAMPLE_TOKENS: Final = Tokens(input=230, output=40)
_PART: Final = re.compile(r"(<!-- drawn: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

# What a variable is, where its own line only says why it is so.
SAID: Final = {
    "TOWPATH_DATABASE_URL": "PostgreSQL 18 with pgvector, as `towpath_app`",
    "TOWPATH_DATABASE_OWNER_URL": "the same, as `towpath_owner`",
    "TOWPATH_BROKER_URL": "Valkey or Redis for Celery's messages. None: the embedded one, by `towpath up`",
    "TOWPATH_CACHE_URL": "Valkey or Redis for rate limits. None: each process counts by itself (`towpath up` names the embedded one)",
    "TOWPATH_STATE_DIR": "folder of the local stack: its databases, keys, logs and files",
    "TOWPATH_FILES_DIR": "folder of uploaded bytes",
    "TOWPATH_SENTRY_DSN": "where errors are reported. None: nowhere",
    "TOWPATH_LOG_LEVEL": "`debug`, `info`, `warning` or `error`",
    "TOWPATH_LOG_JSON": "one JSON object a line; false: for a terminal",
    "TOWPATH_API__BODY_BYTES": "the most bytes",
    "TOWPATH_API__DOCUMENT_BYTES": "the most bytes",
    "TOWPATH_API__DATABASE_POOL": "connections of an API process, beside its groups' and its listener's",
    "TOWPATH_WORKER__LANES": "the lanes of a worker process",
    "TOWPATH_LEASES__HEARTBEAT": "how often a worker renews its leases",
    "TOWPATH_LEASES__DISPATCH": "how long a dispatched attempt may wait for its worker",
    "TOWPATH_EXECUTION__RESULT_BYTES": "the largest result",
    "TOWPATH_EXECUTION__RETRY_BASE": "pause after a failed try",
    "TOWPATH_EXECUTION__RETRY_CAP": "the longest such pause",
    "TOWPATH_INTAKE__IDEMPOTENCY_KEPT": "how long an idempotency key stands for its job",
    "TOWPATH_INTAKE__MAX_ATTEMPTS": "failures that end a job",
    "TOWPATH_SCHEDULING__FALLBACK": "the dispatcher looks at least this often",
    "TOWPATH_SCHEDULING__WORKER_SILENCE": "a worker's silence",
    "TOWPATH_SCHEDULING__LANES": "lanes and their parts of the slots",
    "TOWPATH_RETENTION__CONTENTS": "contents of a job",
    "TOWPATH_RETENTION__HISTORY": "history of a job",
    "TOWPATH_RETENTION__DELIVERIES": "deliveries",
    "TOWPATH_RETENTION__PART": "the purge's pace",
    "TOWPATH_RATELIMIT__TIMEOUT": "the longest call to the shared counters",
    "TOWPATH_RATELIMIT__PAUSE": "after a failed call",
    "TOWPATH_RATELIMIT__PLACES": "places in the line",
    "TOWPATH_RATELIMIT__ADDRESS_PER_MINUTE": "of one address, before a caller is known",
    "TOWPATH_RATELIMIT__FAILED_ADDRESS_PER_MINUTE": "of one address",
    "TOWPATH_RATELIMIT__FAILED_KEY_PER_MINUTE": "of one address or many",
    "TOWPATH_LLM__PROVIDER": "the first rung's provider, as the price book names it",
    "TOWPATH_LLM__MODEL": "the first rung's model, in the price book and on the wire",
    "TOWPATH_LLM__BASE_URL": "the first rung's server; wins over `TOWPATH_LLM_BASE_URL`",
    "TOWPATH_LLM__API_KEY": "the first rung's key, where its server wants one",
    "TOWPATH_LLM__CONTEXT_TOKENS": "the first rung's window, prompt and answer together",
    "TOWPATH_LLM__ROUTES": "the rungs above the first, as a JSON list (`app/llm/config.py`)",
    "TOWPATH_LLM__CONNECT_TIMEOUT": "to reach a provider",
    "TOWPATH_LLM__TOTAL_TIMEOUT": "one call in all",
    "TOWPATH_LLM__RETRIES": "calls after the first, within a step",
    "TOWPATH_LLM__PATIENCE": "the longest wait between them",
    "TOWPATH_LLM__CONNECTIONS": "connections to each route",
    "TOWPATH_SECRETS__KEY": "the master key: 32 bytes in base64 or hex",
    "TOWPATH_SECRETS__KEY_FILE": "a file that holds it. None: `secrets.key` in the state folder, made on first use",
}


@dataclass(frozen=True, slots=True)
class Setting:
    """One variable, its default as it would be typed, and what it is for."""

    variable: str
    default: str
    meaning: str


def rooms() -> str:
    """The floors as the import contract has them, the highest first, each room with its own first line."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = next(one["layers"] for one in contracts["contracts"] if one["type"] == "layers")
    lines = ["| floor | room | what it is |", "| ---: | --- | --- |"]
    for floor, layer in zip(range(len(layers), 0, -1), layers, strict=True):
        names = [name.strip().strip("()") for name in layer.split("|")]
        for name in names:
            said = _first_line(name)
            if said is not None:
                lines.append(f"| {floor} | `{name}` | {said} |")
    return "\n".join(lines)


def _first_line(room: str) -> str | None:
    for path in (ROOT / "app" / room / "__init__.py", ROOT / "app" / f"{room}.py"):
        if path.exists():
            said = ast.get_docstring(ast.parse(path.read_text())) or ""
            return said.split("\n")[0].rstrip(".")
    return None  # a floor that is reserved for a room to come


def job_states() -> str:
    """The table of legal moves as a state diagram."""
    lines = ["```mermaid", "stateDiagram-v2"]
    lines += ["    [*] --> scheduled : admitted with run_at", "    [*] --> queued : admitted"]
    lines += [f"    {old} --> {new} : {why}" for (old, new), why in states.MOVES.items()]
    lines += [f"    {state} --> [*]" for state in states.TERMINAL]
    return "\n".join([*lines, "```"])


def settings() -> str:
    """Every variable that an operator may set."""
    lines = ["| variable | default | what it is |", "| --- | --- | --- |"]
    for one in each_setting():
        default = f"`{one.default}`" if one.default else ""
        meaning = one.meaning.replace("|", "\\|")
        lines.append(f"| `{one.variable}` | {default} | {meaning} |")
    return "\n".join(lines)


def each_setting() -> list[Setting]:
    """The variables of Settings and of its blocks, in their order."""
    return list(_of(Settings, PREFIX))


def _of(block: type[BaseModel], prefix: str) -> Iterator[Setting]:
    comments = _comments(block)
    for name, field in block.model_fields.items():
        variable = prefix + name.upper()
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _of(inner, variable + NESTED)
        else:
            what, why = SAID.get(variable, ""), comments.get(name, "")
            between = ". " if why.startswith("None") else ": "
            meaning = between.join(filter(None, (what, why))).rstrip(".")
            yield Setting(variable, _default(field), meaning)


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    plain: Any = TypeAdapter(Any).dump_python(value, mode="json")
    match plain:
        case None:
            return ""
        case str():
            return plain
        case _:
            return json.dumps(plain)  # as the variable takes it


def _comments(block: type[BaseModel]) -> dict[str, str]:
    """What is said of each field: on its own lines, else right above it."""
    source = textwrap.dedent(inspect.getsource(block))
    said = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    lines = source.split("\n")
    body = next(node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)).body
    found = {}
    for node in body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            first, last = node.lineno, node.end_lineno or node.lineno
            words = [said[line] for line in range(first, last + 1) if line in said]
            above = first - 1
            while not words and above in said and lines[above - 1].lstrip().startswith("#"):
                above -= 1
            words = words or [said[line] for line in range(above + 1, first)]
            found[node.target.id] = " ".join(words)
    return found


def prices() -> str:
    """The embedded model's price, and one call of it in figures, by the functions that charge for it."""
    picousd = pricing._EMBEDDED_PICOUSD  # noqa: SLF001 - the seed's own numbers
    price = Price(
        PriceId(UUID(int=0)), *pricing.EMBEDDED, clock.now(), picousd["input"], picousd["cached_input"],
        picousd["input"], picousd["output"],
    )  # fmt: skip
    bound = PROMPT_OVERHEAD_TOKENS + 2 * MESSAGE_OVERHEAD_TOKENS + EXAMPLE_BYTES
    held = pricing.ceiling_nanousd(price, bound, EXAMPLE_MAX_TOKENS)
    cost = pricing.cost_nanousd(price, EXAMPLE_TOKENS)
    envelope = UNPREDICTED_NANOUSD + pricing.ceiling_nanousd(
        price, definitions.PROMPT_TOKENS, EXAMPLE_MAX_TOKENS
    )
    used = f"{EXAMPLE_TOKENS.input} × {picousd['input']:,} + {EXAMPLE_TOKENS.output} × {picousd['output']:,}"
    rows = [
        ("one input token", f"{picousd['input']:,} pUSD", money.from_pico(picousd["input"])),
        ("one input token, cached", f"{picousd['cached_input']:,} pUSD", money.from_pico(picousd["cached_input"])),
        ("one output token", f"{picousd['output']:,} pUSD", money.from_pico(picousd["output"])),
        (
            "envelope at admission",
            f"{UNPREDICTED_NANOUSD} + ({definitions.PROMPT_TOKENS} × {picousd['input']:,} + "
            f"{EXAMPLE_MAX_TOKENS} × {picousd['output']:,}) pUSD",
            envelope,
        ),
        ("bound of the input", f"{PROMPT_OVERHEAD_TOKENS} + 2 × {MESSAGE_OVERHEAD_TOKENS} + {EXAMPLE_BYTES} tokens", None),
        ("hold", f"({bound} × {picousd['input']:,} + {EXAMPLE_MAX_TOKENS} × {picousd['output']:,}) pUSD", held),
        ("settled", f"({used}) pUSD", cost),
        ("free again", "hold − settled", held - cost),
    ]  # fmt: skip
    lines = ["| amount | how | nano-dollars | USD |", "| --- | --- | ---: | ---: |"]
    for name, how, nanousd in rows:
        shown = ("", "") if nanousd is None else (f"{nanousd:,}", money.to_wire(nanousd))
        lines.append(f"| {name} | {how} | {shown[0]} | {shown[1]} |")
    return "\n".join(lines)


def pairs() -> str:
    """What becomes of every pair of operations on one job, as the tests play it."""
    lines = [
        "| first | second | meets it | then says | the job in the end |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {first} | {second} | {how} | `{said}` | `{state}` |"
        for (first, second), (how, said, state) in OUTCOMES.items()
    ]
    return "\n".join(lines)


DRAWN: Final[dict[str, Callable[[], str]]] = {
    "rooms": rooms,
    "states": job_states,
    "settings": settings,
    "prices": prices,
    "pairs": pairs,
}


def redrawn(text: str) -> str:
    """A document with its drawn parts as the code has them now."""
    return _PART.sub(lambda found: f"{found[1]}{DRAWN[found[2]]()}\n{found[3]}", text)


def main(arguments: list[str]) -> int:
    """Write the drawn parts, or with `--check` say whether they are in step."""
    stale = [path for path in (BLUEPRINT, PAIRS) if redrawn(path.read_text()) != path.read_text()]
    if arguments == ["--check"]:
        for path in stale:
            sys.stderr.write(f"{path.relative_to(ROOT)} is stale: run scripts/docs\n")
        return int(bool(stale))
    for path in stale:
        path.write_text(redrawn(path.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
