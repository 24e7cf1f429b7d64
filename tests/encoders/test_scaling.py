"""The cascade's plan, the scaler's shapes, and clones that share pixels but nothing else."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders.scaling import Cloner, Scaler, Size, plan

HD = Size(1920, 1080)


def grey(size: Size, luma: int = 100) -> av.VideoFrame:
    picture = av.VideoFrame.from_ndarray(np.full((size.height * 3 // 2, size.width), luma, np.uint8), "yuv420p")
    for plane in picture.planes[1:]:
        plane.update(b"\x80" * plane.buffer_size)
    return picture


def test_each_size_comes_from_the_next_larger() -> None:
    sizes = [HD, Size(1280, 720), Size(960, 540), Size(640, 360)]
    assert plan(HD, sizes) == [None, 0, 1, 2]
    assert plan(HD, sizes[::-1]) == [1, 2, 3, None]


def test_another_shape_or_depth_comes_from_the_source() -> None:
    sizes = [Size(1280, 720), Size(768, 576), Size(640, 480), Size(640, 360, "yuv420p10le"), Size(416, 234)]
    assert plan(HD, sizes) == [None, None, None, None, 0]


def test_anamorphic_pictures_are_no_parents_of_square_ones() -> None:
    sizes = [HD, Size(720, 576, sar=Fraction(64, 45)), Size(640, 360)]
    assert plan(HD, sizes) == [None, 0, 0]


def test_two_of_one_size_share_the_scaling() -> None:
    assert plan(HD, [Size(1280, 720), Size(1280, 720), Size(640, 360)]) == [None, 0, 0]


sizes = st.builds(
    Size,
    st.integers(8, 960).map(lambda v: 2 * v),
    st.integers(8, 540).map(lambda v: 2 * v),
    st.sampled_from(["yuv420p", "yuv420p10le"]),
)


@given(st.lists(st.one_of(sizes, st.sampled_from([HD, Size(1280, 720), Size(640, 360)])), max_size=9))
def test_plans_have_no_cycles_and_never_invent_samples(wanted: list[Size]) -> None:
    parents = plan(HD, wanted)
    for index, parent in enumerate(parents):
        seen = {index}
        while parent is not None:
            assert parent not in seen
            seen.add(parent)
            assert wanted[index].inside(wanted[parent])
            parent = parents[parent]


@pytest.mark.parametrize(
    ("target", "box"),
    [(Size(128, 96), (12, 72)), (Size(160, 64), (23, 114)), (Size(72, 58, sar=Fraction(64, 45)), None)],
)
def test_shape_is_kept_between_black_bars(target: Size, box: tuple[int, int] | None) -> None:
    source = Size(320, 180)
    made = Scaler(source, target).scale(grey(source))
    assert (made.width, made.height) == (target.width, target.height)
    luma = made.to_ndarray()[: target.height]
    if box is None:
        assert (luma == 100).all()
        return
    line = luma[:, target.width // 2] if source.aspect > target.aspect else luma[target.height // 2]
    lit = np.flatnonzero(line == 100)
    assert abs(int(lit[0]) - box[0]) <= 2
    assert abs(len(lit) - box[1]) <= 2
    assert set(np.unique(line)) == {16, 100}


def test_ten_bits_are_made_and_unmade() -> None:
    source = Size(64, 64)
    deep = Scaler(source, Size(32, 32, "yuv420p10le")).scale(grey(source))
    assert deep.format.name == "yuv420p10le"
    assert abs(int(deep.to_ndarray()[0, 0]) - 400) <= 2
    assert Scaler(source, source).scale(picture := grey(source)) is picture


def test_clones_share_pixels_only() -> None:
    picture = grey(HD)
    picture.pts, picture.colorspace = 7, 1
    twin = Cloner(HD).clone(picture)
    twin.pts, twin.pict_type = 9, 1  # type: ignore[assignment]
    assert twin.planes[0].buffer_ptr == picture.planes[0].buffer_ptr
    assert (picture.pts, picture.pict_type, twin.colorspace) == (7, 0, 1)
    del picture
    assert int(twin.to_ndarray()[0, 0]) == 100
