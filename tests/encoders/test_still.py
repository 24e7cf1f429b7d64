"""A still: aspect kept, black bars, silence, an end; bad images tell what is wrong and never raise."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from encoders.canvas import planes_of
from encoders.format import AudioTrack, ChannelFormat
from encoders.still import Still, fitted
from headend.clock import FakeClock

FORMAT = ChannelFormat(160, 90, Fraction(25), tracks=(AudioTrack("zho", 2), AudioTrack("eng", 6)))


def opened(path: Path, duration: float | None = None) -> Still:
    still = Still("still", path, FORMAT, FakeClock(), duration)
    still.open(100)
    still.pull(100, wait=10)
    return still


@pytest.mark.parametrize(
    ("size", "box"), [((400, 100), (0, 25, 160, 65)), ((100, 400), (69, 0, 91, 90)), ((320, 180), (0, 0, 160, 90))]
)
def test_the_aspect_is_kept_between_black_bars(
    size: tuple[int, int], box: tuple[int, int, int, int], tmp_path: Path
) -> None:
    Image.new("RGB", size, "white").save(tmp_path / "a.png")
    got = opened(tmp_path / "a.png").pull(101)
    assert got is not None
    assert got.picture is not None
    rows, columns = np.nonzero(planes_of(got.picture)[0] > 200)
    assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == box
    assert planes_of(got.picture)[0].min() == 16 or size == (320, 180)


def test_modes_and_turned_photographs(tmp_path: Path) -> None:
    for mode in ("L", "LA", "P", "RGBA", "CMYK", "1", "I;16"):
        assert fitted(Image.new(mode, (30, 20)), FORMAT).size == (160, 90)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    Image.new("RGB", (180, 90), "white").save(tmp_path / "turned.jpg", exif=exif)
    got = opened(tmp_path / "turned.jpg").pull(101)
    assert got is not None
    assert got.picture is not None
    assert np.count_nonzero(planes_of(got.picture)[0][45] > 200) == 45


def test_silence_and_the_end(tmp_path: Path) -> None:
    Image.new("RGB", (32, 18), "red").save(tmp_path / "a.png")
    still = opened(tmp_path / "a.png", 0.4)
    for slot in range(100, 110):
        got = still.pull(slot)
        assert got is not None
        assert got.sound is not None
        assert [s.shape for s in got.sound] == [(2, 1920), (6, 1920)]
        assert not any(s.any() for s in got.sound)
        assert still.ready(slot)
    over = still.pull(110)
    assert over is not None
    assert (over.ended, over.picture, over.sound) == (True, None, None)
    assert not still.ready(110)
    still.close()
    still.close()


@pytest.mark.parametrize("data", [b"", b"text", b"\x89PNG\r\n\x1a\n" + bytes(50), None])
def test_a_bad_image_is_not_ready_and_says_why(data: bytes | None, tmp_path: Path) -> None:
    if data is not None:
        (tmp_path / "bad.png").write_bytes(data)
    still = opened(tmp_path / "bad.png")
    assert still.pull(101) is None
    assert not still.ready(101)
    state = json.loads(json.dumps(still.state()))
    assert "cannot be read" in state["message"]
    assert state["errors"] == 1
    still.close()


def test_before_it_is_opened_there_is_nothing(tmp_path: Path) -> None:
    assert Still("still", tmp_path / "a.png", FORMAT, FakeClock()).pull(0, wait=0.01) is None
