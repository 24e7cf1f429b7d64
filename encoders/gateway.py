"""What PyAV's libraries lack, fetched through a child process: SRT and RIST, caller or listener, and RTMP as listener.

The child is the ffmpeg of the imageio-ffmpeg wheel. For SRT and RIST it is asked for the bytes as they come (``-f
data``), so that the transport stream's clock, tables and faults arrive here untouched. It dies with its parent, and is
asked, then told, to end.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from functools import cache
from typing import Any, Final
from urllib.parse import urlsplit

import av
import ffmpeg
import imageio_ffmpeg
import structlog
from av.container import InputContainer

from encoders.drift import Slope
from encoders.network import ANALYSE, MPEGTS
from encoders.packetqueue import PacketQueue
from encoders.redact import redact
from headend.clock import Clock

_log = structlog.get_logger(__name__)

# preexec_fn is not safe in a process with threads, so a small interpreter asks the kernel for the signal (prctl
# PR_SET_PDEATHSIG) and then becomes the program. The parent may have died meanwhile: then it does not start at all.
_LEASH: Final = (
    "import ctypes,os,sys;ctypes.CDLL(None).prctl(1,9);"
    "os.getppid()==int(sys.argv[1]) and os.execv(sys.argv[2],sys.argv[2:])"
)
_CHATTER: Final = re.compile(r"^(\[\w+ @ 0x[0-9a-f]+\]\s*|\[\w+\]\s*)+")


@cache
def executable() -> str:
    """Path of the ffmpeg that the wheel brings. Raises RuntimeError when it is missing."""
    return str(imageio_ffmpeg.get_ffmpeg_exe())


def command(url: str, options: dict[str, str] | None = None) -> list[str]:
    """The command line that brings a stream to its standard output."""
    scheme = urlsplit(url).scheme.lower()
    if scheme in ("srt", "rist"):
        stream = ffmpeg.input(url, f="data", **(options or {}))
        stream = stream.output("pipe:1", map="0", c="copy", f="data", flush_packets=1)
    else:
        stream = ffmpeg.input(url, listen=1, fflags="nobuffer", **ANALYSE, **(options or {}))
        stream = ffmpeg.output(stream["v?"], stream["a?"], "pipe:1", c="copy", f="nut", flush_packets=1)
    stream = stream.global_args("-hide_banner", "-nostdin", "-nostats", "-loglevel", "warning")
    return [str(part) for part in ffmpeg.compile(stream, cmd=executable())]


class Child:
    """A child process that writes bytes to a queue and its complaints to a short memory."""

    def __init__(self, arguments: list[str], queue: PacketQueue) -> None:
        self.queue = queue
        self.complaints: deque[str] = deque(maxlen=20)
        """The last lines of its standard error, redacted."""
        _log.info("starting", command=redact(shlex.join(arguments)))
        self.process = subprocess.Popen(
            [sys.executable, "-S", "-E", "-c", _LEASH, str(os.getpid()), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._threads = [
            threading.Thread(target=self._pump, name="gateway bytes", daemon=True),
            threading.Thread(target=self._listen, name="gateway complaints", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def _pump(self) -> None:
        assert self.process.stdout is not None
        pipe = self.process.stdout.fileno()
        with contextlib.suppress(OSError):
            while data := os.read(pipe, 188 * 7 * 32):
                self.queue.put(data)
        self.queue.finish()

    def _listen(self) -> None:
        assert self.process.stderr is not None
        with contextlib.suppress(OSError, ValueError):
            for line in self.process.stderr:
                text = _CHATTER.sub("", line.decode("utf-8", "replace").strip())
                if text:
                    self.complaints.append(redact(text))

    @property
    def complaint(self) -> str:
        """The most telling of its last lines; empty when it said nothing."""
        telling = [
            line
            for line in self.complaints
            if re.search(r"error|fail|refused|timeout|denied|invalid|reject|reset|in use", line, re.I)
        ]
        return (telling or list(self.complaints) or [""])[-1]

    def stop(self) -> None:
        """Ask it to end, wait, tell it to end, reap it. Returns within 0.7 s."""
        self.queue.finish()
        for step, patience in ((signal.SIGTERM, 0.3), (signal.SIGKILL, 0.3)):
            if self.process.poll() is not None:
                break
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(step)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(patience)
        for thread in self._threads:
            thread.join(0.1)
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


class GatewayFeed:
    """A live input through the gateway. ``url`` is FFmpeg's, e.g. ``srt://0.0.0.0:9000?mode=listener&passphrase=...``
    (SRT's ``latency`` in microseconds there), ``rist://@0.0.0.0:8000``, ``rtmp://0.0.0.0:1935/live/key?listen=1``.
    """

    paced = True

    def __init__(self, url: str, clock: Clock, options: dict[str, str] | None = None) -> None:
        self.kind = urlsplit(url).scheme.lower()
        self.url = redact(url)
        if self.kind.startswith("rtmp"):
            url = re.sub(r"[?&]listen=1", "", url)
        self._command = command(url, options)
        self._format = "mpegts" if self.kind in ("srt", "rist") else "nut"
        self._clock = clock
        self._child: Child | None = None
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._stale: Callable[[], bool] = lambda: False
        self._bytes = self._starts = 0

    @property
    def slope(self) -> Slope | None:
        """The source's clock by the PCR of its transport stream."""
        return self._child.queue.slope if self._child is not None and self._format == "mpegts" else None

    def open(self) -> InputContainer:
        """Start the child if it does not run. Raises TimeoutError while nothing comes, ConnectionError when the child
        gave up.
        """
        with self._lock:
            if self._closed.is_set():
                raise ConnectionError("closed")
            if self._child is None:
                queue = PacketQueue(self._clock)
                queue.watch_staleness(lambda: self._stale())
                self._child = Child(self._command, queue)
                self._starts += 1
            child = self._child
        if not child.queue.wait_for_data(0.5, self._closed.is_set):
            if child.queue.finished:
                self.disconnect()
                raise ConnectionError(child.complaint or "the other side is not there")
            raise TimeoutError(child.complaint or "waiting for the other side")
        options = MPEGTS if self._format == "mpegts" else ANALYSE
        return av.open(child.queue, "r", format=self._format, options=options, metadata_errors="replace")

    def disconnect(self) -> None:
        """End the child."""
        with self._lock:
            child, self._child = self._child, None
        if child is not None:
            child.stop()
            self._bytes += child.queue.bytes

    def watch_staleness(self, stale: Callable[[], bool]) -> None:
        """End the current container when ``stale()`` becomes true."""
        self._stale = stale

    def close(self) -> None:
        """End the child for good."""
        self._closed.set()
        self.disconnect()

    def state(self) -> dict[str, Any]:
        """Bit rate, bytes, the child's process id, starts and last complaint; ``drift_ppm`` of the source's clock."""
        child = self._child
        slope = self.slope
        return {
            "bit_rate": child.queue.bit_rate if child else 0,
            "bytes": self._bytes + (child.queue.bytes if child else 0),
            "overruns": child.queue.overruns if child else 0,
            "pid": child.process.pid if child else None,
            "starts": self._starts,
            "complaint": child.complaint if child else "",
            "drift_ppm": round(slope.rate * 1e6, 1) if slope else 0.0,
        }
