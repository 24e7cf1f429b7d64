"""Pictures: in the right place, of the right shade, progressive and upright."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders.conform import PictureConformer, Straightener, place, samples
from encoders.format import ChannelFormat

HD = ChannelFormat(1280, 720, Fraction(25))
SD = ChannelFormat(720, 576, Fraction(25))
SMALL = ChannelFormat(160, 90, Fraction(25))


@pytest.mark.parametrize(
    ("width", "height", "sar", "box"),
    [
        (1920, 1080, 1, (0, 0, 1280, 720)),
        (1920, 1088, 1, (0, 0, 1280, 720)),
        (720, 576, Fraction(16, 15), (160, 0, 960, 720)),
        (720, 576, Fraction(64, 45), (0, 0, 1280, 720)),
        (1080, 1920, 1, (438, 0, 404, 720)),
        (1920, 800, 1, (0, 92, 1280, 534)),
    ],
)
def test_aspect(width: int, height: int, sar: Fraction, box: tuple[int, int, int, int]) -> None:
    spot = place(width, height, Fraction(sar), HD)
    assert (spot.x, spot.y, spot.width, spot.height) == box


@given(st.integers(2, 8000), st.integers(2, 8000), st.fractions(Fraction(1, 10), 10))
def test_placement_is_even_and_inside(width: int, height: int, sar: Fraction) -> None:
    spot = place(width, height, sar, SMALL)
    assert not any(v % 2 for v in (spot.x, spot.y, spot.width, spot.height))
    assert spot.width > 0
    assert spot.height > 0
    assert spot.x + spot.width <= 160
    assert spot.y + spot.height <= 90


def picture(width: int, height: int, kind: str = "yuv420p", y: int = 120, u: int = 90, v: int = 200) -> av.VideoFrame:
    made = av.VideoFrame(width, height, kind)
    for plane, value in zip(made.planes, (y, u, v), strict=False):
        plane.update(bytes([value]) * plane.buffer_size)
    return made


def centre(made: av.VideoFrame) -> tuple[int, int, int]:
    return tuple(
        int(samples(made, n)[samples(made, n).shape[0] // 2, samples(made, n).shape[1] // 2]) for n in range(3)
    )  # type: ignore[return-value]


def test_what_is_right_already_is_passed_on_untouched() -> None:
    made = picture(160, 90)
    assert PictureConformer(SMALL).convert(made) is made


def test_bars_are_black_and_the_picture_between_them() -> None:
    out = PictureConformer(SMALL).convert(picture(90, 160))
    assert [int(samples(out, n)[5, 2]) for n in range(3)] == [16, 128, 128]
    assert centre(out) == (120, 90, 200)


def test_matrix_is_converted_between_hd_and_sd() -> None:
    source = picture(1280, 720, y=120, u=90, v=200)
    source.colorspace = 1
    out = PictureConformer(SD).convert(source)
    r, g, b = (1.164 * (120 - 16) + k for k in (1.793 * 72, -0.213 * -38 - 0.533 * 72, 2.112 * -38))
    y = 16 + 0.257 * r + 0.504 * g + 0.098 * b
    u = 128 - 0.148 * r - 0.291 * g + 0.439 * b
    v = 128 + 0.439 * r - 0.368 * g - 0.071 * b
    np.testing.assert_allclose(centre(out), (y, u, v), atol=2)
    same = picture(720, 576)
    same.colorspace = 6
    assert centre(PictureConformer(SD).convert(same, Fraction(16, 15))) == (120, 90, 200)


def test_full_range_becomes_limited() -> None:
    source = picture(160, 90, "yuvj420p", y=255, u=128, v=128)
    source.color_range = 2
    assert centre(PictureConformer(SMALL).convert(source))[0] == pytest.approx(235, abs=1)
    white = av.VideoFrame.from_ndarray(np.full((90, 160, 3), 255, np.uint8), "rgb24")
    assert centre(PictureConformer(SMALL).convert(white)) == (235, 128, 128)


def test_ten_bits() -> None:
    format = ChannelFormat(160, 90, Fraction(25), ten_bit=True)
    out = PictureConformer(format).convert(picture(90, 160))
    assert out.format.name == "yuv420p10le"
    assert centre(out) == (480, 360, 800)
    assert int(samples(out, 0)[0, 0]) == 64


def test_size_sar_and_format_may_change_at_any_picture() -> None:
    conformer = PictureConformer(SMALL)
    for made, sar in [
        (picture(320, 180), None),
        (picture(90, 90), Fraction(16, 9)),
        (picture(64, 64, "yuv444p"), None),
        (picture(160, 90), Fraction(1)),
    ]:
        out = conformer.convert(made, sar)
        assert (out.width, out.height, out.format.name) == (160, 90, "yuv420p")
        assert centre(out) == pytest.approx((120, 90, 200), abs=1)


@pytest.fixture
def interlaced(tmp_path: Path) -> Path:
    path = tmp_path / "fields.mp4"
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(),
        "-v",
        "error",
        "-f",
        "lavfi",
        "-i",
        "testsrc=s=160x96:r=50:d=1",
        "-vf",
        "format=yuv420p,interlace",
        "-flags",
        "+ildct+ilme",
    ]
    subprocess.run([*command, "-c:v", "libx264", str(path)], check=True)
    return path


@pytest.mark.parametrize("double", [False, True])
def test_deinterlacing_gives_one_picture_a_frame_or_a_field(interlaced: Path, double: bool) -> None:
    straightener, out = Straightener(double), []
    with av.open(str(interlaced)) as container:
        for n, frame in enumerate(container.decode(video=0)):
            assert frame.interlaced_frame
            out += straightener.push(frame, n * 1_080_000)
    out += straightener.flush()
    step = 540_000 if double else 1_080_000
    assert [time for time, _ in out] == [n * step for n in range(50 if double else 25)]
    assert not any(made.interlaced_frame for _, made in out)


def test_rotation_is_undone(make_media: Callable[..., Path], tmp_path: Path) -> None:
    source, turned, upright = make_media("plain.mp4", audio=None), tmp_path / "turned.mp4", tmp_path / "upright.png"
    exe = imageio_ffmpeg.get_ffmpeg_exe()
    subprocess.run(
        [exe, "-v", "error", "-f", "lavfi", "-i", "testsrc=s=160x90:d=0.2", "-pix_fmt", "yuv420p", "-y", str(source)],
        check=True,
    )
    subprocess.run(
        [exe, "-v", "error", "-display_rotation", "90", "-i", str(source), "-c", "copy", str(turned)], check=True
    )
    subprocess.run([exe, "-v", "error", "-i", str(turned), "-frames:v", "1", str(upright)], check=True)
    with av.open(str(turned)) as container:
        ((_, mine),) = Straightener().push(next(container.decode(video=0)), 0)
    with av.open(str(upright)) as judge:
        theirs = next(judge.decode(video=0))
    assert (mine.width, mine.height) == (90, 160)
    difference = mine.to_ndarray(format="gray").astype(int) - theirs.to_ndarray(format="gray")
    assert np.abs(difference).mean() < 3


def test_progressive_and_upright_pictures_pass_by() -> None:
    made = picture(160, 90)
    assert Straightener().push(made, 7) == [(7, made)]
