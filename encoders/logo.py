"""The channel's logo: an image with alpha, in a corner of the graphics-safe area (EBU R 95), that fades in and out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from PIL import Image, ImageOps

from encoders.canvas import OPAQUE, Patch, Planes
from encoders.format import ChannelFormat
from encoders.overlay import Drawing

Corner = Literal["top-left", "top-right", "bottom-left", "bottom-right"]

SAFE_PERCENT = 5
"""Margin of the graphics-safe area, of width and of height."""


def corner_of(
    corner: Corner, size: tuple[int, int], format: ChannelFormat, margin: float | None = None
) -> tuple[int, int]:
    """Top left corner of an artwork of ``size`` that sits in a corner of the picture.

    ``margin`` is its distance from both edges as a part of the picture's height; None: the graphics-safe area.
    """
    across, down = format.width * SAFE_PERCENT // 100, format.height * SAFE_PERCENT // 100
    if margin is not None:
        across = down = round(format.height * margin)
    x = across if corner.endswith("left") else format.width - across - size[0]
    y = down if corner.startswith("top") else format.height - down - size[1]
    return x, y


class Logo(Drawing):
    """A logo.

    ``image`` is a file that Pillow opens (PNG, WebP ... with alpha) or an image; ``height`` is its height as a part of
    the picture's, ``margin`` as in :func:`corner_of`; ``opacity`` 0 ... 1. Raises ValueError with a
    sentence if the file is no image.
    """

    def __init__(
        self,
        name: str,
        image: str | Path | Image.Image,
        format: ChannelFormat,
        *,
        corner: Corner = "top-left",
        height: float = 0.09,
        margin: float | None = None,
        opacity: float = 1.0,
        fade: float = 1.0,
        shown: bool = True,
    ) -> None:
        super().__init__(name, format, fade, shown)
        self._strength = round(max(0.0, min(opacity, 1.0)) * OPAQUE)
        self._corner = corner
        art = image if isinstance(image, Image.Image) else _load(Path(image))
        rows = max(round(format.height * height), 4)
        columns = max(round(art.width * rows / art.height), 4)
        if columns > format.width * 9 // 10:  # a banner given as a logo still fits
            rows, columns = max(rows * format.width * 9 // (10 * columns), 4), format.width * 9 // 10
        # Straight alpha would bleed the colour of transparent pixels into the edge when scaled.
        art = art.convert("RGBA").convert("RGBa").resize((columns, rows), Image.Resampling.LANCZOS).convert("RGBA")
        self._patch = Patch(art, *corner_of(corner, art.size, format, margin), format)

    def paint(self, slot: int, planes: Planes) -> None:
        """Draw on samples that belong to the caller."""
        self._patch.blend(planes, self.opacity(slot) * self._strength >> 8)

    def state(self) -> dict[str, Any]:
        """``name, kind, shown, corner, box`` (left, top, right, bottom in pixels)."""
        return {**super().state(), "corner": self._corner, "box": list(self._patch.box)}


def _load(path: Path) -> Image.Image:
    try:
        with Image.open(path) as opened:
            turned = ImageOps.exif_transpose(opened)
            return turned.convert("RGBA")
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(
            f"the logo {path} cannot be read as an image ({error}), so the channel would be without it; "
            "give a PNG with alpha"
        ) from error
