"""The test card: bars, grey scale, a moving pattern, the time of the slot, the channel's name, and line-up tone.

Everything on it is a function of the slot. The card itself is drawn once; a slot costs a copy of it, eleven digits from
a table, a window of a striped band and a moving marker. The lamp under the time is lit while the left channel's tone is
interrupted, so that sound and picture can be seen and heard to fit.
"""

from __future__ import annotations

from typing import Any, Final

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from encoders.canvas import RGB, Planes, copy_picture, picture_of, planes_of, yuv
from encoders.clockface import local_time, zone_of
from encoders.digits import Digits
from encoders.fonts import Typeface, find_typeface, refuse_missing
from encoders.format import ChannelFormat
from encoders.source import Slice
from encoders.tone import Tone, in_gap
from headend.clock import TICKS_PER_SECOND, Clock, to_iso

_BARS: Final[tuple[RGB, ...]] = (
    (255, 255, 255),
    (191, 191, 0),
    (0, 191, 191),
    (0, 191, 0),
    (191, 0, 191),
    (191, 0, 0),
    (0, 0, 191),
    (0, 0, 0),
)
"""EBU 100/0/75/0 bars (Rec. ITU-R BT.471)."""

_PLATE: Final[RGB] = (14, 20, 36)
_ACCENT: Final[RGB] = (0, 164, 228)
_LAMP: Final[RGB] = (255, 196, 0)
_DARK: Final[RGB] = (52, 58, 74)
_WHITE: Final[RGB] = (255, 255, 255)


