"""How fast this machine encodes, and which ladder and how many channels that is enough for.

Speeds are pictures a second of *one core's* processor time, so that they add up, and so that a machine that
is busy with something else while it is asked gives the same answer.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext

from encoders import capability
from encoders.format import ChannelFormat
from encoders.rendition import VideoRendition
from encoders.scaling import Scaler, Size
from encoders.video import VideoEncoder

HEADROOM: Final = 0.75
"""Share of the cores that channels may use: programmes are not all alike, and restarts must catch up."""
OVERHEAD: Final = 1.15
"""Playout, overlays, packaging and serving, as a factor on decoding, scaling and encoding."""

_WARM_UP: Final = 5
"""Pictures encoded before the watch starts, while the encoder still touches its memory for the first time."""

_RUNS: Final = (
    ("h264", "superfast", 1920, 1080),
    ("h264", "superfast", 1280, 720),
    ("h264", "superfast", 640, 360),
    ("h264", "veryfast", 1280, 720),
    ("hevc", "ultrafast", 1280, 720),
    ("av1", "ultrafast", 1280, 720),
)


@dataclass(frozen=True, slots=True)
class Speed:
    """What one encoder does on one core."""

    encoder: str
    codec: str
    preset: str
    width: int
    height: int
    fps: float
    """Pictures a second of processor time."""

    @property
    def samples(self) -> float:
        """Luma samples a second."""
        return self.fps * self.width * self.height


@dataclass(frozen=True, slots=True)
class Step:
    """One rendition of a ladder that is proposed."""

    width: int
    height: int
    rate: int
    codec: str = "h264"


@dataclass(frozen=True, slots=True)
class Ladder:
    """A ladder that is proposed, largest step first."""

    name: str
    steps: tuple[Step, ...]


LADDERS: Final = (
    Ladder(
        "2160p50 HEVC + 1080p50/720p50/540p25/360p25 H.264",
        (
            Step(3840, 2160, 50, "hevc"),
            Step(1920, 1080, 50),
            Step(1280, 720, 50),
            Step(960, 540, 25),
            Step(640, 360, 25),
        ),
    ),
    Ladder(
        "1080p50/720p50/540p25/360p25 H.264",
        (Step(1920, 1080, 50), Step(1280, 720, 50), Step(960, 540, 25), Step(640, 360, 25)),
    ),
    Ladder(
        "1080p25/720p25/540p25/360p25 H.264",
        (Step(1920, 1080, 25), Step(1280, 720, 25), Step(960, 540, 25), Step(640, 360, 25)),
    ),
    Ladder("720p25/540p25/360p25 H.264", (Step(1280, 720, 25), Step(960, 540, 25), Step(640, 360, 25))),
    Ladder("576p25/360p25 H.264", (Step(1024, 576, 25), Step(640, 360, 25))),
    Ladder("234p25 H.264", (Step(416, 234, 25),)),
)
"""Best first."""


def pictures(count: int, width: int, height: int) -> list[av.VideoFrame]:
    """Moving texture with grain: about as hard to encode as a programme, where plain bars would flatter."""
    rng = np.random.default_rng(7)
    coarse = rng.normal(110, 40, (68, 120))
    big = av.VideoFrame.from_ndarray(np.clip(coarse, 16, 235).astype(np.uint8), "gray8")
    texture = big.reformat(width + 4 * count, height, "gray8", interpolation="BICUBIC").to_ndarray().astype(np.int16)
    grain = rng.normal(0, 2, (height, width)).astype(np.int16)
    chroma = np.full((height // 2, width), 128, np.uint8)
    made = []
    for k in range(count):
        luma = texture[:, 4 * k : 4 * k + width] + np.roll(grain, 37 * k, axis=1)
        data = np.concatenate((np.clip(luma, 16, 235).astype(np.uint8), chroma))
        made.append(av.VideoFrame.from_ndarray(data, "yuv420p"))
    return made


def measure(count: int = 20) -> list[Speed]:
    """Speed of the best working encoder of each codec at a few sizes and presets."""
    speeds = []
    for codec, preset, width, height in _RUNS:
        try:
            name = capability.choose(codec, width, height)
        except capability.NoEncoderError:
            continue
        speeds.append(measure_one(name, codec, preset, width, height, count))
    return speeds


def measure_one(name: str, codec: str, preset: str, width: int, height: int, count: int = 20) -> Speed:
    """Encode ``count`` pictures with one thread. Raises av.FFmpegError if the encoder fails."""
    rendition = VideoRendition("speed", width, height, round(width * height * 2.4), codec, preset=preset)  # type: ignore[arg-type]
    given = pictures(count + _WARM_UP, width, height)
    encoder = VideoEncoder(rendition, ChannelFormat(width, height, Fraction(25)), name)
    # A card takes real time, not the processor's.
    watch = time.perf_counter if capability.is_hardware(name) else time.process_time
    for slot, picture in enumerate(given[:_WARM_UP]):
        encoder.encode(slot, picture)
    begun = watch()
    for slot, picture in enumerate(given[_WARM_UP:], _WARM_UP):
        encoder.encode(slot, picture)
    encoder.flush()
    took = max(watch() - begun, 1e-4)
    return Speed(name, codec, preset, width, height, round(count / took, 1))


def measure_pipeline(count: int = 20) -> dict[int, float]:
    """Seconds of one core that decoding and scaling a picture costs, by its height: 1080 is measured, others follow."""
    width, height = 1920, 1080
    given = pictures(count, width, height)
    scalers = [
        Scaler(Size(1920, 1080), Size(1280, 720)),
        Scaler(Size(1280, 720), Size(960, 540)),
        Scaler(Size(960, 540), Size(640, 360)),
    ]
    begun = time.process_time()
    for picture in given:
        scaled = picture
        for scaler in scalers:
            scaled = scaler.scale(scaled)
    scaling = (time.process_time() - begun) / count
    encoder = VideoEncoder(
        VideoRendition("speed", width, height, 12_000_000), ChannelFormat(width, height, Fraction(25)), "libx264"
    )
    units = [unit for slot, picture in enumerate(given) for unit in encoder.encode(slot, picture)] + encoder.flush()
    decoder = av.CodecContext.create("h264", "r")
    assert isinstance(decoder, VideoCodecContext)
    decoder.thread_count = 1
    begun = time.process_time()
    for unit in units:
        decoder.decode(av.Packet(unit.data))
    decoder.decode(None)
    cost = scaling + (time.process_time() - begun) / count
    return {lines: cost * lines * lines / height**2 for lines in (2160, 1080, 720, 576, 360, 234)}


def cores_needed(ladder: Ladder, speeds: list[Speed], pipeline: dict[int, float]) -> float:
    """Cores that one channel of a ladder keeps busy; infinite when nothing here encodes one of its codecs."""
    total = 0.0
    for step in ladder.steps:
        usable = [s for s in speeds if s.codec == step.codec and s.preset in ("superfast", "ultrafast")]
        if not usable:
            return float("inf")
        near = min(usable, key=lambda s: abs(s.height - step.height))
        if not capability.is_hardware(near.encoder):
            total += step.rate * step.width * step.height / near.samples
    top = ladder.steps[0]
    return (total + top.rate * pipeline[top.height]) * OVERHEAD


def channels_that_fit(ladder: Ladder, speeds: list[Speed], pipeline: dict[int, float], cores: int) -> int:
    """How many channels of a ladder these cores carry, with :data:`HEADROOM`."""
    return int(cores * HEADROOM / cores_needed(ladder, speeds, pipeline))
