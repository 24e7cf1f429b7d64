"""Access units of one input, sorted into segments of house time, and the judgement whether a segment is whole.

A unit belongs to the segment in which its presentation begins. GOPs are closed and begin on the house clock, so that
is also where it belongs in decoding order. What arrives twice, too late or from a wrong time is left out and counted;
nothing here raises on media.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from headend.accessunit import AccessUnit, StreamFormat
from headend.clock import TICKS_PER_SECOND

TOLERATED_FRAMES: Final = 4
"""A hole of this many pictures is bridged by showing the one before it longer; a larger one makes the segment a gap."""
_LEAST_TOLERANCE: Final = TICKS_PER_SECOND // 10
AHEAD: Final = 60 * TICKS_PER_SECOND
"""A unit further in the future than this has a broken timestamp."""
_AT_ONCE: Final = 2000
_DEFAULT_FRAME: Final = TICKS_PER_SECOND // 25


class Reader(Protocol):
    """Where access units come from: :class:`headend.ring.RingReader`, or a list in a test."""

    @property
    def format(self) -> StreamFormat: ...

    @property
    def lost(self) -> int: ...

    def read(self) -> AccessUnit | None: ...


def frame_ticks(fmt: StreamFormat) -> int:
    """How long one access unit of a stream nominally is."""
    if fmt.kind == "video":
        return int(TICKS_PER_SECOND / fmt.rate) if fmt.rate else _DEFAULT_FRAME
    if fmt.frame_samples and fmt.sample_rate:
        return fmt.frame_samples * TICKS_PER_SECOND // fmt.sample_rate
    return _DEFAULT_FRAME


def tolerance_of(formats: Iterable[StreamFormat]) -> int:
    """The longest hole to bridge in a channel of these streams: the same for all, for a worker's death hits all
    alike."""
    return max([_LEAST_TOLERANCE, *(TOLERATED_FRAMES * frame_ticks(fmt) for fmt in formats)])


@dataclass(slots=True)
class Bucket:
    """The units that arrived for one segment, in decoding order."""

    format: StreamFormat
    units: list[AccessUnit] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)
    covered: int = 0
    """Sum of the durations."""
    mixed: bool = False
    """The stream's format changed inside."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A segment's worth of one input."""

    units: Sequence[AccessUnit]
    """From a key unit on; empty if there is nothing to decode."""
    start: int
    """House time at which it begins, without a hole after the one before."""
    end: int
    gap: bool
    format: StreamFormat
    bridged: int = 0
    """Ticks of holes that are bridged."""


class Collector:
    """Sorts what a reader yields. ``origin`` is the start of segment 0, ``segment_ticks`` the length of each,
    ``tolerance`` that of holes."""

    def __init__(self, name: str, reader: Reader, *, segment_ticks: int, origin: int, tolerance: int) -> None:
        self.name = name
        self.reader = reader
        self.counts: Counter[str] = Counter()
        """``received, late, replayed, early, duplicate, repaired, unordered, undecodable`` units, ``bridged`` holes."""
        self.first: int | None = None
        """Presentation time of the first unit that a decoder can start at."""
        self.more = False
        """The last :meth:`take` stopped before the reader was empty."""
        self._ticks = segment_ticks
        self._origin = origin
        self._buckets: dict[int, Bucket] = {}
        self._format = reader.format
        self._highest: int | None = None
        self._last_dts: int | None = None
        self._cut_dts: int | None = None
        self._tolerance = tolerance
        self._frame = frame_ticks(self._format)
        self._quiet_since: int | None = None

    @property
    def format(self) -> StreamFormat:
        """The format of the units read last."""
        return self._format

    @property
    def tolerance(self) -> int:
        """The longest hole, in ticks, that is bridged. Audio frames lie across the slots: there it is a frame more."""
        return self._tolerance + (self._frame if self._format.kind == "audio" else 0)

    def number_of(self, ticks: int) -> int:
        """The segment that contains an instant."""
        return (ticks - self._origin) // self._ticks

    def take(self, now: int, due: int | None, last: int | None) -> None:
        """Read what there is, up to a bound. Units below segment ``due`` are late, those up to ``last`` only read
        again."""
        for _ in range(_AT_ONCE):
            unit = self.reader.read()
            if unit is None:
                self.more = False
                return
            self._enter(unit, now, due, last)
        self.more = True

    def _enter(self, unit: AccessUnit, now: int, due: int | None, last: int | None) -> None:
        self.counts["received"] += 1
        fmt = self.reader.format
        if fmt is not self._format and fmt != self._format:
            self._format = fmt
            self._frame = frame_ticks(fmt)
        number = self.number_of(unit.pts)
        if unit.pts > now + AHEAD:
            self.counts["early"] += 1
            return
        if due is not None and number < due:
            self.counts["replayed" if last is not None and number <= last else "late"] += 1
            return
        if self.first is None:
            if not unit.key:
                self.counts["undecodable"] += 1
                return
            self.first = unit.pts
        bucket = self._buckets.get(number)
        if bucket is None:
            bucket = self._buckets[number] = Bucket(self._format)
        if unit.pts in bucket.seen:
            self.counts["duplicate"] += 1
            return
        if self._last_dts is not None and unit.dts <= self._last_dts:
            # The encoder's successor reorders again from its first picture on; decoding times must still rise.
            if self._last_dts >= unit.pts:
                self.counts["unordered"] += 1
                return
            self.counts["repaired"] += 1
            unit = replace(unit, dts=self._last_dts + 1)
        bucket.mixed |= bucket.format != self._format
        bucket.seen.add(unit.pts)
        bucket.units.append(unit)
        bucket.covered += unit.duration
        self._last_dts = unit.dts
        end = unit.pts + unit.duration
        if self._highest is None or end > self._highest:
            self._highest = end

    def silent(self) -> bool:
        """The last segment was a gap, and nothing has come since: waiting for it would only delay the others."""
        return self._quiet_since is not None and self._quiet_since == self.counts["received"]

    def complete(self, number: int) -> bool:
        """Nothing more will come for a segment: a unit beyond it has, or it is covered from end to end."""
        if self._highest is None:
            return False
        start = self._origin + number * self._ticks
        end = start + self._ticks
        bucket = self._buckets.get(number)
        if bucket is not None and bucket.units and self._highest >= end:
            lowest = min(bucket.seen)
            if bucket.covered >= end - lowest and lowest - start < self._frame:
                return True
        return any(later > number and b.units for later, b in self._buckets.items())

    def cut(self, number: int, after: int | None) -> Cut:
        """Take a segment out; ``after`` is where the one before ended. What is older is forgotten."""
        start = self._origin + number * self._ticks
        end = start + self._ticks
        bucket = self._buckets.pop(number, None)
        for old in [n for n in self._buckets if n < number]:
            del self._buckets[old]
        joined = after if after is not None and abs(start - after) <= self.tolerance else start
        if bucket is None:
            self._quiet_since = self.counts["received"]
            return Cut((), joined, end, True, self._format)
        lead = next((i for i, unit in enumerate(bucket.units) if unit.key), len(bucket.units))
        self.counts["undecodable"] += lead
        units = bucket.units[lead:]
        if not units:
            self._quiet_since = self.counts["received"]
            return Cut((), joined, end, True, bucket.format)
        if bucket.format.kind == "video":
            made = self._video(units, start, end, bucket.format)
        else:
            made = self._audio(units, start, end, joined, bucket.format)
        self._cut_dts = units[-1].dts
        if bucket.mixed:
            # One initialization section cannot describe both halves.
            made = replace(made, units=(), gap=True)
        if made.gap:
            self._quiet_since = self.counts["received"]
            return replace(made, start=joined, end=end)
        self._quiet_since = None
        if made.bridged:
            self.counts["bridged"] += 1
        return made

    def _holes(self, units: Sequence[AccessUnit], start: int, end: int) -> tuple[int, int]:
        """The longest and the sum of the holes between ``start`` and ``end``."""
        longest = total = 0
        at = start
        for pts, duration in sorted((unit.pts, unit.duration) for unit in units):
            if (hole := pts - at) > 0:
                longest, total = max(longest, hole), total + hole
            at = max(at, pts + duration)
        if (hole := end - at) > 0:
            longest, total = max(longest, hole), total + hole
        return longest, total

    def _video(self, units: list[AccessUnit], start: int, end: int, fmt: StreamFormat) -> Cut:
        longest, total = self._holes(units, start, end)
        gap = longest > self.tolerance
        first = units[0]
        if not gap and first.pts > start:
            # Nothing to show until the first key picture: show that one from the boundary on.
            early = first.pts - start
            dts = first.dts - early if self._cut_dts is None else max(first.dts - early, self._cut_dts + 1)
            units[0] = replace(first, pts=start, dts=dts, duration=first.duration + early)
        return Cut(units, start, end, gap, fmt, 0 if gap else total)

    def _audio(self, units: list[AccessUnit], start: int, end: int, joined: int, fmt: StreamFormat) -> Cut:
        # Frames lie across the boundary: the segment ends where its last frame does, or where the next one begins.
        first, last = units[0], units[-1]
        finish = last.pts + last.duration
        grid = max(first.duration, self._frame)
        head = max(0, first.pts - max(joined, start - grid))
        following = self._buckets.get(self.number_of(end))
        if following is not None and following.units and 0 <= following.units[0].pts - finish <= self.tolerance:
            finish = following.units[0].pts
        longest, total = self._holes(units, first.pts, finish)
        tail = max(0, end - finish)
        # A hole of less than a frame at the head is the grid's, not a loss.
        gap = max(longest, head, tail) > self.tolerance
        bridged = total + (head if head >= grid else 0) + tail
        return Cut(units, joined, finish, gap, fmt, 0 if gap else bridged)

    def state(self) -> dict[str, Any]:
        """Counters, and how much is waiting."""
        return {
            "id": self.name,
            "lost": self.reader.lost,
            "waiting": sum(len(b.units) for b in self._buckets.values()),
            **{key: self.counts[key] for key in sorted(self.counts)},
        }
