"""The names in the trail: one grammar, and each one used and explained."""

import re
from pathlib import Path

from app.audit.actions import ACTIONS

ROOT = Path(__file__).parents[2]
COMMAND = re.compile(r"[a-z]+(?:_[a-z]+)*\.[a-z]+(?:_[a-z]+)*")
VERBS = {
    "admit", "answer", "cancel", "change", "clear", "create", "delete", "disable", "drain", "enter", "grant", "issue", "move", "open",
    "pause", "push", "refuse", "resume", "retry", "revoke", "rotate", "set", "suspend", "turn",
}  # fmt: skip


def test_an_action_is_a_kind_of_object_and_a_command() -> None:
    for action in ACTIONS:
        assert COMMAND.fullmatch(action), action
        assert action.partition(".")[2].partition("_")[0] in VERBS, action
    assert list(ACTIONS) == sorted(set(ACTIONS))


def test_every_action_is_entered_somewhere_and_explained_in_the_handbook() -> None:
    code = "".join(
        path.read_text()
        for path in (ROOT / "app").rglob("*.py")
        if "audit/actions" not in str(path)
    )
    handbook = (ROOT / "docs/handbook/audit.md").read_text()
    for action in ACTIONS:
        assert f'"{action}"' in code, action
        assert f"`{action}`" in handbook, action
