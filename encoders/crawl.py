"""The text crawl: one line of news or warning that runs from right to left over a band.

The line is drawn once, when the text is set; each picture shows a window of it. The window moves by a whole number of
pixels per slot (a speed in between would judder: one slot 3 pixels, the next 4), so the speed asked for is rounded to
that, and its place is a function of the slot.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from encoders.canvas import RGB, RGBA, Patch, Planes, yuv
from encoders.fonts import Typeface, find_typeface, refuse_missing
from encoders.format import ChannelFormat
from encoders.overlay import Drawing

LONGEST: Final = 4_000
"""Characters of a crawl: a bound on memory (12 MB at 720 lines); some ten minutes of reading."""

_ALPHA: Final = 128
"""Text alpha is counted in 1/128, so that a difference of 8-bit samples times it fits 16 bits with a sign."""


@dataclass(frozen=True, slots=True)
class _Line:
    """A text ready to run."""

    text: str
    luma: NDArray[np.uint8]
    """128 - alpha, shape (rows, blank + period + window)."""
    chroma: tuple[NDArray[np.uint8], NDArray[np.uint8]]
    """The same at half resolution, for even and for odd offsets."""
    lead: int
    """Pixels of blank before the text comes in for the first time."""
    period: int
    laps: int


class Crawl(Drawing):
    """A crawl along the bottom or the top of the picture.

    ``speed`` is pixels per second on a 1080-line picture (other sizes in proportion), ``height`` that of the letters
    (em) as a part of the picture's, ``label`` a word in a box that stays at the left, e.g. "快讯". With an empty text
    nothing is drawn. Raises ValueError on a text that is too long or has a character that the typeface cannot draw.
    """

    def __init__(
        self,
        name: str,
        format: ChannelFormat,
        text: str = "",
        *,
        label: str = "",
        speed: float = 180.0,
        edge: str = "bottom",
        height: float = 0.04,
        colour: RGB = (255, 255, 255),
        band: RGBA = (10, 22, 48, 205),
        accent: RGB = (0, 164, 228),
        typeface: Typeface | None = None,
        fade: float = 0.5,
        shown: bool = True,
    ) -> None:
        super().__init__(name, format, fade, shown)
        self._face = typeface or find_typeface()
        self._colour = yuv(colour, format)
        self._wide = np.dtype(np.int32 if format.ten_bit else np.int16)
        self.step = max(round(speed * format.height / 1080 / float(format.rate)), 1)
        """Pixels per slot."""
        size = max(round(format.height * height), 8)
        rows = size * 8 // 5 // 2 * 2
        gap = format.height * 3 // 100 // 2 * 2
        self._top = (format.height - gap - rows if edge == "bottom" else gap) // 2 * 2
        self._rows = rows
        self._font = self._face.sized(size, 500)
        refuse_missing(label, self._face, f"the label of the crawl {name}")
        self._left = 0
        self._box: Patch | None = None
        if label:
            self._left, self._box = self._labelled(label, accent)
        # The accent rules are part of the band, above and below the letters' rows.
        rule = max(rows // 24, 1)
        strip = Image.new("RGBA", (format.width - self._left, rows), band)
        ImageDraw.Draw(strip).rectangle((0, 0, strip.width, rule - 1), (*accent, 255))
        self._band = Patch(strip, self._left, self._top, format)
        self._line: _Line | None = None
        self._next: tuple[_Line | None, int | None] | None = None
        self._start = 0
        self._slot = 0
        self._lap = 0
        if text:
            self.set_text(text)

    def set_text(self, text: str, slot: int | None = None, laps: int = 0) -> None:
        """Run another text from ``slot`` on (None: from the next picture), ``laps`` times (0: until another is set).

        Drawn here, in the caller's thread, not in the channel's. Raises ValueError as the class does.
        """
        text = " ".join(text.split())
        if len(text) > LONGEST:
            raise ValueError(
                f"the text of the crawl {self.name} has {len(text)} characters, more than {LONGEST}, "
                "and would need minutes to run through; shorten it, or set it in parts"
            )
        refuse_missing(text, self._face, f"the text of the crawl {self.name}")
        self._next = (self._drawn(text, laps) if text else None, slot)

    def visible(self, slot: int) -> bool:
        """Whether there is something to draw at a slot."""
        self._turn_over(slot)
        return self._line is not None and super().visible(slot)

    def paint(self, slot: int, planes: Planes) -> None:
        """Draw on samples that belong to the caller."""
        self._turn_over(slot)
        if (line := self._line) is None:
            return
        opacity = self.opacity(slot)
        self._band.blend(planes, opacity)
        if self._box is not None:
            self._box.blend(planes, opacity)
        self._slot = slot
        self._write(line, (slot - self._start) * self.step, planes, opacity)

    def _turn_over(self, slot: int) -> None:
        """Take up the text that was set, when its slot has come; drop one that has run its laps."""
        if (coming := self._next) is not None and (coming[1] is None or slot >= coming[1]):
            self._next = None
            self._line, self._start = coming[0], slot if coming[1] is None else coming[1]
        if (line := self._line) is not None:
            passed = (slot - self._start) * self.step
            self._lap = max(passed - line.lead, 0) // line.period
            if line.laps and passed >= line.lead + line.laps * line.period:
                self._line = None

    def _write(self, line: _Line, offset: int, planes: Planes, opacity: int) -> None:
        offset = max(offset, 0)
        if offset >= line.lead:
            offset = line.lead + (offset - line.lead) % line.period
        width = self.format.width - self._left
        odd = offset & 1
        windows = (
            line.luma[:, offset : offset + width],
            *[line.chroma[odd][:, offset // 2 : offset // 2 + width // 2]] * 2,
        )
        for number, (plane, window, value) in enumerate(zip(planes, windows, self._colour, strict=True)):
            step = 2 if number else 1
            target = plane[self._top // step : (self._top + self._rows) // step, self._left // step :]
            # target + (text - target) * alpha, rounded: the difference times "128 - alpha" stays within the type.
            mixed: NDArray[Any] = target.astype(self._wide)
            mixed -= value
            mixed *= window if opacity >= 256 else (_ALPHA - ((_ALPHA - window.astype(self._wide)) * opacity >> 8))
            mixed += _ALPHA // 2
            mixed >>= 7
            mixed += value
            np.copyto(target, mixed, casting="unsafe")

    def _drawn(self, text: str, laps: int) -> _Line:
        """A text as alpha: blank to let it come in, the text, a gap, and the beginning again for the wrap."""
        window = self.format.width - self._left
        length = -(-int(self._font.getlength(text) + 1) // 2) * 2
        # A short text leaves the picture before it comes again; a long one follows itself.
        period = max(length + self._rows * 3 // 2 * 2, window if length < window // 2 else 0) // 2 * 2
        mask = Image.new("L", (length, self._rows))
        ImageDraw.Draw(mask).text((0, self._rows * 0.53), text, 255, self._font, anchor="lm")
        alpha = np.zeros((self._rows, window + period + window + 2), dtype=np.uint8)
        places = (window + np.arange(period + window + 2)) if length else np.arange(0)
        lap = np.zeros((self._rows, period), dtype=np.uint8)
        lap[:, :length] = np.asarray(mask)
        alpha[:, places] = lap[:, np.arange(period + window + 2) % period] if length else 0
        keep = (_ALPHA - np.rint(alpha * (_ALPHA / 255.0))).astype(np.uint8)
        del alpha
        return _Line(text, keep, (_half(keep[:, :-2]), _half(keep[:, 1:-1])), window, period, laps)

    def _labelled(self, label: str, accent: RGB) -> tuple[int, Patch]:
        """The box at the left, and where the band begins."""
        font = self._face.sized(self._rows * 5 // 8, 700)
        pad = self._rows // 2
        inset = self.format.width * 5 // 100
        width = (inset + int(font.getlength(label)) + 2 * pad) // 2 * 2
        box = Image.new("RGBA", (width, self._rows), (*accent, 255))
        ImageDraw.Draw(box).text((inset + pad, self._rows * 0.53), label, (255, 255, 255, 255), font, anchor="lm")
        return width, Patch(box, 0, self._top, self.format)

    def state(self) -> dict[str, Any]:
        """``name, kind, shown, text, speed`` (pixels a second, as it really runs), ``lap``."""
        line = self._line
        return {
            **super().state(),
            "text": line.text if line else "",
            "speed": float(self.step * self.format.rate),
            "lap": self._lap if line else 0,
        }


def _half(plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A plane at chroma resolution."""
    wide = plane.astype(np.uint16)
    wide = wide[::2] + wide[1::2]
    wide = wide[:, ::2] + wide[:, 1::2]
    out: NDArray[np.uint8] = ((wide + 2) >> 2).astype(np.uint8)
    return out
