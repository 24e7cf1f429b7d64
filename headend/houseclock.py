"""The house clock: one authority per machine says what time it is, and every process reads it (design, section 3).

The authority publishes a straight line, house time as a function of CLOCK_MONOTONIC_RAW, in shared memory: an anchor
and a rate. Readers compute; they never ask the operating system what time it is, so a step of the system's clock, a
leap second or a change of time zone reaches no channel. Without an authority readers go on along the last line; a
successor starts from that line.

:class:`Discipline` is the control law, free of any clock: every few seconds it sees by how much the system's clock
(which NTP or PTP keeps) is ahead of the house clock, and answers with the rate to run at.

- frequency: follows the rate at which the system's clock is seen to run, averaged over a quarter of an hour, within
  ±100 ppm, and changes by at most 10 ppm in an hour;
- phase: what is left is slewed away with at most 10 ppm on top; nothing ever steps;
- alarms: ``unsynchronised`` while the kernel says that nothing disciplines the system's clock, ``frequency`` beyond
  ±30 ppm (a bad crystal, or a bad time server), ``phase`` when house time is more than half a second off, and would
  take hours to come back.

Frequency is learnt from rates alone, never from the phase: a loop that integrates a phase it may only slew by 10 ppm
would swing for days. A jump of the system's clock by a second is approached over 28 hours and teaches nothing; a leap
second that is smeared (11.6 ppm for a day) is followed.
"""

from __future__ import annotations

import ctypes
import fcntl
import math
import mmap
import os
import struct
import threading
import time
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from headend.clock import SystemClock, to_iso
from headend.clock import wait_until as _wait_until

if TYPE_CHECKING:
    from headend.worker import Context

FREQUENCY_LIMIT: Final = 100.0
"""ppm"""
FREQUENCY_CHANGE: Final = 10.0
"""ppm an hour"""
SLEW_LIMIT: Final = 10.0
"""ppm"""
FREQUENCY_ALARM: Final = 30.0
"""ppm"""
PHASE_ALARM: Final = 0.5
"""Seconds between house time and the system's clock."""
INTERVAL: Final = 2.0
"""Seconds between two looks at the system's clock."""

_PHASE_TIME: Final = 300.0
"""Seconds in which a small phase error is slewed away, as long as the limits allow it."""
_AVERAGE: Final = 900.0
"""Seconds over which the system's rate is averaged: reading two clocks is good to a microsecond, so to 0.001 ppm
then.
"""
_STEP: Final = 600.0
"""ppm; a rate beyond it is a step of the system's clock: the kernel itself slews by 500 ppm at most (adjtime(3))."""

_MAGIC: Final = int.from_bytes(b"HOUSECL1", "little")
_LINE: Final = struct.Struct("=QqqdddQII")
"""sequence, anchor raw ns, anchor house ns, rate ppm, frequency ppm, phase s, flags, check, pad."""
_SLOTS: Final = 2
_LINE_AT: Final = 64
_STRIDE: Final = 128
_SIZE: Final = _LINE_AT + _SLOTS * _STRIDE
_SYNCHRONISED: Final = 1


@dataclass(frozen=True, slots=True)
class Line:
    """House time as a function of CLOCK_MONOTONIC_RAW."""

    raw: int
    """Nanoseconds of CLOCK_MONOTONIC_RAW at the anchor."""
    house: int
    """Nanoseconds since the epoch at the anchor."""
    rate: float
    """ppm that house time runs faster than CLOCK_MONOTONIC_RAW."""
    frequency: float = 0.0
    """ppm of it that is frequency, the rest being slew."""
    phase: float = 0.0
    """Seconds that the system's clock was ahead of house time."""
    synchronised: bool = False
    """Whether the system's clock was disciplined."""

    def house_at(self, raw: int) -> int:
        """House nanoseconds at a raw instant: the anchor plus elapsed time, the rate applied in integers (parts per
        10**12).
        """
        elapsed = raw - self.raw
        return self.house + elapsed + elapsed * round(self.rate * 1e6) // 10**12

    def moved(self, raw: int) -> Line:
        """The same line with its anchor at another instant."""
        return Line(raw, self.house_at(raw), self.rate, self.frequency, self.phase, self.synchronised)


