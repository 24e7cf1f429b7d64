"""The logo: place, aspect, fade, and files that are no images."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from encoders.canvas import picture_of, planes_of
from encoders.format import ChannelFormat
from encoders.logo import Corner, Logo

FORMAT = ChannelFormat(320, 180, Fraction(25))


def drawn(logo: Logo, slot: int = 0) -> np.ndarray:
    return planes_of(logo.draw(slot, picture_of(Image.new("RGB", (320, 180)), FORMAT)))[0].copy()


@pytest.mark.parametrize("corner", ["top-left", "top-right", "bottom-left", "bottom-right"])
def test_it_sits_in_its_corner_of_the_safe_area(corner: Corner) -> None:
    luma = drawn(Logo("logo", Image.new("RGBA", (200, 100), "white"), FORMAT, corner=corner, height=0.2, fade=0))
    rows, columns = np.nonzero(luma > 200)
    assert (columns.max() - columns.min() + 1, rows.max() - rows.min() + 1) == (72, 36)
    assert (columns.min() == 16) == corner.endswith("left")
    assert (columns.max() == 303) == corner.endswith("right")
    assert (rows.min() == 9) == corner.startswith("top")
    assert (rows.max() == 170) == corner.startswith("bottom")


def test_transparent_parts_show_the_picture_and_edges_have_no_fringe() -> None:
    art = np.zeros((100, 100, 4), np.uint8)
    art[..., :3] = 255  # white, though nobody should see it where alpha is 0
    art[40:60, 40:60] = (0, 0, 0, 255)
    luma = drawn(Logo("logo", Image.fromarray(art), FORMAT, height=0.2, fade=0))
    assert luma.max() <= 17


def test_it_fades_in_and_out() -> None:
    logo = Logo("logo", Image.new("RGBA", (10, 10), "white"), FORMAT, fade=0.2, shown=False)
    logo.show(10)
    peaks = [int(drawn(logo, slot).max()) for slot in range(9, 17)]
    assert peaks[0] == 16
    assert peaks == sorted(peaks)
    assert peaks[-1] == 235
    assert len(set(peaks)) > 4


def test_a_margin_of_its_own() -> None:
    logo = Logo("logo", Image.new("RGBA", (10, 10), "white"), FORMAT, margin=0.1, corner="bottom-right")
    assert logo.state()["box"][2:] == [302, 162]


def test_opacity_and_state() -> None:
    logo = Logo("logo", Image.new("RGBA", (10, 10), "white"), FORMAT, opacity=0.5)
    assert 120 <= drawn(logo).max() <= 130
    assert logo.state()["corner"] == "top-left"


def test_a_wide_banner_still_fits() -> None:
    logo = Logo("logo", Image.new("RGBA", (4000, 10), "white"), FORMAT, height=0.2)
    left, _, right, _ = logo.state()["box"]
    assert 0 <= left < right <= 320


def test_files(tmp_path: Path) -> None:
    Image.new("RGBA", (40, 20), "white").save(tmp_path / "logo.png")
    assert drawn(Logo("logo", tmp_path / "logo.png", FORMAT)).max() == 235
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nrest is missing")
    for name in ("bad.png", "missing.png"):
        with pytest.raises(ValueError, match=r"the logo .* cannot be read .* give a PNG"):
            Logo("logo", tmp_path / name, FORMAT)
