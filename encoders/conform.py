"""Any decoded picture becomes the picture of a channel: its size with black bars where the aspect differs, its matrix,
range and pixel format, progressive and upright.

A picture that is already so is passed on untouched. All others go through one libswscale context; a filter graph is
built only for interlaced and for rotated pictures, and numpy touches pixels only to place a picture between bars.
Everything may change from one picture to the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import av
import numpy as np
from av.filter import Graph
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray

from encoders.format import ChannelFormat
from headend.clock import TICKS_PER_SECOND

STRETCH: Final = Fraction(1, 100)
"""An aspect that is wrong by less than this fills the picture: 1920x1088 and 702-sample lines are no reason for bars.
"""

_HD_LINES: Final = 720
_TICK: Final = Fraction(1, TICKS_PER_SECOND)

# AVColorSpace (ITU-T H.273, table 4) to the constants of libswscale.
_MATRICES: Final = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
    10: Colorspace.BT2020,
}
_BT709, _UNSPECIFIED, _BT470BG = 1, 2, 5
_MPEG, _JPEG = 1, 2


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a source picture goes in the channel's picture, in pixels; all four are even."""

    x: int
    y: int
    width: int
    height: int


def place(width: int, height: int, sar: Fraction, format: ChannelFormat) -> Placement:
    """Fit a ``width`` x ``height`` picture of sample aspect ``sar`` into the channel's, pillar- or letter-boxed."""
    aspect = Fraction(width, height) * (sar if sar > 0 else 1)
    channel = Fraction(format.width, format.height)
    if abs(aspect / channel - 1) < STRETCH:
        return Placement(0, 0, format.width, format.height)
    w, h = format.width, format.height
    if aspect < channel:
        w = min(max(round(aspect * h / 2) * 2, 2), w)
    else:
        h = min(max(round(w / aspect / 2) * 2, 2), h)
    return Placement((format.width - w) // 4 * 2, (format.height - h) // 4 * 2, w, h)


def matrix_of(colorspace: int, height: int) -> Colorspace:
    """libswscale's name of a picture's matrix; unspecified means BT.709 from 720 lines up, BT.601 below."""
    return _MATRICES.get(colorspace, Colorspace.ITU709 if height >= _HD_LINES else Colorspace.ITU601)


class PictureConformer:
    """Conforms the pictures of one source to a channel."""

    def __init__(self, format: ChannelFormat) -> None:
        self.format = format
        self._scaler = VideoReformatter()
        self._matrix = Colorspace.ITU709 if format.matrix == "bt709" else Colorspace.ITU601
        self._colorspace = _BT709 if format.matrix == "bt709" else _BT470BG

    def convert(self, picture: av.VideoFrame, sar: Fraction | None = None) -> av.VideoFrame:
        """The channel's picture made of an upright, progressive one; the same object when nothing has to be done.

        ``sar`` is the sample aspect ratio, None or 0 for square. Raises av.FFmpegError when libswscale cannot convert
        it.
        """
        channel = self.format
        spot = place(picture.width, picture.height, sar or Fraction(1), channel)
        name = picture.format.name
        rgb = picture.format.is_rgb or name.startswith("pal")
        full = picture.color_range == _JPEG or name.startswith("yuvj") or rgb
        matrix = matrix_of(picture.colorspace, picture.height)
        same_colour = not full and not rgb and matrix == self._matrix
        size = (spot.width, spot.height)
        if size != (picture.width, picture.height) or name != channel.pixel_format or not same_colour:
            picture = self._scaler.reformat(
                picture,
                *size,
                format=channel.pixel_format,
                src_colorspace=None if rgb else (self._matrix if same_colour else matrix),
                dst_colorspace=self._matrix,
                src_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
                dst_color_range=ColorRange.MPEG,
                interpolation=Interpolation.BICUBIC,
                threads=1,
            )
        if size != (channel.width, channel.height):
            picture = self._frame(picture, spot)
        picture.colorspace = self._colorspace
        picture.color_range = _MPEG
        return picture

    def _frame(self, inner: av.VideoFrame, spot: Placement) -> av.VideoFrame:
        """``inner`` amid black, in a new picture."""
        outer = av.VideoFrame(self.format.width, self.format.height, self.format.pixel_format)
        shift = 2 if self.format.ten_bit else 0
        for index in range(3):
            half = 1 if index else 0
            to, came = samples(outer, index), samples(inner, index)
            x, y, w, h = spot.x >> half, spot.y >> half, spot.width >> half, spot.height >> half
            black = (128 if index else 16) << shift
            to[:y] = to[y + h :] = black
            to[y : y + h, :x] = to[y : y + h, x + w :] = black
            to[y : y + h, x : x + w] = came
        return outer


Plane = NDArray[np.uint8] | NDArray[np.uint16]


def samples(picture: av.VideoFrame, index: int) -> Plane:
    """A plane of a planar 4:2:0 picture as a writable array (lines, samples), without a copy."""
    plane = picture.planes[index]
    wide = picture.format.name.endswith("p10le")
    dtype: type[np.uint16] | type[np.uint8] = np.uint16 if wide else np.uint8
    # PyAV's planes have the buffer protocol, its stubs cannot say so before Python 3.12.
    array: Plane = np.frombuffer(plane, dtype)  # type: ignore[call-overload]
    return array.reshape(plane.height, plane.line_size // (2 if wide else 1))[:, : plane.width]


class Straightener:
    """Makes pictures progressive (bwdif) and upright. Pictures that are so already pass by until one needs it.

    ``double``: every field becomes a picture, for a channel at twice the source's rate.
    """

    def __init__(self, double: bool = False) -> None:
        self.double = double
        self._graph: Graph | None = None
        self._shape: tuple[int, int, str, int] | None = None

    def push(self, picture: av.VideoFrame, time: int) -> list[tuple[int, av.VideoFrame]]:
        """Pictures that come out, each with its time in ticks: one, none yet, or two fields."""
        shape = (picture.width, picture.height, picture.format.name, picture.rotation)
        before = self.flush() if self._graph is not None and shape != self._shape else []
        if self._graph is None:
            if not picture.interlaced_frame and not picture.rotation:
                return [*before, (time, picture)]
            self._graph = self._build(picture)
            self._shape = shape
        picture.pts, picture.time_base = time, _TICK
        self._graph.vpush(picture)
        return before + self._pull()

    def flush(self) -> list[tuple[int, av.VideoFrame]]:
        """The pictures still held; the next one starts afresh."""
        graph, self._shape = self._graph, None
        if graph is None:
            return []
        graph.vpush(None)
        out = self._pull()
        self._graph = None
        return out

    def _pull(self) -> list[tuple[int, av.VideoFrame]]:
        out: list[tuple[int, av.VideoFrame]] = []
        assert self._graph is not None
        while True:
            try:
                picture = self._graph.vpull()
            except (av.BlockingIOError, av.EOFError):
                return out
            assert picture.pts is not None
            assert picture.time_base is not None
            out.append((int(picture.pts * picture.time_base * TICKS_PER_SECOND), picture))

    def _build(self, picture: av.VideoFrame) -> Graph:
        graph = Graph()
        graph.threads = 2
        nodes = [
            graph.add(
                "buffer",
                f"video_size={picture.width}x{picture.height}:pix_fmt={picture.format.name}"
                f":time_base={_TICK}:pixel_aspect=1/1:colorspace={picture.colorspace}:range={picture.color_range}",
            )
        ]
        if picture.interlaced_frame or not picture.rotation:
            nodes.append(graph.add("bwdif", f"mode=send_{'field' if self.double else 'frame'}:deint=interlaced"))
        # The display matrix turns counterclockwise; what is left to turn is its opposite.
        for _ in range(round(picture.rotation / 90) % 4):
            nodes.append(graph.add("transpose", "cclock"))
        nodes.append(graph.add("buffersink"))
        graph.link_nodes(*nodes).configure()
        return graph
