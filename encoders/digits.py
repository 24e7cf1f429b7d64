"""A running time on a plain ground: each character is drawn once, and a text is put together by copying cells."""

from __future__ import annotations

from typing import Final

from PIL import Image, ImageDraw

from encoders.canvas import RGB, Planes, samples_of
from encoders.fonts import Typeface
from encoders.format import ChannelFormat

CHARACTERS: Final = "0123456789:"


class Digits:
    """The characters of a time in cells of equal, even size, so that nothing wobbles.

    ``size`` is the height of a cell in lines, ``sar`` the width of a sample in lines (1: square).
    """

    def __init__(
        self,
        face: Typeface,
        size: int,
        format: ChannelFormat,
        colour: RGB,
        ground: RGB,
        sar: float = 1.0,
        weight: int = 600,
    ) -> None:
        font = face.sized(size * 11 // 12, weight)
        rows = max(size // 2 * 2, 2)
        natural = max(font.getlength(d) for d in CHARACTERS)
        self.cell = max(round(natural / sar / 2) * 2, 2), rows
        self._cells: dict[str, Planes] = {}
        for character in CHARACTERS:
            image = Image.new("RGB", (max(round(natural), 2), rows), ground)
            ImageDraw.Draw(image).text((image.width / 2, rows / 2), character, colour, font, anchor="mm")
            self._cells[character] = samples_of(image.resize(self.cell, Image.Resampling.LANCZOS), format)

    def width(self, text: str) -> int:
        """Pixels that a text takes."""
        return len(text) * self.cell[0]

    def write(self, planes: Planes, text: str, x: int, y: int) -> None:
        """Put a text of digits and colons with its top left corner at ``x``, ``y`` (even). Else KeyError."""
        for number, character in enumerate(text):
            for index, (plane, part) in enumerate(zip(planes, self._cells[character], strict=True)):
                step = 2 if index else 1
                left = (x + number * self.cell[0]) // step
                target = plane[y // step : y // step + part.shape[0], left : left + part.shape[1]]
                target[...] = part[: target.shape[0], : target.shape[1]]
