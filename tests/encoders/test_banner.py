"""The banner: line breaks, what finds no room, and colours."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from encoders.banner import LEVELS, LINES, Banner, wrapped
from encoders.canvas import picture_of, planes_of, yuv
from encoders.fonts import find_typeface
from encoders.format import ChannelFormat

FORMAT = ChannelFormat(320, 180, Fraction(25))


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="暴雨，。ab cdef 、「", max_size=80), st.integers(60, 400))
def test_lines_fit_and_nothing_is_lost(text: str, width: int) -> None:
    font = find_typeface().sized(20)
    lines = wrapped(text, font, width)
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert all(font.getlength(line) <= width for line in lines)


def test_words_stay_whole_and_lines_never_begin_with_a_stop() -> None:
    font = find_typeface().sized(20)
    lines = wrapped("Heavy rain is expected tonight 大部分乡镇有大雨，请注意防范。", font, 150)
    assert {"Heavy", "expected", "tonight"} <= set(" ".join(lines).split())
    assert not any(line[0] in "，。" for line in lines)


def test_it_is_hidden_until_a_text_is_set() -> None:
    banner = Banner("alert", FORMAT, fade=0)
    ground = picture_of(Image.new("RGB", (320, 180)), FORMAT)
    assert banner.draw(0, ground) is ground
    banner.set_text("暴雨红色预警", "请立即转移。", LEVELS[1])
    planes = planes_of(banner.draw(1, ground))
    y, cb, cr = yuv(LEVELS[1], FORMAT)
    found = (np.abs(planes[1].astype(int) - cb) <= 2) & (np.abs(planes[2].astype(int) - cr) <= 2)
    assert found.sum() > 400
    assert y
    banner.hide(2)
    assert banner.draw(2, ground) is ground


def test_what_finds_no_room_is_counted() -> None:
    banner = Banner("alert", FORMAT)
    banner.set_text("标题", "很长的文字。" * 60)
    assert banner.state()["cut"] > 0
    banner.set_text("", "\n".join("一" * 3 for _ in range(LINES)))
    assert banner.state()["cut"] == 0


def test_a_missing_glyph_is_refused_and_the_old_text_stays() -> None:
    banner = Banner("alert", FORMAT)
    banner.set_text("标题", "文字")
    with pytest.raises(ValueError, match="the banner alert"):
        banner.set_text("😀")
    assert banner.state()["heading"] == "标题"
