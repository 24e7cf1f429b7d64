"""The slate is always there, whatever is wrong with its parts."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from encoders import slate as module
from encoders.canvas import planes_of
from encoders.format import ChannelFormat
from encoders.slate import Slate
from headend.clock import FakeClock

FORMAT = ChannelFormat(320, 180, Fraction(25))


def luma(slate: Slate) -> np.ndarray:
    got = slate.pull(5)
    assert got.picture is not None
    assert got.sound is not None
    assert got.sound[0].shape == (2, 1920)
    assert not got.sound[0].any()
    return planes_of(got.picture)[0]


@pytest.mark.parametrize("size", [(320, 180), (180, 320), (64, 64), (320, 240)])
def test_it_shows_its_text(size: tuple[int, int]) -> None:
    format = ChannelFormat(*size, Fraction(25))
    plain = Slate("slate", format, FakeClock(), {})
    lettered = Slate("slate", format, FakeClock(), title="示范台")
    assert luma(lettered).max() > 170 > luma(plain).max()
    assert lettered.state()["message"] == ""


def test_one_text_for_all_languages_is_shown_once() -> None:
    twice = Slate("slate", FORMAT, FakeClock(), {"zho": "停播", "eng": "停播"})
    assert np.array_equal(luma(twice), luma(Slate("slate", FORMAT, FakeClock(), {"zho": "停播"})))


def test_two_machines_draw_the_same() -> None:
    assert np.array_equal(luma(Slate("a", FORMAT, FakeClock())), luma(Slate("b", FORMAT, FakeClock(0))))


def test_an_image_lies_under_the_text(tmp_path: Path) -> None:
    Image.new("RGB", (320, 180), (250, 250, 250)).save(tmp_path / "a.png")
    slate = Slate("slate", FORMAT, FakeClock(), image=tmp_path / "a.png")
    assert luma(slate)[2, 2] > 220
    assert luma(slate)[90, 5] < 150  # the veil that makes letters readable


def test_nothing_can_stop_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = Slate("slate", FORMAT, FakeClock(), image=tmp_path / "missing.png")
    assert luma(lost).max() > 170
    assert "without its image" in lost.state()["message"]

    unreadable = Slate("slate", FORMAT, FakeClock(), {"zho": "😀"})
    assert luma(unreadable).shape == (180, 320)
    assert "without text" in unreadable.state()["message"]

    def broken(*_: object) -> None:
        raise MemoryError("full")

    monkeypatch.setattr(module, "picture_of", broken)
    bare = Slate("slate", FORMAT, FakeClock(), image=tmp_path / "missing.png")
    assert np.ptp(luma(bare)) == 0
    state = json.loads(json.dumps(bare.state()))
    assert state["errors"] == 3
    assert bare.ready(0)
    bare.open(0)
    bare.close()
