"""A worker process: record, heartbeat, SIGTERM, the spare, and mistakes as sentences with a status."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from headend import heartbeat
from headend.worker import KINDS, MISTAKE, STOPPED, TWICE, Record, start_time, worker_name

Eventually = Callable[..., Any]
Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    processes: list[subprocess.Popen[bytes]] = []

    def one(*arguments: str, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        log = open(tmp_path / "log", "ab")  # noqa: SIM115
        command = [sys.executable, "-m", "headend.worker", *arguments]
        processes.append(subprocess.Popen(command, stdin=stdin, stdout=log, stderr=log))
        log.close()
        return processes[-1]

    yield one
    for process in processes:
        process.kill()
        process.wait()
        if process.stdin is not None:
            process.stdin.close()


def test_names() -> None:
    assert worker_name("hls") == "hls"
    assert worker_name("channel", "one") == "channel-one"
    assert set(KINDS) == {"clock", "channel", "hls", "origin", "api"}


def test_start_times_tell_processes_apart() -> None:
    mine = start_time(os.getpid())
    assert mine is not None
    assert start_time(2**22 + 1) is None
    assert Record("x", "hls", "", os.getpid(), mine, "d").alive
    assert not Record("x", "hls", "", os.getpid(), mine + 1, "d").alive
    dead = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)
    # A zombie does not run.
    assert start_time(dead.pid) is None
    dead.wait()


def test_records(tmp_path: Path) -> None:
    record = Record("channel-one", "channel", "one", 42, 17, "abc", "2026-11-21T00:00:00.000Z")
    record.write(tmp_path / "r.json")
    assert Record.read(tmp_path / "r.json") == record
    assert Record.read(tmp_path / "none.json") is None
    for text in ("", "{", "[]", '{"name": 1}', '{"name":"","kind":"","id":"","pid":"1","start":1,"digest":""}'):
        (tmp_path / "bad.json").write_text(text)
        assert Record.read(tmp_path / "bad.json") is None


def test_the_clock_worker_lives_and_stops(
    start: Start, config_file: Path, run: Path, tmp_path: Path, eventually: Eventually
) -> None:
    worker = start("clock", "--config", str(config_file))
    record = eventually(lambda: Record.read(run / "workers" / "clock.json"))
    assert record.pid == worker.pid
    assert record.alive
    eventually(lambda: (beat := heartbeat.read(run / "heartbeats" / "clock")) and beat.count)
    assert (run / "clock").exists()
    # It may exist once only.
    assert start("clock", "--config", str(config_file)).wait(20) == TWICE
    assert "already running" in (tmp_path / "log").read_text()
    # Ctrl-C of a terminal is not for it.
    worker.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        worker.wait(0.3)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(10) == STOPPED
    assert not record.alive


def test_a_spare_becomes_a_worker(start: Start, config_file: Path, run: Path, eventually: Eventually) -> None:
    spare = start("--wait", stdin=subprocess.PIPE)
    assert spare.stdin is not None
    with spare.stdin as pipe:
        pipe.write(json.dumps({"kind": "clock", "id": "", "config": str(config_file)}).encode() + b"\n")
    record = eventually(lambda: Record.read(run / "workers" / "clock.json"), 30)
    assert record.pid == spare.pid
    spare.terminate()
    assert spare.wait(10) == STOPPED


@pytest.mark.parametrize("line", [b"", b"half a line", b"nonsense\n"])
def test_a_spare_ends_with_its_supervisor(start: Start, line: bytes) -> None:
    spare = start("--wait", stdin=subprocess.PIPE)
    assert spare.stdin is not None
    with spare.stdin as pipe:
        pipe.write(line)
    assert spare.wait(30) == STOPPED


def test_mistakes(start: Start, config_file: Path, tmp_path: Path) -> None:
    assert start("channel", "two", "--config", str(config_file)).wait(20) == MISTAKE
    config_file.write_text("channels: 5")
    assert start("clock", "--config", str(config_file)).wait(20) == MISTAKE
    assert start("painter", "--config", str(config_file)).wait(20) == 2
    said = (tmp_path / "log").read_text()
    assert "there is no channel 'two'" in said
    assert "line 1: channels: the value '5'" in said
    assert "Traceback" not in said
