from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from app.core import ids

NUMBERS = st.integers(0, 2**128 - 1)


@given(NUMBERS)
def test_an_id_is_read_back_from_its_wire_form(number: int) -> None:
    text = ids.wire("job", UUID(int=number))
    assert len(text) == len("job_") + 26
    assert ids.parse("job", text) == UUID(int=number)
    assert ids.parse("key", text) is None


@given(NUMBERS, NUMBERS)
def test_wire_forms_sort_as_their_ids(one: int, other: int) -> None:
    forms = ids.wire("job", UUID(int=one)), ids.wire("job", UUID(int=other))
    assert (forms[0] < forms[1]) == (one < other)


@given(st.text())
def test_no_text_is_an_id_by_accident(text: str) -> None:
    assert ids.parse("job", f"job_{text}") is None or len(text) == 26


def test_forms_that_are_no_id() -> None:
    good = ids.wire("job", UUID(int=2**128 - 1))
    assert good == "job_7" + "z" * 25
    for bad in ("", "job", "job_", good + "0", "job_8" + "0" * 25, good.upper(), good[:-1] + "u"):
        assert ids.parse("job", bad) is None
