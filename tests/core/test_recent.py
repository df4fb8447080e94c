import asyncio
from datetime import timedelta

import pytest

from app.core import recent
from app.core.recent import Recent


class Looks:
    """A look that ends when the test lets it, and counts itself."""

    def __init__(self) -> None:
        self.count = 0
        self.now = 0.0
        self.gate = asyncio.Event()
        self.gate.set()
        self.fault: Exception | None = None

    async def look(self, key: str) -> str:
        self.count += 1
        mine = self.count
        await self.gate.wait()
        if self.fault is not None:
            raise self.fault
        return f"{key}{mine}"

    def recent(self) -> Recent[str, str]:
        return Recent(self.look, timedelta(seconds=1), clock=lambda: self.now)


async def test_all_who_ask_together_share_one_look() -> None:
    looks = Looks()
    looks.gate.clear()
    known = looks.recent()
    asked = [asyncio.create_task(known.get("a")) for _ in range(50)]
    await asyncio.sleep(0)
    asked[0].cancel()
    await asyncio.sleep(0)
    looks.gate.set()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert set(answers[1:]) == {"a1"}


async def test_an_answer_is_believed_until_it_is_old() -> None:
    looks = Looks()
    known = looks.recent()
    assert await known.get("a") == "a1"
    looks.now = 0.999
    assert await known.get("a") == "a1"
    assert await known.get("b") == "b2"
    looks.now = 1.0
    assert await known.get("a") == "a3"


async def test_a_fault_is_raised_to_all_and_not_believed() -> None:
    looks = Looks()
    looks.fault = ValueError("away")
    known = looks.recent()
    faults = await asyncio.gather(known.get("a"), known.get("a"), return_exceptions=True)
    assert [type(fault) for fault in faults] == [ValueError, ValueError]
    assert looks.count == 1
    looks.fault = None
    assert await known.get("a") == "a2"


async def test_the_oldest_look_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "HELD", 2)
    looks = Looks()
    known = looks.recent()
    for key in ("a", "b", "c"):
        await known.get(key)
    assert [await known.get("c"), await known.get("b")] == ["c3", "b2"]
    assert await known.get("a") == "a4"
