"""Benchmarks print what they measured against what they must reach, and keep it for the documents.

A benchmark asks for the fixture ``figures`` and says what it found; at the end stands one table, and
``benchmarks/results/latest.json`` holds the newest row of every name.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

RESULTS = Path(__file__).parent / "results" / "latest.json"


@dataclass(frozen=True, slots=True)
class Row:
    """One figure."""

    name: str
    figure: float
    unit: str
    goal: str
    """As a reader understands it, e.g. ``>= 1.0, aim 1.05``."""
    peer: str
    """What the peer reached, or empty."""
    command: str
    """What makes the figure again."""


class Figures:
    """Collects rows. ``add`` does not judge: a benchmark asserts its own gate after adding."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def add(self, name: str, figure: float, unit: str, *, goal: str = "", peer: str = "", command: str = "") -> None:
        """Note a figure; the command defaults to the test that notes it."""
        test = os.environ.get("PYTEST_CURRENT_TEST", "").split(" ")[0]
        self.rows.append(Row(name, figure, unit, goal, peer, command or f".venv/bin/pytest {test}"))


@dataclass(frozen=True, slots=True)
class Run:
    """What a process did and cost."""

    status: int
    stdout: str
    stderr: str
    seconds: float
    cpu: float
    """Seconds of processor time, user and system, of the process and the children it waited for."""
    memory: int
    """Most bytes resident at once in the process (and, if larger, in one of its children)."""
    others: float = 0.0
    """Share of the machine, 0 to 1, that other processes used meanwhile: a crowded run's wall-clock figure is void."""


_KEY = pytest.StashKey[Figures]()


def pytest_configure(config: pytest.Config) -> None:
    """One collection for the session."""
    config.stash[_KEY] = Figures()


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Figures:
    """Where a benchmark says what it found."""
    return request.config.stash[_KEY]


@pytest.fixture
def measured_run() -> Callable[..., Run]:
    """A function that runs a command and says what it cost, the same way for ours and for a peer."""
    return run_measured


def run_measured(command: Sequence[str | os.PathLike[str]], timeout: float = 300.0) -> Run:
    """Run a command to its end. Raises TimeoutError, after killing it, when it takes longer."""
    busy, begun = _busy(), time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    texts: dict[str, str] = {}
    readers = [
        threading.Thread(target=lambda n=name, s=stream: texts.__setitem__(n, s.read()))  # type: ignore[misc]
        for name, stream in (("out", process.stdout), ("err", process.stderr))
    ]
    for reader in readers:
        reader.start()
    expired = threading.Event()

    def expire() -> None:
        expired.set()
        process.kill()

    timer = threading.Timer(timeout, expire)
    timer.start()
    # wait4 instead of Popen.wait: it alone tells the memory and time of this one child.
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begun
    timer.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    for reader in readers:
        reader.join()
    process.stdout.close()
    process.stderr.close()
    if expired.is_set():
        raise TimeoutError(f"{command[0]} was not done after {timeout:g} s")
    cpu = usage.ru_utime + usage.ru_stime
    others = max(0.0, _busy() - busy - cpu) / (seconds * (os.cpu_count() or 1))
    return Run(
        process.returncode,
        texts.get("out", ""),
        texts.get("err", ""),
        seconds,
        cpu,
        usage.ru_maxrss * 1024,
        min(1.0, others),
    )


def _busy() -> float:
    """Seconds of processor time that the whole machine has used."""
    times = psutil.cpu_times()
    idle: float = times.idle + times.iowait
    return sum(times[:8]) - idle


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Generator[None, None, None] | None:
    """The table, and the file."""
    rows = terminalreporter.config.stash[_KEY].rows
    if not rows:
        return None
    terminalreporter.section("figures against goals")
    width = max(len(row.name) for row in rows)
    for row in rows:
        peer = f"   peer {row.peer}" if row.peer else ""
        terminalreporter.write_line(f"{row.name:<{width}}  {_short(row.figure):>9} {row.unit:<8} {row.goal}{peer}")
    try:
        _keep(rows)
    except OSError as error:
        terminalreporter.write_line(f"{RESULTS} could not be written ({error.strerror}); the figures stand above only")
    return None


def _short(value: float) -> str:
    if value and math.isfinite(value):
        digits = max(0, 3 - math.floor(math.log10(abs(value))))
        return f"{value:.{min(digits, 4)}f}"
    return str(value)


def _keep(rows: list[Row]) -> None:
    """Put rows into the file, in place of older ones of the same name; written whole, then renamed."""
    kept: list[dict[str, Any]] = []
    if RESULTS.exists():
        try:
            kept = json.loads(RESULTS.read_text())
        except ValueError:
            kept = []  # a half-written file of long ago is no reason to lose what was measured now
    new = {row.name for row in rows}
    kept = [row for row in kept if row.get("name") not in new] + [asdict(row) for row in rows]
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    half = RESULTS.with_suffix(".tmp")
    half.write_text(json.dumps(kept, indent=2, ensure_ascii=False) + "\n")
    half.replace(RESULTS)


@pytest.fixture(scope="session")
def ffmpeg() -> str:
    """The ffmpeg 9 that the wheel brings: the peer."""
    import imageio_ffmpeg

    return str(imageio_ffmpeg.get_ffmpeg_exe())


@pytest.fixture(scope="session")
def python() -> str:
    """The interpreter to start a process of ours with."""
    return sys.executable


@pytest.fixture(scope="session")
def nginx() -> str:
    """nginx, for the benchmarks that need it as a peer."""
    found = shutil.which("nginx")
    if found is None:
        pytest.skip("needs nginx: install Debian's package nginx-light")
    return found
