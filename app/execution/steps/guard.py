"""Pick, verify, conclude: what makes a weak model's answer trustworthy (docs/blueprint.md, "The guard").

The rules are safety's; here they get the embedder, in a thread: they compare some hundred sentences.
"""

import asyncio
from typing import Any

from app.execution.errors import StepFailed
from app.execution.steps.bench import Bench, Outcome
from app.safety import support


async def pick(bench: Bench, arguments: dict[str, Any]) -> Outcome:
    """The evidence for a question. Arguments: question, passages. The result: support.pick's."""
    question, passages = _text(arguments, "question"), _list(arguments, "passages")
    evidence = await asyncio.to_thread(
        support.pick, question, passages, bench.runtime.embedder.embed
    )
    return Outcome(evidence, {"answerable": evidence["answerable"]})


async def verify(bench: Bench, arguments: dict[str, Any]) -> Outcome:
    """Whether each sentence of a text rests on the passages. Arguments: text, passages. The result: support.verify's."""
    text, passages = _text(arguments, "text"), _list(arguments, "passages")
    verdict = await asyncio.to_thread(support.verify, text, passages, bench.runtime.embedder.embed)
    return Outcome(verdict, {"supported": verdict["supported"]})


async def conclude(bench: Bench, arguments: dict[str, Any]) -> Outcome:
    """The answer: drafted, quoted or refused. Arguments: evidence, checks. The result: support.conclude's."""
    evidence = arguments.get("evidence")
    if not isinstance(evidence, dict):
        raise StepFailed("conclude wants the evidence of a pick", step="conclude")
    answer = support.conclude(evidence, _list(arguments, "checks"))
    return Outcome(answer, {"outcome": answer["outcome"], "citations": len(answer["citations"])})


def _text(arguments: dict[str, Any], name: str) -> str:
    value = arguments.get(name)
    if not isinstance(value, str):
        raise StepFailed(f"{name} is not a text", step=name)
    return value


def _list(arguments: dict[str, Any], name: str) -> list[Any]:
    value = arguments.get(name)
    if not isinstance(value, list):
        raise StepFailed(f"{name} is not a list", step=name)
    return value
