"""Where everything lies: ``run`` is a tmpfs and survives a process, ``data`` survives the machine.

::

    RUN/config.json            the configuration that is on air, checked; what workers read
    RUN/supervisor.{lock,json} one supervisor at a time; its state, each second
    RUN/clock                  mapping of the house clock
    RUN/workers/NAME.json      record of a worker: process, start time, digest of its configuration
    RUN/heartbeats/NAME        when a worker last got on
    RUN/bus/NAME.{cmd,pub}     its sockets
    RUN/rings/CHANNEL/REND     access units
    RUN/hls/CHANNEL/REND/      window of segments and playlists
    RUN/desks/CHANNEL.json     what operators have set by hand
    RUN/api.sock               the API, behind the origin
    DATA/journals/             what no clock can tell: last number issued, discontinuity sequence
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from headend.config import Config

_SHARED_MEMORY: Final = Path("/dev/shm")
_SOCKET_NAME_LIMIT: Final = 107
"""Bytes in the path of a Unix socket (sun_path less its final zero)."""
_LONGEST_SOCKET: Final = len("/bus/channel-.cmd") + 40

_OURS: Final = (
    "config.json",
    "supervisor.json",
    "supervisor.lock",
    "clock",
    "clock.lock",
    "api.sock",
    "capability.json",
    "workers",
    "heartbeats",
    "bus",
    "rings",
    "hls",
    "desks",
)


class PathsError(RuntimeError):
    """A directory cannot be used; the message is a sentence for the operator."""


@dataclass(frozen=True, slots=True)
class Paths:
    """The two directories and what lies in them."""

    run: Path
    data: Path

    @classmethod
    def of(cls, config: Config) -> Paths:
        """The directories of a configuration, its default for ``run`` filled in; nothing is made."""
        run = config.run
        if run is None:
            mark = hashlib.sha256(os.fsencode(config.path)).hexdigest()[:10]
            usable = _SHARED_MEMORY.is_dir() and os.access(_SHARED_MEMORY, os.W_OK | os.X_OK)
            run = _SHARED_MEMORY / f"headend-{mark}" if usable else config.data / "run"
        return cls(run, config.data)

    def make(self) -> None:
        """Make both directories, ``run`` readable for its owner only.

        Raises PathsError if that cannot be, or if ``run`` belongs to somebody else, who could then read or forge the
        signal.
        """
        if len(os.fsencode(self.run)) + _LONGEST_SOCKET > _SOCKET_NAME_LIMIT:
            raise PathsError(f"the path {self.run} is too long for the sockets in it; set 'run' to a shorter one")
        try:
            self.data.mkdir(parents=True, exist_ok=True)
            self.run.mkdir(mode=0o700, parents=True, exist_ok=True)
            for part in (
                self.workers,
                self.heartbeats,
                self.bus,
                self.run / "rings",
                self.hls,
                self.desks,
                self.journals,
            ):
                part.mkdir(exist_ok=True)
            status = self.run.lstat()
        except OSError as problem:
            where = problem.filename or self.run
            raise PathsError(
                f"{where} cannot be made ({problem.strerror}), so nothing can be put on air; make it writable for "
                "this user or set 'data' and 'run' to directories that are"
            ) from None
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
            raise PathsError(f"{self.run} belongs to another user, who could change the signal; remove it or set 'run'")

    @property
    def config(self) -> Path:
        """The configuration that is on air."""
        return self.run / "config.json"

    @property
    def clock(self) -> Path:
        """Mapping of the house clock."""
        return self.run / "clock"

    @property
    def workers(self) -> Path:
        """Records of workers."""
        return self.run / "workers"

    @property
    def heartbeats(self) -> Path:
        """Heartbeats of workers."""
        return self.run / "heartbeats"

    @property
    def bus(self) -> Path:
        """Sockets of the bus."""
        return self.run / "bus"

    @property
    def hls(self) -> Path:
        """The window that the origin serves."""
        return self.run / "hls"

    @property
    def desks(self) -> Path:
        """What operators have set by hand, a file for each channel."""
        return self.run / "desks"

    @property
    def api(self) -> Path:
        """Unix socket of the API."""
        return self.run / "api.sock"

    @property
    def supervisor(self) -> Path:
        """State of the supervisor, written each second."""
        return self.run / "supervisor.json"

    @property
    def journals(self) -> Path:
        """Journals of the packagers."""
        return self.data / "journals"

    def ring(self, channel: str, rendition: str) -> Path:
        """The ring of a rendition."""
        return self.run / "rings" / channel / rendition

    def heartbeat(self, name: str) -> Path:
        """The heartbeat of a worker."""
        return self.heartbeats / name

    def worker(self, name: str) -> Path:
        """The record of a worker."""
        return self.workers / f"{name}.json"

    def clear(self) -> None:
        """Remove from ``run`` what the head end put there, and ``run`` itself if nothing else is in it."""
        for name in _OURS:
            path = self.run / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
            for draft in self.run.glob(f".{name}.*"):
                # Half-written by a process that was killed.
                with contextlib.suppress(OSError):
                    draft.unlink()
        try:
            self.run.rmdir()
        except OSError:
            # Something of the operator's is in it: not ours to remove.
            return


def write_whole(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Replace a file so that no reader sees half of it. For files in ``run``: not synced to a disk. Raises OSError."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode), "wb") as file:
            file.write(data)
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
