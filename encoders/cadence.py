"""Frame-rate conversion: which source picture is shown in which slot.

One rule, so that it can be predicted: a picture whose time is t (from the in-point) belongs to slot
``floor(t * rate + 1/2)``, and slot k shows the last picture that belongs to k or to a slot before it. A slot that has
no picture of its own repeats; of several pictures in one slot the last is shown and the others are dropped.
The first picture is also shown in the slots before it when it is late by at most a second, which is how
far apart sound and pictures begin in a recording of a broadcast.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from headend.clock import TICKS_PER_SECOND


@dataclass(frozen=True, slots=True)
class Cadence:
    """What the rule makes of a list of picture times."""

    shown: list[int | None]
    """For each slot the index of the picture it shows; None before the first."""
    repeats: int
    """Slots that show the picture of the slot before."""
    drops: int
    """Pictures from the in-point on that no slot shows."""


def ticks(pts: int, time_base: Fraction) -> int:
    """A timestamp in ticks of 27 MHz, rounded to nearest, halves up."""
    numerator = 2 * pts * time_base.numerator * TICKS_PER_SECOND + time_base.denominator
    return numerator // (2 * time_base.denominator)


def slot_of(time: int, slot_ticks: int) -> int:
    """The slot, counted from the in-point, to which a picture at ``time`` ticks belongs."""
    return (2 * time + slot_ticks) // (2 * slot_ticks)


def predict(times: Sequence[int], slot_ticks: int, slots: int) -> Cadence:
    """What ``slots`` slots show of pictures at ``times`` (ticks from the in-point, rising).

    Of the pictures before the in-point the last may be shown; they and pictures after the last slot never count as
    dropped.

    >>> predict([0, 540_000, 1_080_000, 1_620_000], 1_080_000, 2).shown  # 50 to 25 pictures a second
    [0, 2]
    """
    belongs = [max(slot_of(time, slot_ticks), 0) for time in times]
    early = [index for index, time in enumerate(times) if slot_of(time, slot_ticks) <= 0 and time < 0]
    begin = early[-1] if early else 0
    shown: list[int | None] = []
    index = begin - 1
    for slot in range(slots):
        while index + 1 < len(times) and belongs[index + 1] <= slot:
            index += 1
        shown.append(index if index >= begin else None)
    first = next((i for i, picture in enumerate(shown) if picture is not None), None)
    if first and first * slot_ticks <= TICKS_PER_SECOND:
        shown[:first] = [shown[first]] * first
    repeats = sum(1 for a, b in pairwise(shown) if b is not None and a == b)
    seen = {picture for picture in shown if picture is not None}
    drops = sum(1 for i in range(begin, len(times)) if times[i] >= 0 and belongs[i] < slots and i not in seen)
    return Cadence(shown, repeats, drops)
