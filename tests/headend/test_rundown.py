"""What a channel plays: the configuration's schedule or the kept one, and the source of each item."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from encoders.file import FileSource
from encoders.live import LiveSource
from encoders.loudness import Loudness, LoudnessStore
from encoders.schedule import Item, Schedule
from encoders.still import Still
from encoders.testcard import TestCard as Card
from headend import log
from headend.clock import FakeClock, from_seconds
from headend.config import load_config
from headend.rundown import Rundown

SECOND = from_seconds(1)


def media(path: Path, seconds: float = 1.0) -> Path:
    """Dark pictures with a tone."""
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
        audio = out.add_stream("aac", rate=48_000, layout="stereo")
        for n in range(round(seconds * 25)):
            picture = av.VideoFrame.from_ndarray(np.full((96, 64), 60, np.uint8), "yuv420p")
            picture.pts, picture.time_base = n, Fraction(1, 25)
            out.mux(video.encode(picture))
        for at in range(0, round(seconds * 48_000) // 1024 * 1024, 1024):
            wave = 0.1 * np.sin(2 * np.pi * 997 * (at + np.arange(1024)) / 48_000)
            frame = av.AudioFrame.from_ndarray(np.repeat(wave[None], 2, 0).astype(np.float32), "fltp", "stereo")
            frame.sample_rate, frame.pts, frame.time_base = 48_000, at, Fraction(1, 48_000)
            out.mux(audio.encode(frame))
        out.mux(video.encode(None))
        out.mux(audio.encode(None))
    return path


@pytest.fixture
def rundown(config_file: Path, tmp_path: Path) -> Callable[..., Rundown]:
    """``rundown("schedule: ...")`` for the channel with that line in its configuration."""
    original = config_file.read_text(encoding="utf-8")

    def make(*lines: str) -> Rundown:
        config_file.write_text(original + "".join(f"    {line}\n" for line in lines), encoding="utf-8")
        config = load_config(config_file)
        folder = tmp_path / "channel"
        folder.mkdir(exist_ok=True)
        return Rundown(config.channels[0], folder, config_file.parent, FakeClock(), log.get("test"))

    return make


def test_sources_of_items(rundown: Callable[..., Rundown], tmp_path: Path) -> None:
    made = rundown()
    folder = tmp_path / "a b"
    folder.mkdir()
    file = media(folder / "x.mp4")

    def source(name: str, offset: int = 0, **item: Any) -> Any:
        return made.make(Item("i", name, **item), 1000, offset)

    for address in (str(file), f"file://{tmp_path}/a%20b/x.mp4"):
        found = source(address, 2 * SECOND, in_point=SECOND, out_point=9 * SECOND, duration=6 * SECOND, gain=-3.0)
        assert isinstance(found, FileSource)
        assert found.path == str(file)
        assert (found._in, found._out, found._duration, found._gain) == (3 * SECOND, 9 * SECOND, 4 * SECOND, -3.0)
    loop = source(str(file), 2 * SECOND, in_point=SECOND, duration=6 * SECOND, loop=True)
    assert (loop._in, loop._duration, loop._loop) == (SECOND, 4 * SECOND, True)
    assert isinstance(source("testcard:"), Card)
    assert isinstance(source(str(tmp_path / "a.PNG")), Still)
    live = source("udp://127.0.0.1:5000", gain=-6.0)
    assert isinstance(live, LiveSource)
    assert live.gain_db == -6.0


def test_lengths_are_probed_of_files_alone(rundown: Callable[..., Rundown], tmp_path: Path) -> None:
    made = rundown()
    file = media(tmp_path / "x.mp4", 2.0)
    items = [Item("file", str(file)), Item("url", f"file://{file}"), Item("card", "testcard:"), Item("taken", "card")]
    schedule = made.lengths(Schedule((replace(items[0], start=0), *items[1:])))
    assert schedule.lengths.keys() == {"file", "url"}
    assert all(abs(length - 2 * SECOND) < SECOND // 20 for length in schedule.lengths.values())


def test_loudness_is_that_of_the_first_track_and_known_at_the_next_opening(
    rundown: Callable[..., Rundown], tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    file = media(tmp_path / "x.mp4", 2.0)
    made = rundown()
    assert made.make(Item("i", str(file)), 0, 0)._gain == 0.0  # type: ignore[attr-defined]
    made.measure([str(file), "card", "testcard:", "udp://127.0.0.1:1"])
    assert made.state()["to_measure"] == 1
    made.start()
    try:
        # A sine of 997 Hz with an amplitude of -20 dBFS in both channels is -20 LUFS; the Chinese target is -24.
        gain = eventually(lambda: made.make(Item("i", str(file), gain=1.0), 0, 0)._gain - 1.0)  # type: ignore[attr-defined]
    finally:
        made.close()
    assert gain == pytest.approx(-4, abs=0.3)
    store = LoudnessStore(tmp_path / "channel" / "loudness.json")
    track = made._format.tracks[0]
    assert isinstance(store.get(file, channels=track.channels, track=track.language), Loudness)


def test_what_operators_changed_is_kept_until_the_configuration_says_otherwise(
    rundown: Callable[..., Rundown], tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    media(tmp_path / "x.mp4")
    lines = 'schedule: {loop: true, items: [{source: "x.mp4"}, {source: "testcard:", duration: 5}]}'
    made = rundown(lines)
    schedule = made.schedule()
    assert [item.source for item in schedule.items] == [str(tmp_path / "x.mp4"), "testcard:"]
    assert schedule.repeat == "loop"
    made.keep(schedule.patch(remove=[schedule.items[0].id]))
    made.start()
    made.close()
    assert json.loads((tmp_path / "channel" / "schedule.json").read_text())["schedule"]["version"] == 2
    assert [item.source for item in rundown(lines).schedule().items] == ["testcard:"]
    edited = rundown(lines.replace("duration: 5", "duration: 6"))
    assert len(edited.schedule().items) == 2
    (tmp_path / "channel" / "schedule.json").write_text("{nonsense")
    assert len(rundown(lines).schedule().items) == 2


def test_a_schedule_that_cannot_be_used_leaves_the_channel_on_air(
    rundown: Callable[..., Rundown], tmp_path: Path
) -> None:
    (tmp_path / "day.json").write_text('{"items": [{"id": "a"}]}')
    assert rundown("schedule: {file: day.json}").schedule().items == ()


def test_a_disk_that_refuses_is_counted_and_said(rundown: Callable[..., Rundown], tmp_path: Path) -> None:
    made = rundown()
    made.schedule()
    (tmp_path / "channel" / ".schedule.json.new").mkdir()  # no file can be written in its place
    made.keep(Schedule())
    made.start()
    made.close()
    assert made.state()["unkept"] == 1
    assert "could not be written" in made.state()["message"]
