"""Heartbeats: what another process reads is what the worker said."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from headend import heartbeat
from headend.heartbeat import Heartbeat


def test_a_beat_is_read_with_its_age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [5_000_000_000]
    monkeypatch.setattr(heartbeat, "_now", lambda: now[0])
    path = tmp_path / "heartbeats" / "channel-one"
    assert heartbeat.read(path) is None
    beat = Heartbeat(path)
    now[0] += 2_000_000_000
    assert heartbeat.read(path) == heartbeat.Beat(2.0, 0, "")
    beat.beat("a picture 画面")
    now[0] += 500_000_000
    assert heartbeat.read(path) == heartbeat.Beat(0.5, 1, "a picture 画面")
    beat("x" * 1000)
    beat()
    got = heartbeat.read(path)
    assert got is not None
    assert (got.count, got.what, got.age, beat.age) == (3, "x" * 224, 0.0, 0.0)
    assert got.state() == {"age": 0.0, "count": 3, "what": "x" * 224}
    beat.close()
    beat.close()


def test_a_successor_begins_anew_and_a_damaged_file_is_none(tmp_path: Path) -> None:
    path = tmp_path / "hls"
    first = Heartbeat(path)
    first.beat("old")
    second = Heartbeat(path)
    got = heartbeat.read(path)
    assert got is not None
    assert (got.count, got.what) == (0, "")
    first.close()
    second.close()
    path.write_bytes(b"short")
    assert heartbeat.read(path) is None


def test_threads_may_share_it_and_it_is_cheap(tmp_path: Path) -> None:
    beat = Heartbeat(tmp_path / "b")
    started = time.perf_counter()
    threads = [threading.Thread(target=lambda: [beat.beat("work") for _ in range(5000)]) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (time.perf_counter() - started) / 15_000 < 50e-6
    got = heartbeat.read(beat.path)
    assert got is not None
    assert got.what == "work"
    assert got.age < 5
    beat.close()
