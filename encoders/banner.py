"""A banner: a box with a heading and some lines of text, e.g. the words of an alert or a lower third.

The four colours of Chinese warnings (red, orange, yellow, blue; level 1 is the gravest) are in :data:`LEVELS`.
"""

from __future__ import annotations

from typing import Any, Final

from PIL import Image, ImageDraw, ImageFont

from encoders.canvas import RGB, Patch, Planes
from encoders.fonts import Typeface, find_typeface, refuse_missing
from encoders.format import ChannelFormat
from encoders.overlay import Drawing

LEVELS: Final[dict[int, RGB]] = {1: (200, 16, 32), 2: (226, 98, 0), 3: (206, 158, 0), 4: (0, 92, 184)}
LINES: Final = 4
"""Lines of text below the heading; more are cut, and ``state()["cut"]`` says so."""


class Banner(Drawing):
    """A banner at the bottom or top of the picture, hidden until a text is set.

    ``height`` is that of the text's letters (em) as a part of the picture's.
    Raises ValueError on a text that the typeface cannot draw.
    """

    def __init__(
        self,
        name: str,
        format: ChannelFormat,
        *,
        edge: str = "bottom",
        height: float = 0.036,
        typeface: Typeface | None = None,
        fade: float = 0.3,
    ) -> None:
        super().__init__(name, format, fade, shown=False)
        self._face = typeface or find_typeface()
        self._edge, self._height = edge, height
        self._heading = self._text = ""
        self._cut = 0
        self._patch: Patch | None = None

    def set_text(self, heading: str, text: str = "", colour: RGB = LEVELS[4], slot: int | None = None) -> None:
        """Show a heading and a text from ``slot`` on (None: the next picture). Raises ValueError as the class does."""
        refuse_missing(heading + text, self._face, f"the banner {self.name}")
        self._patch = self._drawn(heading, text, colour)
        self._heading, self._text = heading, text
        self.show(slot)

    def visible(self, slot: int) -> bool:
        """Whether there is something to draw at a slot."""
        return self._patch is not None and super().visible(slot)

    def paint(self, slot: int, planes: Planes) -> None:
        """Draw on samples that belong to the caller."""
        if self._patch is not None:
            self._patch.blend(planes, self.opacity(slot))

    def _drawn(self, heading: str, text: str, colour: RGB) -> Patch:
        format = self.format
        # All measures follow the letters of the text, which by default are 3.6 % of the picture's height.
        unit = format.height * self._height / 3.6
        big, small = self._face.sized(round(4.6 * unit), 700), self._face.sized(round(3.6 * unit), 500)
        width = format.width * 90 // 100 // 2 * 2
        pad = round(2.2 * unit)
        lines = wrapped(text, small, width - 3 * pad)
        self._cut = max(len(lines) - LINES, 0)
        if self._cut:
            lines = [*lines[: LINES - 1], lines[LINES - 1][:-1] + "…"]
        head = round(6.8 * unit) if heading else 0
        body = round(len(lines) * 5.2 * unit) + (round(1.6 * unit) if lines else 0)
        plate = Image.new("RGBA", (width, max(head + body, 2)), (10, 16, 30, 224))
        draw = ImageDraw.Draw(plate)
        if heading:
            draw.rectangle((0, 0, width, head - 1), (*colour, 255))
            draw.text((pad * 1.5, head / 2), heading, (255, 255, 255, 255), big, anchor="lm")
        draw.rectangle((0, head, pad // 3, plate.height), (*colour, 255))
        for number, line in enumerate(lines):
            middle = head + 0.8 * unit + (number + 0.5) * 5.2 * unit
            draw.text((pad * 1.5, middle), line, (255, 255, 255, 255), small, anchor="lm")
        x = (format.width - width) // 2
        # Above the place of a crawl, whose words go on beside an alert.
        inset = format.height * 12 // 100
        return Patch(plate, x, format.height - inset - plate.height if self._edge == "bottom" else inset, format)

    def state(self) -> dict[str, Any]:
        """``name, kind, shown, heading, text, cut`` (lines that found no room)."""
        return {**super().state(), "heading": self._heading, "text": self._text, "cut": self._cut}


def wrapped(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """Text in lines of at most ``width`` pixels: Chinese breaks anywhere but before punctuation, Latin at spaces."""
    lines: list[str] = []
    for paragraph in text.splitlines():
        line = ""
        for word in _words(paragraph):
            if line and font.getlength((line + word).rstrip()) > width:
                lines.append(line.rstrip())
                line = word.lstrip()
            else:
                line += word
            while font.getlength(line) > width and len(line) > 1:  # one word wider than the banner
                fits = next(n for n in range(len(line) - 1, 0, -1) if n == 1 or font.getlength(line[:n]) <= width)
                lines.append(line[:fits])
                line = line[fits:]
        if line.strip():
            lines.append(line.rstrip())
    return lines


def _words(text: str) -> list[str]:
    """What may not be broken: Latin words with the space after them, ideographs with the punctuation after them."""
    words: list[str] = []
    for character in text:
        wide = ord(character) >= 0x2E80
        closing = character in "，。、；：？！）》」』”’…"
        joins = words and (closing or (not wide and not words[-1].endswith(" ") and ord(words[-1][-1]) < 0x2E80))
        if joins:
            words[-1] += character
        else:
            words.append(character)
    return words
