"""Text as vectors: WordLlama from its wheel, offline, in this process.

A vector is the average of trained token vectors, 256 numbers of length 1: short texts embed at
tens of thousands a second (docs/blueprint.md), so a few of them may stand on the event loop.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

DIMENSIONS: Final = 256
MODEL: Final = "wordllama-l2-supercat-256"
_LENGTH_MIN: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Embedder:
    """The model, in memory from its first use on (about 50 MB, 0.3 s); safe to use from several threads."""

    model: Callable[[], Any]

    def embed(self, texts: list[str]) -> Vectors:
        """Texts as (texts, 256) float32 of length 1; a text without a token is all zeros."""
        if not texts:
            return np.zeros((0, DIMENSIONS), dtype=np.float32)
        # A text without tokens has an average of nothing: the model would make it NaN.
        lone = [text if text.strip() else "." for text in texts]
        vectors: Vectors = self.model().embed(lone, norm=False)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit: Vectors = vectors / np.maximum(lengths, _LENGTH_MIN)
        for row, text in enumerate(texts):
            if not text.strip():
                unit[row] = 0
        return unit

    def count(self, texts: list[str]) -> list[int]:
        """The number of tokens of each text, by the same model's tokenizer."""
        if not texts:
            return []
        return [int(sum(coded.attention_mask)) for coded in self.model().tokenize(texts)]

    async def embed_aside(self, texts: list[str]) -> Vectors:
        """The same in a thread, for more than a few texts: the tokenizer frees the interpreter."""
        return await asyncio.to_thread(self.embed, texts)


_LOADING: Final = Lock()


def _model() -> Any:
    with _LOADING:  # a cache alone lets each of the threads that come first load a model of its own
        return _load()


@cache
def _load() -> Any:
    """The model of the installed package; nothing is downloaded."""
    from wordllama import WordLlama  # noqa: PLC0415 - most processes never embed a text

    return WordLlama.load(cache_dir=_folder(), disable_download=True)


def _folder() -> Path:
    spec = find_spec("wordllama")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("wordllama is not installed")
    return Path(spec.submodule_search_locations[0])


def open_embedder() -> Embedder:
    """An embedder. Raises ImportError at once where its model isn't installed."""
    _folder()
    return Embedder(_model)
