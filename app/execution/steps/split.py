"""Split: a long text into parts that fit a prompt, cut between paragraphs, else between sentences."""

import asyncio
from functools import partial
from typing import Any, Final

from app.execution.errors import StepFailed
from app.execution.steps.bench import Bench, Outcome
from app.retrieval import chunking

DEFAULT_TOKENS: Final = 400


async def run(bench: Bench, arguments: dict[str, Any]) -> Outcome:
    """Split. Arguments: text, max_tokens. The result: {parts: [text]}."""
    text, most = arguments.get("text"), arguments.get("max_tokens", DEFAULT_TOKENS)
    if not isinstance(text, str) or not text.strip():
        raise StepFailed("split wants a text", step="split")
    if not isinstance(most, int) or not 1 <= most <= 100_000:
        raise StepFailed("max_tokens is a whole number from 1 to 100,000", step="split")
    cut = partial(chunking.split, text, bench.runtime.embedder.count, max_tokens=most)
    parts = await asyncio.to_thread(cut)
    return Outcome({"parts": parts}, {"parts": len(parts)})