@dataclass(slots=True)
class Discipline:
    """The control law. Feed it offsets; it answers with rates."""

    frequency: float = 0.0
    """ppm of the house clock, without slew."""
    slew: float = 0.0
    """ppm on top, to bring the phase back."""
    drift: float | None = None
    """ppm at which the system's clock was seen to run over CLOCK_MONOTONIC_RAW; None before that was seen."""
    phase: float = 0.0
    """Seconds that the system's clock was ahead at the last look."""
    synchronised: bool = False
    steps: int = 0
    """Steps of the system's clock that were seen, and not followed."""
    alarms: set[str] = field(default_factory=set)
    _seen: float = 0.0
    """Seconds in :attr:`drift`."""
    _started: bool = False

    def update(self, ahead: float, elapsed: float, *, synchronised: bool) -> float:
        """The rate in ppm for the next interval.

        ``ahead``: seconds that the system's clock is ahead of house time now. ``elapsed``: seconds since the last
        update, during which house time ran at the rate that was answered then. An undisciplined system's clock is
        followed in phase but teaches no frequency.
        """
        if self._started and elapsed > 0:
            seen = self.frequency + self.slew + (ahead - self.phase) / elapsed * 1e6
            if abs(seen) > _STEP:
                self.steps += 1
            elif synchronised:
                self._learn(seen, elapsed)
        self._started = True
        self.phase = ahead
        self.synchronised = synchronised
        self.slew = _within(ahead / _PHASE_TIME * 1e6, SLEW_LIMIT)
        told = (
            ("unsynchronised", not synchronised),
            ("frequency", abs(self.frequency if self.drift is None else self.drift) > FREQUENCY_ALARM),
            ("phase", abs(ahead) > PHASE_ALARM),
        )
        self.alarms = {name for name, on in told if on}
        return self.frequency + self.slew

    def _learn(self, seen: float, elapsed: float) -> None:
        self._seen = min(self._seen + elapsed, _AVERAGE)
        known = seen if self.drift is None else self.drift
        self.drift = known + (seen - known) * min(1.0, elapsed / self._seen)
        # The first minute is noise: what it says may be far off.
        if self._seen >= 60.0:
            change = _within(self.drift - self.frequency, FREQUENCY_CHANGE * elapsed / 3600.0)
            self.frequency = _within(self.frequency + change, FREQUENCY_LIMIT)


def _within(value: float, limit: float) -> float:
    return max(-limit, min(limit, value))


class Mapping:
    """The shared file: two slots, written in turn, each with a number and a checksum; a reader takes the newest whole
    one.

    A writer killed in the middle of a slot leaves the other one valid, so there is a line at every instant.
    """

    def __init__(self, path: str | os.PathLike[str], *, create: bool = False) -> None:
        """Raises FileNotFoundError if there is none and none is to be made, ValueError if the file is something
        else.
        """
        self.path = Path(path)
        flags = (os.O_RDWR | os.O_CREAT) if create else os.O_RDONLY
        fd = os.open(self.path, flags | os.O_CLOEXEC, 0o600)
        try:
            if create and os.fstat(fd).st_size != _SIZE:
                os.ftruncate(fd, 0)
                os.posix_fallocate(fd, 0, _SIZE)
                os.pwrite(fd, _MAGIC.to_bytes(8, "little"), 0)
            if os.fstat(fd).st_size != _SIZE or os.pread(fd, 8, 0) != _MAGIC.to_bytes(8, "little"):
                raise ValueError(f"{self.path} holds no house clock")
            self._map = mmap.mmap(fd, _SIZE, access=mmap.ACCESS_WRITE if create else mmap.ACCESS_READ)
        finally:
            os.close(fd)
        self._newest = 0

    def read(self) -> Line | None:
        """The newest line; None before the first was written."""
        for _ in range(4):
            best: tuple[Any, ...] | None = None
            for slot in range(_SLOTS):
                at = _LINE_AT + slot * _STRIDE
                raw = self._map[at : at + _LINE.size]
                row = _LINE.unpack(raw)
                if row[0] and zlib.crc32(raw[:-8]) == row[7] and (best is None or row[0] > best[0]):
                    best = row
            if best is not None:
                self._newest = best[0]
                return Line(best[1], best[2], best[3], best[4], best[5], bool(best[6] & _SYNCHRONISED))
            if self._map[_LINE_AT : _LINE_AT + 8] == bytes(8):
                return None
        return None

    def write(self, line: Line) -> None:
        """Publish a line."""
        if not self._newest:
            self.read()
        self._newest += 1
        flags = _SYNCHRONISED if line.synchronised else 0
        row = (self._newest, line.raw, line.house, line.rate, line.frequency, line.phase, flags)
        raw = _LINE.pack(*row, 0, 0)[:-8]
        at = _LINE_AT + self._newest % _SLOTS * _STRIDE
        self._map[at : at + _LINE.size] = raw + struct.pack("=II", zlib.crc32(raw), 0)

    def close(self) -> None:
        """Unmap. Idempotent."""
        self._map.close()


