"""A far end that tools act on, in this process: it counts what happened under each effect key."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from app.tools.tool import EFFECTS, Call, Tool

ECHO = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}  # fmt: skip


@dataclass(slots=True)
class FarEnd:
    """`far.idempotent`, `far.keyed`, `far.unsafe`: each does `behave`, where it is set, then answers {"n": n}.

    Like a real one it does what is keyed once a key.
    """

    calls: Counter[str] = field(default_factory=Counter)
    happened: Counter[str] = field(default_factory=Counter)
    seen: list[Call] = field(default_factory=list)
    before: Callable[[Call], Awaitable[Any]] | None = None
    after: Callable[[Call], Awaitable[Any]] | None = None
    let_go: asyncio.Event = field(default_factory=asyncio.Event)

    async def hold(self, call: Call) -> Any:
        """A way to behave: wait until let go, then answer."""
        await self.let_go.wait()
        return {"n": call.arguments["n"]}

    def tools(self) -> list[Tool]:
        """One of each class, and one that has 30 ms."""
        hasty = timedelta(milliseconds=30)
        return [
            *(self.tool(effect) for effect in EFFECTS),
            *(self.tool(effect, name=f"far.hasty_{effect}", timeout=hasty) for effect in EFFECTS),
        ]

    def tool(self, effect: Any, **more: Any) -> Tool:
        async def run(call: Call) -> Any:
            self.seen.append(call)
            self.calls[call.effect_key] += 1
            if self.before is not None:
                await self.before(call)
            if effect != "keyed" or not self.happened[call.effect_key]:
                self.happened[call.effect_key] += 1
            if self.after is not None:
                return await self.after(call)
            return {"n": call.arguments["n"]}

        given: dict[str, Any] = {
            "name": f"far.{effect}", "version": "7", "description": "Tells the far end a number.",
            "input": ECHO, "output": ECHO, "run": run, "effect": effect, "output_bytes": 1_000,
        }  # fmt: skip
        return Tool(**given | more)
