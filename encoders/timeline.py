"""One unbroken time for the streams of one input.

Timestamps of real inputs wrap (33 bits of 90 kHz, every 26.5 hours), jump when a sender restarts or a recording was cut
together, and go back. Each stream here keeps an offset to its own timestamps; when they jump, the offset is changed
so that time goes on, and the other streams adopt the same offset when their turn comes, so that sound and picture
stay together.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from headend.clock import TICKS_PER_SECOND

WRAP: Final = 300 << 33
"""Ticks after which a PTS repeats (ISO/IEC 13818-1, 2.4.3.7)."""

APART: Final = 10 * TICKS_PER_SECOND
"""How far apart the first frames of two streams may be."""


@dataclass(slots=True)
class Timeline:
    """Places timestamps of several streams, in ticks, on one unbroken axis."""

    backward: int = TICKS_PER_SECOND
    """Going back further than this is a jump."""
    forward: int = 10 * TICKS_PER_SECOND
    """Going ahead further than this is a jump; less is a gap in the media."""
    together: int = 3 * TICKS_PER_SECOND
    """A stream that goes on no further than this from another has had a gap, and has not jumped."""
    jumps: int = 0
    """Jumps seen, each counted once however many streams made it."""
    wraps: int = 0
    """33-bit wraps seen."""
    _offsets: dict[int, int] = field(default_factory=dict)
    _expected: dict[int, int] = field(default_factory=dict)
    _newest: int = 0
    """The offset made last: the one for other streams to adopt."""

    def place(self, stream: int, time: int | None, duration: int) -> int:
        """The unbroken time of a frame of ``stream`` that says it is at ``time`` and lasts ``duration``.

        ``time`` None (no timestamp) means directly after the frame before.
        """
        expected = self._expected.get(stream)
        if time is None:
            placed = expected if expected is not None else max(self._expected.values(), default=0)
        else:
            placed = self._corrected(stream, time, expected)
        self._expected[stream] = placed + max(duration, 0)
        return placed

    def peek(self, stream: int, time: int) -> int:
        """Where a frame of ``stream`` at ``time`` would be placed if nothing has jumped."""
        return time + self._offsets.get(stream, self._newest)

    def restart(self) -> None:
        """Frames of all streams are expected anywhere next (after a seek)."""
        self._offsets.clear()
        self._expected.clear()
        self._newest = 0

    def _fits(self, placed: int, expected: int) -> bool:
        return -self.backward <= placed - expected <= self.forward

    def _corrected(self, stream: int, time: int, expected: int | None) -> int:
        offset = self._offsets.setdefault(stream, self._newest)
        if expected is None:
            # A stream that begins is compared with the others, loosely: they do not begin together.
            expected = max(self._expected.values(), default=time + offset)
            if abs(time + offset - expected) <= APART:
                return time + offset
        if self._fits(time + offset, expected):
            return time + offset
        turns = round((expected - time - offset) / WRAP)
        if self._fits(time + self._newest, expected):
            offset = self._newest
        elif turns and self._fits(time + offset + turns * WRAP, expected):
            offset += turns * WRAP
            self.wraps += 1
        elif time + offset > expected and any(
            abs(time + offset - other) <= self.together for key, other in self._expected.items() if key != stream
        ):
            return time + offset  # the others are there: a gap in this stream alone
        else:
            offset = expected - time
            self.jumps += 1
        self._offsets[stream] = self._newest = offset
        return time + offset
