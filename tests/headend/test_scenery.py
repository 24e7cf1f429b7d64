"""Scenes: every sample painted, within range, moving, a function of time."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from encoders.canvas import new_picture, planes_of
from encoders.format import ChannelFormat
from headend.scenery import Dawn, Lanterns, Plasma, Radar, SceneMaker, Shapes, Sprite, Stars, ZonePlate

SCENES: list[SceneMaker] = [Dawn, Stars, Shapes, Lanterns, Plasma, ZonePlate, Radar]


@pytest.mark.parametrize("make", SCENES)
@pytest.mark.parametrize("size", [(160, 90), (90, 160)])
def test_a_scene_paints_everything_moves_and_repeats_itself(make: SceneMaker, size: tuple[int, int]) -> None:
    format = ChannelFormat(*size, Fraction(25))
    shown = []
    for fill, seconds in ((0, 3.0), (255, 3.0), (0, 9.4), (0, 300.0)):
        planes = planes_of(new_picture(format))
        for plane in planes:
            plane[:] = fill
        make(format, 1.0).paint(planes, seconds)
        shown.append([plane.copy() for plane in planes])
    assert all(np.array_equal(a, b) for a, b in zip(shown[0], shown[1], strict=True)), "a sample was not painted"
    assert not np.array_equal(shown[0][0], shown[2][0]), "nothing moved"
    for luma, cb, cr in shown:
        assert luma.min() >= 16
        assert luma.max() <= 236
        assert min(cb.min(), cr.min()) >= 16
        assert max(cb.max(), cr.max()) <= 240
        assert np.ptp(luma) > 40


def test_a_sprite_is_cut_off_at_every_edge() -> None:
    format = ChannelFormat(64, 64, Fraction(25))
    sprite = Sprite(Image.new("RGBA", (20, 20), (255, 255, 255, 255)), format)
    for x in range(-30, 100, 7):
        for y in range(-30, 100, 7):
            planes = planes_of(new_picture(format))
            planes[0][:] = 16
            sprite.stamp(planes, x, y)
            left, top = round(x - 10) // 2 * 2, round(y - 10) // 2 * 2
            wide = max(min(left + 20, 64) - max(left, 0), 0)
            high = max(min(top + 20, 64) - max(top, 0), 0)
            assert np.count_nonzero(planes[0] == 235) == wide * high
