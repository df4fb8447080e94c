"""The support that a text has in passages: pick the evidence, verify a draft, conclude.

Passages are dicts as `retrieve` gives them: chunk, document, name, title, section, body, score,
cosine, coverage, matched. `Embed` turns n texts into (n, dimensions) float32 of length 1. Nothing
here asks a model whether it knows; what is not stated follows from scores alone (ARCHITECTURE.md,
section 6). How the weights and bounds were found: docs/blueprint.md, "The guard in figures".
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from app.safety import _words, screening, sentences
from app.safety._grounds import DONE, Ground, judge
from app.safety.passages import LEANING, Embed, Passage, heading

EVIDENCE_SENTENCES: Final = 2  # what a small model reads without losing the thread …
EVIDENCE_WORDS: Final = 60  # … in this many words, the best sentence always
QUOTE_SENTENCES: Final = 3
QUOTE_SHARE: Final = 0.72  # of the best sentence's score: what is quoted beside it
FIRST_SENTENCE: Final = 0.5  # a section mostly says first what it is about
VALUE: Final = 0.75  # to a question for a number, a sentence that gives one
LEAD_IN_WORDS: Final = 28  # a passage shorter than this mostly announces what others say
KIN: Final = 0.25  # word vectors less alike than this have nothing to do with each other

# An answer is there when this is above zero; fitted on questions of our own, not on the shipped ones.
_ANSWERABLE: Final = {"coverage": 3.0, "cosine": 1.5, "matched": 2.3}
_ANSWERABLE_BIAS: Final = -3.5
# Which passage answers best, by the passage and by its best sentence.
_BEST: Final = {"cosine": 6.0, "matched": 1.5, "sentence": 4.0, "kin": 4.5, "lead_in": -3.0}


_OPENING: Final = re.compile(
    r"^(?:(?:answer|a|response|fact)\s*:\s*|(?:yes|no|sure|certainly)\s*[,.:;–-]\s*|according to the "
    r"(?:passage|text)\s*,?\s*|the (?:passage|text) (?:states|says|mentions) that\s+)",
    re.IGNORECASE,
)
_HEADING_LINE: Final = re.compile(r"^#{1,6} .*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class _Look:
    """One passage against the question: its sentences with their scores, and its own score."""

    passage: Passage
    texts: list[str]
    scores: list[float]
    score: float


def pick(question: str, passages: Sequence[Passage], embed: Embed) -> dict[str, Any]:
    """The evidence for an answer: the best passage, the sentences that bear on the question, or none.

    Gives {answerable, score, reason, passage, best, text, quote, flagged}. `best` is the sentence a
    model is shown first, `text` what it is shown if that draft did not hold, `quote` what is said if
    neither did; `flagged` names passages that speak to a model, which are never evidence:
    [{chunk, reasons}]. `reason` is empty, or says why there is no answer: no_passage, name_unknown,
    too_far, no_value.
    """
    flagged = [
        {"chunk": passage["chunk"], "reasons": reasons}
        for passage in passages
        if (reasons := screening.flags(passage["body"]))
    ]
    bad = {flag["chunk"] for flag in flagged}
    sound = [passage for passage in passages if passage["chunk"] not in bad]
    looks = sorted(_look(question, sound, embed), key=lambda look: look.score, reverse=True)
    if not looks:
        return _nothing("no_passage", 0.0, flagged)
    best = looks[0]
    score = _ANSWERABLE_BIAS + sum(
        weight * best.passage[name] for name, weight in _ANSWERABLE.items()
    )
    if _unknown_names(question, sound):
        return _nothing("name_unknown", score, flagged)
    if score <= 0:
        return _nothing("too_far", score, flagged)
    order = sorted(range(len(best.texts)), key=lambda place: best.scores[place], reverse=True)
    text = _joined(best, _shown(best, order))
    if _words.asks_for_a_value(question) and not _words.has_a_value(text):
        return _nothing("no_value", score, flagged)
    return {
        "answerable": True, "score": round(score, 4), "reason": "", "passage": best.passage,
        "text": text, "best": _joined(best, _whole(best, order[:1])),
        "quote": _joined(best, _quoted(best, order)), "flagged": flagged,
    }  # fmt: skip


def _nothing(reason: str, score: float, flagged: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "answerable": False, "score": round(score, 4), "reason": reason, "passage": None, "text": "",
        "best": "", "quote": "", "flagged": flagged,
    }  # fmt: skip


def _look(question: str, passages: Sequence[Passage], embed: Embed) -> list[_Look]:
    split = [sentences.split(passage["body"]) for passage in passages]
    headed = [
        f"{heading(passage)}. {text}"
        for passage, texts in zip(passages, split, strict=True)
        for text in texts
    ]
    if not headed:
        return []
    vectors = embed([question, *headed])
    near = vectors[1:] @ vectors[0]
    kin = _Kin(question, headed, embed)
    looks, at = [], 0
    for passage, texts in zip(passages, split, strict=True):
        rows = range(at, at + len(texts))
        at += len(texts)
        if not texts:
            continue
        kinship = [kin.share(headed[row]) for row in rows]
        scores = [
            _BEST["sentence"] * float(near[row]) + _BEST["kin"] * share
            for row, share in zip(rows, kinship, strict=True)
        ]
        scores[0] += FIRST_SENTENCE
        if _words.asks_for_a_value(question):
            values = [_words.has_a_value(text) for text in texts]
            scores = [score + VALUE * has for score, has in zip(scores, values, strict=True)]
        score = (
            _BEST["cosine"] * passage["cosine"]
            + _BEST["matched"] * passage["matched"]
            + _BEST["sentence"] * float(near[rows[0] : rows[-1] + 1].max())
            + _BEST["kin"] * max(kinship)
            + _BEST["lead_in"] * (len(passage["body"].split()) < LEAD_IN_WORDS)
        )
        looks.append(_Look(passage, texts, scores, score))
    return looks


class _Kin:
    """How far each word of a question has a word like it in a text: the same root, or a near vector."""

    def __init__(self, question: str, texts: Sequence[str], embed: Embed) -> None:
        asked = _distinct(question)
        words = list(dict.fromkeys(word for text in texts for word in _distinct(text)))
        self.column = {word: place for place, word in enumerate(words)}
        vectors = embed([*asked, *words])
        likeness = vectors[: len(asked)] @ vectors[len(asked) :].T
        roots = np.array([_words.root(word) for word in words])
        for place, word in enumerate(asked):
            likeness[place, roots == _words.root(word)] = 1.0
        self.likeness = np.where(likeness < KIN, 0.0, likeness)

    def share(self, text: str) -> float:
        columns = [self.column[word] for word in _distinct(text)]
        if not columns or not len(self.likeness):
            return 0.0
        return float(self.likeness[:, columns].max(axis=1).mean())


def _distinct(text: str) -> list[str]:
    return list(dict.fromkeys(word for word in _words.tokens(text) if word not in _words.STOP))


def _unknown_names(question: str, passages: Sequence[Passage]) -> list[str]:
    """Names in the question that no passage knows: what is asked about them is not stated here."""
    text = " ".join(f"{p['title']} {p['section']} {p['body']}" for p in passages)
    known = set(_words.tokens(text)) | set(_words.content(text))
    return [name for name in _words.names(question) if not _words.known(name, known)]


def _shown(look: _Look, order: list[int]) -> list[int]:
    chosen = _whole(look, order[:1])
    for place in order[1:]:
        more = _whole(look, [*chosen, place])
        words = sum(len(look.texts[one].split()) for one in more)
        if len(more) <= EVIDENCE_SENTENCES and words <= EVIDENCE_WORDS:
            chosen = more
    return chosen


def _quoted(look: _Look, order: list[int]) -> list[int]:
    floor = look.scores[order[0]] * QUOTE_SHARE
    good = [place for place in order[:QUOTE_SENTENCES] if look.scores[place] >= floor]
    return _whole(look, good)


def _whole(look: _Look, places: list[int]) -> list[int]:
    """These sentences, each that leans on the one before ("They …") together with it."""
    leaning = [place - 1 for place in places if place and LEANING.match(look.texts[place])]
    return list(dict.fromkeys([*places, *leaning]))


def _joined(look: _Look, places: list[int]) -> str:
    """Sentences in the passage's order; code keeps its lines."""
    texts = [look.texts[place] for place in sorted(places)]
    return ("\n" if any("\n" in text for text in texts) else " ").join(texts)


