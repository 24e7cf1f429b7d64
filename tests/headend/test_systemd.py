"""What systemd hears, on a socket of the test's."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from headend.systemd import Notifier

UNIT = Path(__file__).parents[2] / "configs" / "systemd" / "headend.service"


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(5)
        yield listener


def test_everything_that_is_said(heard: socket.socket) -> None:
    environment = {"NOTIFY_SOCKET": heard.getsockname(), "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}
    notifier = Notifier.of(environment)
    assert notifier.watchdog == 30.0
    notifier.ready()
    notifier.status("5 of 5\nsecond line")
    notifier.alive()
    notifier.reloading(7)
    notifier.stopping()
    said = [heard.recv(200).decode() for _ in range(5)]
    assert said == ["READY=1", "STATUS=5 of 5", "WATCHDOG=1", "RELOADING=1\nMONOTONIC_USEC=7", "STOPPING=1"]


def test_an_abstract_socket_and_no_watchdog() -> None:
    name = f"headend-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + name)
        listener.settimeout(5)
        notifier = Notifier.of({"NOTIFY_SOCKET": "@" + name, "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1"})
        assert notifier.watchdog is None
        notifier.alive()
        notifier.ready()
        assert listener.recv(100) == b"READY=1"


def test_without_systemd_nothing_happens_and_a_dead_one_is_counted(tmp_path: Path) -> None:
    silent = Notifier.of({})
    silent.ready()
    silent.alive()
    assert silent.failed == 0
    gone = Notifier.of({"NOTIFY_SOCKET": str(tmp_path / "none"), "WATCHDOG_USEC": "soon"})
    gone.ready()
    assert gone.failed == 1


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_the_unit_is_one_that_systemd_understands(tmp_path: Path) -> None:
    unit = tmp_path / "headend.service"
    unit.write_text(UNIT.read_text().replace("/opt/headend/.venv/bin/headend", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=30)
    assert "headend.service" not in done.stderr, done.stderr


def test_the_unit_keeps_channels_on_air() -> None:
    rows = UNIT.read_text().splitlines()
    for row in ("Type=notify", "KillMode=process", "Restart=always"):
        assert row in rows
