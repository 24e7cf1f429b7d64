"""The crawl: it moves evenly, wraps without a seam, and is drawn once."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from encoders.canvas import picture_of, planes_of
from encoders.crawl import LONGEST, Crawl
from encoders.format import ChannelFormat

FORMAT = ChannelFormat(320, 180, Fraction(25))
TEXT = "暴雨预警 Heavy rain"


def row(crawl: Crawl, slot: int, plane: int = 0) -> np.ndarray:
    """The rows of the crawl's band in a slot's picture."""
    format = crawl.format
    picture = crawl.draw(slot, picture_of(Image.new("RGB", (format.width, format.height), (90, 120, 40)), format))
    samples = planes_of(picture)[plane]
    rows = samples.shape[0]
    return samples[rows * 90 // 100 : rows * 96 // 100].astype(int)


def make(text: str = TEXT, format: ChannelFormat = FORMAT, **options: object) -> Crawl:
    return Crawl("crawl", format, text, fade=0, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("ten", [False, True])
@pytest.mark.parametrize("speed", [150.0, 450.0])
def test_each_slot_is_the_one_before_moved_by_the_step(ten: bool, speed: float) -> None:
    format = ChannelFormat(320, 180, Fraction(25), ten_bit=ten)
    crawl = make("长" * 60, format, speed=speed)
    for slot in range(300, 304):
        before, after = row(crawl, slot), row(crawl, slot + 1)
        assert np.array_equal(before[:, crawl.step :], after[:, : -crawl.step])


def test_it_comes_in_from_the_right_and_the_first_picture_is_empty() -> None:
    crawl = make()
    bright = [(row(crawl, slot) > 180).any(axis=0) for slot in range(30)]
    assert not bright[0].any()
    assert bright[29].any()
    assert not bright[29][:200].any()


def test_a_lap_later_it_looks_the_same() -> None:
    crawl = make("甲乙丙丁" * 30, speed=150)
    start = 1000
    row(crawl, start)
    line = crawl._line
    assert line is not None
    lap, rest = divmod(line.period, crawl.step)
    assert rest == 0
    after_lead = start + line.lead // crawl.step + 40
    assert np.array_equal(row(crawl, after_lead), row(crawl, after_lead + lap))
    assert crawl.state()["lap"] == 1


def test_it_is_not_drawn_again_per_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    crawl = make()
    row(crawl, 0)
    monkeypatch.setattr(crawl, "_drawn", None)
    for slot in range(1, 50):
        row(crawl, slot)


def test_two_machines_agree_from_a_given_slot() -> None:
    one, two = make(""), make("")
    one.set_text(TEXT, slot=500)
    two.set_text(TEXT, slot=500)
    assert not one.visible(499)
    row(one, 500)  # the other machine starts later
    assert np.array_equal(row(one, 540), row(two, 540))


def test_laps_end_and_an_empty_text_ends_it() -> None:
    crawl = make("")
    crawl.set_text("短", slot=0, laps=2)
    assert crawl.visible(0)
    line = crawl._line
    assert line is not None
    assert crawl.visible((line.lead + 2 * line.period) // crawl.step - 1)
    assert not crawl.visible((line.lead + 2 * line.period) // crawl.step + 1)
    crawl.set_text("长", slot=2000)
    assert crawl.visible(2000)
    crawl.set_text("")
    assert not crawl.visible(2001)


def test_the_label_stays_and_the_text_runs_under_it() -> None:
    crawl = make("长" * 80, label="快讯", accent=(0, 164, 228))
    box = crawl._left
    assert 40 < box < 160
    assert np.array_equal(row(crawl, 300)[:, :box], row(crawl, 307)[:, :box])
    assert not np.array_equal(row(crawl, 300)[:, box:], row(crawl, 307)[:, box:])


def test_opacity_fades_text_and_band_alike() -> None:
    crawl = make("长" * 80)
    full = row(crawl, 400)
    crawl._fade = 9
    crawl.hide(401)
    half, gone = row(crawl, 405), row(crawl, 500)
    assert np.all(gone == gone[0, 0])
    moved = 5 * crawl.step
    between = (full[:, moved:] + gone[:, moved:]) / 2
    # Text lies on a band that has faded too, so it is a little nearer to the picture than the mean.
    assert np.abs(half[:, :-moved] - between).max() <= 20
    assert np.abs(half[:, :-moved] - between).mean() <= 6


def test_the_speed_is_whole_pixels_and_told() -> None:
    assert make(speed=1080.0).step == 7
    assert make(speed=0.1).step == 1
    assert make(speed=1080.0).state()["speed"] == 175.0


def test_what_cannot_run_is_refused() -> None:
    with pytest.raises(ValueError, match=r"more than 4000.*shorten"):
        make("长" * (LONGEST + 1))
    with pytest.raises(ValueError, match="cannot draw"):
        make("😀")
    assert make("a\n\n b\tc").state() is not None
