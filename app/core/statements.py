"""Hot SQL: one statement a `.sql` file in its room, its contract in the head, `:name` for a value."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import TextClause, text

_BIND: Final = re.compile(r"(?<![:\w]):([a-z_][a-z0-9_]*)")
_COMMENT: Final = re.compile(r"--[^\n]*")


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement in two dialects of binding: `.text` for SQLAlchemy, `.raw` for psycopg."""

    name: str
    text: TextClause
    raw: str
    binds: tuple[str, ...]


def load(module_file: str, name: str) -> Statement:
    """The statement in `sql/<name>.sql` beside a module: `load(__file__, "claim")`."""
    path = Path(module_file).parent / "sql" / f"{name}.sql"
    # Comments go: a colon or a per cent sign in prose would read as a bind.
    body = _COMMENT.sub("", path.read_text(encoding="utf-8")).strip()
    binds = tuple(dict.fromkeys(_BIND.findall(body)))
    raw = _BIND.sub(r"%(\1)s", body.replace("%", "%%"))
    return Statement(f"{path.parent.parent.name}/{name}", text(body), raw, binds)