class HouseClock:
    """House time for every process: a Clock that reads the authority's mapping.

    As long as there is no mapping it is a SystemClock, and says so in its state. When the mapping then appears, the
    difference (the two were read from the same clock, a moment apart) is far below a frame. Threads may share it.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """``path``: the mapping's file, ``Paths.clock``."""
        self.path = Path(path)
        self._fallback = SystemClock()
        self._mapping: Mapping | None = None
        self._line: Line | None = None
        self._looked = 0
        self._highest = 0
        self._lock = threading.Lock()

    def now(self) -> int:
        """House time in ticks. Never goes back within one clock object."""
        raw = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
        # The line changes every few seconds; reading it each time would cost six microseconds for nothing.
        if raw - self._looked > 50_000_000:
            self._look(raw)
        line = self._line
        ticks = self._fallback.now() if line is None else line.house_at(raw) * 27 // 1000
        if ticks < self._highest:
            return self._highest
        self._highest = ticks
        return ticks

    def _look(self, raw: int) -> None:
        with self._lock:
            self._looked = raw
            if self._mapping is None:
                try:
                    self._mapping = Mapping(self.path)
                except (OSError, ValueError):
                    return
            self._line = self._mapping.read() or self._line

    def wait_until(self, ticks: int, cancel: threading.Event | None = None) -> bool:
        """Wait for ``ticks``; False if ``cancel`` was set first."""
        return _wait_until(self, ticks, cancel)

    def state(self) -> dict[str, Any]:
        """Time, rate, phase and whether there is an authority."""
        now = self.now()
        line = self._line
        if line is None:
            return {"time": to_iso(now), "authority": False, "synchronised": False, "message": "no house clock yet"}
        age = (time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW) - line.raw) / 1e9
        return {
            "time": to_iso(now),
            "authority": age < 10 * INTERVAL,
            "synchronised": line.synchronised,
            "rate_ppm": round(line.rate, 3),
            "frequency_ppm": round(line.frequency, 3),
            "phase_ms": round(line.phase * 1000, 3),
            "age": round(age, 1),
        }


class Authority:
    """Keeps the mapping: once at a time on a machine, by a lock on a file beside it.

    Raises BlockingIOError if another authority runs.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        path = Path(path)
        self._lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            try:
                self._mapping = Mapping(path, create=True)
            except ValueError:
                # Not ours, or of another version: it cannot be inherited.
                path.unlink()
                self._mapping = Mapping(path, create=True)
        except BaseException:
            os.close(self._lock)
            raise
        self.discipline = Discipline()
        inherited = self._mapping.read()
        self.inherited = inherited is not None
        raw, system = read_clocks()
        if inherited is not None and raw - inherited.raw >= 0:
            self.line = inherited
            self.discipline.frequency = inherited.frequency
        else:
            # Nothing runs by this clock yet, so it may begin with what the kernel knows of the crystal.
            self.discipline.frequency = _within(kernel_frequency(), FREQUENCY_LIMIT)
            self.line = Line(raw, system, self.discipline.frequency, self.discipline.frequency)
        self._updated = raw
        self.update()

    def update(self) -> None:
        """Look at the system's clock and publish the line for the next interval."""
        raw, system = read_clocks()
        here = self.line.moved(raw)
        ahead = (system - here.house) / 1e9
        # An authority that was away for an hour has learnt nothing in that hour.
        elapsed = min((raw - self._updated) / 1e9, 10 * INTERVAL)
        synchronised = system_synchronised()
        rate = self.discipline.update(ahead, elapsed, synchronised=synchronised)
        self.line = Line(raw, here.house, rate, self.discipline.frequency, ahead, synchronised)
        self._updated = raw
        self._mapping.write(self.line)

    def state(self) -> dict[str, Any]:
        """What is published, and the alarms."""
        return {
            "rate_ppm": round(self.line.rate, 3),
            "frequency_ppm": round(self.discipline.frequency, 3),
            "phase_ms": round(self.discipline.phase * 1000, 3),
            "drift_ppm": None if self.discipline.drift is None else round(self.discipline.drift, 3),
            "steps_seen": self.discipline.steps,
            "synchronised": self.discipline.synchronised,
            "inherited": self.inherited,
            "alarms": sorted(self.discipline.alarms),
        }

    def close(self) -> None:
        """Unmap and give up the lock; the last line stays for readers and for a successor."""
        self._mapping.close()
        os.close(self._lock)


