"""Processes that are watched: spawned, adopted, killed with all that they started."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from headend.process import Process
from headend.worker import Record, start_time

Eventually = Callable[..., Any]
SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


def ended(process: Process) -> bool:
    return bool(select.select([process.fd], [], [], 10)[0])


def test_the_end_of_a_child_and_its_status() -> None:
    process = Process.spawn([sys.executable, "-c", "import sys; sys.exit(7)"])
    assert not process.adopted
    assert ended(process)
    process.signal(signal.SIGTERM)
    process.reap()
    assert process.status == 7
    process.release()


def test_what_a_worker_started_dies_with_it(eventually: Eventually) -> None:
    script = "import subprocess,sys; c=subprocess.Popen(sys.argv[1:]); print(c.pid, flush=True); c.wait()"
    child = subprocess.Popen([sys.executable, "-c", script, *SLEEP], stdout=subprocess.PIPE, start_new_session=True)
    assert child.stdout is not None
    with child.stdout as pipe:
        grandchild = int(pipe.readline())
    process = Process(child.pid, child)
    assert start_time(grandchild) is not None
    process.kill()
    assert ended(process)
    process.reap()
    assert process.status == -signal.SIGKILL
    eventually(lambda: start_time(grandchild) is None)


def test_adoption_is_of_that_very_process() -> None:
    child = subprocess.Popen(SLEEP, start_new_session=True)
    try:
        start = start_time(child.pid)
        assert start is not None
        assert Process.adopt(Record("x", "hls", "", child.pid, start + 1, "")) is None
        process = Process.adopt(Record("x", "hls", "", child.pid, start, ""))
        assert process is not None
        assert process.adopted
        process.signal(signal.SIGTERM)
        assert ended(process)
        assert Process.adopt(Record("x", "hls", "", child.pid, start, "")) is None
        process.reap()
        assert process.status is None
    finally:
        child.kill()
        child.wait()
    with pytest.raises(ProcessLookupError):
        Process(child.pid)


def test_telling_one_that_does_not_listen() -> None:
    process = Process.spawn([sys.executable, "-c", ""], stdin=subprocess.PIPE)
    assert ended(process)
    assert not process.tell({"kind": "x" * (1 << 17)})
    process.reap()
    assert process.fd == -1


def test_no_descriptor_is_left() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        process = Process.spawn([sys.executable, "-c", ""], stdin=subprocess.PIPE)
        assert ended(process)
        process.reap()
    assert len(os.listdir("/proc/self/fd")) == before
