"""A reader that forgives nothing polls every playlist while the packager and its fellows are killed at random.

It holds what the head end has said once against everything it says later (RFC 8216bis, 6.2.1 and 6.2.2): a number
means one segment for ever, playlists only grow at the end and shrink at the head, sequence numbers never go back, no
duration is above the target, and what is listed, or was until a moment ago, can be fetched.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import m3u8
import pytest

SEED = 20
"""Of the moments of the kills."""
SECONDS = 34.0
QUIET = 10.0
"""Of these the last, without kills: a packager that has just started keeps everything for a while, and so would hide
one that forgets too soon."""
POLL = 0.1
OUTAGE = 2.0
"""Seconds for which a killed origin may refuse connections."""
WINDOW = 12
SEGMENT = 2

CONFIG = """
http: {{host: 127.0.0.1, port: {port}}}
data: {folder}/data
channels:
  - id: strict
    name: 严
    format: {{width: 160, height: 90, rate: 25}}
    hls: {{containers: [cmaf, ts], window: {window}}}
    ladder:
      segment: {segment}
      gop: 1
      video:
        - {{id: small, width: 160, height: 90, bitrate: 100k, preset: ultrafast}}
      audio:
        - {{id: zho, codec: aac, bitrate: 64k, channels: 2, track: 0, language: zho, name: 普通话}}
    schedule: {{items: [{{source: "testcard:"}}]}}
"""


@dataclass(frozen=True)
class Row:
    """What one number stood for when it was first listed."""

    uri: str
    duration: float
    date: datetime | None
    discontinuity: bool
    gap: bool


@dataclass
class Reader:
    """One media playlist, and every word of it so far."""

    url: str
    target: int = 0
    first: int = -1
    breaks: int = 0
    rows: dict[int, Row] = field(default_factory=dict)
    longest: float = 0.0
    left: dict[int, float] = field(default_factory=dict)
    """When a number was first missed at the head, by ``time.monotonic()``."""
    fetched: set[int] = field(default_factory=set)
    polls: int = 0

    def read(self, text: str) -> None:
        """Hold a playlist against all the earlier ones."""
        self.polls += 1
        made = m3u8.loads(text, uri=self.url)
        assert text.count("#EXT-X-TARGETDURATION") == 1
        assert text.count("#EXT-X-DISCONTINUITY-SEQUENCE") == 1
        target, first, breaks = made.target_duration, made.media_sequence, made.discontinuity_sequence
        assert target == (self.target or target), f"{self.url}: the target duration changed"
        assert first >= self.first, f"{self.url}: the media sequence went back from {self.first} to {first}"
        last = max(self.rows, default=None)
        if last is not None:
            assert first <= last + 1, f"{self.url}: numbers {last + 1} to {first - 1} were never listed"
            assert first + len(made.segments) - 1 >= last, f"{self.url}: the end of the playlist was taken away"
            gone = sum(self.rows[number].discontinuity for number in range(self.first, first))
            assert breaks == self.breaks + gone, f"{self.url}: discontinuities were miscounted"
        at = None
        for number, segment in enumerate(made.segments, first):
            date = segment.program_date_time
            row = Row(segment.uri, segment.duration, date, segment.discontinuity, bool(segment.gap_tag))
            known = self.rows.setdefault(number, row)
            assert row == known, f"{self.url}: segment {number} was {known} and is {row}"
            assert round(segment.duration) <= target
            assert date is not None
            if at is not None:
                drift = (date - at[0]).total_seconds() - at[1]
                assert abs(drift) < 0.04, f"{self.url}: the date of {number} is {drift:.3f} s off the end of the last"
            at = (date, segment.duration)
        now = time.monotonic()
        for number in range(self.first if last is not None else first, first):
            self.left.setdefault(number, now)
        self.target, self.first, self.breaks = target, first, breaks
        self.longest = max(self.longest, sum(segment.duration for segment in made.segments))

    def owed(self) -> Iterator[tuple[int, str]]:
        """Segments that must be there now: listed, or removed less than their length and that of the longest playlist
        ago."""
        now = time.monotonic()
        for number, row in self.rows.items():
            age = now - self.left.get(number, now)
            if not row.gap and age < row.duration + self.longest - 1:
                yield number, self.url.rpartition("/")[0] + "/" + row.uri


def get(url: str) -> bytes:
    """Fetch, and try again while the origin is being replaced; any other answer than 200 is raised."""
    until = time.monotonic() + OUTAGE
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as refused:
            refused.close()
            raise AssertionError(f"{url}: {refused.code} {refused.reason}") from None
        except OSError as trouble:
            if time.monotonic() > until:
                raise AssertionError(f"{url}: nobody answered for {OUTAGE} s ({trouble})") from None
            time.sleep(0.05)


class Killer(threading.Thread):
    """SIGKILL to the packager at random moments, and now and then to another worker."""

    def __init__(self, head: Any) -> None:
        super().__init__(daemon=True)
        self.head = head
        self.over = threading.Event()
        self.killed: list[str] = []
        self.random = random.Random(SEED)

    def run(self) -> None:
        """Kill until told that it is over."""
        while not self.over.wait(self.random.uniform(0.2, 3.5)):
            name = self.random.choice(["hls", "hls", "hls", "origin", "channel-strict", "clock", "api"])
            # The API itself may be away for a moment.
            with contextlib.suppress(OSError, StopIteration, TypeError, ValueError):
                os.kill(self.head.worker(name), signal.SIGKILL)
                self.killed.append(name)


@pytest.fixture
def ground(request: pytest.FixtureRequest) -> Any:
    """What this folder's conftest offers beside fixtures."""
    here = str(Path(__file__).with_name("conftest.py"))
    return next(p for p in request.config.pluginmanager.get_plugins() if getattr(p, "__file__", "") == here)


