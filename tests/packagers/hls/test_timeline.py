"""The timeline: order kept, discontinuities counted when they leave."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packagers.hls.timeline import Segment, Timeline


def segment(number: int, *, discontinuity: bool = False) -> Segment:
    return Segment(number, number * 100, 100, f"{number}.ts", 1, discontinuity=discontinuity)


def test_empty() -> None:
    timeline = Timeline()
    assert timeline.msn is None
    assert timeline.last is None
    assert timeline.duration == 0
    assert timeline.slide(5) is timeline


def test_append_leaves_the_old_one_as_it_was() -> None:
    one = Timeline().append(segment(7))
    two = one.append(segment(8))
    assert [s.number for s in one.segments] == [7]
    assert [s.number for s in two.segments] == [7, 8]
    assert two.msn == 7
    assert two.duration == 200


@pytest.mark.parametrize("number", [6, 7, 9])
def test_a_number_that_does_not_follow_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match=f"segment {number} cannot follow segment 7"):
        Timeline().append(segment(7)).append(segment(number))


@given(st.lists(st.booleans(), max_size=30), st.integers(0, 40), st.integers(0, 40))
def test_sequence_numbers_only_grow(flags: list[bool], first: int, second: int) -> None:
    """DISCONTINUITY-SEQUENCE grows by the number of DISCONTINUITY tags removed."""
    timeline = Timeline()
    for number, flag in enumerate(flags):
        timeline = timeline.append(segment(number, discontinuity=flag))
    for cut in sorted((first, second)):
        timeline = timeline.slide(cut)
        assert timeline.dsn == sum(flags[:cut])
        assert [s.number for s in timeline.segments] == list(range(min(cut, len(flags)), len(flags)))
