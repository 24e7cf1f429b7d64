"""Following a clock that is not ours.

A live source counts time with its own crystal, tens of parts per million from the house clock: after a day it is
seconds ahead or behind. :class:`Slope` measures the rate from (house time, source time) pairs over minutes, by the
median of slopes between distant pairs (Theil and Sen), which a tenth of late packets cannot move. :class:`Stretcher`
plays sound at that rate with a windowed-sinc interpolation, at most a thousand parts per million, which nobody
hears; pictures follow by being repeated or dropped.
"""

from __future__ import annotations

from collections import deque
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from encoders.source import Sound
from headend.clock import TICKS_PER_SECOND

LIMIT: Final = 1000e-6
"""The most by which sound is stretched. A semitone is 59 000 ppm; the just noticeable difference of pitch about 3 000
ppm.
"""

_TAPS: Final = 32
_PHASES: Final = 512


class Slope:
    """The rate of a source's clock against the house clock, measured from arrivals.

    Packets are late by varying amounts but never early, so of each second the least delayed is kept.
    """

    def __init__(self, window: float = 600.0) -> None:
        self._points: deque[tuple[float, float]] = deque(maxlen=max(int(window), 16))
        self._best: tuple[int, float] | None = None
        self._second = -1
        self._origin: tuple[int, int] | None = None

    def add(self, house: int, source: int) -> None:
        """Media of source time ``source`` arrived at ``house``; both in ticks."""
        if self._origin is None:
            self._origin = house, source
        elapsed = house - self._origin[0]
        delay = (elapsed - (source - self._origin[1])) / TICKS_PER_SECOND
        second = elapsed // TICKS_PER_SECOND
        if second != self._second:
            if self._best is not None:
                self._points.append((self._best[0] / TICKS_PER_SECOND, self._best[1]))
            self._second, self._best = second, (elapsed, delay)
        elif self._best is None or delay < self._best[1]:
            self._best = elapsed, delay

    def reset(self) -> None:
        """Forget everything: the source's time has jumped."""
        self._points.clear()
        self._origin = self._best = None
        self._second = -1

    @property
    def seconds(self) -> float:
        """How long the measurement is."""
        return self._points[-1][0] - self._points[0][0] if self._points else 0.0

    @property
    def rate(self) -> float:
        """How much faster the source's clock runs, e.g. 50e-6; 0.0 before half a minute has been measured."""
        if self.seconds < 30:
            return 0.0
        t, d = np.array(self._points).T
        half = len(t) // 2
        slopes = (d[half:] - d[: len(d) - half]) / (t[half:] - t[: len(t) - half])
        return float(-np.median(slopes))


class Follower:
    """Where media of a live source stand in house time: a line whose slope follows the source's clock.

    Raises ValueError when asked before it was anchored.
    """

    MOST: Final = 600e-6
    """The largest rate followed; a crystal is within 100 ppm, a computer that is being set by NTP within 500."""

    def __init__(self) -> None:
        self._source: int | None = None
        self._house = 0
        self.rate = 0.0
        """How much faster the source's clock is taken to run."""

    @property
    def anchored(self) -> bool:
        """Whether :meth:`anchor` has been called."""
        return self._source is not None

    def anchor(self, source: int, house: int) -> None:
        """Media of time ``source`` stand at ``house``."""
        self._source, self._house = source, house

    def house(self, source: int) -> int:
        """House time, in ticks, of media at ``source``."""
        if self._source is None:
            raise ValueError("not anchored yet")
        passed = source - self._source
        return self._house + passed - round(passed * self.rate / (1 + self.rate))

    def follow(self, rate: float, at: int, step: float = 5e-6) -> None:
        """Move the rate towards ``rate`` by at most ``step``; media at ``at`` stay where they are."""
        if self._source is None:
            return
        rate = min(max(rate, -self.MOST), self.MOST)
        self._house, self._source = self.house(at), at
        self.rate += min(max(rate - self.rate, -step), step)


