"""Planes, colours and blending, judged by Pillow and by FFmpeg's own conversion."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from encoders.canvas import Patch, copy_picture, new_picture, picture_of, planes_of, samples_of, yuv
from encoders.format import ChannelFormat

SMALL = ChannelFormat(160, 90, Fraction(25))
FORMATS = [SMALL, ChannelFormat(160, 90, Fraction(25), ten_bit=True), ChannelFormat(1280, 720, Fraction(25))]


def gradient(format: ChannelFormat) -> Image.Image:
    y, x = np.mgrid[0 : format.height, 0 : format.width]
    rgb = np.stack([x * 255 / format.width, y * 255 / format.height, 128 + 0 * x], axis=-1)
    return Image.fromarray(rgb.astype(np.uint8))


@pytest.mark.parametrize("format", FORMATS)
def test_ffmpeg_reads_the_colours_that_were_drawn(format: ChannelFormat) -> None:
    picture = picture_of(gradient(format), format)
    back = picture.reformat(
        format="rgb24", src_colorspace="ITU709" if format.matrix == "bt709" else "ITU601"
    ).to_ndarray()
    assert np.abs(back.astype(int) - np.asarray(gradient(format)).astype(int)).mean() < 2.0
    assert (picture.colorspace, picture.color_range) == (1 if format.height >= 720 else 5, 1)


def test_reference_colours() -> None:
    # Rec. ITU-R BT.709 and BT.601: 75 % bars, limited range.
    hd, sd = FORMATS[2], SMALL
    assert yuv((255, 255, 255), hd) == (235, 128, 128)
    assert yuv((0, 0, 0), FORMATS[1]) == (64, 512, 512)
    assert yuv((191, 191, 0), hd) == (168, 44, 136)
    assert yuv((191, 191, 0), sd) == (161, 44, 142)


@pytest.mark.parametrize("format", FORMATS)
def test_a_copy_is_equal_and_apart(format: ChannelFormat) -> None:
    picture = picture_of(gradient(format), format)
    picture.pts, picture.time_base = 77, Fraction(1, 25)
    copy = copy_picture(picture)
    assert (copy.pts, copy.time_base, copy.colorspace, copy.color_range) == (77, Fraction(1, 25), picture.colorspace, 1)
    assert all(np.array_equal(a, b) for a, b in zip(planes_of(copy), planes_of(picture), strict=True))
    planes_of(copy)[0][:] = 16
    assert not np.array_equal(planes_of(copy)[0], planes_of(picture)[0])


def test_line_padding_is_no_part_of_the_planes() -> None:
    # 854 is no multiple of FFmpeg's alignment, so its lines are longer than the picture is wide.
    picture = av.VideoFrame(854, 480, "yuv420p")
    assert picture.planes[0].line_size > 854
    assert [p.shape for p in planes_of(picture)] == [(480, 854), (240, 427), (240, 427)]


@settings(max_examples=40, deadline=None)
@given(
    st.integers(-40, 170),
    st.integers(-40, 100),
    st.integers(1, 60),
    st.integers(1, 40),
    st.integers(0, 255),
    st.booleans(),
)
def test_blending_is_what_pillow_composites(x: int, y: int, w: int, h: int, alpha: int, ten: bool) -> None:
    format = ChannelFormat(160, 90, Fraction(25), ten_bit=ten)
    ground = Image.new("RGB", (160, 90), (40, 90, 160))
    art = Image.new("RGBA", (w, h), (230, 30, 60, alpha))
    picture = picture_of(ground, format)
    Patch(art, x, y, format).blend(planes_of(picture))
    whole = ground.convert("RGBA")
    layer = Image.new("RGBA", whole.size)
    layer.paste(art, (x, y))
    expected = samples_of(Image.alpha_composite(whole, layer), format)
    tolerance = 3 * (4 if ten else 1)
    for ours, theirs in zip(planes_of(picture), expected, strict=True):
        assert np.abs(ours.astype(int) - theirs.astype(int)).max() <= tolerance


def test_opacity_scales_alpha_and_zero_changes_nothing() -> None:
    art = Image.new("RGBA", (20, 20), (255, 255, 255, 255))
    patch = Patch(art, 10, 10, SMALL)
    lumas = []
    for opacity in (0, 64, 128, 255, 256):
        picture = picture_of(Image.new("RGB", (160, 90)), SMALL)
        patch.blend(planes_of(picture), opacity)
        lumas.append(int(planes_of(picture)[0][15, 15]))
    assert lumas == sorted(lumas)
    assert lumas[0] == 16
    assert lumas[-1] == 235
    assert abs(lumas[2] - 125) <= 2


def test_full_alpha_never_leaves_the_range_of_a_byte() -> None:
    art = Image.new("RGBA", (160, 90), (255, 255, 255, 254))
    picture = new_picture(SMALL)
    for plane in planes_of(picture):
        plane[:] = 255
    Patch(art, 0, 0, SMALL).blend(planes_of(picture))
    assert planes_of(picture)[0].min() >= 230
