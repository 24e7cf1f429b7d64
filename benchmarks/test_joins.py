"""A thousand joins between odd media at accelerated time: every slot once, nothing repeated or dropped but by the
rule, all in sync.

The media is made here: two seconds each,
black and silent but for a white picture and a 1 kHz beep that begin one second in.
Playout runs with a clock that jumps, into a ladder with the fastest encoder; what is judged is what playout sent (where
the flash and the beep came out), its as-run rows, and the access units of the ladder.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import psutil
import pytest

from encoders.asrun import AsRun
from encoders.cadence import predict, ticks
from encoders.content import samples_of
from encoders.file import FileSource
from encoders.format import SAMPLE_RATE, ChannelFormat
from encoders.ladder import Ladder
from encoders.pace import Pacing
from encoders.playout import Playout
from encoders.rendition import AudioRendition, VideoRendition
from encoders.schedule import Item, Schedule
from encoders.slate import Slate
from headend.accessunit import AccessUnit
from headend.clock import TICKS_PER_SECOND, FakeClock

JOINS = int(os.environ.get("HEADEND_BENCH_JOINS", "1000"))
WIDTH, HEIGHT = 96, 54
SECONDS = 2
PICTURE = "{size}:r={rate}:d={length},drawbox=c=white:t=fill:enable='between(t\\,0.999\\,1.0+0.9/{rate})'"
BEEP = "aevalsrc='0.5*sin(2*PI*1000*t)*between(t\\,1\\,1.04){more}':s={rate}:d={length}:c={layout}"

pytestmark = pytest.mark.timeout(1200)


@dataclass(frozen=True)
class Odd:
    """One kind of odd media, as arguments of ffmpeg."""

    name: str
    rate: str = "25"
    length: float = SECONDS
    size: str = f"{WIDTH}x{HEIGHT}"
    sound: float | None = SECONDS
    sample_rate: int = 48_000
    layout: str = "stereo"
    picture: bool = True
    filters: str = ""
    options: tuple[str, ...] = ("-c:v", "libx264", "-preset", "ultrafast", "-bf", "0", "-g", "12")
    audio_codec: str = "aac"
    suffix: str = "mp4"
    damage: str = ""
    predictable: bool = True
    """Whether every picture of it can be decoded, so that the rule says what must happen."""

    @property
    def agrees(self) -> bool:
        """Whether its frame rate is the channel's: the flash is then exact."""
        return self.rate == "25" and not self.filters


MEDIA = (
    Odd("plain"),
    Odd("short-sound", sound=1.3),
    Odd("no-sound", sound=None),
    Odd("no-picture", picture=False, predictable=False),
    Odd("variable-rate", rate="50", filters="select='eq(mod(n\\,3)\\,0)+eq(mod(n\\,5)\\,0)'"),
    Odd("interlaced", options=("-c:v", "mpeg2video", "-flags", "+ildct+ilme", "-q:v", "4", "-bf", "0"),
    audio_codec="mp2",
        suffix="ts", filters="setfield=tff"),
    Odd("upright", size="54x96"),
    Odd("mono-44k", sample_rate=44_100, layout="mono"),
    Odd("surround", layout="5.1", audio_codec="ac3", suffix="mkv"),
    Odd("thirty", rate="30"),
    Odd("fifty", rate="50"),
    Odd("film", rate="24"),
    Odd("truncated", suffix="ts", damage="truncated", predictable=False),
    Odd("corrupt", suffix="ts", damage="corrupt", predictable=False),
    Odd("empty", damage="empty", predictable=False),
    Odd("text", damage="text", predictable=False),
)  # fmt: skip


