"""A call within a trace: the same trace, another parent."""

import pytest

from app.core import tracing

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
ABOVE = "00f067aa0ba902b7"


def test_a_child_is_in_its_parents_trace_under_an_id_of_its_own() -> None:
    children = [tracing.child(f"00-{TRACE}-{ABOVE}-01").split("-") for _ in range(2)]

    assert [(version, trace, flags) for version, trace, _, flags in children] == [
        ("00", TRACE, "01")
    ] * 2
    assert len({ABOVE, *(parent for _, _, parent, _ in children)}) == 3
    assert all(tracing.valid("-".join(child)) for child in children)


def test_a_later_version_is_answered_in_ours_without_flags_we_do_not_know() -> None:
    version, trace, _, flags = tracing.child(f"cc-{TRACE}-{ABOVE}-fe").split("-")
    assert (version, trace, flags) == ("00", TRACE, "02")


@pytest.mark.parametrize(
    "header",
    [
        "",
        f"ff-{TRACE}-{ABOVE}-01",
        f"00-{'0' * 32}-{ABOVE}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{ABOVE}-01",
        f"00-{TRACE}-{ABOVE}-01-more",
    ],
)
def test_what_is_no_traceparent_is_ignored(header: str) -> None:
    assert tracing.valid(header) is None
