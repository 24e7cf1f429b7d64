"""Media for the tests of sources, made on the spot: small pictures, flashes and beeps whose place can be measured."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from encoders.format import ChannelFormat
from encoders.source import Slice, Source
from headend.clock import FakeClock

WIDTH, HEIGHT = 160, 90
LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}


@dataclass
class Spec:
    """What a made file holds. Each second begins with 40 ms of white and a beep; the rest is dark and silent."""

    seconds: float = 2.0
    rate: Fraction = Fraction(25)
    size: tuple[int, int] = (WIDTH, HEIGHT)
    video: str | None = "libx264"
    pixels: str = "yuv420p"
    audio: str | None = "aac"
    audio_rate: int = 48_000
    channels: int = 2
    audio_seconds: float | None = None
    languages: Sequence[str] = ("und",)
    pts: Sequence[Fraction] | None = None
    """Times of the pictures, for variable frame rate."""
    gop: int = 25
    sar: Fraction | None = None
    level: int = 0
    """Luma of the dark pictures above 16, so that two files can be told apart."""
    options: dict[str, str] = field(default_factory=dict)


def write(
    target: Any, spec: Spec, container_format: str | None = None, on_time: Callable[[Fraction], None] | None = None
) -> None:
    """Encode ``spec`` into a path or a file object; ``on_time`` is told the time of what is muxed next."""
    with av.open(target, "w", format=container_format, options={"flush_packets": "1"}) as out:
        picture_stream, base = None, Fraction(1)
        if spec.video:
            picture_stream = out.add_stream(spec.video, rate=spec.rate)
            picture_stream.width, picture_stream.height = spec.size
            picture_stream.pix_fmt = spec.pixels
            picture_stream.gop_size = spec.gop
            base = Fraction(1, 90_000) if spec.video == "libx264" else 1 / spec.rate  # MPEG-2 has no other time base
            picture_stream.time_base = picture_stream.codec_context.time_base = base
            if spec.sar:
                picture_stream.codec_context.sample_aspect_ratio = spec.sar
            if spec.video == "libx264":
                picture_stream.options = {"preset": "ultrafast", "tune": "zerolatency", **spec.options}
        sounds = []
        for code in spec.languages if spec.audio else ():
            stream = out.add_stream(spec.audio, rate=spec.audio_rate, layout=LAYOUTS[spec.channels])
            stream.metadata["language"] = code
            sounds.append(stream)
        times = spec.pts or [Fraction(n) / spec.rate for n in range(round(spec.seconds * spec.rate))]
        frames: list[tuple[Fraction, int, Any]] = []
        if picture_stream is not None:
            frames += [(time, -1, time) for time in times]
        length = spec.audio_seconds if spec.audio_seconds is not None else spec.seconds
        block = 1024 if spec.audio in ("aac", "pcm_s16le") else 1152 if spec.audio == "mp2" else 1536
        for index, _ in enumerate(sounds):
            total = round(length * spec.audio_rate)
            frames += [
                (Fraction(at, spec.audio_rate), index, (at, min(block, total - at))) for at in range(0, total, block)
            ]
        for time, index, what in sorted(frames, key=lambda row: (row[0], row[1])):
            if on_time:
                on_time(time)
            if index < 0:
                picture = av.VideoFrame(*spec.size, spec.pixels)
                flash = time % 1 < Fraction(1, 25)
                for number, plane in enumerate(picture.planes):
                    value = (235 if flash else 16 + spec.level) if number == 0 else 128
                    plane.update(bytes([value]) * plane.buffer_size)
                picture.pts, picture.time_base = round(time / base), base
                assert picture_stream is not None
                out.mux(picture_stream.encode(picture))
            else:
                at, count = what
                t = (at + np.arange(count)) / spec.audio_rate
                wave = np.where(
                    t % 1 < 0.04, 0.5 * np.sin(2 * np.pi * 1000 * (t % 1) + 2 * np.pi * 200 * index * t), 0.0
                )
                array = np.repeat(wave[None], spec.channels, axis=0).astype(np.float32)
                packed = sounds[index].codec_context.format.name
                if packed == "s16":
                    frame = av.AudioFrame.from_ndarray(
                        (array.T * 32767).astype(np.int16).reshape(1, -1), "s16", LAYOUTS[spec.channels]
                    )
                elif packed == "s16p":
                    frame = av.AudioFrame.from_ndarray((array * 32767).astype(np.int16), "s16p", LAYOUTS[spec.channels])
                else:
                    frame = av.AudioFrame.from_ndarray(array, "fltp", LAYOUTS[spec.channels])
                frame.sample_rate, frame.pts, frame.time_base = spec.audio_rate, at, Fraction(1, spec.audio_rate)
                out.mux(sounds[index].encode(frame))
        if picture_stream is not None:
            out.mux(picture_stream.encode(None))
        for stream in sounds:
            out.mux(stream.encode(None))


@pytest.fixture
def make_media(tmp_path: Path) -> Callable[..., Path]:
    """``make_media("a.mp4", rate=50, ...)`` writes a file as :class:`Spec` says and returns its path."""

    def make(name: str, **spec: Any) -> Path:
        path = tmp_path / name
        write(str(path), Spec(**spec))
        return path

    return make


class _Pieces(io.RawIOBase):
    """A file object that remembers which bytes were written at which time of the media."""

    def __init__(self) -> None:
        self.time = Fraction(0)
        self.pieces: list[tuple[float, bytes]] = []

    def write(self, data: Any) -> int:
        self.pieces.append((float(self.time), bytes(data)))
        return len(data)

    def writable(self) -> bool:
        return True


@pytest.fixture(scope="session")
def make_stream() -> Callable[..., list[tuple[float, bytes]]]:
    """``make_stream(...)`` gives a transport stream in pieces ``(seconds, bytes)``, to be sent at their times."""

    def make(**spec: Any) -> list[tuple[float, bytes]]:
        pieces = _Pieces()
        write(
            pieces,
            Spec(**{"video": "libx264", "audio": "mp2", "gop": 5, **spec}),
            "mpegts",
            lambda t: setattr(pieces, "time", t),
        )
        return pieces.pieces

    return make


@pytest.fixture
def channel() -> ChannelFormat:
    """A small channel, 25 pictures a second, stereo."""
    return ChannelFormat(WIDTH, HEIGHT, Fraction(25))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


FIRST = 45_000_000_003


@pytest.fixture
def play() -> Callable[..., list[Slice]]:
    """``play(source)`` pulls every slot to the end (or ``most``), asserting what holds for each slice."""

    def run(source: Source, most: int = 2000, first: int = FIRST) -> list[Slice]:
        slices: list[Slice] = []
        format: ChannelFormat = source.format  # type: ignore[attr-defined]
        source.open(first)
        try:
            for slot in range(first, first + most):
                piece = source.pull(slot, wait=20.0)
                assert piece is not None, f"slot {slot - first} never came: {source.state()}"
                if piece.ended:
                    break
                if piece.picture is not None:
                    assert (piece.picture.width, piece.picture.height) == (format.width, format.height)
                    assert piece.picture.format.name == format.pixel_format
                if piece.sound is not None:
                    assert [s.shape for s in piece.sound] == [
                        (t.channels, format.samples_in(slot)) for t in format.tracks
                    ]
                    assert all(s.dtype == np.float32 for s in piece.sound)
                slices.append(piece)
        finally:
            source.close()
        return slices

    return run


def luma(picture: av.VideoFrame | None) -> float:
    if picture is None:
        return 0.0
    plane = picture.planes[0]
    array = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
    return float(array.mean())


@pytest.fixture
def flashes() -> Callable[[Sequence[Slice | None]], list[int]]:
    """Slots in which a flash begins."""

    def find(slices: Sequence[Slice | None]) -> list[int]:
        bright = [piece is not None and luma(piece.picture) > 150 for piece in slices]
        return [i for i, b in enumerate(bright) if b and (i == 0 or not bright[i - 1])]

    return find


@pytest.fixture
def beeps() -> Callable[..., list[int]]:
    """Samples, from the first slice, at which a beep begins, on a track."""

    def find(slices: Sequence[Slice | None], format: ChannelFormat, track: int = 0, first: int = FIRST) -> list[int]:
        parts = []
        for index, piece in enumerate(slices):
            count = format.samples_in(first + index)
            parts.append(np.zeros(count) if piece is None or piece.sound is None else piece.sound[track][0])
        loud = np.abs(np.concatenate(parts)) > 0.05
        indexes = np.flatnonzero(loud)
        return [int(i) for n, i in enumerate(indexes) if n == 0 or i - indexes[n - 1] > 4800]

    return find
