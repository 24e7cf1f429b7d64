"""Pacing: in time, catching up, jumping."""

from __future__ import annotations

import threading
from fractions import Fraction

from encoders.format import ChannelFormat
from encoders.pace import Pace, Pacing
from headend.clock import FakeClock, from_seconds

FORMAT = ChannelFormat(160, 90, Fraction(25))
F = FORMAT.slot_ticks
S0 = 1000
CANCEL = threading.Event()


def pace_at(ticks: int, **options: int) -> tuple[Pace, FakeClock]:
    clock = FakeClock(ticks)
    return Pace(FORMAT, clock, Pacing(**options)), clock  # type: ignore[arg-type]


def test_slots_are_due_a_latency_after_they_begin() -> None:
    pace, clock = pace_at(S0 * F, latency=5 * F)
    assert [pace.wait(slot, CANCEL) for slot in range(S0, S0 + 3)] == [S0, S0 + 1, S0 + 2]
    assert clock.now() == (S0 + 2 + 5) * F
    assert (pace.late, pace.jumps) == (0, 0)


def test_a_lag_is_caught_up_without_a_jump() -> None:
    pace, clock = pace_at((S0 + 200) * F, latency=0)
    slot = S0
    while pace.catching_up or slot == S0:
        assert pace.wait(slot, CANCEL) == slot
        slot += 1
        clock.advance(F // 4)
    assert 260 < slot - S0 < 270
    assert pace.jumps == 0


def test_too_long_a_lag_is_jumped_over_at_once() -> None:
    pace, _ = pace_at((S0 + 251) * F, latency=0)
    assert pace.wait(S0, CANCEL) == S0 + 251
    assert pace.state()["jumped"] == 251
    assert "more than can be caught up" in pace.message


def test_a_lag_that_does_not_shrink_is_jumped_over_after_a_while() -> None:
    pace, clock = pace_at((S0 + 50) * F, latency=0)
    slot, steps = S0, 0
    while not pace.jumps:
        found = pace.wait(slot, CANCEL)
        assert found is not None
        slot = found + 1
        clock.advance(F)  # exactly real time: never gains
        steps += 1
        assert steps < 1000
    assert 125 <= steps <= 130
    assert "too slow" in pace.message
    assert pace.behind == 0


def test_a_small_lag_is_only_counted() -> None:
    pace, clock = pace_at((S0 + 10) * F, latency=0)
    for slot in range(S0, S0 + 500):
        assert pace.wait(slot, CANCEL) == slot
        clock.advance(F)
    assert pace.jumps == 0
    assert pace.late == 500


def test_cancel_ends_waiting() -> None:
    cancel = threading.Event()
    cancel.set()
    for realtime in (True, False):
        pace, _ = pace_at(S0 * F, realtime=realtime)
        assert pace.wait(S0 + 50, cancel) is None


def test_accelerated_runs_are_never_late() -> None:
    pace, clock = pace_at((S0 + 10_000) * F, realtime=False)
    assert pace.wait(S0, CANCEL) == S0
    assert pace.jumps == 0
    assert from_seconds(1) == 25 * F
    assert clock.now() == (S0 + 10_000) * F