def make(odd: Odd, folder: Path, ffmpeg: str) -> Path:
    """Make one of the media."""
    path = folder / f"{odd.name}.{odd.suffix}"
    inputs: list[str] = []
    if odd.picture:
        card = "color=black:s=" + PICTURE.format(size=odd.size, rate=odd.rate, length=odd.length)
        inputs += ["-f", "lavfi", "-i", card + (f",{odd.filters}" if odd.filters else "")]
    if odd.sound is not None:
        count = {"mono": 1, "stereo": 2, "5.1": 6}[odd.layout]
        one = "0.5*sin(2*PI*1000*t)*between(t\\,1\\,1.04)"
        # In 5.1 the beep is in front left and right alone: what the stereo of the channel must carry.
        parts = [one if n < 2 else "0" for n in range(count)]
        inputs += [
            "-f",
            "lavfi",
            "-i",
            f"aevalsrc='{'|'.join(parts)}':s={odd.sample_rate}:d={odd.sound}:c={odd.layout}",
        ]
    coding = list(odd.options) if odd.picture else []
    subprocess.run(
        [ffmpeg, "-v", "error", "-y", *inputs, *coding, "-fps_mode", "passthrough", "-pix_fmt", "yuv420p", "-c:a",
        odd.audio_codec,
         "-b:a", "128k", str(path)] if odd.picture else
        [ffmpeg, "-v", "error", "-y", *inputs, "-c:a", odd.audio_codec, "-b:a", "128k", str(path)],
        check=True,
    )  # fmt: skip
    data = path.read_bytes()
    match odd.damage:
        case "truncated":
            path.write_bytes(data[: len(data) * 6 // 10])
        case "corrupt":
            middle = bytearray(data)
            rng = np.random.default_rng(7)
            for at in rng.integers(len(data) // 3, len(data) * 2 // 3, 40):
                middle[at : at + 8] = rng.bytes(8)
            path.write_bytes(bytes(middle))
        case "empty":
            path.write_bytes(b"")
        case "text":
            path.write_text("This was never a programme.\n" * 40)
    return path


def times_of(path: Path) -> list[int]:
    """Times of the pictures from the first frame of the file, in ticks, as another reader of the file sees them."""
    with av.open(str(path)) as container:
        base = [s.start_time * s.time_base for s in container.streams if s.start_time is not None and s.time_base]
        begin = ticks(1, min(base)) if base else 0
        found = [ticks(f.pts, f.time_base) - begin for f in container.decode(video=0) if f.pts is not None]
    return sorted(found)


@dataclass
class Tap:
    """Stands between playout and ladder, and remembers where it flashed and beeped."""

    format: ChannelFormat
    ladder: Ladder
    slots: list[int] = field(default_factory=list)
    bright: list[int] = field(default_factory=list)
    beeps: list[int] = field(default_factory=list)
    wrong_counts: int = 0
    quiet: int = SAMPLE_RATE

    def push(self, slot: int, picture: av.VideoFrame, sound: list[Any]) -> None:
        self.slots.append(slot)
        if int(samples_of(picture).max()) > 150:
            self.bright.append(slot)
        first, count = self.format.first_sample(slot), self.format.samples_in(slot)
        self.wrong_counts += sum(track.shape[1] != count for track in sound)
        loud = np.flatnonzero(np.abs(sound[0][0]) > 0.12)
        if loud.size and self.quiet + loud[0] > SAMPLE_RATE // 4:
            self.beeps.append(first + int(loud[0]))
        self.quiet = count - int(loud[-1]) if loud.size else self.quiet + count
        self.ladder.push(slot, picture, sound)


def test_a_thousand_joins(tmp_path: Path, ffmpeg: str, figures: Any) -> None:
    format = ChannelFormat(WIDTH, HEIGHT, Fraction(25))
    media = {odd.name: make(odd, tmp_path, ffmpeg) for odd in MEDIA}
    clock = FakeClock()
    first = format.slot_at(clock.now())
    start = format.ticks_of(first)
    items = []
    for number in range(JOINS):
        odd = MEDIA[number % len(MEDIA)]
        length = SECONDS * TICKS_PER_SECOND
        items.append(Item(f"{number}-{odd.name}", str(media[odd.name]), start=start + number * length, duration=length))
    units: dict[str, list[int]] = {"picture": [], "sound": []}
    lock = threading.Lock()

    def sink(id: str, unit: AccessUnit) -> None:
        with lock:
            units[id].append(unit.pts)

    ladder = Ladder(
        format,
        [VideoRendition("picture", WIDTH, HEIGHT, 100_000, encoder="libx264", preset="ultrafast")],
        [AudioRendition("sound", 64_000, codec="mp2")],
        sink,
        clock=clock,
    )
    tap = Tap(format, ladder)

    def source(item: Item, at: int, offset: int) -> FileSource:
        assert item.duration is not None
        return FileSource(item.id, item.source, format, clock, in_point=offset, duration=item.duration - offset)

    log = AsRun(tmp_path / "asrun", format)
    playout = Playout(
        format, clock, tap, make=source, schedule=Schedule(tuple(items), early="filler"), slate=Slate("slate", format,
        clock),
        asrun=log, start_slot=first, pacing=Pacing(realtime=False),
    )  # fmt: skip
    process = psutil.Process()
    begun = time.perf_counter()
    playout.start()
    wanted = JOINS * SECONDS * 25
    threads = 0
    while len(tap.slots) < wanted and playout.state()["running"]:
        time.sleep(0.25)
        threads = max(threads, process.num_threads())
    took = time.perf_counter() - begun
    assert playout.stop(10), "the engine did not stop"
    state = playout.state()
    assert ladder.flush(20)
    ladder.close()
    assert not state["counters"]["errors"], state["messages"]

    # Every slot exactly once, every sample there.
    assert tap.slots == list(range(first, first + len(tap.slots)))
    assert len(tap.slots) >= wanted
    assert tap.wrong_counts == 0
    pictures, sounds = sorted(units["picture"]), sorted(units["sound"])
    assert {b - a for a, b in pairwise(pictures)} == {format.slot_ticks}
    assert {b - a for a, b in pairwise(sounds)} == {1152 * TICKS_PER_SECOND // SAMPLE_RATE}

    # Repeats and drops as the rule predicts.
    plans = {
        odd.name: predict(times_of(media[odd.name]), format.slot_ticks, SECONDS * 25)
        for odd in MEDIA
        if odd.predictable
    }
    rows = {row.item: row for row in log.rows(start, format.ticks_of(tap.slots[-1])) if row.item}
    wrong: Counter[str] = Counter()
    judged = 0
    for item in items[:-1]:
        name = item.id.partition("-")[2]
        if name in plans:
            row = rows.get(item.id)
            found = None if row is None else (row.frames, row.repeats + row.holds, row.drops)
            judged += 1
            if found != (SECONDS * 25, plans[name].repeats, plans[name].drops):
                wrong[
                    f"{name}: frames, repeats, drops are {found}, not {(50, plans[name].repeats, plans[name].drops)}"
                ] += 1
    assert not wrong, "\n".join(f"{count} x {what}" for what, count in wrong.items())

    # Sync, from flashes and beeps.
    worst = {True: 0.0, False: 0.0}
    pairs = 0
    flashes = [b for a, b in pairwise([-2, *tap.bright]) if b != a + 1]
    kinds = {odd.name: odd for odd in MEDIA}
    for slot in flashes:
        number = (slot - first) // (SECONDS * 25)
        odd = kinds[items[number].id.partition("-")[2]] if number < JOINS else None
        if odd is None or odd.sound is None or not odd.picture or odd.damage:
            continue
        at = format.first_sample(slot)
        beep = min(tap.beeps, key=lambda sample: abs(sample - at), default=0)
        pairs += 1
        worst[odd.agrees] = max(worst[odd.agrees], abs(beep - at) / SAMPLE_RATE * 1000)
    assert pairs >= JOINS * 9 // len(MEDIA) - 9, f"only {pairs} flashes with beeps were seen"
    speed = len(tap.slots) / 25 / took
    figures.add(
        "joins: slots filled exactly once", len(tap.slots), "slots", goal=f"{wanted}, {JOINS} joins, {judged} predicted"
    )
    figures.add("joins: sync, same frame rate, worst", worst[True], "ms", goal="<= 5")
    figures.add("joins: sync, other frame rates, worst", worst[False], "ms", goal="<= 20 (half a picture)")
    figures.add(f"joins: {WIDTH}x{HEIGHT} x264 ultrafast + MP2", speed, "x real", goal="(stated)")
    assert worst[True] <= 5.0
    assert worst[False] <= 20.0 + 1000 / SAMPLE_RATE
    assert process.num_threads() < 60
    assert threads < 80
