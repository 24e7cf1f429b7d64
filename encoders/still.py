"""A still image as a source: fitted into the picture with its aspect kept and black bars, with silence."""

from __future__ import annotations

import threading
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image, ImageOps

from encoders.canvas import picture_of
from encoders.format import ChannelFormat
from encoders.source import Slice, Sound
from headend.clock import Clock, to_iso


def silence(format: ChannelFormat, slot: int) -> list[Sound]:
    """The slot's samples of every track, all zero."""
    count = format.samples_in(slot)
    return [np.zeros((track.channels, count), dtype=np.float32) for track in format.tracks]


def fitted(image: Image.Image, format: ChannelFormat) -> Image.Image:
    """An RGB image of the channel's size with ``image`` in its middle, aspect kept, black around and behind."""
    width = min(format.width, max(round(image.width * format.height / image.height), 1))
    height = min(format.height, max(round(image.height * format.width / image.width), 1))
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow would clip instead of scaling
        image = Image.fromarray((np.asarray(image, dtype=np.int64) >> 8).clip(0, 255).astype(np.uint8))
    # Straight alpha would bleed the colour of transparent pixels when scaled.
    image = image.convert("RGBA").convert("RGBa") if image.has_transparency_data else image.convert("RGB")
    scaled = image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)
    whole = Image.new("RGB", (format.width, format.height))
    place = ((format.width - width) // 2, (format.height - height) // 2)
    if scaled.mode == "RGBa":
        scaled = scaled.convert("RGBA")
        whole.paste(scaled, place, scaled)
    else:
        whole.paste(scaled, place)
    return whole


def load_image(path: Path) -> Image.Image:
    """An image file, turned as its EXIF orientation says. Raises ValueError with a sentence if it cannot be read."""
    try:
        with Image.open(path) as opened:
            opened.draft("RGB", (3840, 2160))  # a JPEG of a hundred megapixels is decoded at a fraction of its size
            turned = ImageOps.exif_transpose(opened)
            turned.load()
            return turned
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(
            f"the image {path} cannot be read ({error}), so it has no picture to show; give a PNG, JPEG or WebP file"
        ) from error


class Still:
    """An image file shown for ``duration`` seconds (None: for ever).

    The file is read in a thread that ends when the picture is made; what is wrong with it ``state()["message"]`` tells.
    """

    def __init__(
        self, name: str, path: str | Path, format: ChannelFormat, clock: Clock, duration: float | Fraction | None = None
    ) -> None:
        self.name = name
        self._path, self._format, self._clock = Path(path), format, clock
        self._slots = None if duration is None else max(round(Fraction(duration) * format.rate), 0)
        self._first = 0
        self._picture: av.VideoFrame | None = None
        self._done = threading.Event()
        self._thread: threading.Thread | None = None
        self._message = ""
        self._errors = 0
        self._pulled: int | None = None

    def open(self, first: int) -> None:
        """Begin at slot ``first``. Returns at once; the file is read once, however often it is opened."""
        self._first = first
        if self._thread is None:
            self._thread = threading.Thread(target=self._load, name=f"still {self.name}", daemon=True)
            self._thread.start()

    def ready(self, slot: int) -> bool:
        """Whether the picture is there and its time is not over."""
        return self._picture is not None and not self._over(slot)

    def pull(self, slot: int, wait: float = 0.0) -> Slice | None:
        """The picture with silence; an ended slice after the duration; None while it is not read or cannot be."""
        if self._over(slot):
            return Slice(None, None, ended=True)
        if self._picture is None and wait > 0 and self._thread is not None:
            self._done.wait(wait)
        if self._picture is None:
            return None
        self._pulled = self._clock.now()
        return Slice(self._picture, silence(self._format, slot))

    def _over(self, slot: int) -> bool:
        return self._slots is not None and slot >= self._first + self._slots

    def _load(self) -> None:
        try:
            self._picture = picture_of(fitted(load_image(self._path), self._format), self._format)
        except Exception as error:  # a source never raises into the channel: it is not ready, and says why
            self._errors += 1
            self._message = str(error)
        finally:
            self._done.set()

    def state(self) -> dict[str, Any]:
        """What every source says (:class:`encoders.source.Source`)."""
        there = self._picture is not None
        return {
            "name": self.name,
            "url": str(self._path),
            "kind": "still",
            "connected": there,
            "receiving": there,
            "last_picture": None if self._pulled is None else to_iso(self._pulled),
            "last_sound": None,
            "bit_rate": 0,
            "errors": self._errors,
            "reconnects": 0,
            "repeats": 0,
            "drops": 0,
            "message": self._message,
        }

    def close(self) -> None:
        """Release the picture. The thread, if it still reads, ends by itself."""
        if self._thread is not None:
            self._thread.join(0.5)
