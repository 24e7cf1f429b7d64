"""The test card: true bars, the slot's time, the same on two machines, sound that fits its lamp."""

from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
import pytest

from encoders.canvas import planes_of, yuv
from encoders.format import AudioTrack, ChannelFormat
from encoders.testcard import _LAMP, TestCard
from headend.clock import FakeClock, from_iso

TRACKS = (AudioTrack("zho", 2), AudioTrack("eng", 6), AudioTrack("und", 1))
FORMAT = ChannelFormat(320, 180, Fraction(25), tracks=TRACKS)
SLOT = FORMAT.slot_at(from_iso("2026-11-21T12:00:00+00:00"))


def card(format: ChannelFormat = FORMAT, **options: str) -> TestCard:
    return TestCard("card", format, FakeClock(), "综合频道 Channel 1", **options)


@pytest.mark.parametrize(
    "format",
    [
        FORMAT,
        ChannelFormat(160, 90, Fraction(30_000, 1001)),
        ChannelFormat(180, 320, Fraction(50)),
        ChannelFormat(320, 240, Fraction(24), ten_bit=True),
    ],
)
def test_every_slot_has_a_picture_and_exactly_its_samples(format: ChannelFormat) -> None:
    source = card(format)
    source.open(0)
    first = format.slot_at(from_iso("2026-11-21T12:00:00+00:00"))
    for slot in range(first, first + 12):
        assert source.ready(slot)
        got = source.pull(slot)
        assert got.picture is not None
        assert got.sound is not None
        assert (got.picture.width, got.picture.height, got.picture.format.name) == (
            format.width,
            format.height,
            format.pixel_format,
        )
        assert [s.shape for s in got.sound] == [(t.channels, format.samples_in(slot)) for t in format.tracks]
        assert not got.ended
    source.close()


def test_the_bars_are_ebu_bars() -> None:
    got = card().pull(SLOT).picture
    assert got is not None
    luma, cb, cr = planes_of(got)
    expected = [(255, 255, 255), (191, 191, 0), (0, 191, 191), (0, 191, 0), (191, 0, 191), (191, 0, 0), (0, 0, 191)]
    for number, colour in enumerate(expected):
        x, y = 320 * (2 * number + 1) // 16, 20  # above the plate, clear of the corner marks
        assert (luma[y, x], cb[y // 2, x // 2], cr[y // 2, x // 2]) == yuv(colour, FORMAT)


def test_two_machines_draw_the_same_whenever_they_were_started() -> None:
    one, two = card(), card()
    two.pull(SLOT - 999)
    a, b = one.pull(SLOT), two.pull(SLOT)
    assert a.picture is not None
    assert b.picture is not None
    assert all(np.array_equal(x, y) for x, y in zip(planes_of(a.picture), planes_of(b.picture), strict=True))
    assert all(np.array_equal(x, y) for x, y in zip(a.sound or [], b.sound or [], strict=True))


def test_each_slot_differs_from_the_last_and_an_old_picture_is_left_alone() -> None:
    source = card()
    kept = source.pull(SLOT).picture
    assert kept is not None
    before = planes_of(kept)[0].copy()
    following = source.pull(SLOT + 1).picture
    assert following is not None
    assert not np.array_equal(planes_of(following)[0], before)
    assert np.array_equal(planes_of(kept)[0], before)


def test_the_lamp_is_lit_while_the_left_channel_is_silent() -> None:
    source = card()
    left, top, right, bottom = source._lamp
    lamp = yuv(_LAMP, FORMAT)[0]
    states = set()
    for slot in range(SLOT, SLOT + 80):
        got = source.pull(slot)
        assert got.picture is not None
        assert got.sound is not None
        lit = bool(np.all(planes_of(got.picture)[0][top:bottom, left:right] == lamp))
        silent = np.abs(got.sound[0][0][100:380]).max() < 0.1  # clear of the slopes of the gap
        assert lit == silent
        states.add(lit)
    assert states == {True, False}


def test_sound_of_neighbouring_slots_joins() -> None:
    source = card()
    joined = np.concatenate([(source.pull(slot).sound or [])[0][1] for slot in range(SLOT, SLOT + 5)])
    spectrum = np.abs(np.fft.rfft(joined[:9600]))
    assert np.argmax(spectrum) * 5 == 1000
    assert np.sort(spectrum)[-2] < 1e-3 * spectrum.max()


def test_state_is_json_and_what_cannot_be_drawn_is_refused() -> None:
    source = card(title="示范台")
    source.pull(SLOT)
    assert json.loads(json.dumps(source.state()))["last_picture"].endswith("Z")
    with pytest.raises(ValueError, match="cannot draw"):
        card(title="😀")
    with pytest.raises(ValueError, match="time zone"):
        card(zone="Nowhere/City")


def test_a_long_name_is_made_to_fit() -> None:
    got = card(title="新疆维吾尔自治区某某县融媒体中心综合广播电视频道").pull(SLOT).picture
    assert got is not None
    luma = planes_of(got)[0]
    assert luma[40, 2] == 235  # the white bar at the left is untouched
