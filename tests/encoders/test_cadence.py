"""The rule of frame-rate conversion against its own words, written out slot by slot."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from encoders.cadence import predict, slot_of, ticks

SLOT = 1_080_000


@given(st.lists(st.integers(0, 5_000_000), min_size=1, max_size=60), st.integers(1, 60))
def test_predict_is_the_rule(steps: list[int], slots: int) -> None:
    times = [sum(steps[:n]) for n in range(len(steps))]
    cadence = predict(times, SLOT, slots)
    for slot in range(slots):
        belonging = [i for i, t in enumerate(times) if (2 * t + SLOT) // (2 * SLOT) <= slot]
        assert cadence.shown[slot] == (belonging[-1] if belonging else 0)  # the first picture is at time 0 here
    shown = {picture for picture in cadence.shown if picture is not None}
    assert cadence.repeats == slots - len(shown)
    assert cadence.drops == sum(1 for i, t in enumerate(times) if slot_of(t, SLOT) < slots and i not in shown)


def test_fifty_to_twenty_five_drops_every_other() -> None:
    cadence = predict([n * SLOT // 2 for n in range(100)], SLOT, 50)
    assert cadence.repeats == 0
    assert cadence.drops == 49
    assert cadence.shown == [*range(0, 100, 2)]


def test_film_repeats_one_in_twenty_five() -> None:
    cadence = predict([ticks(n, Fraction(1, 24)) for n in range(48)], SLOT, 50)
    assert (cadence.repeats, cadence.drops) == (2, 0)


def test_late_first_picture_is_shown_early_within_a_second_only() -> None:
    assert predict([10 * SLOT], SLOT, 12).shown == [0] * 12
    assert predict([30 * SLOT], SLOT, 31).shown == [None] * 30 + [0]


def test_picture_before_the_in_point_is_shown_but_never_counted() -> None:
    cadence = predict([-2 * SLOT, -SLOT, SLOT], SLOT, 2)
    assert cadence.shown == [1, 2]
    assert cadence.drops == 0


def test_ticks_round_halves_up() -> None:
    assert ticks(1, Fraction(1, 90_000)) == 300
    assert ticks(-1, Fraction(1, 54_000_000)) == 0
    assert ticks(1, Fraction(1, 54_000_000)) == 1
