"""The last resort: the slate if it works, a black picture if it does not. It always has something to show."""

from __future__ import annotations

import av
import numpy as np

from encoders.format import ChannelFormat
from encoders.herald import Herald
from encoders.source import Slice, Source


class LastResort:
    """Wraps a slate so that nothing it does can leave a slot empty."""

    def __init__(self, format: ChannelFormat, slate: Source | None, herald: Herald) -> None:
        self._format, self._slate, self._herald = format, slate, herald
        self.black = black(format)
        """What is shown without a slate."""

    def open(self, first: int) -> None:
        """Open the slate."""
        if (slate := self._slate) is not None:
            self._herald.guard(lambda: slate.open(first))

    def pull(self, slot: int) -> tuple[av.VideoFrame, Slice]:
        """A picture in the channel's format, and the slice it comes from. Raises nothing."""
        slice: Slice | None = None
        if self._slate is not None:
            try:
                slice = self._slate.pull(slot)
            except Exception as error:
                self._herald.oops(error)
        picture = None if slice is None else slice.picture
        if slice is not None and picture is not None:
            wanted = (self._format.width, self._format.height, self._format.pixel_format)
            if (picture.width, picture.height, picture.format.name) == wanted:
                return picture, slice
        return self.black, Slice(self.black, None, repeated=True)

    def close(self) -> None:
        """Close the slate."""
        if (slate := self._slate) is not None:
            self._herald.guard(slate.close)


def black(format: ChannelFormat) -> av.VideoFrame:
    """A black picture (limited range, ITU-R BT.709 section 4.6)."""
    picture = av.VideoFrame(format.width, format.height, format.pixel_format)
    for number, plane in enumerate(picture.planes):
        value = (16 if number == 0 else 128) << (2 if format.ten_bit else 0)
        kind = np.uint16 if format.ten_bit else np.uint8
        plane.update(np.full(plane.buffer_size // np.dtype(kind).itemsize, value, kind).tobytes())
    return picture
