"""House time: an integer count of 27 MHz ticks since the Unix epoch (design, section 3).

PTS, DTS, segment numbers and broadcast wall time are all functions of it. Nothing else in the
project asks the operating system what time it is, so that every test can own the time.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from fractions import Fraction
from typing import Final, Protocol

TICKS_PER_SECOND: Final = 27_000_000
TICKS_PER_90K: Final = 300
"""Ticks in one unit of a 90 kHz PTS (ISO/IEC 13818-1, 2.4.2.1)."""

_NS: Final = 1_000_000_000


class Clock(Protocol):
    """What tells house time and waits for it."""

    def now(self) -> int:
        """House time in ticks."""
        ...

    def wait_until(self, ticks: int, cancel: threading.Event | None = None) -> bool:
        """Wait for ``ticks``; False if ``cancel`` was set first."""
        ...


def from_seconds(seconds: float | Fraction) -> int:
    """Ticks in a duration of seconds, rounded to nearest. Exact for ``Fraction`` and decimal strings made of it."""
    return round(Fraction(seconds) * TICKS_PER_SECOND)


def to_seconds(ticks: int) -> float:
    """Seconds of a *duration* in ticks. Never use it for an instant: ticks since 1970 exceed 2**53."""
    return ticks / TICKS_PER_SECOND


def from_iso(text: str) -> int:
    """Ticks of an ISO 8601 instant, exact to the microsecond.

    Raises ValueError if the text has no UTC offset: a local time is ambiguous on a 25-hour day.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(
            f"the time {text!r} has no UTC offset, so it is ambiguous; write it like 2026-11-21T20:00:00+08:00"
        )
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    micros = (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds
    return micros * 27


def to_datetime(ticks: int) -> datetime:
    """UTC datetime of an instant, floored to the microsecond."""
    seconds, rest = divmod(ticks, TICKS_PER_SECOND)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // 27)


def to_iso(ticks: int) -> str:
    """ISO 8601 of an instant in UTC with milliseconds, e.g. ``2026-11-21T12:00:00.040Z``."""
    return to_datetime(ticks).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class SystemClock:
    """House time without an authority: the system's time at start, carried on by CLOCK_MONOTONIC_RAW.

    For notebooks, one-shot commands and tests. It never steps, and it is not trimmed.
    """

    def __init__(self) -> None:
        self._offset = time.time_ns() - time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)

    def now(self) -> int:
        """House time in ticks."""
        return (self._offset + time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)) * 27 // 1000

    def wait_until(self, ticks: int, cancel: threading.Event | None = None) -> bool:
        """Wait for ``ticks``; False if ``cancel`` was set first."""
        return wait_until(self, ticks, cancel)


class FakeClock:
    """A clock that a test owns. ``wait_until`` jumps to the instant asked for, so a simulated day takes no time."""

    def __init__(self, start: int = 1_800_000_000 * TICKS_PER_SECOND) -> None:
        self._now = start
        self._lock = threading.Lock()

    def now(self) -> int:
        """House time in ticks."""
        return self._now

    def advance(self, ticks: int) -> None:
        """Let ``ticks`` pass."""
        with self._lock:
            self._now += ticks

    def wait_until(self, ticks: int, cancel: threading.Event | None = None) -> bool:
        """Be at ``ticks`` at once; False if ``cancel`` was set."""
        if cancel is not None and cancel.is_set():
            return False
        with self._lock:
            self._now = max(self._now, ticks)
        return True


def wait_until(clock: Clock, ticks: int, cancel: threading.Event | None = None) -> bool:
    """Wait on a real clock in naps, so that a trimmed rate is followed; False if ``cancel`` was set first."""
    while (left := ticks - clock.now()) > 0:
        nap = min(left / TICKS_PER_SECOND, 1.0)
        if cancel is None:
            time.sleep(nap)
        elif cancel.wait(nap):
            return False
    return cancel is None or not cancel.is_set()
