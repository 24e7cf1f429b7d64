"""Coded pictures and sound for the transport stream tests, made once by the encoders of PyAV."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import cache
from typing import Any

import av
import numpy as np
import pytest

from headend.accessunit import AccessUnit, StreamFormat
from headend.clock import TICKS_PER_SECOND

START = 1_800_000_002 * TICKS_PER_SECOND
Stream = tuple[StreamFormat, list[AccessUnit]]

ENCODERS = {"aac": "aac", "ac3": "ac3", "eac3": "eac3", "mp2": "mp2"}


@cache
def pictures(codec: str = "h264", rate: Fraction = Fraction(25), count: int = 50, gop: int = 25) -> Stream:
    """A moving bar with two B pictures, 160x90; ``START`` is the first presentation time."""
    context: Any = av.CodecContext.create({"h264": "libx264", "hevc": "libx265"}[codec], "w")
    context.width, context.height, context.pix_fmt = 160, 90, "yuv420p"
    context.time_base, context.framerate, context.gop_size = 1 / rate, rate, gop
    params = f"bframes=2:scenecut=0:open-gop=0:keyint={gop}:min-keyint={gop}"
    threads = ":pools=none:frame-threads=1:log-level=none" if codec == "hevc" else ":threads=1"
    name = "x265-params" if codec == "hevc" else "x264-params"
    context.options = {"preset": "ultrafast", name: params + threads}
    packets = []
    for index in range(count):
        image = np.full((135, 160), 128, np.uint8)
        image[:90] = 40
        image[:90, index * 3 % 152 :][:, :8] = 220
        frame = av.VideoFrame.from_ndarray(image, format="yuv420p")
        frame.pts, frame.time_base = index, 1 / rate
        packets += context.encode(frame)
    packets += context.encode(None)
    step = int(TICKS_PER_SECOND / rate)
    units = [AccessUnit(START + p.pts * step, START + p.dts * step, step, p.is_keyframe, bytes(p)) for p in packets]
    fmt = StreamFormat("video", codec, width=160, height=90, rate=rate, pixel_format="yuv420p")  # type: ignore[arg-type]
    return fmt, units


@cache
def sound(codec: str = "aac", language: str = "zho", seconds: int = 2) -> Stream:
    """A tone at 48 kHz, stereo; ``START`` is the time of the first frame."""
    context: Any = av.CodecContext.create(ENCODERS[codec], "w")
    context.sample_rate, context.layout, context.bit_rate = 48_000, "stereo", 128_000
    context.format = "s16" if codec == "mp2" else "fltp"
    context.time_base = Fraction(1, 48_000)
    context.open()
    samples = context.frame_size
    packets = []
    for index in range(seconds * 48_000 // samples + 1):
        wave = np.sin(np.arange(index * samples, (index + 1) * samples) * 0.06) * 0.3
        if codec == "mp2":
            data = np.repeat((wave * 32767).astype(np.int16), 2).reshape(1, -1)
        else:
            data = np.stack([wave, wave]).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(data, format=context.format.name, layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, index * samples, Fraction(1, 48_000)
        packets += context.encode(frame)
    step = samples * 1125 // 2
    units = [AccessUnit(START + i * step, START + i * step, step, True, bytes(p)) for i, p in enumerate(packets)]
    fmt = StreamFormat(
        "audio", codec, extradata=bytes(context.extradata or b""), sample_rate=48_000, channels=2,  # type: ignore[arg-type]
        frame_samples=samples, language=language,
    )  # fmt: skip
    return fmt, units


@pytest.fixture(scope="session")
def make_pictures() -> Callable[..., Stream]:
    """The maker of coded pictures."""
    return pictures


@pytest.fixture(scope="session")
def make_sound() -> Callable[..., Stream]:
    """The maker of coded sound."""
    return sound
