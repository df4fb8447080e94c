"""Passages as the guard sees them, and the vectors it is handed."""

import re
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Embed = Callable[[list[str]], NDArray[np.float32]]
Passage = dict[str, Any]

# How a sentence begins that says little without the one before it.
LEANING: Final = re.compile(
    r"(?:it|its|they|their|them|these|those|this|that|such|both|together|then|so|therefore|he|she)\b",
    re.IGNORECASE,
)


def heading(passage: Passage) -> str:
    """The last heading above a passage."""
    return str(passage["section"]).rsplit(" › ", 1)[-1]
