"""Bytes from a socket or a child process on their way to a demultiplexer, which reads them like a file.

A thread fills it as the bytes come, so that nothing is lost while a decoder is busy; it is bounded, and what does not
fit is dropped from its old end and counted. It also watches the transport stream go by: the PCR tells how fast the
source's clock runs, long before anything is decoded.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from encoders.drift import Slope
from headend.clock import Clock

CAPACITY: Final = 16 << 20
_TS: Final = 188
_PCR_STEP: Final = 27_000_000
"""A PCR further than a second from the one before has jumped."""
_PCR_WRAP: Final = 300 << 33


class PacketQueue:
    """A bounded queue of bytes with the ``read`` of a file. Thread safe."""

    def __init__(self, clock: Clock, capacity: int = CAPACITY) -> None:
        self._clock = clock
        self._capacity = capacity
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._changed = threading.Condition()
        self._finished = False
        self._stale: Callable[[], bool] = lambda: False
        self.packets = self.bytes = self.overruns = 0
        """Datagrams or reads, bytes received, and bytes dropped because nobody read them in time."""
        self.last: int | None = None
        """House time of the last arrival."""
        self.slope = Slope()
        self._pcr_pid: int | None = None
        self._pcr_last = 0
        self._pcr_base = 0
        self._carry = b""
        self._window: deque[tuple[int, int]] = deque()

    def put(self, data: bytes) -> None:
        """Add bytes that have arrived now."""
        now = self._clock.now()
        self._watch(data, now)
        with self._changed:
            self.packets += 1
            self.bytes += len(data)
            self.last = now
            self._window.append((now, self.bytes))
            while self._window[0][0] < now - 27_000_000 * 2 and len(self._window) > 2:
                self._window.popleft()
            self._chunks.append(data)
            self._size += len(data)
            while self._size > self._capacity:
                old = self._chunks.popleft()
                self._size -= len(old)
                self.overruns += len(old)
            self._changed.notify()

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes, as soon as there are any; empty at the end, when interrupted and when stale."""
        with self._changed:
            while not self._chunks:
                if self._finished or self._stale():
                    return b""
                self._changed.wait(0.2)
            if self._stale():
                return b""
            chunk = self._chunks.popleft()
            if len(chunk) > size:
                self._chunks.appendleft(chunk[size:])
                chunk = chunk[:size]
            else:
                gathered = [chunk]
                room = size - len(chunk)
                while self._chunks and len(self._chunks[0]) <= room:
                    gathered.append(self._chunks.popleft())
                    room -= len(gathered[-1])
                chunk = b"".join(gathered)
            self._size -= len(chunk)
            self._changed.notify()
            return chunk

    def wait_for_data(self, timeout: float, cancelled: Callable[[], bool]) -> bool:
        """Wait until something can be read; False after ``timeout`` seconds, at the end or when ``cancelled``."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while not self._chunks:
                left = deadline - time.monotonic()
                if self._finished or left <= 0 or cancelled():
                    return False
                self._changed.wait(min(left, 0.2))
            return True

    def watch_staleness(self, stale: Callable[[], bool]) -> None:
        """End reading when ``stale()`` becomes true, so that the demultiplexer can be opened anew."""
        self._stale = stale

    def finish(self) -> None:
        """Nothing more will be put; readers get what is left and then the end."""
        with self._changed:
            self._finished = True
            self._changed.notify_all()

    def discard(self) -> None:
        """Forget what has not been read."""
        with self._changed:
            self._chunks.clear()
            self._size = 0

    @property
    def finished(self) -> bool:
        """Whether :meth:`finish` has been called."""
        return self._finished

    @property
    def bit_rate(self) -> int:
        """Bits a second over the last two seconds; 0 when nothing has come in that time."""
        with self._changed:
            if len(self._window) < 2:
                return 0
            (since, before), (until, after) = self._window[0], self._window[-1]
            if self._clock.now() - until > 27_000_000 * 2 or until <= since:
                return 0
            return (after - before) * 8 * 27_000_000 // (until - since)

    def _watch(self, data: bytes, now: int) -> None:
        """Find a PCR (ISO/IEC 13818-1, 2.4.3.5) in packets, which a pipe may have cut anywhere."""
        if self._carry or len(data) % _TS or data[:1] != b"G":
            data = self._carry + data
            start = data.find(b"G")
            while 0 <= start < len(data) - _TS and data[start + _TS] != 0x47:
                start = data.find(b"G", start + 1)
            data = data[start:] if start >= 0 else b""
            whole = len(data) // _TS * _TS
            self._carry, data = data[whole:], data[:whole]
        for at in range(0, len(data), _TS):
            if not data[at + 3] & 0x20 or not data[at + 4] or not data[at + 5] & 0x10:
                continue
            pid = (data[at + 1] & 0x1F) << 8 | data[at + 2]
            if self._pcr_pid is None:
                self._pcr_pid = pid
            if pid != self._pcr_pid:
                continue
            base = int.from_bytes(data[at + 6 : at + 11], "big") >> 7
            pcr = base * 300 + ((data[at + 10] & 1) << 8 | data[at + 11])
            step = (pcr - self._pcr_last) % _PCR_WRAP
            if step > _PCR_STEP or data[at + 5] & 0x80:
                self.slope.reset()
                self._pcr_base = 0
            else:
                self._pcr_base += step
            self._pcr_last = pcr
            self.slope.add(now, self._pcr_base)
        if self._pcr_pid is not None and self.packets % 50_000 == 49_999:
            self._pcr_pid = None  # the PCR may have moved to another PID
