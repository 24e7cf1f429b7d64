"""Scaling, once: every size is made from the next larger of the same shape.

A ladder of 1080, 720, 540 and 360 lines read four times from the 1080-line picture costs a third more than
a cascade does, because the cost of a filter is mostly that of reading its input. :func:`plan` finds the
parents; :class:`Scaler` makes one size; :class:`Cloner` hands the same pixels to another thread without
copying them, because a picture's header (its time, its type) may belong to one thread only.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import av
from av.filter.context import FilterContext
from av.video.reformatter import Interpolation, VideoReformatter

SAME_SHAPE: Final = Fraction(1, 100)
"""Two pictures whose display aspects differ by less than this have one shape: 854x480 is 16:9."""


@dataclass(frozen=True, slots=True)
class Size:
    """A picture's samples: size, pixel format and the shape of one sample."""

    width: int
    height: int
    pixel_format: str = "yuv420p"
    sar: Fraction = Fraction(1)

    @property
    def aspect(self) -> Fraction:
        """Display aspect ratio."""
        return Fraction(self.width, self.height) * self.sar

    def shape_of(self, other: Size) -> bool:
        """Whether both have one display aspect."""
        return abs(self.aspect / other.aspect - 1) < SAME_SHAPE

    def inside(self, other: Size) -> bool:
        """Whether it can be made of ``other`` without inventing lines, columns or bits."""
        deep = "10" in self.pixel_format and "10" not in other.pixel_format
        return self.width <= other.width and self.height <= other.height and not deep


def plan(source: Size, sizes: Sequence[Size]) -> list[int | None]:
    """For each size the index of the size that it is made from; None: from the source.

    The parent is the smallest that is large enough and of the same shape; of equals the first. No cycles.
    """
    parents: list[int | None] = []
    for i, size in enumerate(sizes):
        best: int | None = None
        for j, other in enumerate(sizes):
            # Anamorphic pictures have lost columns, and a change of depth costs a conversion: no parents for others.
            usable = (
                size.inside(other) and other.shape_of(size) and other.shape_of(source) and other.sar in (1, size.sar)
            )
            if size.pixel_format == source.pixel_format != other.pixel_format:
                usable = False
            smaller = (size.width, size.height) != (other.width, other.height) or (
                size.pixel_format != other.pixel_format or j < i
            )
            if i == j or not usable or not smaller:
                continue
            if best is None or (other.width * other.height, j) < (sizes[best].width * sizes[best].height, best):
                best = j
        parents.append(best)
    return parents


class Scaler:
    """Makes pictures of one size from pictures of another. For one thread.

    Bicubic, as FFmpeg's default. A shape other than the source's is kept whole between black bars.
    The interpreter's lock is not held while it works.
    """

    def __init__(self, source: Size, target: Size) -> None:
        self.source, self.target = source, target
        self._reformatter = VideoReformatter()
        # One thread is cheapest; only pictures of UHD size would hold up a ladder that has cores to spare.
        spare = len(os.sched_getaffinity(0)) // 2
        self._threads = max(1, min(4, spare)) if source.width * source.height > 4_000_000 else 1
        self._inner = target if target.shape_of(source) else _inner(source, target)
        self._pad = None if self._inner == target else _pad(self._inner, target)

    def scale(self, picture: av.VideoFrame) -> av.VideoFrame:
        """The picture in the target size; the same object when nothing is to be done. Raises av.FFmpegError."""
        inner = self._inner
        if (picture.width, picture.height, picture.format.name) != (inner.width, inner.height, inner.pixel_format):
            picture = self._reformatter.reformat(
                picture,
                inner.width,
                inner.height,
                inner.pixel_format,
                interpolation=Interpolation.BICUBIC,
                threads=self._threads,
            )
        if self._pad is None:
            return picture
        self._pad.push(picture)
        boxed = self._pad.pull()
        assert isinstance(boxed, av.VideoFrame)
        return boxed


def _inner(source: Size, target: Size) -> Size:
    """The part of the target that a source of another shape fills."""
    width, height = target.width, target.height
    if source.aspect > target.aspect:
        height = _even(width * target.sar / source.aspect)
    else:
        width = _even(height * source.aspect / target.sar)
    return Size(width, height, target.pixel_format, target.sar)


def _even(value: Fraction) -> int:
    return max(2, round(value / 2) * 2)


def _pad(inner: Size, target: Size) -> av.filter.Graph:
    """A filter graph that puts black bars around a picture."""
    graph = av.filter.Graph()
    pad = graph.add("pad", f"{target.width}:{target.height}:trunc((ow-iw)/4)*2:trunc((oh-ih)/4)*2:black")
    graph.link_nodes(_buffer(graph, inner), pad, graph.add("buffersink")).configure()
    return graph


def _buffer(graph: av.filter.Graph, size: Size) -> FilterContext:
    return graph.add_buffer(
        width=size.width, height=size.height, format=av.VideoFormat(size.pixel_format), time_base=Fraction(1, 1000)
    )


class Cloner:
    """Makes further headers over the same pixels, without copying them (about 5 microseconds). For one thread."""

    def __init__(self, size: Size) -> None:
        self._graph = av.filter.Graph()
        self._graph.link_nodes(_buffer(self._graph, size), self._graph.add("buffersink")).configure()

    def clone(self, picture: av.VideoFrame) -> av.VideoFrame:
        """A picture that shares the pixels, and nothing else, with another of this cloner's size."""
        self._graph.push(picture)
        twin = self._graph.pull()
        assert isinstance(twin, av.VideoFrame)
        return twin
