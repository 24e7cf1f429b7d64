"""What tests of the application's core share: a small configuration, and a head end whose workers do nothing but
live.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from headend.worker import Record

CONFIG = """
http: {{host: 127.0.0.1, port: {port}}}
data: {data}
run: {run}
channels:
  - id: one
    name: {{zho: 一套, eng: One}}
    format: {{width: 160, height: 90, rate: 25}}
    hang: 1
    ladder:
      video: [{{id: v, width: 160, height: 90, bitrate: 100k, preset: ultrafast}}]
    sources: [{{id: card, url: "testcard:"}}]
    live: {{source: card}}
"""

# The real worker and the real supervisor; only the tasks are others: they beat, answer, and can be told to die or to
# hang.
PLAYED = """
import sys, threading, types

def task(context):
    hung = threading.Event()
    def answer(body):
        if body["do"] == "hang":
            hung.set()
        return {"name": context.name, "do": body["do"]}
    context.bus.serve(answer)
    while not context.stopping.wait(0.05):
        if not hung.is_set():
            context.beat("a picture")
    return 0

import headend.houseclock, headend.worker as worker
played = types.ModuleType("played"); played.task = task; sys.modules["played"] = played
for kind in ("channel", "hls", "origin", "api"):
    worker.KINDS[kind] = "played:task"
worker.__dict__["PREPARED"] = ("headend.config", "headend.bus")
"""
WORKER = PLAYED + "import os; os._exit(worker.main(sys.argv[1:]))"
SUPERVISOR = (
    PLAYED
    + """
import asyncio
from headend import log
from headend.config import load_config
from headend.paths import PathsError
from headend.supervisor import Supervisor, SupervisorError
log.set_up("supervisor", json=True)
config = load_config(sys.argv[1])
try:
    asyncio.run(Supervisor(config, program=(sys.executable, sys.argv[2])).run())
except (SupervisorError, PathsError) as problem:
    sys.exit(f"{problem}")
"""
)


def eventually(holds: Callable[[], Any], seconds: float = 15.0) -> Any:
    """Wait until something holds; its value."""
    until = time.monotonic() + seconds
    while True:
        if value := holds():
            return value
        if time.monotonic() > until:
            pytest.fail(f"it did not come true within {seconds:g} s: {holds}")
        time.sleep(0.01)


@pytest.fixture(name="eventually")
def eventually_fixture() -> Callable[..., Any]:
    """The function above."""
    return eventually


@pytest.fixture
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run directory whose path is short enough for sockets."""
    import shutil
    import tempfile

    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    path = Path(tempfile.mkdtemp(prefix="he", dir=base))
    yield path / "run"
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def config_file(tmp_path: Path, run: Path) -> Path:
    """A configuration of one channel, with a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    path = tmp_path / "headend.yaml"
    path.write_text(CONFIG.format(port=port, data=tmp_path / "data", run=run), encoding="utf-8")
    return path


class HeadEnd:
    """A supervisor in a process of its own, with played workers."""

    def __init__(self, config: Path, run: Path, folder: Path) -> None:
        self.config = config
        self.run = run
        self._folder = folder
        self._started: list[subprocess.Popen[bytes]] = []
        (folder / "worker.py").write_text(WORKER)
        (folder / "supervisor.py").write_text(SUPERVISOR)

    def start(self) -> subprocess.Popen[bytes]:
        """Start a supervisor."""
        log = open(self._folder / f"log{len(self._started)}", "wb")  # noqa: SIM115
        script = [
            sys.executable,
            str(self._folder / "supervisor.py"),
            str(self.config),
            str(self._folder / "worker.py"),
        ]
        self._started.append(subprocess.Popen(script, stdout=log, stderr=log, stdin=subprocess.DEVNULL))
        log.close()
        return self._started[-1]

    def log(self) -> str:
        """What all of them said."""
        return "".join(path.read_text() for path in sorted(self._folder.glob("log*")))

    def state(self) -> dict[str, Any]:
        """The supervisor's last report."""
        try:
            found: dict[str, Any] = json.loads((self.run / "supervisor.json").read_text())
        except (OSError, ValueError):
            return {}
        return found

    def records(self) -> dict[str, Record]:
        """The workers that are alive."""
        found = [Record.read(path) for path in (self.run / "workers").glob("[!.]*.json")]
        return {record.name: record for record in found if record is not None and record.alive}

    def running(self, supervisor: subprocess.Popen[bytes] | None = None) -> bool:
        """Whether that supervisor says that every worker runs."""
        state = self.state()
        rows = state.get("workers", {}).values()
        mine = supervisor is None or state.get("pid") == supervisor.pid
        return mine and len(rows) == 5 and all(row["state"] == "running" for row in rows)

    def close(self) -> None:
        """Leave nothing behind, whatever the test did."""
        for process in self._started:
            if process.poll() is None:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(10)
                process.kill()
                process.wait()
        for record in self.records().values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(record.pid, signal.SIGKILL)


@pytest.fixture
def head_end(config_file: Path, run: Path, tmp_path: Path) -> Iterator[HeadEnd]:
    """A head end that is started by the test."""
    played = HeadEnd(config_file, run, tmp_path)
    yield played
    played.close()