def correction(level: int, latency: int) -> float:
    """The rate by which to play faster (or, negative, slower) than the source, so that enough of it stays in hand.

    ``level`` is the least time by which media came before their turn, in ticks. Between half the latency and all of it
    nothing is corrected: how much of it there is depends on the multiplexer, which sends sound in bundles.
    """
    excess = level - latency if level > latency else min(level - latency // 2, 0)
    return min(max(excess / TICKS_PER_SECOND / 300, -50e-6), 50e-6)


class Reservoir:
    """The rate of a source that is fetched, and comes in bursts: by what is in hand right after a burst.

    Its arrivals say little about its clock, but over minutes as much must come as is played. What is kept is what was
    in hand in the second window, when the beginning is past. While more waits at the server than is fetched, there is
    nothing to see, and nothing to follow.
    """

    WINDOW: Final = 60 * TICKS_PER_SECOND
    """A burst is a segment of HLS: there are several in this."""
    SLOW: Final = 1200.0
    """Seconds in which a difference is made good."""
    MOST: Final = 200e-6

    def __init__(self) -> None:
        self._since: int | None = None
        self._level: int | None = None
        self._target = self._windows = 0

    def add(self, lead: int, now: int) -> float | None:
        """Media came ``lead`` ticks before their turn; the rate to follow from now on, None for as before."""
        if self._since is None:
            self._since = now
        self._level = lead if self._level is None else max(self._level, lead)
        if now - self._since < self.WINDOW:
            return None
        level, self._level, self._since = self._level, None, now
        self._windows += 1
        if self._windows <= 2:
            self._target = level
        return min(max((level - self._target) / TICKS_PER_SECOND / self.SLOW, -self.MOST), self.MOST)


@cache
def _bank() -> NDArray[np.float32]:
    """Kernels for every phase, shape (phases + 1, taps), each summing to one."""
    phase = np.arange(_PHASES + 1)[:, None] / _PHASES
    x = np.arange(_TAPS)[None, :] - (_TAPS // 2 - 1) - phase
    bank = np.sinc(x * 0.96) * np.i0(9.0 * np.sqrt(np.clip(1 - (x / (_TAPS / 2)) ** 2, 0, 1)))
    return np.asarray(bank / bank.sum(axis=1, keepdims=True), np.float32)


class Stretcher:
    """Plays sound faster or slower by a rate that may change at every block; the phase is never broken.

    It delays nothing: output sample 0 stands at input sample 0. Half the kernel's length of the newest input is held
    back.
    """

    def __init__(self, channels: int) -> None:
        self._held: Sound = np.zeros((channels, _TAPS // 2 - 1), np.float32)
        self._position = float(_TAPS // 2 - 1)

    def play(self, sound: Sound, rate: float) -> Sound:
        """``sound`` with its duration multiplied by ``1 + rate``; ``rate`` is limited to :data:`LIMIT`."""
        step = 1 / (1 + min(max(rate, -LIMIT), LIMIT))
        data = np.concatenate((self._held, sound), axis=1)
        last = data.shape[1] - _TAPS // 2 - 1  # the furthest input position that a kernel can be centred on
        count = max(int((last - self._position) / step) + 1, 0) if last >= self._position else 0
        at = self._position + step * np.arange(count)
        base = at.astype(np.int64)
        exact = (at - base) * _PHASES
        phase = exact.astype(np.int64)
        weight = (exact - phase).astype(np.float32)[:, None]
        bank = _bank()
        kernels = bank[phase] * (1 - weight) + bank[phase + 1] * weight
        index = base[:, None] + np.arange(-(_TAPS // 2 - 1), _TAPS // 2 + 1)[None, :]
        out = np.einsum("cnt,nt->cn", data[:, index], kernels, optimize=True)
        self._position += step * count
        forget = max(int(self._position) - (_TAPS // 2 - 1), 0)
        self._held = data[:, forget:]
        self._position -= forget
        return np.asarray(out, np.float32)

    def flush(self) -> Sound:
        """The end of the sound that was held back."""
        return self.play(np.zeros((self._held.shape[0], _TAPS // 2 + 1), np.float32), 0.0)
