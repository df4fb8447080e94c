"""Pick, verify, conclude, condense: what makes a weak model's answer trustworthy (docs/blueprint.md, "The guard").

The rules are safety's; here they get the embedder, in a thread: they compare some hundred sentences.
"""

import asyncio
from functools import partial
from typing import Any

from app.core import ids
from app.core.ids import DocumentId
from app.execution.errors import StepFailed
from app.execution.steps.bench import Bench, Outcome
from app.retrieval import documents
from app.safety import support


async def pick(bench: Bench, arguments: dict[str, Any]) -> Outcome:
    """The evidence for a question. Arguments: question, passages. The result: support.pick's."""
    question, passages = _text(arguments, "question"), _list(arguments, "passages")
    evidence = await asyncio.to_thread(
        support.pick, question, passages, bench.runtime.embedder.embed
    )
    return Outcome(evidence, {"answerable": evidence["answerable"]})


async def verify(bench: Bench, arguments: dict[str, Any]) -> Outcome:
    """Whether each sentence of a text rests on the passages. Arguments: text, passages, question. The result: support.verify's."""
    text, passages = _text(arguments, "text"), _list(arguments, "passages")
    question = _text({"question": ""} | arguments, "question")
    verdict = await asyncio.to_thread(
        support.verify, text, passages, bench.runtime.embedder.embed, question
    )
    return Outcome(verdict, {"supported": verdict["supported"]})


async def conclude(bench: Bench, arguments: dict[str, Any]) -> Outcome:
    """The answer: drafted, quoted or refused. Arguments: evidence, checks. The result: support.conclude's,
    and of each citation whether its document was `deleted` while the answer was made.
    """
    evidence = arguments.get("evidence")
    if not isinstance(evidence, dict):
        raise StepFailed("conclude wants the evidence of a pick", step="conclude")
    answer = support.conclude(evidence, _list(arguments, "checks"))
    there = await _present(bench, [cited["document"] for cited in answer["citations"]])
    answer["citations"] = [
        cited | {"deleted": cited["document"] not in there} for cited in answer["citations"]
    ]
    return Outcome(answer, {"outcome": answer["outcome"], "citations": len(answer["citations"])})


async def condense(bench: Bench, arguments: dict[str, Any]) -> Outcome:
    """Summaries without inventions. Arguments: parts, drafts, sentences_each, words. The result: support.condense's."""
    parts, drafts = _list(arguments, "parts"), _list(arguments, "drafts")
    each, words = arguments.get("sentences_each", 1), arguments.get("words", 200)
    if not isinstance(each, int) or not isinstance(words, int) or each < 1 or words < 1:
        raise StepFailed("sentences_each and words are whole numbers above 0", step="condense")
    condensed = await asyncio.to_thread(
        partial(
            support.condense, parts, drafts, bench.runtime.embedder.embed,
            sentences_each=each, words=words,
        )
    )  # fmt: skip
    return Outcome(condensed, {"drafted": condensed["drafted"], "quoted": condensed["quoted"]})


async def _present(bench: Bench, cited: list[str]) -> set[str]:
    """Which of these documents, by their public ids, are still there."""
    known = {one: DocumentId(id_) for one in cited if (id_ := ids.parse("doc", one))}
    if not known:
        return set()
    async with bench.runtime.db.transaction() as session:
        there = await documents.present(session, bench.claimed.tenant, set(known.values()))
    return {one for one, id_ in known.items() if id_ in there}


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
