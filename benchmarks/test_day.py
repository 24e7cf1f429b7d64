"""A day of a channel at accelerated time: memory, open files and threads at the end are those of the third hour.

Small pictures (96x54, 5 a second) and the fastest encoders (x264 ultrafast, MP2) make 24 hours affordable; the number
of
joins, takes and losses is that of a busy day. Run as a program (`python benchmarks/test_day.py HOURS FOLDER`) this
file is the
channel: one JSON object, a row of memory, files and threads for every half hour of channel time.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import psutil
import pytest

from encoders.arbiter import Limits
from encoders.asrun import AsRun
from encoders.file import FileSource
from encoders.format import ChannelFormat
from encoders.ladder import Ladder
from encoders.pace import Pacing
from encoders.playout import Playout
from encoders.rendition import AudioRendition, VideoRendition
from encoders.schedule import Item, Schedule
from encoders.slate import Slate
from encoders.source import Slice
from headend.accessunit import AccessUnit
from headend.clock import TICKS_PER_SECOND, FakeClock, from_seconds

HOURS = float(os.environ.get("HEADEND_BENCH_HOURS", "24"))
FORMAT = ChannelFormat(96, 54, Fraction(5))
ITEM_SECONDS = 170
LENGTHS = (120, 90, 45)
"""Seconds of the programmes; longer items loop them."""

pytestmark = pytest.mark.timeout(3000)


class Contribution:
    """A live input that is lost for half a minute every ten, and is somebody else's every second time."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._pictures = []
        for shade in range(8):
            picture = av.VideoFrame(FORMAT.width, FORMAT.height, FORMAT.pixel_format)
            for plane, value in zip(picture.planes, (40 + 20 * shade, 128, 128), strict=True):
                plane.update(bytes([value]) * plane.buffer_size)
            self._pictures.append(picture)
        self._sound = (np.sin(np.arange(9600) * 0.05)[None].repeat(2, 0) * 0.2).astype(np.float32)

    def open(self, first: int) -> None:
        """Nothing to open."""

    def ready(self, slot: int) -> bool:
        return slot // 5 % 600 < 570

    def pull(self, slot: int, wait: float = 0.0) -> Slice | None:
        return Slice(self._pictures[slot % 8], [self._sound]) if self.ready(slot) else None

    def state(self) -> dict[str, Any]:
        return {"name": self.name, "receiving": True}

    def close(self) -> None:
        """Nothing to close."""


def channel(hours: float, folder: Path) -> dict[str, Any]:
    """Run it; what was seen."""
    clock = FakeClock()
    first = FORMAT.slot_at(clock.now())
    last = first + int(hours * 3600 * 5)
    media = sorted(folder.glob("*.mp4"))
    items = [
        Item(f"i{n}", str(media[n % len(media)]),
        duration=ITEM_SECONDS * TICKS_PER_SECOND + n % 5 * from_seconds(Fraction(1, 5)), loop=True)
        for n in range(24)
    ]  # fmt: skip
    made = 0

    def sink(id: str, unit: AccessUnit) -> None:
        nonlocal made
        made += len(unit.data)

    ladder = Ladder(
        FORMAT,
        [VideoRendition("v", 96, 54, 60_000, encoder="libx264", preset="ultrafast")],
        [AudioRendition("a", 64_000, codec="mp2")],
        sink,
        clock=clock,
    )

    def make(item: Item, at: int, offset: int) -> FileSource:
        assert item.duration is not None
        return FileSource(item.id, item.source, FORMAT, clock, duration=item.duration - offset, loop=True)

    playout = Playout(
        FORMAT, clock, ladder, make=make, schedule=Schedule(tuple(items), repeat="loop", epoch=clock.now()),
        sources={"studio": Contribution("studio")}, slate=Slate("slate", FORMAT, clock),
        asrun=AsRun(folder / "asrun", FORMAT),
        start_slot=first, pacing=Pacing(realtime=False), standby="cold", live_limits=Limits(),
    )  # fmt: skip
    process = psutil.Process()
    rows: list[dict[str, Any]] = []
    takes = 0
    begun = time.perf_counter()
    playout.start()
    every, next_row, next_take = 1800 * 5, first + 1800 * 5, first + 420 * 5
    while True:
        slot = playout.state()["slot"] or first
        if slot >= next_take:
            # An operator: seven minutes of schedule, three of the contribution.
            if takes % 2 == 0:
                playout.take("studio")
            else:
                playout.release()
            takes += 1
            next_take = slot + (180 if takes % 2 else 420) * 5
        if slot >= next_row:
            gc.collect()
            rows.append({
                "hours": (slot - first) / 5 / 3600, "memory": process.memory_info().rss,
                "files": process.num_fds(), "threads": process.num_threads(),
            })  # fmt: skip
            next_row += every
        if slot >= last or not playout.state()["running"]:
            break
        time.sleep(0.05)
    took = time.perf_counter() - begun
    playout.stop(10)
    ladder.flush(10)
    ladder.close()
    state = playout.state()
    return {"rows": rows, "takes": takes, "bytes": made, "seconds": took, "slots": state["slot"] - first + 1,
            "counters": state["counters"], "threads_at_end": threading.active_count()}  # fmt: skip


