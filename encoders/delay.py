"""The broadcast delay: seconds between what happens and what is shown, and a button for what must not be shown.

Everything that playout chooses waits here for a fixed number of slots. *Dump* removes from air all that is waiting:
a cover (the slate) is shown while the delay fills again with what happens from then on. So there is always a
full delay between a live input and the viewer, and a second dump works as well as the first. (Audio delays of radio
stations jump to now and stretch sound until the delay is rebuilt; pictures cannot be stretched like that, and
until it was rebuilt a second word would go out.) The cover is what viewers also see when the delay fills for the
first time.

An alert is not delayed: while one is on air, it is sent as it happens, and what was waiting underneath is lost, then
the delay fills again behind the cover.

Overlays are drawn after the delay: a clock that is late by seconds, or a banner that is, would be wrong.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from encoders.emission import Emission, OnAir
from encoders.format import SAMPLE_RATE, ChannelFormat
from headend.clock import to_seconds

MEMORY: Final = 1 << 30
"""Bytes that a delay may hold by default."""

Cover = Callable[[int, str], Emission]
"""``cover(slot, why)``: what is shown in a slot when nothing delayed can be."""


class Delay:
    """A fixed delay of a channel.

    Pictures are kept as they are, because coding and decoding them would cost more than the memory does, and pictures
    shown twice are kept once. Raises ValueError if ``ticks`` is less than one slot or needs more than ``memory``
    bytes.
    """

    def __init__(self, format: ChannelFormat, ticks: int, memory: int = MEMORY) -> None:
        if ticks < format.slot_ticks:
            raise ValueError(
                f"a delay of {to_seconds(ticks):g} s is shorter than one picture, {to_seconds(format.slot_ticks):g} s; "
                "leave it out, or make it some seconds"
            )
        self.slots = -(-ticks // format.slot_ticks)
        """How many slots everything waits."""
        picture = format.width * format.height * 3 // 2 * (2 if format.ten_bit else 1)
        channels = sum(track.channels for track in format.tracks)
        sound = int(channels * 4 * SAMPLE_RATE / format.rate)
        self.bytes = self.slots * (picture + sound)
        """Memory it needs when full."""
        if self.bytes > memory:
            raise ValueError(
                f"a delay of {to_seconds(ticks):g} s needs {self.slots} pictures of {picture:,} bytes "
                f"({format.width}x{format.height} {format.pixel_format}) and {sound:,} bytes of sound each, "
                f"{self.bytes:,} bytes in all, but {memory:,} are allowed; allow more, or delay at most "
                f"{memory // (picture + sound) / float(format.rate):.1f} s"
            )
        self._format = format
        self._lock = threading.Lock()
        self._waiting: deque[Emission] = deque()
        self._why = "the broadcast delay is filling"
        self._cover: OnAir | None = None
        self._urgent = False
        self.dumps = 0
        self.dumped = 0
        """Slots removed by dumps."""
        self.lost = 0
        """Slots removed by alerts and jumps."""

    def through(self, emission: Emission, cover: Cover) -> Emission:
        """Put in what was chosen for a slot, and get what is sent in that slot."""
        slot = emission.slot
        with self._lock:
            if emission.label.urgent:
                self.lost += len(self._waiting)
                self._waiting.clear()
                self._urgent, self._cover = True, None
                return emission
            if self._urgent:
                self._urgent, self._why = False, "the broadcast delay fills again after an alert"
            self._waiting.append(emission)
            while self._waiting[0].slot < slot - self.slots:
                self._waiting.popleft()
                self.lost += 1
            if self._waiting[0].slot == slot - self.slots:
                self._cover = None
                delayed = self._waiting.popleft()
                return replace(delayed, slot=slot)
            why = self._why
        shown = cover(slot, why)
        # One label for one stay on air, however many slots it covers.
        if self._cover is None or self._cover.why != why:
            self._cover = shown.label
        shown.label = self._cover
        return shown

    def dump(self) -> list[OnAir]:
        """Remove all that is waiting; any thread may. Returns the labels of what nobody will see."""
        with self._lock:
            removed = list(dict.fromkeys(emission.label for emission in self._waiting))
            self.dumps += 1
            self.dumped += len(self._waiting)
            self._waiting.clear()
            self._cover = None
            self._why = f"dump {self.dumps} removed what was delayed"
        return removed

    def state(self) -> dict[str, Any]:
        """How full it is, and what was removed."""
        with self._lock:
            waiting = len(self._waiting)
        return {
            "seconds": to_seconds(self.slots * self._format.slot_ticks),
            "slots": self.slots,
            "waiting": waiting,
            "full": waiting >= self.slots,
            "memory": self.bytes,
            "dumps": self.dumps,
            "dumped": self.dumped,
            "lost": self.lost,
        }
