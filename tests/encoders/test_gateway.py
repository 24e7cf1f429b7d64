"""SRT and RIST on loopback, with an ffmpeg on the other side, and what becomes of the child."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from encoders.format import ChannelFormat
from encoders.gateway import Child, GatewayFeed, command, executable
from encoders.live import LiveSource
from encoders.packetqueue import PacketQueue
from headend.clock import SystemClock


@pytest.fixture
def port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1]) & ~1  # RIST's simple profile takes an even port and the next


@pytest.fixture
def send() -> Iterator[Callable[[Path, str, str], None]]:
    """``send(file, url, format)`` sends a file at its own pace, again and again."""
    senders: list[subprocess.Popen[bytes]] = []

    def start(path: Path, url: str, container: str = "mpegts") -> None:
        arguments = [
            executable(),
            "-v",
            "quiet",
            "-re",
            "-stream_loop",
            "-1",
            "-i",
            str(path),
            "-c",
            "copy",
            "-f",
            container,
            url,
        ]
        senders.append(subprocess.Popen(arguments, stdin=subprocess.DEVNULL))

    yield start
    for sender in senders:
        sender.kill()
        sender.wait()


@pytest.mark.parametrize(
    ("ours", "theirs", "container"),
    [
        (
            "srt://127.0.0.1:{port}?mode=listener&passphrase=0123456789",
            "srt://127.0.0.1:{port}?passphrase=0123456789",
            "mpegts",
        ),
        ("srt://127.0.0.1:{port}?mode=caller", "srt://127.0.0.1:{port}?mode=listener", "mpegts"),
        ("rist://@127.0.0.1:{port}", "rist://127.0.0.1:{port}", "mpegts"),
        ("rtmp://127.0.0.1:{port}/live/secretkey?listen=1", "rtmp://127.0.0.1:{port}/live/secretkey", "flv"),
    ],
)
def test_round_trip(
    ours: str, theirs: str, container: str, port: int, channel: ChannelFormat,
    make_media: Callable[..., Path], send: Callable[..., None],
) -> None:  # fmt: skip
    path = make_media("loop.mp4", seconds=4, gop=5)
    clock = SystemClock()
    source = LiveSource("far", GatewayFeed(ours.format(port=port), clock), channel, clock)
    slot = channel.slot_at(clock.now())
    source.open(slot)
    if "listen" in ours or ours.startswith("rist"):
        deadline = time.monotonic() + 5
        while not source.state()["pid"] and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.7)  # an RTMP publisher does not try again, and when a child listens cannot be asked
    send(path, theirs.format(port=port), container)
    good = 0
    deadline = time.monotonic() + 25
    while good < 10 and time.monotonic() < deadline:
        slot += 1
        clock.wait_until(channel.ticks_of(slot))
        piece = source.pull(slot)
        good = good + 1 if piece is not None and piece.picture is not None and piece.sound is not None else 0
    state = source.state()
    pid = state["pid"]
    assert good == 10, state
    assert state["receiving"]
    assert "0123456789" not in str(state)
    assert "secretkey" not in str(state)
    began = time.monotonic()
    source.close()
    assert time.monotonic() - began < 1
    assert not psutil.pid_exists(pid), "the child is gone and reaped"


def test_the_reason_of_a_failure_is_told(channel: ChannelFormat, port: int) -> None:
    clock = SystemClock()
    source = LiveSource(
        "far", GatewayFeed(f"srt://nobody:pw@127.0.0.1:{port}?connect_timeout=200&streamid=abc", clock), channel, clock
    )
    source.open(0)
    deadline = time.monotonic() + 20
    while source.state()["errors"] == 0 and time.monotonic() < deadline:
        time.sleep(0.02)
    message = source.state()["message"]
    source.close()
    assert "cannot be opened" in message
    assert "abc" not in message
    assert "pw" not in message


def test_command_asks_for_the_bytes_as_they_come() -> None:
    line = command("srt://host:9000?passphrase=0123456789")
    assert line[0] == executable()
    assert line[line.index("-i") + 1] == "srt://host:9000?passphrase=0123456789"
    assert line.count("data") == 2
    assert "pipe:1" in line


def test_a_child_that_does_not_listen_is_killed() -> None:
    queue = PacketQueue(SystemClock())
    stubborn = "import signal,time;signal.signal(15,signal.SIG_IGN);print('up',end='',flush=True);time.sleep(60)"
    child = Child([sys.executable, "-c", stubborn], queue)
    assert queue.wait_for_data(10, lambda: False)
    assert queue.read(2) == b"up"
    began = time.monotonic()
    child.stop()
    assert time.monotonic() - began < 0.9
    assert child.process.returncode == -signal.SIGKILL


def test_a_child_dies_with_its_parent() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent("""
            import sys, time
            from encoders.gateway import Child
            from encoders.packetqueue import PacketQueue
            from headend.clock import SystemClock
            queue = PacketQueue(SystemClock())
            child = Child([sys.executable, "-c", "import sys,time;print('up',flush=True);time.sleep(60)"], queue)
            queue.wait_for_data(20, lambda: False)
            sys.stdout.write(f"PID {child.process.pid}\\n"); sys.stdout.flush()
            time.sleep(60)
        """)],
        stdout=subprocess.PIPE, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert parent.stdout is not None
    line = next(line for line in parent.stdout if line.startswith(b"PID"))
    child = psutil.Process(int(line.split()[1]))
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 5
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
