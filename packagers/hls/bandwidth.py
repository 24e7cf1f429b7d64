"""BANDWIDTH and AVERAGE-BANDWIDTH: what is declared before anything was measured, and what measuring changes.

A live multivariant playlist is read once by most players, so its figures must hold for hours to come. They are
therefore promises, made from the encoder's caps and the container's overhead. The authoring specification lets a live
stream exceed its promise by less than 25 % (peak segment) and 10 % (average of an hour); this module keeps it at
nothing: a measured figure above the declared one raises the declaration, in steps of 5 %, and no figure is ever
lowered while the caps stay the same. Declared figures are remembered in the journal, so a restart does not forget
what the content taught.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

from headend.accessunit import StreamFormat
from headend.clock import TICKS_PER_SECOND

HOUR: Final = 3600 * TICKS_PER_SECOND
_STEP: Final = Fraction(21, 20)
_ROUND: Final = 1000
_TS_UNIT: Final = 19 + 92
"""Bytes a TS spends on an access unit beside its payload: the PES header, and half a packet of stuffing on average."""
_CMAF_UNIT: Final = 16
"""Bytes of a sample's row in ``trun``: duration, size, flags, composition offset."""
_TS_SEGMENT: Final = 20 * 188
_CMAF_SEGMENT: Final = 256


def cap(formats: Sequence[StreamFormat], container: str, segment_ticks: int, *, peak: bool) -> int:
    """Bit/s that segments of these streams, muxed, are promised to stay below: bit rates plus the container's
    overhead."""
    total = Fraction(0)
    for fmt in formats:
        units = fmt.rate if fmt.kind == "video" else Fraction(fmt.sample_rate or 48_000, fmt.frame_samples or 1024)
        payload = Fraction(max(fmt.maxrate, fmt.bitrate) if peak else fmt.bitrate or fmt.maxrate)
        if container == "ts":
            total += payload * 188 / 184 + units * _TS_UNIT * 8
        else:
            total += payload + units * _CMAF_UNIT * 8
    fixed = _TS_SEGMENT if container == "ts" else _CMAF_SEGMENT
    total += Fraction(fixed * 8 * TICKS_PER_SECOND, segment_ticks)
    return _rounded(total)


def _rounded(rate: Fraction) -> int:
    return -(-rate.numerator // (rate.denominator * _ROUND)) * _ROUND


@dataclass(slots=True)
class Bandwidth:
    """Declared and measured bit rates of one rendition."""

    cap_peak: int
    cap_average: int
    peak: int = 0
    """Declared BANDWIDTH, bit/s."""
    average: int = 0
    """Declared AVERAGE-BANDWIDTH, bit/s."""
    measured_peak: int = 0
    _hour: deque[tuple[int, int]] = field(default_factory=deque)
    _ticks: int = 0
    _bytes: int = 0

    def __post_init__(self) -> None:
        self.peak = max(self.peak, self.cap_peak, self.cap_average)
        self.average = max(self.average, self.cap_average)

    @classmethod
    def of(
        cls, formats: Sequence[StreamFormat], container: str, segment_ticks: int, remembered: Sequence[int] = ()
    ) -> Bandwidth:
        """Declare for these streams. ``remembered`` is an earlier :meth:`to_json`; it counts if the caps are the
        same."""
        caps = (
            cap(formats, container, segment_ticks, peak=True),
            cap(formats, container, segment_ticks, peak=False),
        )
        if len(remembered) == 4 and tuple(remembered[:2]) == caps:
            return cls(*caps, remembered[2], remembered[3])
        return cls(*caps)

    def add(self, size: int, duration: int) -> bool:
        """Count a segment of ``size`` bytes and ``duration`` ticks; True if a declared figure had to be raised."""
        if duration <= 0 or size <= 0:
            return False
        self._hour.append((size, duration))
        self._bytes += size
        self._ticks += duration
        while self._ticks > HOUR and len(self._hour) > 1:
            old, length = self._hour.popleft()
            self._bytes -= old
            self._ticks -= length
        before = (self.peak, self.average)
        # Segments here are all as long as the target, so the peak over 0.5 to 1.5 targets is that of single segments.
        rate = Fraction(size * 8 * TICKS_PER_SECOND, duration)
        self.measured_peak = max(self.measured_peak, round(rate))
        if rate > self.peak:
            self.peak = _rounded(rate * _STEP)
        # A single loud minute is no average: wait for ten before the promise is touched.
        if self._ticks >= HOUR // 6 and (mean := Fraction(self.measured_average)) > self.average:
            self.average = _rounded(mean * _STEP)
        self.peak = max(self.peak, self.average)
        return (self.peak, self.average) != before

    @property
    def measured_average(self) -> int:
        """Bit/s over the last hour."""
        return self._bytes * 8 * TICKS_PER_SECOND // self._ticks if self._ticks else 0

    def to_json(self) -> list[int]:
        """What the journal keeps."""
        return [self.cap_peak, self.cap_average, self.peak, self.average]

    def state(self) -> dict[str, int]:
        """Declared and measured, bit/s."""
        return {
            "peak": self.peak,
            "average": self.average,
            "measured_peak": self.measured_peak,
            "measured_average": self.measured_average,
        }
