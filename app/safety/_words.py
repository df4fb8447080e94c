"""Words as the support rules compare them: without inflection, numbers as digits, names as they are."""

import re
from itertools import pairwise
from typing import Final

_TOKEN: Final = re.compile(r"[A-Za-z0-9_]+(?:[.:/@'’-][A-Za-z0-9_]+)*")
_SPAN: Final = re.compile(r"`([^`\n]+)`")
_PART: Final = re.compile(r"[a-z0-9_]+")
_COUNTING: Final = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
    "twenty",
)  # fmt: skip
_NUMBERS: Final = {word: str(value) for value, word in enumerate(_COUNTING)} | {
    "thirty": "30", "forty": "40", "fifty": "50", "sixty": "60", "hundred": "100",
    "thousand": "1000",
}  # fmt: skip

# Words that carry no fact of their own. "no" and "not" do: see NEGATIONS.
STOP: Final = frozenset(
    """a an the and or but if then than that this these those is are was were be been being am do does
    did doing done has have had having i you he she it we they me him her us them my your his its our
    their mine who whom whose which what when where why how can could may might must shall should will
    would of in on at by for with from to into onto up out as so such just there here also too very
    s t let about any each both all some own same again more most other get gets got make makes made
    because while during through between before after until since""".split()  # noqa: SIM905 - prose
)
NEGATIONS: Final = frozenset(
    {
        "no",
        "not",
        "never",
        "none",
        "nothing",
        "nobody",
        "neither",
        "nor",
        "cannot",
        "without",
        "n't",
    }
)
# Words on which the meaning turns: a draft may use one only where its source does.
DECISIVE: Final = frozenset(
    {
        "before",
        "after",
        "more",
        "less",
        "most",
        "least",
        "off",
        "on",
        "all",
        "only",
        "every",
        "always",
    }
    | {
        "up",
        "down",
        "first",
        "last",
        "until",
        "unless",
        "except",
        "over",
        "under",
        "above",
        "below",
    }
    | {"again", "twice", "both", "either", "any", "than", "without", "within", "instead"}
)
# Those that bound a number: a draft that repeats the number repeats them too.
BOUNDS: Final = frozenset(
    {
        "most",
        "least",
        "less",
        "more",
        "than",
        "up",
        "about",
        "only",
        "until",
        "unless",
        "over",
        "under",
    }
)
_VALUES: Final = frozenset(_NUMBERS) | frozenset(
    {"twice", "every", "daily", "hourly", "weekly", "monthly", "yearly"}
    | {"half", "double", "until", "unlimited"}
)
_ONCE_PER: Final = re.compile(r"\bonce (?:a|an|per|every|each)\b", re.IGNORECASE)
_VALUE_ASKED: Final = re.compile(
    r"(?:\w+\s+)?(?:how (?:many|much|long|often|old|far|fast|soon|quickly|big|large|small|tall|high|deep|heavy)\b"
    r"|(?:at |in )?what (?:is |are |was |were )?(?:the )?(?:\w+ )?(?:number|maximum|minimum|limit|length|size|price"
    r"|cost|rate|temperature|age|duration|amount|percentage|version|date|year|port)\b"
    r"|when (?:was|were|did)\b|(?:in |on |from |to )?which (?:version|number|date|year|port)\b)",
    re.IGNORECASE,
)
_ENDINGS: Final = (
    ("ations", ""), ("ation", ""), ("ically", "ic"), ("ings", ""), ("ing", ""), ("iness", "y"),
    ("ness", ""), ("edly", ""), ("ied", "y"), ("ies", "y"), ("ments", ""), ("ment", ""),
    ("sses", "ss"), ("ed", ""), ("es", ""), ("ly", ""), ("s", ""), ("e", ""),
)  # fmt: skip


def tokens(text: str) -> list[str]:
    """The words of a text in order, in lower case; `a.b/c`, `max_cost` and `1,000` stay whole."""
    text = re.sub(r"(?<=\d),(?=\d{3}\b)", "", text).replace("’", "'")
    return [token.lower() for token in _TOKEN.findall(text)]


