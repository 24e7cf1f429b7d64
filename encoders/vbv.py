"""The video buffering verifier: whether a decoder with a buffer of the promised size can follow.

The leaky bucket of ISO/IEC 14496-10 annex C (and 13818-1's VBV): bits arrive at the peak rate until the
buffer is full, each access unit leaves whole at its decoding time. An access unit that has not arrived
completely by then is an underflow: a picture that a receiver shows late. The ladder runs one beside each
encoder, because an encoder's promise is worth more when somebody counts.
"""

from __future__ import annotations

from headend.clock import TICKS_PER_SECOND


class Verifier:
    """A leaky bucket. ``rate`` in bit/s, ``size`` in bits, ``initial`` the fullness at the first picture (0 to 1).

    Exact: bits times ticks a second, in integers.
    """

    def __init__(self, rate: int, size: int, initial: float = 0.9) -> None:
        self._rate = rate
        self._size = size * TICKS_PER_SECOND
        self._start = round(self._size * initial)
        self._level = self._start
        self._dts: int | None = None
        self.underflows = 0
        self.lowest = 1.0
        """Least fullness seen, as a fraction of the size; below 0 it underflowed."""

    def add(self, dts: int, size: int) -> bool:
        """Take out an access unit of ``size`` bytes at ``dts`` (ticks). False if it had not arrived by then."""
        if self._dts is not None:
            self._level = min(self._size, self._level + (dts - self._dts) * self._rate)
        self._dts = dts
        self._level -= size * 8 * TICKS_PER_SECOND
        self.lowest = min(self.lowest, self._level / self._size)
        if self._level < 0:
            self.underflows += 1
            self._level = 0
            return False
        return True

    def restart(self) -> None:
        """A new encoder knows nothing of the old one's buffer: begin again, keep the counts."""
        self._level, self._dts = self._start, None
