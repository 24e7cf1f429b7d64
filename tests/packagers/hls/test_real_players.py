"""Other people's players read what the packager writes: real H.264 with B pictures and AAC, through both containers.

Frames are counted, not guessed: every picture and every audio frame that went in must come out, at its time.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import threading
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import imageio_ffmpeg
import numpy as np
import pytest

from headend.accessunit import AccessUnit, StreamFormat
from headend.clock import TICKS_PER_SECOND as S
from headend.clock import FakeClock
from packagers.hls.origin import Origin
from packagers.hls.packager import Packager, RenditionInput

T = 2 * S
FRAME = S // 25
AAC = 1024 * 1125 // 2
START = 1_800_000_002 * S
SECONDS = 10


class ListReader:
    def __init__(self, fmt: StreamFormat, units: list[AccessUnit]) -> None:
        self.format = fmt
        self.lost = 0
        self.queue = deque(units)

    def read(self) -> AccessUnit | None:
        return self.queue.popleft() if self.queue else None


def pictures(
    size: tuple[int, int], seconds: int, first: int = START, generation: int = 1
) -> tuple[StreamFormat, list[AccessUnit]]:
    """A moving bar, two B pictures, closed GOPs of two seconds."""
    width, height = size
    codec: Any = av.CodecContext.create("libx264", "w")
    codec.width, codec.height, codec.pix_fmt = width, height, "yuv420p"
    codec.time_base, codec.framerate, codec.gop_size, codec.max_b_frames = Fraction(1, 25), Fraction(25), 50, 2
    codec.bit_rate = 200_000
    codec.options = {
        "preset": "ultrafast",
        "x264-params": "bframes=2:scenecut=0:open-gop=0:keyint=50:min-keyint=50:threads=1",
    }
    packets = []
    for index in range(seconds * 25):
        image = np.full((height * 3 // 2, width), 128, np.uint8)
        image[:height] = 40
        image[:height, index * 3 % width :][:, :8] = 220
        frame = av.VideoFrame.from_ndarray(image, format="yuv420p")
        frame.pts, frame.time_base = index, Fraction(1, 25)
        packets += codec.encode(frame)
    packets += codec.encode(None)
    units = [
        AccessUnit(first + p.pts * FRAME, first + p.dts * FRAME, FRAME, p.is_keyframe, bytes(p), generation)
        for p in packets
    ]
    fmt = StreamFormat(
        "video",
        "h264",
        bitrate=200_000,
        maxrate=300_000,
        width=width,
        height=height,
        rate=Fraction(25),
        pixel_format="yuv420p",
    )
    return fmt, units


def tones(language: str, pitch: int, seconds: int) -> tuple[StreamFormat, list[AccessUnit]]:
    """A tone in AAC, on the house's grid of frames."""
    codec: Any = av.CodecContext.create("aac", "w")
    codec.sample_rate, codec.layout, codec.format, codec.bit_rate = 48_000, "stereo", "fltp", 64_000
    codec.time_base = Fraction(1, 48_000)
    first = START // AAC
    packets = []
    for index in range(seconds * 48_000 // 1024 + 5):
        wave = np.sin(2 * np.pi * pitch * np.arange(index * 1024, index * 1024 + 1024) / 48_000, dtype=np.float64)
        frame = av.AudioFrame.from_ndarray(
            np.stack([wave, wave]).astype(np.float32) * 0.3, format="fltp", layout="stereo"
        )
        frame.sample_rate, frame.pts, frame.time_base = 48_000, index * 1024, Fraction(1, 48_000)
        packets += codec.encode(frame)
    units = [AccessUnit((first + i) * AAC, (first + i) * AAC, AAC, True, bytes(p), 1) for i, p in enumerate(packets)]
    fmt = StreamFormat(
        "audio", "aac", extradata=bytes(codec.extradata), bitrate=64_000, maxrate=64_000, sample_rate=48_000,
        channels=2, frame_samples=1024, language=language, name=language,
    )  # fmt: skip
    return fmt, units


def package(folder: Path, streams: dict[str, tuple[StreamFormat, list[AccessUnit]]], until: int) -> Packager:
    """Package what was encoded, at once, with the clock at ``until``."""
    readers = {name: ListReader(fmt, [u for u in units if u.pts < until]) for name, (fmt, units) in streams.items()}
    packager = Packager(
        "news", [RenditionInput(name, reader) for name, reader in readers.items()],
        segment_ticks=T, window_dir=folder, journal_path=folder.parent / "journal", clock=FakeClock(until),
        window_seconds=60,
    )  # fmt: skip
    packager.step()
    return packager


def end_playlists(folder: Path) -> None:
    """Make a recording of the live window, so that a player reads it from the beginning to an end."""
    for path in folder.glob("*/index.m3u8"):
        path.write_text(path.read_text() + "#EXT-X-ENDLIST\n")


@pytest.fixture(scope="module")
def streams() -> dict[str, tuple[StreamFormat, list[AccessUnit]]]:
    return {
        "v1": pictures((160, 90), SECONDS),
        "v2": pictures((96, 54), SECONDS),
        "zho": tones("zho", 440, SECONDS),
        "eng": tones("eng", 880, SECONDS),
    }


@pytest.fixture(scope="module")
def window(streams: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hls") / "news"
    packager = package(folder, streams, START + SECONDS * S)
    assert packager.counts["segments"] == SECONDS // 2
    assert packager.counts["gaps"] == 0, packager.message
    packager.close()
    end_playlists(folder)
    return folder


def ffmpeg(*arguments: str) -> tuple[str, str]:
    """Output and complaints of ffmpeg."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-loglevel", "warning", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def frames(url: str, stream: str) -> list[int]:
    """Presentation times of every decoded frame, in the stream's time base.

    Everything else is read as well: ffmpeg drops a playlist that it does not need in the middle of a packet, and
    complains about that packet.
    """
    text, complaints = ffmpeg("-i", url, "-map", stream, "-map", "0", "-copyts", "-f", "framecrc", "-")
    harmless = ("Found duplicated MOOV", "Last message repeated", "Cannot reuse HTTP connection")
    assert not [line for line in complaints.splitlines() if line and not any(h in line for h in harmless)], complaints
    return [int(line.split(",")[2]) for line in text.splitlines() if line.startswith("0,")]


@pytest.mark.parametrize("name", ["index.m3u8", "ts.m3u8"])
def test_ffmpeg_finds_every_picture_and_every_sample(window: Path, name: str) -> None:
    url = str(window / name)
    times = frames(url, "0:v:0")
    assert len(times) == SECONDS * 25
    steps = {b - a for a, b in pairwise(times)}
    assert len(steps) == 1
    sound = frames(url, "0:a:0")
    begun = -(-START // AAC)
    expected = len([k for k in range(begun, begun + 600) if START <= k * AAC < START + SECONDS * S])
    assert abs(len(sound) - expected) <= 1  # a decoder may swallow the first


def test_ffmpeg_sees_both_sizes_and_both_languages(window: Path) -> None:
    for name in ("index.m3u8", "ts.m3u8"):
        done = subprocess.run(
            [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-i", str(window / name)],
            capture_output=True, text=True, timeout=50, check=False,
        )  # fmt: skip
        assert "160x90" in done.stderr
        assert "96x54" in done.stderr
        assert re.search(r"variant_bitrate\s*: \d+", done.stderr)
        if name == "index.m3u8":
            assert "(zho)" in done.stderr or "(zh)" in done.stderr
            assert "(eng)" in done.stderr or "(en)" in done.stderr


@pytest.mark.parametrize("folder", ["v1", "zho"])
def test_times_in_the_media_are_house_time(window: Path, folder: str) -> None:
    """PROGRAM-DATE-TIME and the media agree, and times continue across segments."""
    first = START // T
    media = (window / folder / "init-0.mp4").read_bytes()
    for number in range(first, first + SECONDS // 2):
        path = window / folder / f"{number}.m4s"
        whole = path.with_suffix(".mp4")
        whole.write_bytes(media + path.read_bytes())
        with av.open(str(whole)) as container:
            stamps = sorted(Fraction(p.pts) * p.time_base * S for p in container.demux() if p.pts is not None)
        whole.unlink()
        assert number * T <= stamps[0] < number * T + AAC
        assert stamps[-1] < (number + 1) * T


def test_counters_of_the_transport_stream_go_on_across_files(window: Path) -> None:
    """no packet of any PID is missed between one segment and the next."""
    last: dict[int, int] = {}
    for path in sorted((window / "ts-v1").glob("*.ts")):
        data = path.read_bytes()
        assert len(data) % 188 == 0
        for at in range(0, len(data), 188):
            pid, control, counter = (data[at + 1] & 0x1F) << 8 | data[at + 2], data[at + 3] >> 4 & 3, data[at + 3] & 15
            if control & 1 and pid != 0x1FFF:
                assert counter == (last.get(pid, counter - 1) + 1) & 15
                last[pid] = counter
    assert len(last) >= 4


def test_a_worker_killed_for_three_frames_is_hardly_seen(streams: dict[str, Any], tmp_path: Path) -> None:
    fmt, units = streams["v1"]
    hole = START + 4 * S + 20 * FRAME
    _, fresh = pictures((160, 90), 4, first=hole + 3 * FRAME, generation=2)
    cut = [u for u in units if u.pts < hole]
    # The successor's keys are on the house's GOP boundaries again, as an encoder forces them.
    boundary = START + 6 * S
    bridge = [u for u in fresh if u.pts < boundary]
    rest = [u for u in units if u.pts >= boundary]
    folder = tmp_path / "news"
    packager = package(folder, {"v1": (fmt, [*cut, *bridge, *rest]), "zho": streams["zho"]}, START + SECONDS * S)
    assert packager.counts["gaps"] == 0, packager.message
    assert packager.counts["discontinuities"] == 0
    packager.close()
    end_playlists(folder)
    for name in ("index.m3u8", "ts.m3u8"):
        times = frames(str(folder / name), "0:v:0")
        assert SECONDS * 25 - 6 <= len(times) <= SECONDS * 25


def test_changed_parameters_play_on(streams: dict[str, Any], tmp_path: Path) -> None:
    """A rendition that changes its size at a segment boundary: one discontinuity, two initialization sections."""
    fmt, units = streams["v1"]
    boundary = START + 4 * S
    _, other = pictures((128, 72), 6, first=boundary, generation=2)
    folder = tmp_path / "news"
    both = [*(u for u in units if u.pts < boundary), *other]
    packager = package(folder, {"v1": (fmt, both), "zho": streams["zho"]}, START + SECONDS * S)
    assert packager.counts["discontinuities"] == 1, packager.message
    assert packager.counts["gaps"] == 0
    packager.close()
    end_playlists(folder)
    text = (folder / "zho" / "index.m3u8").read_text()
    assert text.count("#EXT-X-DISCONTINUITY\n") == 1
    assert (folder / "v1" / "index.m3u8").read_text().count("#EXT-X-MAP") == 2
    out, _ = ffmpeg(
        "-i", str(folder / "v1" / "index.m3u8"), "-map", "0:v", "-vf", "scale=160:90", "-f", "framecrc", "-"
    )
    assert len([line for line in out.splitlines() if line and not line.startswith("#")]) == SECONDS * 25


@pytest.fixture
def address(window: Path) -> Iterator[str]:
    """The window behind a real origin."""
    ready, stop = threading.Event(), threading.Event()
    found: list[int] = []

    async def serve() -> None:
        origin = Origin(window.parent)
        found.append(await origin.start(port=0))
        ready.set()
        await asyncio.to_thread(stop.wait)
        await origin.stop()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(10)
    yield f"http://127.0.0.1:{found[0]}/hls/news"
    stop.set()
    thread.join(10)


@pytest.mark.parametrize("name", ["index.m3u8", "ts.m3u8"])
def test_ffmpeg_reads_it_from_the_origin(address: str, name: str) -> None:
    assert len(frames(f"{address}/{name}", "0:v:0")) == SECONDS * 25


@pytest.mark.gstreamer
@pytest.mark.parametrize("name", ["index.m3u8", "ts.m3u8"])
def test_gstreamer_plays_it_to_the_end(address: str, name: str) -> None:
    line = (
        f"playbin3 uri={address}/{name} video-sink=fakesink audio-sink=fakesink"
        " flags=0x00000603"  # pictures and sound, decoded in software
    )
    done = subprocess.run(
        ["gst-launch-1.0", "-q", *line.split()], capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "ERROR" not in done.stderr


STRICT = """
import HLS from 'hls-parser';
import { readFileSync } from 'node:fs';
HLS.setOptions({ strictMode: true });
const seen = process.argv.slice(1).map(path => {
  const made = HLS.parse(readFileSync(path, 'utf8'));
  return made.isMasterPlaylist ? made.variants.length : made.segments.length;
});
console.log(JSON.stringify(seen));
"""


def test_a_strict_parser_agrees(window: Path) -> None:
    """npm's hls-parser in strict mode throws at what the specification forbids."""
    node, modules = shutil.which("node"), Path.home() / ".cache" / "headend-tests" / "node_modules" / "hls-parser"
    if node is None or not modules.exists():
        pytest.skip(f"needs node and hls-parser: npm install --prefix {modules.parent.parent} hls-parser@0.16")
    names = ["index.m3u8", "ts.m3u8", "v1/index.m3u8", "zho/index.m3u8", "ts-v1/index.m3u8", "ts-eng/index.m3u8"]
    script = modules.parent.parent / "strict.mjs"
    script.write_text(STRICT.replace("slice(1)", "slice(2)"))
    done = subprocess.run(
        [node, str(script), *(str(window / name) for name in names)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [2, 2, 5, 5, 5, 5]
