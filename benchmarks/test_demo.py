"""The demo fits into 1.5 cores of a two-core machine: processor time of all that `headend demo` runs, once on air."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

import psutil
import pytest

SECONDS = 40

pytestmark = pytest.mark.timeout(400)


def spent(family: dict[int, psutil.Process]) -> float:
    """Processor seconds of all processes of a family, those that have ended left out."""
    total = 0.0
    for process in family.values():
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def test_the_demo_fits(tmp_path: Path, python: str, figures: Any) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = (tmp_path / "log").open("wb")
    begun = time.monotonic()
    demo = subprocess.Popen(
        [python, "-m", "headend", "demo", "--port", str(port), "--feed-port", str(port),
         "--data", str(tmp_path / "data")],
        stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
    )  # fmt: skip
    try:
        ready = 0.0
        while not ready:
            assert time.monotonic() - begun < 200, (tmp_path / "log").read_text()[-2000:]
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2).close()
                ready = time.monotonic() - begun
            time.sleep(0.25)
        time.sleep(10)  # the programmes' loudness is measured in the background at first
        head = psutil.Process(demo.pid)
        family = {p.pid: p for p in (head, *head.children(recursive=True))}
        before, at = spent(family), time.monotonic()
        time.sleep(SECONDS)
        cores = (spent(family) - before) / (time.monotonic() - at)
        memory = sum(p.memory_info().rss for p in family.values() if p.is_running()) / 2**20
    finally:
        demo.send_signal(signal.SIGINT)
        demo.wait(30)
        log.close()
    assert not [p for p in family.values() if p.is_running() and p.status() != psutil.STATUS_ZOMBIE], os.listdir(
        tmp_path
    )
    figures.add("demo: from nothing to ready, programmes made", ready, "s", goal="minutes at most")
    figures.add("demo: processor, two channels of 720p + 360p", cores, "cores", goal="<= 1.5")
    figures.add("demo: resident memory of all its processes", memory, "MiB", goal="(stated)")
    assert cores <= 1.5
