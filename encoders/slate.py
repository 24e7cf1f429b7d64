"""The slate: what is shown when nothing else can be. It cannot fail and has no thread.

Whatever is wrong with its image, its font or its words costs that part of it and is told in ``state()["message"]``;
a plain dark picture with silence remains.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
from PIL import Image, ImageDraw

from encoders.banner import wrapped
from encoders.canvas import new_picture, picture_of, planes_of, yuv
from encoders.fonts import Typeface, find_typeface, refuse_missing
from encoders.format import ChannelFormat
from encoders.source import Slice
from encoders.still import fitted, load_image, silence
from headend.clock import Clock, to_iso

TEXT: Final[Mapping[str, str]] = {"zho": "节目即将恢复，请稍候", "eng": "Programmes will resume shortly"}
"""What it says when nothing else is configured, by ISO 639-2/T language, the first the largest."""

_DEEP: Final = (8, 14, 30)
_HIGH: Final = (22, 42, 84)
_ACCENT: Final = (0, 164, 228)


class Slate:
    """A slate as a source; always ready, never raises, not even when it is made.

    ``text`` is by language, ``title`` the channel's name above it, ``image`` a background that the text is put on.
    """

    def __init__(
        self,
        name: str,
        format: ChannelFormat,
        clock: Clock,
        text: Mapping[str, str] = TEXT,
        image: str | Path | None = None,
        *,
        title: str = "",
        typeface: Typeface | None = None,
    ) -> None:
        self.name = name
        self._format, self._clock = format, clock
        self._messages: list[str] = []
        self._pulled: int | None = None
        self._picture = self._drawn(text, image, title, typeface)

    def open(self, first: int) -> None:
        """Nothing to begin."""

    def ready(self, slot: int) -> bool:
        """Always."""
        return True

    def pull(self, slot: int, wait: float = 0.0) -> Slice:
        """The slate with silence; never None."""
        self._pulled = self._clock.now()
        return Slice(self._picture, silence(self._format, slot))

    def _drawn(
        self, text: Mapping[str, str], image: str | Path | None, title: str, typeface: Typeface | None
    ) -> av.VideoFrame:
        ground: Image.Image | None = None
        if image is not None:
            try:
                ground = fitted(load_image(Path(image)), self._format)
            except Exception as error:  # the slate is the last: it goes on without its image
                self._messages.append(f"the slate {self.name} is shown without its image: {error}")
        try:
            lines = list(dict.fromkeys(line for line in text.values() if line))  # one text may stand for all
            return picture_of(self._lettered(ground, lines, title, typeface), self._format)
        except Exception as error:  # nor may a font stop it
            self._messages.append(f"the slate {self.name} is shown without text: {error}")
        try:
            return picture_of(ground if ground is not None else self._ground(), self._format)
        except Exception as error:
            self._messages.append(f"the slate {self.name} is shown as a plain picture: {error}")
            return self._plain()

    def _ground(self) -> Image.Image:
        """A dark blue that lightens to the middle."""
        width, height = self._format.width, self._format.height
        y, x = np.mgrid[0:height, 0:width].astype(np.float32)
        away = np.hypot((x / width - 0.5) * 1.5, y / height - 0.42)
        light = np.clip(1 - away / 0.8, 0, 1)[..., None] ** 1.5
        colours = np.array(_DEEP) + light * (np.array(_HIGH) - np.array(_DEEP))
        # A little noise hides the steps of a dark gradient; seeded, so that two machines draw the same.
        noise = np.random.default_rng(1).uniform(-0.8, 0.8, (height, width, 1))
        return Image.fromarray(np.rint(np.clip(colours + noise, 0, 255)).astype(np.uint8))

    def _lettered(
        self, ground: Image.Image | None, lines: list[str], title: str, typeface: Typeface | None
    ) -> Image.Image:
        face = typeface or find_typeface()
        for line in (*lines, title):
            refuse_missing(line, face, f"the slate {self.name}")
        width, height = self._format.width, self._format.height
        image = (ground if ground is not None else self._ground()).convert("RGB")
        unit = min(height, width * 0.9) / 100
        rows: list[tuple[str, float, int, tuple[int, int, int]]] = []
        if title:
            rows.append((title, 4.4, 600, (140, 178, 220)))
        for number, line in enumerate(lines):
            size, weight = (8.0, 700) if number == 0 else (4.8, 400)
            colour = (255, 255, 255) if number == 0 else (196, 212, 232)
            font = face.sized(round(size * unit), weight)
            rows += [(part, size, weight, colour) for part in wrapped(line, font, width * 84 // 100)]
        total = sum(size * 1.6 for _, size, _, _ in rows) * unit
        top = height * 0.46 - total / 2
        if ground is not None:  # letters on a photograph need a ground of their own
            veil = Image.new("RGBA", (width, min(round(total + 10 * unit), height)), (*_DEEP, 170))
            image.paste(veil, (0, max(round(top - 5 * unit), 0)), veil)
        draw = ImageDraw.Draw(image)
        for number, (line, size, weight, colour) in enumerate(rows):
            middle = top + size * 0.8 * unit
            draw.text((width / 2, middle), line, colour, face.sized(round(size * unit), weight), anchor="mm")
            top += size * 1.6 * unit
            if title and number == 0:
                rule = round(7 * unit)
                draw.rectangle((width / 2 - rule, top, width / 2 + rule, top + max(0.5 * unit, 1)), _ACCENT)
                top += 3 * unit
        return image

    def _plain(self) -> av.VideoFrame:
        picture = new_picture(self._format)
        for plane, value in zip(planes_of(picture), yuv(_DEEP, self._format), strict=True):
            plane[...] = value
        return picture

    def state(self) -> dict[str, Any]:
        """What every source says (:class:`encoders.source.Source`)."""
        at = None if self._pulled is None else to_iso(self._pulled)
        return {
            "name": self.name,
            "url": "slate:",
            "kind": "slate",
            "connected": True,
            "receiving": True,
            "last_picture": at,
            "last_sound": at,
            "bit_rate": 0,
            "errors": len(self._messages),
            "reconnects": 0,
            "repeats": 0,
            "drops": 0,
            "message": " ".join(self._messages),
        }

    def close(self) -> None:
        """Nothing to release."""