def test_a_day(tmp_path: Path, ffmpeg: str, python: str, figures: Any, measured_run: Callable[..., Any]) -> None:
    for length in LENGTHS:
        subprocess.run(
            [ffmpeg, "-v", "error", "-f", "lavfi", "-i", f"testsrc2=s=96x54:r=5:d={length}", "-f", "lavfi",
             "-i", f"sine=f={length * 7}:r=48000:d={length}", "-c:v", "libx264", "-preset", "ultrafast", "-c:a",
             "aac", "-ac", "2",
             str(tmp_path / f"{length}.mp4")],
            check=True,
        )  # fmt: skip
    run = measured_run([python, __file__, str(HOURS), str(tmp_path)], timeout=2400)
    assert run.status == 0, run.stderr[-3000:]
    seen = json.loads(run.stdout)
    rows = seen["rows"]
    warm = [row for row in rows if row["hours"] >= 2] if HOURS > 4 else rows[len(rows) // 2 :]
    early = sorted(row["memory"] for row in warm[: max(len(warm) // 4, 1)])
    late = sorted(row["memory"] for row in warm[-max(len(warm) // 4, 1) :])
    growth = late[len(late) // 2] / early[len(early) // 2] - 1
    # A moment in which an item is being opened has a few more of both; what must not grow is the least of a quarter.
    quarter = max(len(warm) // 4, 1)
    most = {what: max(row[what] for row in warm) for what in ("files", "threads")}
    least = {what: [min(row[what] for row in part) for part in (warm[:quarter], warm[-quarter:])] for what in most}
    counters = seen["counters"]
    real = seen["slots"] / 5 / seen["seconds"]
    figures.add("day: hours of channel time", seen["slots"] / 5 / 3600, "h", goal=f"{HOURS:g}")
    figures.add("day: speed, 96x54 at 5/s, x264 ultrafast + MP2", real, "x real", goal="(stated)")
    figures.add("day: joins and takes", counters["joins"], "", goal=f"hundreds; {seen['takes']} takes and releases")
    figures.add("day: memory, last quarter against first after warm-up", growth * 100, "%", goal="<= 5")
    for what, (before, after) in least.items():
        goal = f"<= 4 (one item's); {after} at the end, at most {most[what]} while items are opened"
        figures.add(f"day: {what}, growth of the least", after - before, "", goal=goal)
    assert counters["errors"] == 0
    assert counters["joins"] > HOURS * 20
    assert growth <= 0.05, f"memory grew by {growth:.1%}: {[row['memory'] >> 20 for row in rows]} MiB"
    for what, (before, after) in least.items():
        assert after <= before + 4, f"{what} grew: {[row[what] for row in rows]}"
        assert most[what] <= before + 12, f"{what} piled up: {[row[what] for row in rows]}"


if __name__ == "__main__":
    print(json.dumps(channel(float(sys.argv[1]), Path(sys.argv[2]))))