@pytest.fixture
def strict(tmp_path: Path, ground: Any) -> Iterator[Any]:
    """A small channel with both containers, put on air as an operator does."""
    port = ground.free_port()
    config = tmp_path / "strict.yaml"
    config.write_text(CONFIG.format(port=port, folder=tmp_path, window=WINDOW, segment=SEGMENT))
    log = tmp_path / "log.txt"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "headend", "run", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            cwd=ground.ROOT,
            start_new_session=True,
        )
    head = ground.HeadEnd(f"http://127.0.0.1:{port}", process, tmp_path / "data", log)
    try:
        ground.wait_for("a first segment", lambda: "#EXTINF" in head.text("/hls/strict/small/index.m3u8"), 25)
        yield head
    finally:
        ground.stop(head)


@pytest.mark.timeout(90)
def test_a_reader_that_forgives_nothing_finds_nothing(strict: Any, ground: Any) -> None:
    tracks = ["small", "zho", "ts-small"]
    readers = {track: Reader(f"{strict.url}/hls/strict/{track}/index.m3u8") for track in tracks}
    killer = Killer(strict)
    killer.start()
    until = time.monotonic() + SECONDS
    turn = 0
    while time.monotonic() < until:
        began = time.monotonic()
        if until - began < QUIET:
            killer.over.set()
        for reader in readers.values():
            reader.read(get(reader.url).decode())
        assert len({reader.target for reader in readers.values()}) == 1
        # A segment each time round, so that the fetching is no load: those not seen yet, then in turn the one that may
        # be forgotten next and any other.
        for reader in readers.values():
            owed = list(reader.owed())
            fresh = [row for row in owed if row[0] not in reader.fetched]
            number, url = fresh[0] if fresh else owed[turn % len(owed) if turn % 2 else 0]
            reader.fetched.add(number)
            assert get(url), f"{url} is empty"
        turn += 1
        time.sleep(max(0.0, POLL - (time.monotonic() - began)))
    killer.join(10)
    assert killer.killed.count("hls") >= 4, (
        f"only {killer.killed} were killed; the log: {strict.log.read_text()[-3000:]}"
    )
    # A new origin remembers nothing: what it serves is really there.
    os.kill(strict.worker("origin"), signal.SIGKILL)
    for reader in readers.values():
        for _, url in reader.owed():
            assert get(url), f"{url} is empty"
        numbers = sorted(reader.rows)
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
        assert numbers[-1] - numbers[0] >= (SECONDS - 8) / SEGMENT, "the channel did not go on"
        assert reader.first > numbers[0], "nothing ever left the playlist, so that was not tried"
        gaps = [number for number in numbers if reader.rows[number].gap]
        assert len(gaps) <= killer.killed.count("channel-strict"), f"{reader.url}: too many gaps, {gaps}"
    # Discontinuities fall on the same numbers everywhere.
    assert len({tuple(n for n, row in sorted(r.rows.items()) if row.discontinuity) for r in readers.values()}) == 1
