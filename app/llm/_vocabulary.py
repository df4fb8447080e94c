"""The tokenizer inside a GGUF file: its vocabulary and merges, as a byte-level BPE.

Source: the GGUF specification, version 3 (ggml/docs/gguf.md). Only what leads to the two arrays is read.
"""

import struct
from io import BufferedReader
from pathlib import Path
from typing import Any, Final

from tokenizers import Regex, Tokenizer, pre_tokenizers
from tokenizers.models import BPE

_SCALARS: Final = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
_STRING: Final = 8
_ARRAY: Final = 9
# llama.cpp's pre-tokenizer "smollm": each digit alone, then GPT-2's words.
_WORDS: Final = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def tokenizer(path: Path) -> Tokenizer:
    """The tokenizer of a GGUF model with a GPT-2 vocabulary."""
    with path.open("rb") as file:
        facts = _facts(file)
    tokens, merges = facts["tokenizer.ggml.tokens"], facts["tokenizer.ggml.merges"]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    made = Tokenizer(BPE(vocabulary, [tuple(merge.split(" ")) for merge in merges]))
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.Split(Regex(_WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    return made


def _facts(file: BufferedReader) -> dict[str, Any]:
    magic, _version, _tensors, count = struct.unpack("<4sIQQ", file.read(24))
    if magic != b"GGUF":
        raise ValueError("not a GGUF file")
    return {_text(file): _value(file, _scalar(file, "I")) for _ in range(count)}


def _value(file: BufferedReader, kind: int) -> Any:
    if kind == _STRING:
        return _text(file)
    if kind == _ARRAY:
        inner, count = _scalar(file, "I"), _scalar(file, "Q")
        return [_value(file, inner) for _ in range(count)]
    return _scalar(file, _SCALARS[kind])


def _scalar(file: BufferedReader, form: str) -> Any:
    return struct.unpack("<" + form, file.read(struct.calcsize("<" + form)))[0]


def _text(file: BufferedReader) -> str:
    return file.read(_scalar(file, "Q")).decode("utf-8", "replace")
