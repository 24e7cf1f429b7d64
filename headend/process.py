"""A process that is watched: spawned here, or found running and adopted.

Both are held by a pidfd, which names one process for ever: no signal of ours can hit a stranger that got an old pid,
and the end of a process that is not our child is noticed too. A worker leads its own session; what it started (a
gateway's ffmpeg) dies with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
from typing import Final

from headend.worker import Record

GRACE: Final = 5.0
"""Seconds from SIGTERM to SIGKILL."""


class Process:
    """One process, until it has ended."""

    def __init__(self, pid: int, child: subprocess.Popen[bytes] | None = None) -> None:
        """Raises ProcessLookupError if there is none."""
        self.pid = pid
        self.fd = os.pidfd_open(pid)
        self.status: int | None = None
        """Exit status, negative for a signal, once it has ended and was our child."""
        self._child = child

    @classmethod
    def spawn(cls, arguments: list[str], *, stdin: int = subprocess.DEVNULL) -> Process:
        """Start one in a session of its own; what it prints goes to standard error. Raises OSError."""
        child = subprocess.Popen(arguments, stdin=stdin, stdout=2, start_new_session=True, close_fds=True)
        return cls(child.pid, child)

    @classmethod
    def adopt(cls, record: Record) -> Process | None:
        """The process of a record; None if it has ended."""
        try:
            process = cls(record.pid)
        except (ProcessLookupError, OSError):
            return None
        # Only now, with the pidfd in hand, is the answer about this process for certain.
        if not record.alive:
            process.release()
            return None
        return process

    @property
    def adopted(self) -> bool:
        """Whether it is not our child."""
        return self._child is None

    def tell(self, line: object) -> bool:
        """Write one line of JSON to its standard input and close that; False if it does not listen any more."""
        assert self._child is not None
        assert self._child.stdin is not None
        try:
            with self._child.stdin as pipe:
                pipe.write(json.dumps(line).encode() + b"\n")
        except OSError:
            return False
        return True

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it; nothing if it has ended."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.fd, number)

    def kill(self) -> None:
        """SIGKILL to it and to everything in its process group."""
        self.signal(signal.SIGKILL)
        self.sweep()

    def sweep(self) -> None:
        """Kill what is left of its process group: before it is reaped, its number cannot be another's."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def reap(self) -> None:
        """After its end: collect the status and let go of it."""
        self.sweep()
        if self._child is not None:
            if self._child.stdin is not None and not self._child.stdin.closed:
                with contextlib.suppress(OSError):
                    self._child.stdin.close()
            self.status = self._child.wait()
        self.release()

    def release(self) -> None:
        """Let go of it, ended or not. Idempotent."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def how(status: int | None) -> str:
    """How a process ended, as the rest of a sentence."""
    if status is None:
        return "ended"
    if status < 0:
        with contextlib.suppress(ValueError):
            return f"was ended by {signal.Signals(-status).name}"
    return f"ended with status {status}"


async def end_all(processes: list[Process]) -> None:
    """SIGTERM, five seconds, SIGKILL; returns when all have ended and are reaped."""
    loop = asyncio.get_running_loop()
    left: dict[int, Process] = {}
    done = asyncio.Event()

    def ended(process: Process) -> None:
        loop.remove_reader(process.fd)
        left.pop(process.fd, None)
        process.reap()
        if not left:
            done.set()

    for process in processes:
        left[process.fd] = process
        loop.add_reader(process.fd, ended, process)
        process.signal(signal.SIGTERM)
    if not left:
        return
    try:
        await asyncio.wait_for(done.wait(), GRACE)
    except TimeoutError:
        for process in list(left.values()):
            process.kill()
        await done.wait()
