"""A worker's sign of life: when it last *got on*, in shared memory.

A process that exists may still be stuck. A worker therefore beats where its work is done (a channel after each
picture that it encoded, an origin in its event loop), and the supervisor kills one whose beat is too old. Beating
costs a microsecond and cannot block, so it may stand in the innermost loop.
"""

from __future__ import annotations

import mmap
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_SIZE: Final = 256
_TEXT_AT: Final = 32
_TEXT_SIZE: Final = _SIZE - _TEXT_AT
_W_NS, _W_COUNT, _W_TEXT_SIZE = range(3)


@dataclass(frozen=True, slots=True)
class Beat:
    """What a heartbeat says at one moment."""

    age: float
    """Seconds since the worker last got on."""
    count: int
    """How often it has beaten; 0: it is still starting."""
    what: str
    """What it did."""

    def state(self) -> dict[str, Any]:
        """As JSON."""
        return {"age": round(self.age, 3), "count": self.count, "what": self.what}


class Heartbeat:
    """The worker's side. A file of the predecessor is begun anew. Raises OSError if it cannot be made."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        fd = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, _SIZE)
            self._map = mmap.mmap(fd, _SIZE)
        finally:
            os.close(fd)
        self._words = memoryview(self._map)[:_TEXT_AT].cast("Q")
        self._words[_W_NS] = _now()
        # Renamed when it is whole: a reader never sees one without a time.
        os.replace(draft, self.path)

    def beat(self, what: str = "") -> None:
        """Say that the work got on. Any thread may call it."""
        if what:
            text = what.encode()[:_TEXT_SIZE]
            self._map[_TEXT_AT : _TEXT_AT + len(text)] = text
            self._words[_W_TEXT_SIZE] = len(text)
        self._words[_W_COUNT] += 1
        self._words[_W_NS] = _now()

    __call__ = beat

    @property
    def age(self) -> float:
        """Seconds since the last beat."""
        return (_now() - self._words[_W_NS]) / 1e9

    def close(self) -> None:
        """Unmap; the file stays. Idempotent."""
        if not self._map.closed:
            self._words.release()
            self._map.close()


def read(path: str | os.PathLike[str]) -> Beat | None:
    """What the heartbeat in a file says; None if there is none."""
    try:
        data = Path(path).read_bytes()
    except OSError:
        return None
    if len(data) != _SIZE:
        return None
    words = memoryview(data)[:_TEXT_AT].cast("Q")
    text = data[_TEXT_AT : _TEXT_AT + min(words[_W_TEXT_SIZE], _TEXT_SIZE)]
    return Beat(max(0.0, (_now() - words[_W_NS]) / 1e9), words[_W_COUNT], text.decode(errors="replace"))


def _now() -> int:
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