def verify(
    text: str, passages: Sequence[Passage], embed: Embed, question: str = ""
) -> dict[str, Any]:
    """Does each clause of a draft rest on a passage?

    Gives {supported, score, text, sentences}: `text` is the draft without preamble and without an
    unfinished last sentence; each of `sentences` is {text, supported, score, chunk, quote, reasons}.
    A clause rests on one sentence of a passage: nearly all of its words, in about their order, are
    there, and no word is new but the question's (and never the first); every number, identifier and command stands there
    to the letter, a number before the same word and within the same bounds; it denies what that
    sentence denies and nothing else. Words of two sentences never make a third: "Keep the key safe.
    Valkey needs no backup." does not say that the key needs none.
    """
    tidy = _tidy(text)
    grounds = [Ground(passage) for passage in passages if passage["body"].strip()]
    asked = set(_words.content(question))
    judged = [judge(sentence, grounds, asked, embed) for sentence in sentences.split(tidy)]
    supported = bool(judged) and all(one["supported"] for one in judged)
    score = min((one["score"] for one in judged), default=0.0)
    return {"supported": supported, "score": score, "text": tidy, "sentences": judged}


def _tidy(text: str) -> str:
    """A draft's own words: no preamble, no repetition, no unfinished end where there is another."""
    bare = " ".join(text.replace("\n", " ").split()).strip('"“” ')
    while (opening := _OPENING.match(bare)) and opening.end():
        bare = bare[opening.end() :]
    parts = list(dict.fromkeys(sentences.split(bare[:1].upper() + bare[1:])))
    if len(parts) > 1 and not DONE.search(parts[-1]):
        parts.pop()
    return " ".join(parts)


