"""Digits: each its own picture, cells of equal even size, cut off at the edge."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from encoders.canvas import picture_of, planes_of
from encoders.digits import CHARACTERS, Digits
from encoders.fonts import find_typeface
from encoders.format import ChannelFormat

FORMAT = ChannelFormat(320, 90, Fraction(25))


def make(sar: float = 1.0) -> Digits:
    return Digits(find_typeface(), 24, FORMAT, (255, 255, 255), (14, 20, 36), sar)


def test_every_character_looks_different_and_stays_in_its_cell() -> None:
    digits = make()
    planes = planes_of(picture_of(Image.new("RGB", (320, 90)), FORMAT))
    digits.write(planes, CHARACTERS, 10, 20)
    wide, high = digits.cell
    cells = [planes[0][20 : 20 + high, 10 + n * wide : 10 + (n + 1) * wide].tobytes() for n in range(len(CHARACTERS))]
    assert len(set(cells)) == len(CHARACTERS)
    outside = planes[0].copy()
    outside[20 : 20 + high, 10 : 10 + digits.width(CHARACTERS)] = 16
    assert np.all(outside == 16)
    assert (wide % 2, high % 2) == (0, 0)


def test_it_is_cut_at_the_edge_and_knows_its_characters() -> None:
    digits = make()
    planes = planes_of(picture_of(Image.new("RGB", (320, 90)), FORMAT))
    digits.write(planes, "12:34", 300, 80)
    with pytest.raises(KeyError):
        digits.write(planes, "1a", 0, 0)


def test_wide_samples_make_narrow_cells() -> None:
    assert make(16 / 11).cell[0] < make().cell[0]
