"""A worker: one process, one task, ``python -m headend.worker KIND [ID] --config FILE``.

It leaves a record (who it is, what it read) and a heartbeat in the run directory, does its task until SIGTERM, and
knows nothing of the supervisor: when that dies, the worker goes on. With ``--wait`` it is a *spare*: it has imported
what takes long to import, and reads one line of JSON from standard input, ``{"kind", "id", "config"}``, to become
that worker at once; end of input ends it.

Exit status: 0 told to stop, 1 it failed, 2 a mistake that the operator must mend, 3 another process already is this
worker.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import importlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import structlog

    from headend.bus import Bus
    from headend.config import Config
    from headend.heartbeat import Heartbeat
    from headend.houseclock import HouseClock
    from headend.paths import Paths

KINDS: Final = {
    "clock": "headend.houseclock:run",
    "channel": "headend.channel:run",
    "hls": "headend.packaging:run",
    "origin": "headend.front:run",
    "api": "headend.api:run",
}
"""What each kind of worker runs; imported only in that worker."""

PREPARED: Final = (
    "av",
    "numpy",
    "headend.config",
    "headend.bus",
    "headend.channel",
    "headend.packaging",
    "headend.front",
)
"""What a spare imports while it waits. The channel comes first: its death is what viewers notice."""

STOPPED, FAILED, MISTAKE, TWICE = 0, 1, 2, 3


@dataclass(frozen=True, slots=True)
class Context:
    """What a worker is given."""

    name: str
    """``KIND`` or ``KIND-ID``: its name on the bus."""
    id: str
    """The channel's id; empty for a worker that serves all."""
    config: Config
    clock: HouseClock
    paths: Paths
    bus: Bus
    beat: Heartbeat
    """To be called whenever the work got on."""
    stopping: threading.Event
    """Set by SIGTERM."""
    log: structlog.stdlib.BoundLogger


@dataclass(frozen=True, slots=True)
class Record:
    """Who a worker is, as its file in ``run/workers`` says."""

    name: str
    kind: str
    id: str
    pid: int
    start: int
    """Clock ticks since boot at which the process was started (/proc/PID/stat, field 22): with the pid it is unique."""
    digest: str
    """Fingerprint of the configuration that it read."""
    started: str = ""
    """House time at which it began, ISO 8601."""

    def write(self, path: Path) -> None:
        """Leave it in a file. Raises OSError."""
        from headend.paths import write_whole

        write_whole(path, json.dumps(asdict(self)).encode())

    @classmethod
    def read(cls, path: Path) -> Record | None:
        """The record in a file; None if there is none, or it is not whole."""
        try:
            row = json.loads(path.read_bytes())
            record = cls(**row)
        except (OSError, ValueError, TypeError):
            return None
        return record if isinstance(record.pid, int) and isinstance(record.start, int) else None

    @property
    def alive(self) -> bool:
        """Whether that very process, not another one with its pid, is running."""
        return start_time(self.pid) == self.start


def start_time(pid: int) -> int | None:
    """Start of a process in clock ticks since boot; None if it does not run (a zombie does not)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The name of the program, in parentheses, may itself hold spaces and parentheses.
    fields = text.rpartition(")")[2].split()
    return None if len(fields) < 20 or fields[0] in "ZX" else int(fields[19])


def worker_name(kind: str, id: str = "") -> str:
    """Name on the bus and in ``run``."""
    return f"{kind}-{id}" if id else kind


def entry(kind: str) -> Callable[[Context], int | None]:
    """The function that a kind of worker runs. Raises KeyError for an unknown kind."""
    module, _, function = KINDS[kind].partition(":")
    found: Callable[[Context], int | None] = getattr(importlib.import_module(module), function)
    return found


def work(kind: str, id: str, file: Path) -> int:
    """Be that worker until it ends; returns the exit status."""
    from headend import log
    from headend.bus import Bus
    from headend.clock import to_iso
    from headend.config import ConfigError, load_config
    from headend.heartbeat import Heartbeat
    from headend.houseclock import HouseClock
    from headend.paths import Paths, PathsError

    name = worker_name(kind, id)
    try:
        config = load_config(file)
        digest = config.digest(kind, id)
        paths = Paths.of(config)
        paths.make()
    except (ConfigError, PathsError, KeyError) as problem:
        print(problem.args[0], file=sys.stderr)
        return MISTAKE
    log.set_up(name, level=config.log.level, file=config.log.file)
    logger = log.get(name)
    lock = os.open(paths.workers / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        logger.error(f"{name} is already running in another process, so this one ends")
        return TWICE
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(name[:15])
    clock = HouseClock(paths.clock)
    beat = Heartbeat(paths.heartbeat(name))
    start = start_time(os.getpid()) or 0
    record = Record(name, kind, id, os.getpid(), start, digest, to_iso(clock.now()))
    record.write(paths.worker(name))
    bus = Bus(paths.run, name)
    context = Context(name, id, config, clock, paths, bus, beat, _stop_signal(), logger)
    logger.info("started", pid=record.pid)
    try:
        status = entry(kind)(context)
    except Exception as problem:
        logger.exception(f"{name} failed: {type(problem).__name__}: {problem}; the supervisor starts it again")
        return FAILED
    finally:
        bus.close()
    logger.info("stopped", status=status or 0)
    return status or 0


def _stop_signal() -> threading.Event:
    """An event that SIGTERM sets. Ctrl-C is the supervisor's business, and reaches every process of a terminal.

    A handler runs between two instructions of the main thread, which may hold the event's own lock just then: so the
    handler only writes a byte, and a thread sets the event.
    """
    stopping = threading.Event()
    reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    os.set_blocking(reader, True)

    def wait() -> None:
        os.read(reader, 1)
        stopping.set()

    def told(number: int, frame: object) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(writer, b".")

    threading.Thread(target=wait, name="stop-signal", daemon=True).start()
    signal.signal(signal.SIGTERM, told)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return stopping


def wait_for_work() -> tuple[str, str, Path] | None:
    """As a spare: import, then read whom to become; None at the end of input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for module in PREPARED:
        # A part that is broken must not cost the others their spare: whoever needs it reports it.
        with contextlib.suppress(Exception):
            importlib.import_module(module)
    line = sys.stdin.buffer.readline(64 * 1024)
    if not line.endswith(b"\n"):
        return None
    try:
        row: dict[str, Any] = json.loads(line)
        return str(row["kind"]), str(row.get("id") or ""), Path(str(row["config"]))
    except (ValueError, KeyError, TypeError):
        print("the spare was sent no worker's description, so it ends", file=sys.stderr)
        return None


def main(arguments: list[str] | None = None) -> int:
    """The command line of a worker; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m headend.worker", description="One process of the head end.")
    parser.add_argument("kind", nargs="?", choices=sorted(KINDS), help="what to do")
    parser.add_argument("id", nargs="?", default="", help="id of the channel")
    parser.add_argument("--config", type=Path, metavar="FILE", help="the configuration")
    parser.add_argument("--wait", action="store_true", help="be a spare: read the rest from standard input")
    options = parser.parse_args(arguments)
    if options.wait:
        found = wait_for_work()
        if found is None:
            return STOPPED
        kind, id, file = found
        if kind not in KINDS:
            parser.error(f"there is no kind of worker called {kind}")
    elif options.kind is None or options.config is None:
        parser.error("say KIND and --config FILE, or --wait")
    else:
        kind, id, file = options.kind, options.id, options.config
    return work(kind, id, file)


if __name__ == "__main__":
    # Threads of libraries that still wait must not keep a worker that has ended.
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