def conclude(evidence: dict[str, Any], checks: Sequence[dict[str, Any] | None]) -> dict[str, Any]:
    """The answer: the first draft that holds and is to the point, else the quote, else a refusal.

    `checks` are verdicts of `verify` in the order of the ladder; a rung not tried is None. To the
    point is a draft of which a sentence rests on the evidence's best sentence. Gives
    {answer, outcome, support, citations, flagged}: outcome is drafted, quoted or refused; citations
    are [{document, name, title, section, chunk, quote}].
    """
    answer: dict[str, Any] = {
        "answer": "The documents do not state this.", "outcome": "refused", "support": 0.0,
        "citations": [], "flagged": evidence["flagged"],
    }  # fmt: skip
    if not evidence["answerable"]:
        return answer
    held = next((check for check in checks if check and _holds(check, evidence["best"])), None)
    if held is None:
        return answer | {
            "answer": evidence["quote"], "outcome": "quoted", "support": 1.0,
            "citations": [_citation(evidence["passage"], evidence["quote"])],
        }  # fmt: skip
    quotes = list(dict.fromkeys(sentence["quote"] for sentence in held["sentences"]))
    return answer | {
        "answer": held["text"], "outcome": "drafted", "support": held["score"],
        "citations": [_citation(evidence["passage"], quote) for quote in quotes],
    }  # fmt: skip


def _holds(check: dict[str, Any], best: str) -> bool:
    return bool(check["supported"]) and any(
        sentence in best
        for judged in check["sentences"]
        for sentence in sentences.split(judged["quote"])
    )


def _citation(passage: Passage, quote: str) -> dict[str, Any]:
    kept = ("document", "name", "title", "section", "chunk")
    return {name: passage[name] for name in kept} | {"quote": quote}


def condense(
    parts: Sequence[str],
    drafts: Sequence[str | None],
    embed: Embed,
    *,
    sentences_each: int = 1,
    words: int = 200,
) -> dict[str, Any]:
    """Summaries that say only what their texts say: of each draft the sentences that its part supports.

    A part whose draft has none is spoken for by its `sentences_each` most central sentences. Gives
    {texts, text, drafted, quoted}: `texts` one a part, `text` the most central of them in order, at
    most `words` long, and how many parts were drafted and quoted.
    """
    texts, drafted = [], 0
    for place, whole in enumerate(parts):
        part = _HEADING_LINE.sub("", whole)
        draft = drafts[place] if place < len(drafts) else None
        held = _held(draft, part, embed) if draft else []
        drafted += bool(held)
        texts.append(" ".join(held or _central(sentences.split(part), sentences_each, embed)))
    texts = [text for text in texts if text]
    return {
        "texts": texts, "text": _within(texts, words, embed), "drafted": drafted,
        "quoted": len(parts) - drafted,
    }  # fmt: skip


def _held(draft: str, part: str, embed: Embed) -> list[str]:
    passage = {"chunk": None, "section": "", "body": part}
    return [
        sentence["text"]
        for sentence in verify(draft, [passage], embed)["sentences"]
        if sentence["supported"]
    ]


def _central(texts: list[str], count: int, embed: Embed) -> list[str]:
    """The sentences nearest to what all of them are about, in their order."""
    said = [text for text in texts if "\n" not in text and len(_words.content(text)) > 2] or texts
    if not said:
        return []
    vectors = embed(said)
    near = vectors @ vectors.mean(axis=0)
    chosen = sorted(np.argsort(-near, kind="stable")[:count].tolist())
    return [said[place] for place in chosen]


def _within(texts: list[str], words: int, embed: Embed) -> str:
    """The most central texts that fit, in their order."""
    if not texts:
        return ""
    vectors = embed(texts)
    near = vectors @ vectors.mean(axis=0)
    chosen: list[int] = []
    room = words
    for place in np.argsort(-near, kind="stable").tolist():
        size = len(texts[place].split())
        if not chosen or size <= room:
            chosen.append(place)
            room -= size
    return " ".join(texts[place] for place in sorted(chosen))
