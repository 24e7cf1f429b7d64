"""SIGKILL to each kind of worker during play, and what a viewer loses by it: time to the next picture, numbers,
segments."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from headend.ring import RingReader

KILLS = int(os.environ.get("HEADEND_BENCH_KILLS", "5"))
CONFIG = """
http: {{host: 127.0.0.1, port: {port}}}
data: {folder}/data
run: {run}
channels:
  - id: news
    name: {{zho: 新闻, eng: News}}
    format: {{width: 640, height: 360, rate: 25, audio: [{{language: zho, channels: 2}}]}}
    ladder:
      segment: 2
      gop: 2
      video:
        - {{id: 360p, width: 640, height: 360, bitrate: 700k, maxrate: 900k, bufsize: 1400k, preset: superfast}}
        - {{id: 180p, width: 320, height: 180, bitrate: 250k, maxrate: 350k, bufsize: 500k, preset: superfast}}
      audio:
        - {{id: zho, codec: aac, bitrate: 128k}}
    hls: {{window: 60}}
    schedule: {{folder: {folder}/media, loop: true}}
"""

pytestmark = pytest.mark.timeout(600)


@dataclass
class Station:
    """A head end with one channel."""

    url: str
    run: Path
    process: subprocess.Popen[bytes]

    def pid(self, worker: str) -> int:
        return int(json.loads((self.run / "workers" / f"{worker}.json").read_text())["pid"])

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(self.url + path, timeout=2) as answer:
            return bytes(answer.read())

    def listed(self) -> list[tuple[int, bool]]:
        """Number and gap of each segment of the playlist."""
        text = self.get("/hls/news/360p/index.m3u8").decode()
        rows, gap = [], False
        for line in text.splitlines():
            if line == "#EXT-X-GAP":
                gap = True
            elif match := re.search(r"(\d+)\.m4s", line if not line.startswith("#") else ""):
                rows.append((int(match[1]), gap))
                gap = False
        return rows


def until(what: str, seconds: float, check: Any, nap: float = 0.02) -> float:
    """Seconds until ``check`` is true."""
    begun = time.monotonic()
    while time.monotonic() - begun < seconds:
        with contextlib.suppress(OSError, ValueError, KeyError):
            if check():
                return time.monotonic() - begun
        time.sleep(nap)
    raise AssertionError(f"{what} did not happen within {seconds} s")


def generations(reader: RingReader) -> set[int]:
    """Generations of all units that have come since the last look."""
    found = set()
    while (unit := reader.read()) is not None:
        found.add(unit.generation)
    return found


@pytest.fixture
def station(tmp_path: Path, ffmpeg: str) -> Iterator[Station]:
    media = tmp_path / "media"
    media.mkdir()
    for number in (1, 2):
        subprocess.run(
            [ffmpeg, "-v", "error", "-f", "lavfi", "-i", f"testsrc2=s=640x360:r=25:d={20 + number}", "-f", "lavfi",
            "-i",
             f"sine=f={number}00:d={20 + number}", "-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac",
             str(media / f"{number}.mp4")],
            check=True,
        )  # fmt: skip
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    run = Path("/dev/shm" if os.access("/dev/shm", os.W_OK) else tmp_path) / f"headend-bench-{os.getpid()}"
    config = tmp_path / "station.yaml"
    config.write_text(CONFIG.format(port=port, folder=tmp_path, run=run))
    log = (tmp_path / "log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-m", "headend", "run", str(config)], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
        start_new_session=True, env={**os.environ, "HEADEND_TOKEN": "a-token-for-the-benchmark"},
    )  # fmt: skip
    station = Station(f"http://127.0.0.1:{port}", run, process)
    try:
        until("the first three segments", 40, lambda: len(station.listed()) >= 3)
        yield station
    finally:
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        finally:
            for child in family:
                with contextlib.suppress(psutil.Error):
                    child.kill()
        log.close()


def test_killed_workers(station: Station, ffmpeg: str, figures: Any) -> None:
    watcher = subprocess.Popen(
        [ffmpeg, "-v", "error", "-nostdin", "-stats_period", "0.2", "-progress", "pipe:1", "-readrate", "1",
         "-i", f"{station.url}/hls/news/index.m3u8", "-map", "0:v:0", "-map", "0:a:0", "-f", "null", "-"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    begun = time.monotonic()
    before = dict(station.listed())
    ring = station.run / "rings/news/360p"

    pictures = []
    for number in range(KILLS):
        time.sleep(3 + 0.37 * number)  # another place in the segment each time
        reader = RingReader(ring, "idr")
        dead = generations(reader)
        assert dead
        old = station.pid("channel-news")
        os.kill(old, signal.SIGKILL)
        # The dying process may still write a picture or two: the successor's are known by their generation.
        pictures.append(until("the next picture", 10, lambda r=reader, d=dead: generations(r) - d, 0.005))
        reader.close()
        until("a new worker's record", 5, lambda o=old: station.pid("channel-news") != o)

    time.sleep(3)
    watched = time.monotonic() - begun
    watcher.terminate()
    out, complaints = watcher.communicate(timeout=10)
    played = max((int(us) for us in re.findall(r"out_time_us=(\d+)", out)), default=0) / 1e6

    known = station.listed()[-4:-1]
    answers = []
    for _ in range(KILLS):
        os.kill(station.pid("origin"), signal.SIGKILL)
        answers.append(until("an answer of the origin", 10, lambda: station.get("/hls/news/360p/index.m3u8"), 0.005))
        after = dict(station.listed())
        for segment, gap in known:
            assert segment in after, f"segment {segment} was lost with the origin"
            assert gap or station.get(f"/hls/news/360p/{segment}.m4s")
        time.sleep(3)

    packaged = []
    for _ in range(2):
        last = station.listed()[-1][0]
        os.kill(station.pid("hls"), signal.SIGKILL)
        packaged.append(until("the next segment", 15, lambda n=last: station.listed()[-1][0] > n))
        time.sleep(1)

    time.sleep(3)
    rows = {**before, **dict(station.listed())}
    numbers = sorted(rows)
    gaps = sum(rows.values())
    command = ".venv/bin/pytest benchmarks/test_kill.py"
    figures.add("kill: channel, next picture encoded, worst", max(pictures), "s", goal="<= 1.5",
                peer=f"median {statistics.median(pictures):.2f} s of {KILLS}", command=command)  # fmt: skip
    figures.add("kill: segments tagged EXT-X-GAP", gaps, "", goal=f"<= {KILLS} (one a kill)", command=command)
    figures.add("kill: origin, first answer, worst", max(answers), "s", goal="<= 1.0", command=command)
    figures.add("kill: packager, next segment listed, worst", max(packaged), "s", goal="<= 2 segments", command=command)
    figures.add("kill: played by ffmpeg while channels died", played, "s", goal=f"of {watched:.1f} s", command=command)
    assert numbers == list(range(numbers[0], numbers[-1] + 1)), f"numbers are missing: {numbers}"
    assert gaps <= KILLS
    assert played > watched - 8, f"ffmpeg played {played:.1f} s of {watched:.1f} s: {complaints[-2000:]}"
    assert max(pictures) <= 1.5
    assert max(answers) <= 1.0
    assert max(packaged) <= 4.0
