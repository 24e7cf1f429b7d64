"""Sorting access units into segments, and the judgement whether one is whole."""

from __future__ import annotations

from collections import deque
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.accessunit import AccessUnit, StreamFormat
from headend.clock import TICKS_PER_SECOND as S
from packagers.hls.collector import AHEAD, Collector, frame_ticks, tolerance_of

T = 2 * S
FRAME = S // 25
BASE = 1000
VIDEO = StreamFormat("video", "h264", rate=Fraction(25))
SOUND = StreamFormat("audio", "aac", sample_rate=48_000, frame_samples=1024)
AAC = 576_000


class ListReader:
    def __init__(self, fmt: StreamFormat, units: list[AccessUnit]) -> None:
        self.format, self.lost, self.queue = fmt, 0, deque(units)

    def read(self) -> AccessUnit | None:
        return self.queue.popleft() if self.queue else None


def video(*slots: int, key: int = 50) -> list[AccessUnit]:
    at = BASE * T
    return [AccessUnit(at + k * FRAME, at + k * FRAME, FRAME, k % key == 0, b"x") for k in slots]


def collector(fmt: StreamFormat, units: list[AccessUnit]) -> Collector:
    made = Collector("x", ListReader(fmt, units), segment_ticks=T, origin=0, tolerance=tolerance_of([VIDEO]))
    made.take((BASE + 10) * T, None, None)
    return made


def test_frame_lengths() -> None:
    assert frame_ticks(VIDEO) == FRAME
    assert frame_ticks(SOUND) == AAC
    assert frame_ticks(StreamFormat("video", "h264")) == FRAME
    assert tolerance_of([VIDEO, SOUND]) == 4 * FRAME
    assert tolerance_of([SOUND]) == S // 10


def test_complete_with_the_last_frame_or_with_anything_beyond() -> None:
    assert not collector(VIDEO, video(*range(49))).complete(BASE)
    assert collector(VIDEO, video(*range(50))).complete(BASE)
    assert not collector(VIDEO, video(*range(10), *range(11, 50))).complete(BASE)
    assert collector(VIDEO, video(*range(10), *range(11, 51))).complete(BASE)
    assert collector(VIDEO, video(*range(50, 60))).complete(BASE)
    assert not collector(VIDEO, []).complete(BASE)


@pytest.mark.parametrize(("missing", "gap"), [(range(3, 4), False), (range(20, 24), False), (range(20, 25), True),
                                              (range(46, 50), False), (range(45, 50), True)])  # fmt: skip
def test_how_long_a_hole_may_be(missing: range, gap: bool) -> None:
    cut = collector(VIDEO, video(*(k for k in range(51) if k not in missing))).cut(BASE, None)
    assert cut.gap is gap
    assert (cut.start, cut.end) == (BASE * T, (BASE + 1) * T)
    assert cut.bridged == (0 if gap else len(missing) * FRAME)


def test_without_its_key_picture_nothing_before_the_next_counts() -> None:
    made = collector(VIDEO, video(*range(-50, 0), *range(1, 51)))
    made.cut(BASE - 1, None)
    cut = made.cut(BASE, None)
    assert cut.gap
    assert cut.units == ()
    assert made.counts["undecodable"] == 49


def test_a_late_key_picture_is_shown_from_the_boundary() -> None:
    units = video(*range(-50, 0)) + [
        u if i else AccessUnit(u.pts, u.dts, FRAME, True, b"k") for i, u in enumerate(video(*range(3, 50)))
    ]
    made = collector(VIDEO, units)
    made.cut(BASE - 1, None)
    cut = made.cut(BASE, None)
    assert not cut.gap
    assert cut.units[0].pts == BASE * T
    assert cut.units[0].pts + cut.units[0].duration == cut.units[1].pts
    assert cut.units[0].dts > video(-1)[0].dts


def test_sound_is_cut_at_whole_frames_that_join() -> None:
    first = BASE * T // AAC
    units = [AccessUnit(k * AAC, k * AAC, AAC, True, b"a") for k in range(first, first + 300)]
    made = collector(SOUND, units)
    after, counted = None, 0
    made.cut(BASE - 1, None)
    for number in range(BASE, BASE + 3):
        assert made.complete(number)
        cut = made.cut(number, after)
        assert not cut.gap
        assert cut.bridged == 0
        if after is not None:
            assert cut.start == after == cut.units[0].pts
        assert all(number * T <= u.pts < (number + 1) * T for u in cut.units)
        after, counted = cut.end, counted + len(cut.units)
    assert counted == len([u for u in units if BASE * T <= u.pts < (BASE + 3) * T])


def test_what_is_left_out_is_counted() -> None:
    units = [*video(*range(50)), *video(10), AccessUnit((BASE + 10) * T + AHEAD + 1, 0, FRAME, True, b"far")]
    units.append(AccessUnit(BASE * T + FRAME // 2, 5, FRAME, False, b"unordered"))
    made = collector(VIDEO, units)
    assert dict(made.counts) == {"received": 53, "duplicate": 1, "early": 1, "unordered": 1}
    made.reader.queue.extend(video(*range(50)))  # type: ignore[attr-defined]
    made.take((BASE + 10) * T, BASE + 1, BASE - 1)
    assert made.counts["late"] == 50
    made.reader.queue.extend(video(*range(50)))  # type: ignore[attr-defined]
    made.take((BASE + 10) * T, BASE + 1, BASE)
    assert made.counts["replayed"] == 50
    assert made.state()["waiting"] == 50


def test_reading_is_bounded() -> None:
    made = collector(VIDEO, video(*range(2100)))
    assert made.more
    made.take((BASE + 100) * T, None, None)
    assert not made.more


def test_silence_is_noticed_and_forgotten() -> None:
    made = collector(VIDEO, video(*range(50)))
    assert not made.silent()
    made.cut(BASE, None)
    made.cut(BASE + 1, None)
    assert made.silent()
    made.reader.queue.extend(video(100))  # type: ignore[attr-defined]
    made.take((BASE + 10) * T, BASE + 2, None)
    assert not made.silent()


@given(st.lists(st.tuples(st.integers(-300, 300), st.integers(-3, 3), st.booleans(), st.integers(0, 90)), max_size=80))
def test_any_units_give_ordered_segments(rows: list[tuple[int, int, bool, int]]) -> None:
    at = BASE * T
    units = [
        AccessUnit(at + k * FRAME, at + (k + shift) * FRAME, d * FRAME // 30, key, b"x") for k, shift, key, d in rows
    ]
    made = collector(VIDEO, units)
    after = None
    last = None
    for number in range(BASE - 8, BASE + 8):
        made.complete(number)
        cut = made.cut(number, after)
        after = cut.end
        assert cut.end > cut.start
        if cut.units:
            assert cut.units[0].key
        for unit in cut.units:
            assert last is None or unit.dts > last
            last = unit.dts
