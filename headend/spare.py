"""The spare: one interpreter that has imported everything and waits, to become whichever worker dies."""

from __future__ import annotations

import asyncio
import subprocess
import time
from pathlib import Path
from typing import Final

import structlog

from headend.process import Process, how

AFTER: Final = 3.0
"""Seconds until a new spare is started: whoever took the last one needs the processor first."""
LONGEST: Final = 30.0
"""Seconds between two tries when spares cannot be started or die."""


class Spare:
    """Keeps one spare process. ``command`` starts it; it becomes a worker when one line of JSON tells it which."""

    def __init__(self, command: list[str], log: structlog.stdlib.BoundLogger, *, keep: bool = True) -> None:
        self._command = command
        self._log = log
        self._keep = keep
        self._process: Process | None = None
        self._due = time.monotonic() + AFTER
        self._deaths = 0

    @property
    def pid(self) -> int | None:
        """The process that waits; None while there is none."""
        return self._process.pid if self._process else None

    def look_after(self, now: float) -> None:
        """Start one if there is none and it is time. ``now``: ``time.monotonic()``."""
        if not self._keep or self._process is not None or now < self._due:
            return
        try:
            self._process = Process.spawn(self._command, stdin=subprocess.PIPE)
        except OSError:
            self._due = now + LONGEST
            return
        asyncio.get_running_loop().add_reader(self._process.fd, self._ended)

    def become(self, kind: str, id: str, config: Path) -> Process | None:
        """Make the spare that worker; None if there is none that listens."""
        process = self.take()
        self._due = max(self._due, time.monotonic() + AFTER)
        if process is None or process.tell({"kind": kind, "id": id, "config": str(config)}):
            return process
        process.kill()
        process.reap()
        return None

    def take(self) -> Process | None:
        """Give the process away, unwatched."""
        process, self._process = self._process, None
        if process is not None:
            asyncio.get_running_loop().remove_reader(process.fd)
        return process

    def _ended(self) -> None:
        process = self.take()
        assert process is not None
        process.reap()
        self._deaths += 1
        self._due = time.monotonic() + min(LONGEST, 2.0**self._deaths)
        self._log.warning(f"the spare {how(process.status)}; another one is started")
