"""A file among the sources of a channel: cued at its beginning, played from there whenever it is put on air.

An item of the schedule knows when it begins; a source that an operator takes does not. So the file waits, opened and
decoded a second ahead, and the slot in which it is first asked for shows its first picture. It is repeated for as long
as it is asked for, and cued again when it has been off air for a moment.
"""

from __future__ import annotations

import math
import threading
import time
from pathlib import Path
from typing import Any, Final

from encoders.file import FileSource
from encoders.format import ChannelFormat
from encoders.source import Slice
from headend.clock import Clock

OFF_AIR: Final = 1.0
"""Seconds without being asked for after which the file is cued again."""


class CuedFile:
    """A :class:`~encoders.file.FileSource` that begins at the slot in which it is first asked for, again and again.

    ``gain_db`` is applied to the sound. Nothing is raised for a file that cannot be played: the slices say that it has
    ended, ``state()`` says why.
    """

    kind = "file"

    def __init__(
        self, name: str, path: str | Path, format: ChannelFormat, clock: Clock, *, gain_db: float = 0.0
    ) -> None:
        self.name = name
        self._path, self._format, self._clock, self._gain = path, format, clock, gain_db
        # The sound of slot k + n may stand in for that of slot k when both have the same samples: n is a multiple of
        # this, one wherever a slot is a whole number of samples, five at 30000/1001 pictures a second.
        self._grid = 1125 // math.gcd(2 * format.slot_ticks, 1125)
        self._off_air = max(int(OFF_AIR * format.rate), 1)
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        self._file = self._made()
        self._worn: list[FileSource] = []
        self._shift: int | None = None
        self._last = 0
        self._asked = 0.0
        self.cues = 0
        """How often the file was cued."""

    def open(self, first: int) -> None:
        """Cue the file. It does not begin at ``first``, but when it is asked for. Returns at once."""
        with self._lock:
            if self._thread is not None or self._closed.is_set():
                return
            self._cue()
            self._thread = threading.Thread(target=self._run, name=f"cue {self.name}", daemon=True)
            self._thread.start()

    def ready(self, slot: int) -> bool:
        """Whether ``pull(slot)`` would yield media now."""
        with self._lock:
            shift = self._shift if self._shift is not None else self._beginning(slot)
            return slot >= shift and self._file.ready(slot - shift)

    def pull(self, slot: int, wait: float = 0.0) -> Slice | None:
        """The media of a slot; None while it is not decoded yet."""
        with self._lock:
            if self._closed.is_set():
                return None
            if self._shift is not None and slot - self._last > self._off_air:
                self._worn.append(self._file)
                self._file = self._made()
                self._cue()
            if self._shift is None:
                self._shift = self._beginning(slot)
            self._last, self._asked = slot, time.monotonic()
            file, shift = self._file, self._shift
        return None if slot < shift else file.pull(slot - shift, wait)

    def state(self) -> dict[str, Any]:
        """See :meth:`encoders.file.FileSource.state`; also ``cues``, and ``on_air``: it is being asked for."""
        with self._lock:
            return {**self._file.state(), "cues": self.cues, "on_air": self._shift is not None}

    def close(self) -> None:
        """Stop. Returns within a second."""
        self._closed.set()
        with self._lock:
            self._file.close()

    def _made(self) -> FileSource:
        return FileSource(self.name, self._path, self._format, self._clock, loop=True, gain_db=self._gain)

    def _cue(self) -> None:
        self._shift = None
        self.cues += 1
        self._file.open(0)

    def _beginning(self, slot: int) -> int:
        return -(-slot // self._grid) * self._grid

    def _run(self) -> None:
        """Cue again what has left the air, and close what was on it: neither is for the thread that pulls."""
        while not self._closed.wait(OFF_AIR / 4):
            with self._lock:
                over = self._shift is not None and time.monotonic() - self._asked > OFF_AIR
                if over and not self._closed.is_set():
                    self._worn.append(self._file)
                    self._file = self._made()
                    self._cue()
                worn, self._worn = self._worn, []
            for file in worn:
                file.close()
        for file in self._worn:
            file.close()