def root(word: str) -> str:
    """A word without its inflection, crude but the same for both sides; number words as digits."""
    word = word.removesuffix("'s").removesuffix("'")
    if word in _NUMBERS and word != "one":  # "one" counts, but is mostly said of no number
        return _NUMBERS[word]
    if not word.isalpha():
        return word
    if word.endswith(("ss", "eed")):
        return word
    for ending, instead in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 2 + (
            len(ending) > 2 and not instead
        ):
            word = word[: len(word) - len(ending)] + instead
            break
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "ls":
        word = word[:-1]  # "stopp" as "stop"
    return word.removesuffix("e") if len(word) > 3 else word


def content(text: str) -> list[str]:
    """The roots of the words that carry facts, in order; compounds give their parts too."""
    found: list[str] = []
    for token in tokens(text):
        if token in STOP or token in NEGATIONS or token.endswith("n't"):
            continue
        parts = _PART.findall(token)
        found.append(root(token))
        if len(parts) > 1:
            found += [root(part) for part in parts if part not in STOP and len(part) > 1]
    return found


def negated(text: str) -> bool:
    """Does it deny something?"""
    return any(token in NEGATIONS or token.endswith("n't") for token in tokens(text))


def decisive(text: str) -> set[str]:
    """The words in it on which the meaning turns."""
    return set(tokens(text)) & DECISIVE


def counts(text: str) -> bool:
    """Does it give a number, in digits or words?"""
    return any(token in _NUMBERS or token[0].isdigit() for token in tokens(text))


def exact(text: str) -> list[str]:
    """What must be right to the letter: numbers, identifiers, paths, names in capitals."""
    found: list[str] = []
    for token in _TOKEN.findall(re.sub(r"(?<=\d),(?=\d{3}\b)", "", text)):
        lower = token.lower()
        inner_capital = any(letter.isupper() for letter in token[1:])
        if lower in _NUMBERS and lower != "one":
            found.append(_NUMBERS[lower])
        elif any(mark.isdigit() or mark in "_/@:." for mark in token) or inner_capital:
            found.append(lower)
    return found


def names(question: str) -> list[str]:
    """Proper names, abbreviations and numbers of a question: capitals inside a sentence, digits."""
    words = list(_TOKEN.finditer(question))
    if sum(word.group()[0].isupper() for word in words) > len(words) / 2:
        return []  # written In Title Case: capitals say nothing
    found = []
    for place, word in enumerate(words):
        text = word.group()
        opens = place == 0 or question[: word.start()].rstrip("\"'“‘( ")[-1:] in ".!?:"
        inner = any(mark.isupper() or mark.isdigit() for mark in text[1:]) or text[0].isdigit()
        if inner or (text[0].isupper() and not opens and text not in ("I", "I'm", "I've", "I'd")):
            found.append(text.lower())
    return found


def known(name: str, words: set[str]) -> bool:
    """Is this name among the words, perhaps inflected or shortened (Postgres, PostgreSQL)?"""
    bare = name.removesuffix("'s")
    if bare in words or root(bare) in words:
        return True
    long = [word for word in words if min(len(word), len(bare)) > 4]
    return any(word.startswith(bare) or bare.startswith(word) for word in long)


def asks_for_a_value(question: str) -> bool:
    """Is the question, in its last sentence, for a number, a size, a time or a price?"""
    return bool(_VALUE_ASKED.match(re.split(r"(?<=[.?!])\s+", question.strip())[-1]))


def has_a_value(text: str) -> bool:
    """Does it give a number, how often, or until when?"""
    if _ONCE_PER.search(text) or any(mark.isdigit() for mark in text):
        return True
    return not _VALUES.isdisjoint(tokens(text))


def spans(text: str) -> list[list[str]]:
    """The words of each piece of code in a text."""
    return [tokens(span) for span in _SPAN.findall(text)]


def broken(span: list[str], clause: str) -> bool:
    """Does a clause repeat two words of a command and change the rest of it?"""
    words = tokens(clause)
    pairs = set(pairwise(words))
    size = len(span)
    whole = any(words[place : place + size] == span for place in range(len(words) - size + 1))
    return not whole and any(pair in pairs for pair in pairwise(span))
