"""A report as CSV."""

import csv
import io

import pytest

from app.usage import exports
from app.usage.reports import Row

NAMES = [
    '=HYPERLINK("http://x","y")', "+1", "-1", "@SUM(A1)", "\t=1+1", "\r=1", "'quoted", "plain",
    'a name with a comma, a "quote"\nand a new line', "Ünïcode 漢字",
]  # fmt: skip


def read_back(text: str) -> list[dict[str, str]]:
    assert text.startswith("\ufeff")
    return list(csv.DictReader(io.StringIO(text[1:], newline="")))


@pytest.mark.parametrize("name", NAMES)
def test_no_text_runs_as_a_formula_and_every_text_comes_back(name: str) -> None:
    """C121"""
    row = Row({"workflow": name}, 1, 2, 0, 0, 3, 0, 1, 0)
    (cells,) = read_back(exports.as_csv([row], ["workflow"]))
    assert cells["workflow"][0] not in "=+-@\t\r"
    assert cells["workflow"].removeprefix("'") == name


def test_numbers_stay_numbers_to_the_last_digit() -> None:
    """C116, C121"""
    rows = [
        Row({"day": "2026-05-10"}, 1, 2, 1, 0, 3, 0, -5_000_000_000, 0),
        Row({"day": "2026-05-11"}, 10_000, 30_000, 0, 0, 0, 0, 600_000, 60),
    ]
    first, second = read_back(exports.as_csv(rows, ["day"]))
    assert first == {
        "day": "2026-05-10", "calls": "1", "input_tokens": "2", "cached_tokens": "1",
        "cache_write_tokens": "0", "output_tokens": "3", "reasoning_tokens": "0", "cost_usd": "-5",
        "unconfirmed_usd": "0",
    }  # fmt: skip
    assert (second["cost_usd"], second["unconfirmed_usd"]) == ("0.0006", "0.00000006")


def test_an_empty_report_has_its_header() -> None:
    assert read_back(exports.as_csv([], ["day", "model"])) == []
    assert exports.as_csv([], ["day", "model"]).startswith("\ufeffday,model,calls,")
