"""The leaky bucket: exact, and it finds a stream that overflows the promise."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from encoders.vbv import Verifier
from headend.clock import TICKS_PER_SECOND

PICTURE = TICKS_PER_SECOND // 25


def test_a_constant_stream_at_the_rate_never_underflows() -> None:
    verifier = Verifier(1_000_000, 1_000_000)
    assert all(verifier.add(k * PICTURE, 5_000) for k in range(10_000))
    assert verifier.underflows == 0


def test_a_stream_above_the_rate_underflows_when_the_buffer_is_used_up() -> None:
    """900 000 bits at start, 4 000 bits more than arrive with each picture: 900 000 / 4 000 = 225 pictures."""
    verifier = Verifier(1_000_000, 1_000_000)
    good = [verifier.add(k * PICTURE, 5_500) for k in range(300)]
    # Before picture k there are 900 000 + 40 000 k - 44 000 k bits, of which it takes 44 000.
    assert good.index(False) == next(k for k in range(300) if 900_000 - 4_000 * k < 44_000)


def test_a_picture_larger_than_the_buffer_underflows() -> None:
    verifier = Verifier(1_000_000, 100_000)
    assert not verifier.add(0, 20_000)
    assert verifier.lowest < 0


def test_restart_forgets_time_and_keeps_counts() -> None:
    verifier = Verifier(1_000_000, 100_000)
    verifier.add(10 * TICKS_PER_SECOND, 20_000)
    verifier.restart()
    assert verifier.add(0, 1_000)
    assert verifier.underflows == 1


@given(st.lists(st.integers(0, 30_000), max_size=80), st.integers(10_000, 2_000_000), st.integers(10_000, 1_000_000))
def test_agrees_with_a_bucket_of_real_numbers(sizes: list[int], rate: int, room: int) -> None:
    verifier = Verifier(rate, room)
    level, underflows = room * 0.9, 0
    for k, size in enumerate(sizes):
        level = min(room, level + rate / 25) if k else level
        level -= size * 8
        if level < -1e-6:
            underflows += 1
        level = max(level, 0)
        verifier.add(k * PICTURE, size)
    assert abs(verifier.underflows - underflows) <= 1  # rounding of the initial fullness
