"""Wraps, jumps and gaps of several streams become one unbroken time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from encoders.timeline import WRAP, Timeline
from headend.clock import TICKS_PER_SECOND as SECOND

FRAME = SECOND // 25


def test_a_wrap_is_no_jump_and_both_streams_take_it() -> None:
    line = Timeline()
    start = WRAP - 10 * FRAME
    for n in range(50):
        for stream in (0, 1):
            assert line.place(stream, (start + n * FRAME) % WRAP, FRAME) == start + n * FRAME
    assert (line.wraps, line.jumps) == (1, 0)


@given(st.integers(-86_400, 86_400).filter(lambda s: not -2 < s < 12))
def test_a_jump_goes_on_seamlessly_and_keeps_streams_together(seconds: int) -> None:
    line = Timeline()
    start = 200_000 * SECOND
    lag = FRAME // 3
    for n in range(100):
        offset = seconds * SECOND if n >= 50 else 0
        assert line.place(0, start + n * FRAME + offset, FRAME) == start + n * FRAME
        sound = line.place(1, start + lag + n * FRAME + offset, FRAME)
        assert sound == start + lag + n * FRAME, "both by the same offset"
    assert line.jumps + line.wraps == 1


def test_a_gap_of_one_stream_is_kept() -> None:
    line = Timeline(forward=SECOND)
    for n in range(100):
        line.place(0, n * FRAME, FRAME)
        if n < 10:
            line.place(1, n * FRAME, FRAME)
    assert line.place(1, 100 * FRAME, FRAME) == 100 * FRAME
    assert line.jumps == 0


def test_no_timestamp_means_next() -> None:
    line = Timeline()
    assert line.place(0, 500, 10) == 500
    assert line.place(0, None, 10) == 510
    assert line.place(0, None, 10) == 520


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.one_of(st.none(), st.integers(-(1 << 62), 1 << 62)), st.integers(-5, SECOND)),
        max_size=60,
    )
)
def test_whatever_comes_time_never_jumps_far(frames: list[tuple[int, int | None, int]]) -> None:
    line = Timeline()
    last: dict[int, int] = {}
    for stream, time, duration in frames:
        placed = line.place(stream, time, duration)
        if stream in last:
            assert -SECOND <= placed - last[stream] <= 10 * SECOND
        last[stream] = placed + max(duration, 0)
