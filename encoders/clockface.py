"""The clock on the picture: house time in a zone, e.g. Beijing time in a corner."""

from __future__ import annotations

import re
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from PIL import Image, ImageDraw

from encoders.canvas import Patch, Planes
from encoders.fonts import Typeface, find_typeface, refuse_missing
from encoders.format import ChannelFormat
from encoders.logo import Corner, corner_of
from encoders.overlay import Drawing
from headend.clock import TICKS_PER_SECOND, to_datetime

WEEKDAYS: Final = {
    "zho": ("星期一", "星期二", "星期三", "星期四", "星期五", "星期六", "星期日"),
    "eng": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
}


def zone_of(name: str) -> ZoneInfo:
    """A time zone by its IANA name. Raises ValueError with a sentence if there is none of that name."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(
            f"the time zone {name!r} is not known on this machine, so local time cannot be shown; "
            "use an IANA name like Asia/Shanghai, and install the package tzdata if the name is right"
        ) from error


def local_time(ticks: int, zone: ZoneInfo, pattern: str, language: str = "zho") -> str:
    """An instant as text: strftime's ``pattern``, with ``%A`` as the weekday in ``language`` whatever the locale."""
    moment = to_datetime(ticks).astimezone(zone)
    weekday = WEEKDAYS.get(language, WEEKDAYS["eng"])[moment.weekday()]
    # strftime drops what the locale cannot encode, so everything but its own codes goes around it.
    codes = re.split(r"(%[-_0^#]?.)", pattern)
    return "".join(weekday if code == "%A" else moment.strftime(code) if code[:1] == "%" else code for code in codes)


class ClockFace(Drawing):
    """A clock.

    The time shown is that of the slot being drawn, so it is right for whoever sees the picture without delay, and
    two machines show the same. ``height`` is that of the letters (em) as a part of the picture's, ``margin`` as in
    :func:`encoders.logo.corner_of`. Raises ValueError on an unknown zone or a pattern that the typeface cannot draw.
    """

    def __init__(
        self,
        name: str,
        format: ChannelFormat,
        *,
        zone: str = "Asia/Shanghai",
        pattern: str = "%H:%M:%S",
        language: str = "zho",
        corner: Corner = "top-right",
        height: float = 0.036,
        margin: float | None = None,
        typeface: Typeface | None = None,
        fade: float = 0.5,
        shown: bool = True,
    ) -> None:
        super().__init__(name, format, fade, shown)
        self._zone = zone_of(zone)
        self._pattern, self._language = pattern, language
        self._corner, self._margin = corner, margin
        face = typeface or find_typeface()
        refuse_missing(local_time(0, self._zone, pattern, language) + "0123456789", face, f"the clock {name}")
        self._font = face.sized(round(format.height * height), 600)
        self._second = -1
        self._patch: Patch | None = None

    def text(self, slot: int) -> str:
        """What the clock shows in a slot."""
        return local_time(self.format.ticks_of(slot), self._zone, self._pattern, self._language)

    def paint(self, slot: int, planes: Planes) -> None:
        """Draw on samples that belong to the caller."""
        second = self.format.ticks_of(slot) // TICKS_PER_SECOND
        if self._patch is None or second != self._second:
            self._patch, self._second = self._drawn(self.text(slot)), second
        self._patch.blend(planes, self.opacity(slot))

    def _drawn(self, text: str) -> Patch:
        size = int(self._font.size)
        # Every digit has the width of the widest, so that the clock does not wobble.
        digit = max(self._font.getlength(d) for d in "0123456789")
        widths = [digit if c.isdecimal() else self._font.getlength(c) for c in text]
        pad = size * 5 // 12
        plate = Image.new("RGBA", (round(sum(widths)) + 2 * pad, size + pad), (0, 0, 0, 0))
        draw = ImageDraw.Draw(plate)
        draw.rounded_rectangle((0, 0, plate.width - 1, plate.height - 1), size // 4, (8, 16, 32, 150))
        x = float(pad)
        for character, width in zip(text, widths, strict=True):
            draw.text((x + width / 2, plate.height / 2), character, (255, 255, 255, 255), self._font, anchor="mm")
            x += width
        return Patch(plate, *corner_of(self._corner, plate.size, self.format, self._margin), self.format)

    def state(self) -> dict[str, Any]:
        """``name, kind, shown, zone, pattern, corner``."""
        return {**super().state(), "zone": self._zone.key, "pattern": self._pattern, "corner": self._corner}