def read_clocks() -> tuple[int, int]:
    """CLOCK_MONOTONIC_RAW and the system's clock, ns, taken as nearly at once as can be."""
    best = (math.inf, 0, 0)
    for _ in range(5):
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
        system = time.clock_gettime_ns(time.CLOCK_REALTIME)
        after = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
        best = min(best, (after - before, (before + after) // 2, system))
    return best[1], best[2]


class _Timex(ctypes.Structure):
    """struct timex of adjtimex(2), as far as it is read; the rest is room."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("constant", ctypes.c_long),
        ("precision", ctypes.c_long),
        ("tolerance", ctypes.c_long),
        ("time", ctypes.c_long * 2),
        ("tick", ctypes.c_long),
        ("room", ctypes.c_char * 256),
    )


_STA_UNSYNC: Final = 0x0040
_libc: Final = ctypes.CDLL(None, use_errno=True)


def _timex() -> _Timex | None:
    timex = _Timex()
    return timex if _libc.adjtimex(ctypes.byref(timex)) >= 0 else None


def system_synchronised() -> bool:
    """Whether the kernel says that something disciplines the system's clock (adjtimex(2), STA_UNSYNC)."""
    timex = _timex()
    return timex is not None and not timex.status & _STA_UNSYNC


def kernel_frequency() -> float:
    """ppm by which the kernel lets the system's clock run over CLOCK_MONOTONIC_RAW; 0 if it does not say."""
    timex = _timex()
    if timex is None:
        return 0.0
    # freq is in 1/65536 ppm; tick in microseconds per 10 ms, so 100 ppm each.
    return float(timex.freq) / 65536.0 + (float(timex.tick) - 10_000.0) * 100.0


def run(context: Context) -> int:
    """The clock worker: discipline, publish, report; until told to stop."""
    until = time.monotonic() + 10
    while True:
        try:
            authority = Authority(context.paths.clock)
            break
        except BlockingIOError:
            # A predecessor that is just dying.
            if time.monotonic() > until or context.stopping.wait(0.1):
                context.log.error(
                    f"another house clock keeps {context.paths.clock}, so this one stops; there can be only one on "
                    "a machine"
                )
                return 1
    alarms: set[str] = set()
    context.bus.serve(lambda request: authority.state())
    try:
        while True:
            context.beat.beat("clock")
            if authority.discipline.alarms != alarms:
                alarms = set(authority.discipline.alarms)
                state = authority.state()
                context.bus.publish("clock.alarms", state)
                told = context.log.warning if alarms else context.log.info
                told("house clock: " + (", ".join(_TOLD[name] for name in sorted(alarms)) or "in order"), **state)
            if context.stopping.wait(INTERVAL):
                return 0
            authority.update()
    finally:
        authority.close()


_TOLD: Final = {
    "unsynchronised": "nothing keeps the system's clock right, so house time is only as good as it; start chrony or "
    "systemd-timesyncd",
    "frequency": "the crystal is more than 30 ppm off, or the time server is wrong; check both",
    "phase": "house time is more than 0.5 s from the system's clock and is slewed towards it by 10 ppm; "
    "stop and start the head end in a pause if that is too slow",
}
