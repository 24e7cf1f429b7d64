"""Is there something to see and to hear? Cheap detectors on what a source yields.

Looking at every picture of every candidate has to cost next to nothing, so only every eighth sample of every
eighth line of the Y plane is read, straight out of the decoder's memory. The detectors say how long a condition
has lasted; how long is too long is decided by the arbiter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import av
import numpy as np
from numpy.typing import NDArray

from encoders.source import Slice

STEP: Final = 8
"""One sample in so many is looked at, in each direction."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What counts as black, frozen and silent.

    Raises ValueError for a value outside its range.
    """

    black_level: int = 32
    """Luma, 8-bit scale, up to which a sample is dark. Video black is 16 (ITU-R BT.709, 4.6)."""
    black_share: float = 0.98
    """Share of dark samples from which a picture is black: a station logo does not make it less black."""
    still_level: int = 4
    """Difference of luma, 8-bit scale, up to which a sample has not changed: coding noise stays below."""
    still_share: float = 0.999
    """Share of unchanged samples from which a picture is still."""
    silence: float = -60.0
    """dBFS of the highest sample up to which a slot is silent."""

    def __post_init__(self) -> None:
        for name in ("black_level", "still_level"):
            if not 0 <= getattr(self, name) <= 255:
                raise ValueError(f"{name} is {getattr(self, name)}, which no 8-bit luma is; give a value from 0 to 255")
        for name in ("black_share", "still_share"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, which is no share; give a value above 0, up to 1")
        if self.silence > 0:
            raise ValueError(
                f"silence is {self.silence} dBFS, above full scale, so all sound would be silent; give e.g. -60"
            )


@dataclass(frozen=True, slots=True)
class Sight:
    """What a source showed in a slot: for how many slots on end, this one included, each fault has lasted."""

    missing: int = 0
    """Slots without a picture (and, for a source whose sound suffices, without sound)."""
    black: int = 0
    frozen: int = 0
    silent: int = 0
    gone: str = ""
    """Why nothing more will come (ended, could not be opened); empty while it may."""

    @property
    def delivered(self) -> bool:
        """Whether there is something to send in this slot."""
        return not self.missing and not self.gone


class Watch:
    """Looks at one source, slot by slot."""

    def __init__(self, thresholds: Thresholds | None = None, *, sound_suffices: bool = False) -> None:
        self._thresholds = thresholds or Thresholds()
        self._sound_suffices = sound_suffices
        self._peak = 10 ** (self._thresholds.silence / 20)
        self._reference: NDArray[np.int16] | None = None
        self._picture: av.VideoFrame | None = None
        self._black_now = False
        self.sight = Sight()
        """What the last look showed."""

    def look(self, slice: Slice | None, gone: str = "") -> Sight:
        """Look at the slice of the next slot; None when the source had none. ``gone`` is passed on."""
        last = self.sight
        if slice is None:
            self.sight = Sight(last.missing + 1, last.black, last.frozen, last.silent, gone)
            return self.sight
        if slice.ended:
            gone = gone or "has ended"
        seen = slice.picture is not None or (self._sound_suffices and slice.sound is not None)
        black, frozen = (0, 0) if slice.picture is None else self._look_at(slice.picture, last)
        silent = last.silent + 1 if self._is_silent(slice) else 0
        self.sight = Sight(0 if seen else last.missing + 1, black, frozen, silent, gone)
        return self.sight

    def _look_at(self, picture: av.VideoFrame, last: Sight) -> tuple[int, int]:
        if picture is self._picture:
            return (last.black + 1 if self._black_now else 0), last.frozen + 1
        self._picture = picture
        luma = samples_of(picture)
        limits = self._thresholds
        self._black_now = bool(np.count_nonzero(luma <= limits.black_level) >= limits.black_share * luma.size)
        # Compared with where the stillness began, not with the picture before: a slow pan is not frozen.
        still = False
        if self._reference is not None and self._reference.shape == luma.shape:
            unchanged = np.count_nonzero(np.abs(luma - self._reference) <= limits.still_level)
            still = bool(unchanged >= limits.still_share * luma.size)
        if not still:
            self._reference = luma
        return (last.black + 1 if self._black_now else 0), (last.frozen + 1 if still else 0)

    def _is_silent(self, slice: Slice) -> bool:
        if slice.sound is None:
            return True
        return all(not track.size or float(np.abs(track).max()) <= self._peak for track in slice.sound)


def samples_of(picture: av.VideoFrame) -> NDArray[np.int16]:
    """Every eighth luma sample of every eighth line, on the 8-bit scale. Works on planar YUV of 8 to 16 bits."""
    plane = picture.planes[0]
    deep = "10" in picture.format.name
    line = plane.line_size // (2 if deep else 1)
    kind: type[np.uint16] | type[np.uint8] = np.uint16 if deep else np.uint8
    lines = np.frombuffer(memoryview(plane), kind)[: line * picture.height].reshape(picture.height, line)
    luma = lines[STEP // 2 :: STEP, STEP // 2 : picture.width : STEP].astype(np.int16)
    return luma >> 2 if deep else luma
