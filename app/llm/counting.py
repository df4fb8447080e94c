"""How many tokens a prompt is: at the very most, and about.

The bound is what money is held for: UTF-8 bytes and an overhead. A byte-level vocabulary, which every
provider we know of has, makes at most one token of a byte; the overhead is for what a chat template
adds. The count is by the embedded model's own vocabulary: exact for it (seen equal to its server's on
prose, code, digits and other scripts), about right for others, and too slow to make for every call.
"""

import functools
from collections.abc import Sequence
from typing import Final, Protocol

from tokenizers import Tokenizer

from app.embedded import programs
from app.llm import _vocabulary

MESSAGE_OVERHEAD_TOKENS: Final = 8  # role and marks of one message; templates seen take 4 to 6
PROMPT_OVERHEAD_TOKENS: Final = 64  # a begin, a default system message (SmolLM2: 25), an opening
_MESSAGE_SEEN: Final = 6
_PROMPT_SEEN: Final = 25


class Said(Protocol):
    """A message: who says what."""

    @property
    def role(self) -> str:
        """Who."""

    @property
    def content(self) -> str:
        """What."""


def bound(messages: Sequence[Said]) -> int:
    """The most input tokens these messages can be."""
    size = sum(len(one.role.encode()) + len(one.content.encode()) for one in messages)
    return PROMPT_OVERHEAD_TOKENS + MESSAGE_OVERHEAD_TOKENS * len(messages) + size


def count(messages: Sequence[Said]) -> int:
    """About how many input tokens these messages are, rather too many. Some 0.4 ms a KiB: use a thread."""
    said = sum(count_text(one.content) for one in messages)
    return _PROMPT_SEEN + _MESSAGE_SEEN * len(messages) + said


def count_text(text: str) -> int:
    """How many tokens a text is, at least one. Use a thread: the first call takes a fifth of a second."""
    return max(1, len(_tokenizer().encode(text, add_special_tokens=False).ids))


@functools.cache
def _tokenizer() -> Tokenizer:
    return _vocabulary.tokenizer(programs.model())
