"""Drawing on a channel's pictures: planes as arrays, copies, and artwork blended into a rectangle.

Text and images are drawn once by Pillow in RGB; a :class:`Patch` turns the result into limited-range YUV planes in the
channel's matrix, multiplied by their alpha beforehand, so that putting it on a picture is one multiply, one add and one
shift over the touched rectangle. A picture may be held and drawn again, or still be read by an encoder: what came from
a source is copied (:func:`copy_picture`) before anything is drawn on it.
"""

from __future__ import annotations

from typing import Any, Final

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from encoders.format import ChannelFormat

Samples = NDArray[Any]
"""A view on one plane, uint8 or uint16, shape (rows, columns)."""
Planes = tuple[Samples, Samples, Samples]

RGB = tuple[int, int, int]
RGBA = tuple[int, int, int, int]

OPAQUE: Final = 256
"""Alpha is counted in 1/256."""

_COEFFICIENTS: Final = {"bt709": (0.2126, 0.0722), "bt470bg": (0.299, 0.114)}
_AVCOL_SPC: Final = {"bt709": 1, "bt470bg": 5}
_LIMITED: Final = 1


def new_picture(format: ChannelFormat) -> av.VideoFrame:
    """A picture of the channel's format with its matrix and range marked; the samples are not initialised."""
    picture = av.VideoFrame(format.width, format.height, format.pixel_format)
    picture.colorspace = _AVCOL_SPC[format.matrix]
    picture.color_range = _LIMITED
    return picture


def planes_of(picture: av.VideoFrame) -> Planes:
    """The samples of a yuv420p or yuv420p10le picture, without line padding; writing to them changes the picture."""
    dtype = np.dtype(np.uint16 if "10" in picture.format.name else np.uint8)
    views = []
    for plane in picture.planes:
        pitch = plane.line_size // dtype.itemsize
        flat = np.frombuffer(plane, dtype, count=pitch * plane.height)  # type: ignore[call-overload]
        views.append(flat.reshape(plane.height, pitch)[:, : plane.width])
    luma, cb, cr = views
    return luma, cb, cr


def copy_picture(picture: av.VideoFrame) -> av.VideoFrame:
    """An equal picture with samples of its own."""
    copy = av.VideoFrame(picture.width, picture.height, picture.format.name)
    for ours, theirs in zip(planes_of(copy), planes_of(picture), strict=True):
        np.copyto(ours, theirs)
    copy.colorspace = picture.colorspace
    copy.color_range = picture.color_range
    copy.color_primaries = picture.color_primaries
    copy.color_trc = picture.color_trc
    copy.pts = picture.pts
    if picture.time_base is not None:
        copy.time_base = picture.time_base
    return copy


def yuv(colour: RGB, format: ChannelFormat) -> tuple[int, int, int]:
    """Limited-range Y'CbCr of an R'G'B' colour (0-255) in the channel's matrix and depth (ITU-R BT.709, BT.601)."""
    y, cb, cr = _to_yuv(np.array([[colour]], dtype=np.float32), format)
    scale = 4 if format.ten_bit else 1
    return round(float(y[0, 0]) * scale), round(float(cb[0, 0]) * scale), round(float(cr[0, 0]) * scale)


def _to_yuv(rgb: NDArray[np.float32], format: ChannelFormat) -> tuple[Samples, Samples, Samples]:
    """8-bit limited-range planes, as float, at full resolution, of R'G'B' in 0-255."""
    red, blue = _COEFFICIENTS[format.matrix]
    r, g, b = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    y = red * r + (1 - red - blue) * g + blue * b
    cb = (b - y) / (2 - 2 * blue)
    cr = (r - y) / (2 - 2 * red)
    return 16 + y * (219 / 255), 128 + cb * (224 / 255), 128 + cr * (224 / 255)


