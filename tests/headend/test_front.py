"""The origin worker as a real process: it answers viewers and the bus, and says in a sentence why it cannot listen."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from headend import front
from headend.bus import Bus
from headend.config import load_config

Eventually = Callable[..., Any]


@pytest.fixture
def origin(config_file: Path, tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    processes: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        with open(tmp_path / "log", "ab") as log:
            script = "import headend.front as f, os, sys; f._TRIES = 2; from headend.worker import main; "
            script += "os._exit(main(sys.argv[1:]))"
            command = [sys.executable, "-c", script, "origin", "--config", str(config_file)]
            processes.append(subprocess.Popen(command, stdout=log, stderr=log))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()


def get(url: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read()
    except (urllib.error.URLError, ConnectionError):
        return 0, b""


def test_viewers_are_served_and_the_port_is_free_afterwards(
    origin: Callable[[], subprocess.Popen[bytes]], config_file: Path, run: Path, eventually: Eventually
) -> None:
    port = load_config(config_file).http.port
    folder = run / "hls" / "one" / "v"
    folder.mkdir(parents=True)
    (folder / "index.m3u8").write_text("#EXTM3U\n")
    for _ in range(2):
        process = origin()
        eventually(lambda: get(f"http://127.0.0.1:{port}/healthz")[0] == 200)
        assert get(f"http://127.0.0.1:{port}/hls/one/v/index.m3u8") == (200, b"#EXTM3U\n")
        # Nothing answers behind it: the origin says so and lives.
        assert get(f"http://127.0.0.1:{port}/api/v1/channels")[0] in (502, 503)
        bus = Bus(run, "test")
        reply = bus.request("origin", {"do": "state"})
        assert json.dumps(reply["result"])
        assert reply["result"]["serving"]
        assert bus.request("origin", {"do": "fly"})["problem"]["status"] == 400
        bus.close()
        # The second one comes after a SIGKILL.
        process.send_signal(signal.SIGKILL)
        process.wait()
    last = origin()
    eventually(lambda: get(f"http://127.0.0.1:{port}/healthz")[0] == 200)
    last.terminate()
    assert last.wait(10) == 0


def test_a_port_in_use(origin: Callable[[], subprocess.Popen[bytes]], config_file: Path, tmp_path: Path) -> None:
    port = load_config(config_file).http.port
    with socket.create_server(("127.0.0.1", port)):
        assert origin().wait(20) == 2
    assert "free that port or set another http.port" in (tmp_path / "log").read_text()
    assert front._TRIES > 1
