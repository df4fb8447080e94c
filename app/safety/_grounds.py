"""What the clauses of a draft rest on: one sentence of a passage each, weighed rule by rule."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from app.safety import _words, sentences
from app.safety.passages import LEANING, Embed, Passage, heading

WORDS_FOUND: Final = 0.8  # of a clause's words, in the sentences it rests on
WORDS_FROM_TEXT: Final = 0.65  # the rest may be its heading's
WORDS_IN_ORDER: Final = 0.65
LEAST_WORDS: Final = 3  # in a clause, or …
WORDS_OF_A_SHORT_ONE: Final = 0.6  # … this much of what its source says
REPETITION: Final = 0.6  # of a clause's words may not be said before
LIKENESS: Final = 0.55  # cosine of a clause and the sentences it rests on

_CLAUSE: Final = re.compile(
    r"(?:;|,| –| —)\s+(?=(?:and|but|or|so|while|whereas|which|who|because|although|if|when|then)\b)"
    r"|[;:]\s+|\s+(?=(?:because|whereas|although)\b)|\s+and\s+(?=(?:a|an|the|it|its|they|no|then)\s)",
    re.IGNORECASE,
)
DONE: Final = re.compile(r"[.!?…][\"'”’)\]`]*$")


class _Part:
    """A sentence or a clause of a passage, as what a clause of a draft may repeat."""

    def __init__(self, text: str) -> None:
        self.words = set(_words.content(text))
        self.exact = set(_words.exact(text))
        self.spans = [span for span in _words.spans(text) if len(span) > 1]
        self.measures = _measures(text)
        self.negated = _words.negated(text)
        self.bounds = _words.decisive(text) & _words.BOUNDS if _words.counts(text) else set()


class _Window:
    """A sentence of a passage, with the one before it where it leans on that ("They …")."""

    def __init__(self, parts: Sequence[str], heading: str) -> None:
        self.text = " ".join(parts)
        self.words = _words.content(self.text)
        self.headed = set(self.words) | set(_words.content(heading))
        self.decisive = _words.decisive(self.text)
        self.sentences = [_Part(part) for part in parts]
        self.clauses = [_Part(clause) for part in parts for clause in _clauses(part)]


class Ground:
    """What the sentences of a draft may rest on in one passage."""

    def __init__(self, passage: Passage) -> None:
        self.chunk = passage["chunk"]
        parts = sentences.split(passage["body"])
        runs: list[tuple[str, ...]] = [(one,) for one in parts]
        runs += [(one, other) for one, other in pairwise(parts) if LEANING.match(other)]
        self.windows = [_Window(run, heading(passage)) for run in runs]


def judge(sentence: str, grounds: list[Ground], asked: set[str], embed: Embed) -> dict[str, Any]:
    """The verdict on one sentence: all of its clauses must rest on one passage."""
    verdict: dict[str, Any] = {
        "text": sentence, "supported": False, "score": 0.0, "chunk": None, "quote": "",
        "reasons": ["no_passage"],
    }  # fmt: skip
    if not DONE.search(sentence):
        return verdict | {"reasons": ["unfinished"]}
    if _repeats(_words.content(sentence)):
        return verdict | {"reasons": ["says_nothing"]}
    best = (-99, 0.0)
    for ground in grounds:
        rests = [_best_rest(clause, ground, asked) for clause in _clauses(sentence)]
        reasons = list(dict.fromkeys(reason for rest in rests for reason in rest.against))
        share = min(rest.share for rest in rests)
        if (-len(reasons), share) > best:
            best = (-len(reasons), share)
            quote = " ".join(dict.fromkeys(rest.window.text for rest in rests))
            verdict |= {
                "supported": not reasons, "score": round(share, 4), "chunk": ground.chunk,
                "quote": quote, "reasons": reasons,
            }  # fmt: skip
    if verdict["supported"]:
        vectors = embed([sentence, verdict["quote"]])
        if float(vectors[0] @ vectors[1]) < LIKENESS:
            verdict |= {"supported": False, "reasons": ["likeness"]}
    return verdict


@dataclass(frozen=True, slots=True)
class _Rest:
    """What a clause rests on: the share of its words there, and what speaks against it."""

    window: _Window
    share: float
    against: list[str]


def _best_rest(clause: str, ground: Ground, asked: set[str]) -> _Rest:
    rests = [_rest(clause, window, asked) for window in ground.windows]
    return max(rests, key=lambda rest: (-len(rest.against), rest.share, -len(rest.window.text)))


def _clauses(sentence: str) -> list[str]:
    """Parts that claim something of their own; one of fewer than two facts stays with its neighbour."""
    found: list[str] = []
    for part in (part for part in _CLAUSE.split(sentence) if part):
        if found and (len(_words.content(part)) < 2 or len(_words.content(found[-1])) < 2):
            found[-1] += f", {part}"
        else:
            found.append(part)
    return found or [sentence]


def _rest(clause: str, window: _Window, asked: set[str]) -> _Rest:
    claimed = _words.content(clause)
    if _repeats(claimed):
        return _Rest(window, 0.0, ["says_nothing"])
    share = sum(word in window.headed for word in claimed) / len(claimed)
    from_text = sum(word in window.words for word in claimed) / len(claimed)
    sentence, part = _nearest(window.sentences, claimed), _nearest(window.clauses, claimed)
    decisive, exact = _words.decisive(clause), set(_words.exact(clause))
    reasons = {
        "says_little": len(set(claimed)) < LEAST_WORDS
        and len(part.words.intersection(claimed)) < WORDS_OF_A_SHORT_ONE * len(part.words),
        "words": share < WORDS_FOUND or from_text < WORDS_FROM_TEXT,
        "invented": bool(set(claimed) - window.headed - asked),
        "subject": claimed[0] not in window.headed,
        "order": _in_order([word for word in claimed if word in window.words], window.words)
        < WORDS_IN_ORDER,
        "exact": bool(exact - (part if _covers(part, claimed, exact) else sentence).exact),
        "command": any(_words.broken(span, clause) for span in sentence.spans),
        "measure": not _measures(clause) <= sentence.measures,
        "decisive": not decisive <= window.decisive,
        "bound": bool(part.bounds - decisive) and _words.counts(clause),
        "negation": _words.negated(clause) != part.negated,
    }
    return _Rest(window, share, [reason for reason, holds in reasons.items() if holds])


def _covers(part: _Part, claimed: list[str], exact: set[str]) -> bool:
    """Does a clause of the source say all but the figures? Then the figures must be its own."""
    plain = [word for word in claimed if word not in exact]
    return sum(word in part.words for word in plain) >= WORDS_FOUND * len(plain)


def _repeats(claimed: list[str]) -> bool:
    return len(set(claimed)) < max(1, REPETITION * len(claimed))


def _nearest(parts: list[_Part], claimed: list[str]) -> _Part:
    return max(parts, key=lambda part: len(part.words.intersection(claimed)))


def _in_order(claimed: list[str], there: list[str]) -> float:
    """The longest common subsequence of two texts' words, as a share of the first."""
    if not claimed:
        return 0.0
    row = [0] * (len(there) + 1)
    for word in claimed:
        diagonal = 0
        for place, other in enumerate(there, 1):
            above = row[place]
            row[place] = diagonal + 1 if word == other else max(above, row[place - 1])
            diagonal = above
    return row[-1] / len(claimed)


def _measures(text: str) -> set[tuple[str, str]]:
    """Each number with the word it counts: six seconds are not six minutes."""
    words = [_words.root(token) for token in _words.tokens(text)]
    return {
        (word, following)
        for word, following in pairwise(words)
        if word.replace(".", "").isdigit() and following.isalpha() and following not in _words.STOP
    }