def halved(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean of each 2x2 block: what a plane is at chroma resolution."""
    rows, columns = plane.shape
    blocks: NDArray[np.float32] = plane.reshape(rows // 2, 2, columns // 2, 2).mean(axis=(1, 3), dtype=np.float32)
    return blocks


def samples_of(image: Image.Image, format: ChannelFormat) -> Planes:
    """The planes of an RGB image of any even size, in the channel's matrix, range and depth."""
    y, cb, cr = _to_yuv(np.asarray(image.convert("RGB"), dtype=np.float32), format)
    dtype, scale = (np.uint16, 4) if format.ten_bit else (np.uint8, 1)
    luma, blue, red = (np.rint(plane * scale).astype(dtype) for plane in (y, halved(cb), halved(cr)))
    return luma, blue, red


def picture_of(image: Image.Image, format: ChannelFormat) -> av.VideoFrame:
    """A whole picture of the channel's size from an RGB image of that size."""
    picture = new_picture(format)
    for plane, values in zip(planes_of(picture), samples_of(image, format), strict=True):
        plane[...] = values
    return picture


def premultiplied(art: Image.Image, format: ChannelFormat) -> list[tuple[Samples, Samples]]:
    """An RGBA artwork of even size as, for each plane, ``256 - alpha`` and ``colour * alpha``.

    A sample under it becomes ``(sample * keep + add + 128) >> 8``. uint16, or uint32 for ten-bit
    pictures, whose 1023 * 256 is more than 16 bits.
    """
    rgba = np.asarray(art.convert("RGBA"), dtype=np.float32).reshape(art.height, art.width, 4)
    alpha = rgba[..., 3] / np.float32(255)
    depth = 4 if format.ten_bit else 1
    dtype = np.dtype(np.uint32 if format.ten_bit else np.uint16)
    layers = []
    for number, values in enumerate(_to_yuv(rgba[..., :3], format)):
        colour = values * alpha
        cover, colour = (halved(alpha), halved(colour)) if number else (alpha, colour)
        weight = np.rint(cover * OPAQUE)
        # The colour is multiplied with the rounded alpha, so that the two agree: no bright or dark fringe.
        mean = np.divide(colour, cover, out=np.zeros_like(colour), where=cover > 0)
        layers.append(((OPAQUE - weight).astype(dtype), np.rint(mean * depth * weight).astype(dtype)))
    return layers


class Patch:
    """An artwork with alpha at a fixed place of the channel's picture.

    ``art`` is an RGBA image with straight alpha; ``x`` and ``y`` are its top left corner in the picture.
    What lies outside of the picture is cut off.
    """

    def __init__(self, art: Image.Image, x: int, y: int, format: ChannelFormat) -> None:
        left, top = max(x, 0) & ~1, max(y, 0) & ~1
        right = min(x + art.width, format.width)
        bottom = min(y + art.height, format.height)
        width, height = max(right - left + 1, 0) & ~1, max(bottom - top + 1, 0) & ~1
        # 4:2:0 wants even corners: the art is placed in a rectangle that has them.
        whole = Image.new("RGBA", (width, height))
        whole.paste(art.convert("RGBA"), (x - left, y - top))
        self.box = (left, top, left + width, top + height)
        self._dtype = np.dtype(np.uint32 if format.ten_bit else np.uint16)
        self._layers: list[tuple[slice, slice, Samples, Samples]] = []
        for number, (keep, add) in enumerate(premultiplied(whole, format)):
            step = 2 if number else 1
            rows = slice(top // step, (top + height) // step)
            columns = slice(left // step, (left + width) // step)
            self._layers.append((rows, columns, keep, add))
        self._faded: tuple[int, list[tuple[slice, slice, Samples, Samples]]] = (OPAQUE, self._layers)

    def blend(self, planes: Planes, opacity: int = OPAQUE) -> None:
        """Put the artwork on a picture; ``opacity`` 0 ... 256 scales its alpha."""
        if opacity <= 0:
            return
        for plane, (rows, columns, keep, add) in zip(planes, self._at(min(opacity, OPAQUE)), strict=True):
            target = plane[rows, columns]
            mixed = np.multiply(target, keep, dtype=self._dtype)
            mixed += add
            mixed += OPAQUE // 2
            mixed >>= 8
            np.copyto(target, mixed, casting="unsafe")

    def _at(self, opacity: int) -> list[tuple[slice, slice, Samples, Samples]]:
        if opacity == OPAQUE:
            return self._layers
        if self._faded[0] != opacity:
            layers = []
            for rows, columns, keep, add in self._layers:
                weight = ((OPAQUE - keep) * opacity) >> 8
                # The same rounding of alpha for the colour as for what shows through.
                colour = add.astype(np.float32) / np.maximum(OPAQUE - keep, 1)
                layers.append(
                    (rows, columns, (OPAQUE - weight).astype(self._dtype), np.rint(colour * weight).astype(self._dtype))
                )
            self._faded = (opacity, layers)
        return self._faded[1]
