"""docs/scale.md says what its figures come to."""

from scripts import _scale


def test_the_table_of_scale_is_what_its_figures_come_to() -> None:
    text = _scale.SCALE.read_text(encoding="utf-8")
    assert "<!-- drawn: demand -->" in text
    assert _scale.redrawn(text) == text, "run scripts/docs"


def test_ten_times_the_jobs_need_ten_times_the_cores() -> None:
    rows = {row.split(" | ")[0]: row.split(" | ")[1:] for row in _scale.demand().splitlines()}
    small, middle, _ = rows["| cores of Postgres"]
    assert 9 < float(middle) / float(small) < 11