class TestCard:
    """A test card as a source; it has no thread and is always ready.

    ``title`` (else ``name``), with ``label`` under it, is the channel identification on the card; ``zone`` that of the
    time shown. Raises ValueError if the typeface lacks a character of them, or the zone is unknown.
    """

    __test__ = False  # not a test, whatever pytest makes of the name

    def __init__(
        self,
        name: str,
        format: ChannelFormat,
        clock: Clock,
        label: str = "",
        *,
        title: str = "",
        zone: str = "Asia/Shanghai",
        typeface: Typeface | None = None,
    ) -> None:
        self.name = name
        self._format, self._clock = format, clock
        self._zone = zone_of(zone)
        self._title, self._label = title or name, label
        self._face = typeface or find_typeface()
        refuse_missing(self._title + label, self._face, f"the test card {name}")
        self._tones = [Tone(track.channels) for track in format.tracks]
        self._card = self._drawn()
        self._stripes = self._striped()
        self._last: tuple[int, Slice] | None = None
        self._pulled: int | None = None

    def open(self, first: int) -> None:
        """Nothing to begin."""

    def ready(self, slot: int) -> bool:
        """Always."""
        return True

    def pull(self, slot: int, wait: float = 0.0) -> Slice:
        """The card of a slot; never None."""
        if self._last is None or self._last[0] != slot:
            first, count = self._format.first_sample(slot), self._format.samples_in(slot)
            sound = [tone.samples(first, count) for tone in self._tones]
            self._last = slot, Slice(self._picture(slot), sound)
        self._pulled = self._clock.now()
        return self._last[1]

    def state(self) -> dict[str, Any]:
        """What every source says (:class:`encoders.source.Source`)."""
        at = None if self._pulled is None else to_iso(self._pulled)
        return {
            "name": self.name,
            "url": "testcard:",
            "kind": "testcard",
            "connected": True,
            "receiving": True,
            "last_picture": at,
            "last_sound": at,
            "bit_rate": 0,
            "errors": 0,
            "reconnects": 0,
            "repeats": 0,
            "drops": 0,
            "message": "",
        }

    def close(self) -> None:
        """Nothing to release."""

    # The card: measures are parts of the height, so that it looks the same in every size.

    def _drawn(self) -> av.VideoFrame:
        format = self._format
        width, height = format.width, format.height
        image = Image.new("RGB", (width, height), (0, 0, 0))
        draw = ImageDraw.Draw(image)
        bars = round(height * 0.64)
        for number, colour in enumerate(_BARS):
            draw.rectangle((width * number // 8, 0, width * (number + 1) // 8 - 1, bars - 1), colour)
        steps = round(height * 0.72)
        for number in range(11):  # grey steps of 10 %
            grey = round(25.5 * number)
            draw.rectangle((width * number // 11, bars, width * (number + 1) // 11 - 1, steps - 1), (grey,) * 3)
        ramp = Image.fromarray(np.linspace(0, 255, width, dtype=np.float32)[None, :].round().astype(np.uint8))
        image.paste(ramp.resize((width, round(height * 0.05))).convert("RGB"), (0, steps))
        self._frame(draw)
        self._plate(draw)
        return picture_of(image, format)

    def _frame(self, draw: ImageDraw.ImageDraw) -> None:
        """Corner marks of the action-safe (3.5 %) and graphics-safe (5 %) areas, EBU R 95."""
        width, height = self._format.width, self._format.height
        line, arm = max(height // 360, 1), height // 30
        for part, colour in ((35, (255, 255, 255)), (50, (255, 196, 0))):
            left, top = width * part // 1000, height * part // 1000
            for x, across in ((left, 1), (width - 1 - left, -1)):
                for y, down in ((top, 1), (height - 1 - top, -1)):
                    for end, thick in (((x + arm * across, y), (0, line - 1)), ((x, y + arm * down), (line - 1, 0))):
                        box = (min(x, end[0]), min(y, end[1]), max(x, end[0]) + thick[0], max(y, end[1]) + thick[1])
                        draw.rectangle((box[0] - 1, box[1] - 1, box[2] + 1, box[3] + 1), (0, 0, 0))
                        draw.rectangle(box, colour)

    def _plate(self, draw: ImageDraw.ImageDraw) -> None:
        """The dark plate in the middle: name, label, date, and the room for the time."""
        width, height = self._format.width, self._format.height
        unit = min(height, width * 0.95) / 100
        half = round(46 * unit)
        left, right = (width // 2 - half) // 2 * 2, (width // 2 + half) // 2 * 2
        top, bottom = round(height * 0.13) // 2 * 2, round(height * 0.13 + 44 * unit) // 2 * 2
        draw.rectangle((left, top, right - 1, bottom - 1), _PLATE)
        draw.rectangle((left, top, right - 1, top + max(round(0.8 * unit), 1)), _ACCENT)
        middle = width / 2
        title = _fitting(self._title, self._face, round(9 * unit), 700, 2 * half - 8 * unit)
        draw.text((middle, top + 9.5 * unit), self._title, _WHITE, title, anchor="mm")
        if self._label:
            label = _fitting(self._label, self._face, round(4.4 * unit), 500, 2 * half - 8 * unit)
            draw.text((middle, top + 18 * unit), self._label, (150, 176, 208), label, anchor="mm")
        small = self._face.sized(round(3 * unit), 500)
        format = self._format
        rate = f"{float(format.rate):.2f}".rstrip("0").rstrip(".")
        facts = f"{width}×{height}p{rate}   ·   {'10' if format.ten_bit else '8'} bit   ·   1 kHz  −18 dBFS"
        draw.text((middle, top + 39 * unit), facts, (150, 176, 208), small, anchor="mm")
        self._digits = Digits(self._face, round(12 * unit), format, _WHITE, _PLATE)
        self._clock_at = (
            round(middle - self._digits.width("00:00:00:00") / 2) // 2 * 2,
            round(top + 23 * unit) // 2 * 2,
        )
        # The lamp is a bar along the lower edge of the plate.
        thick = max(round(1.6 * unit) // 2 * 2, 2)
        self._lamp = (left, bottom - thick, right, bottom)

    def _striped(self) -> Planes:
        """A band of slanted stripes, wider than the picture by one period."""
        format = self._format
        rows = max(round(format.height * 0.08) // 2 * 2, 2)
        self._stripe = max(format.height // 9 // 4 * 4, 8)
        self._band = round(format.height * 0.8) // 2 * 2
        y, x = np.mgrid[0:rows, 0 : format.width + self._stripe]
        wave = ((x + y) % self._stripe) * 2 // self._stripe
        values = []
        for number, (dark, light) in enumerate(zip(yuv(_PLATE, format), yuv(_ACCENT, format), strict=True)):
            step = 2 if number else 1
            values.append(np.where(wave[::step, ::step], light, dark).astype(np.uint16 if format.ten_bit else np.uint8))
        return values[0], values[1], values[2]

    def _picture(self, slot: int) -> av.VideoFrame:
        format = self._format
        picture = copy_picture(self._card)
        planes = planes_of(picture)
        ticks = format.ticks_of(slot)
        frame = ticks % TICKS_PER_SECOND // format.slot_ticks
        text = f"{local_time(ticks, self._zone, '%H:%M:%S')}:{frame:02d}"
        self._digits.write(planes, text, *self._clock_at)
        # Stripes run by one period in half a second; the marker crosses the picture in two.
        shift = ticks * 2 * self._stripe // TICKS_PER_SECOND % self._stripe // 2 * 2
        rows = self._stripes[0].shape[0]
        for number, (plane, band) in enumerate(zip(planes, self._stripes, strict=True)):
            step = 2 if number else 1
            window = band[:, shift // step : shift // step + plane.shape[1]]
            plane[self._band // step : self._band // step + window.shape[0]] = window
        side = max(rows // 2 // 2 * 2, 2)
        at = ticks % (2 * TICKS_PER_SECOND) * (format.width - side) // (2 * TICKS_PER_SECOND) // 2 * 2
        _fill(
            planes,
            (at, self._band + rows // 4 // 2 * 2, at + side, self._band + rows // 4 // 2 * 2 + side),
            yuv(_WHITE, format),
        )
        lit = in_gap(format.first_sample(slot))
        _fill(planes, self._lamp, yuv(_LAMP if lit else _DARK, format))
        return picture


def _fill(planes: Planes, box: tuple[int, int, int, int], colour: tuple[int, int, int]) -> None:
    for number, (plane, value) in enumerate(zip(planes, colour, strict=True)):
        step = 2 if number else 1
        plane[box[1] // step : box[3] // step, box[0] // step : box[2] // step] = value


def _fitting(text: str, face: Typeface, size: int, weight: int, width: float) -> ImageFont.FreeTypeFont:
    """The face at ``size``, or smaller when the text would be wider than ``width``."""
    font = face.sized(size, weight)
    length = font.getlength(text)
    return font if length <= width else face.sized(int(size * width / length), weight)
