"""Renditions: what one encoded form of a channel shall be.

A rendition is a wish, checked for contradictions before anything is opened: picture size, codec, rates and
the length of its closed GOPs, or the codec, rate and track of a sound. What really encodes it is found out
by :mod:`encoders.capability`; what it costs in slots and grid frames is arithmetic that lives here, so that
two machines with the same configuration cut at the same places.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final, Literal

from encoders.format import SAMPLE_RATE, ChannelFormat
from headend.accessunit import StreamFormat

VideoCodec = Literal["h264", "hevc", "av1"]
AudioCodec = Literal["aac", "he-aac", "ac3", "eac3", "mp2", "opus"]

FRAME_SAMPLES: Final[Mapping[str, int]] = {
    "aac": 1024,
    "he-aac": 2048,
    "ac3": 1536,
    "eac3": 1536,
    "mp2": 1152,
    "opus": 960,
}
"""Samples in one audio access unit at 48 kHz."""

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def _check_id(name: str) -> None:
    if not _ID.fullmatch(name):
        raise ValueError(
            f"the rendition name {name!r} would not do as part of a path or a URL; "
            "use Latin letters, digits, '.', '_' and '-', beginning with a letter or digit"
        )


@dataclass(frozen=True, slots=True)
class VideoRendition:
    """One encoded form of a channel's pictures. Rates in bit/s, ``bufsize`` in bits.

    Raises ValueError, in a sentence, when its fields contradict one another.
    """

    id: str
    width: int
    height: int
    bitrate: int
    codec: VideoCodec = "h264"
    maxrate: int = 0
    """VBV input rate; 0: 1.07 of ``bitrate``, the peak that keeps HLS segments near their average."""
    bufsize: int = 0
    """VBV buffer; 0: 1.5 s of ``bitrate``."""
    preset: str = "superfast"
    """x264's name of a speed, translated for encoders that call it otherwise; or the encoder's own name."""
    profile: str = ""
    level: str = ""
    gop_seconds: Fraction = Fraction(2)
    """Length of a closed GOP, rounded to whole pictures. ``gop_frames`` wins when given."""
    gop_frames: int = 0
    """Length of a closed GOP in pictures of this rendition."""
    b_frames: int | None = None
    """None: as the preset has it."""
    encoder: str = "auto"
    """``auto``: the best that works on this machine; else FFmpeg's name of one."""
    ten_bit: bool = False
    rate_divisor: int = 1
    """Every n-th slot is encoded: 2 makes a 25p rendition of a 50p channel."""
    sar: Fraction = Fraction(1)
    """Sample aspect ratio; other than 1 only for anamorphic SD services."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Encoder options of FFmpeg that win over what is chosen here."""

    def __post_init__(self) -> None:
        _check_id(self.id)
        if self.width < 16 or self.height < 16 or self.width % 2 or self.height % 2:
            raise ValueError(
                f"rendition {self.id}: {self.width}x{self.height} cannot be coded as 4:2:0; "
                "make both even and at least 16"
            )
        if self.codec not in ("h264", "hevc", "av1"):
            raise ValueError(f"rendition {self.id}: there is no video codec {self.codec!r}; use h264, hevc or av1")
        if self.bitrate <= 0:
            raise ValueError(f"rendition {self.id}: {self.bitrate} bit/s make no picture; give a bit rate above 0")
        if self.maxrate and self.maxrate < self.bitrate:
            raise ValueError(
                f"rendition {self.id}: its maxrate {self.maxrate} is below its bitrate {self.bitrate}, "
                "so the buffer could never be filled; raise maxrate or leave it out"
            )
        if self.rate_divisor < 1 or self.gop_frames < 0 or self.gop_seconds <= 0:
            raise ValueError(f"rendition {self.id}: rate_divisor, gop_frames and gop_seconds must be positive")
        if self.ten_bit and self.codec == "h264":
            raise ValueError(
                f"rendition {self.id}: 10-bit H.264 is played by next to no receiver; use hevc or av1, or 8 bits"
            )

    @property
    def peak(self) -> int:
        """The VBV's input rate in bit/s, with the default filled in."""
        return self.maxrate or self.bitrate * 107 // 100

    @property
    def buffer(self) -> int:
        """The VBV's size in bits, with the default filled in."""
        return self.bufsize or self.bitrate * 3 // 2

    def rate(self, channel: ChannelFormat) -> Fraction:
        """Pictures a second of this rendition of a channel."""
        return channel.rate / self.rate_divisor

    def gop(self, channel: ChannelFormat) -> int:
        """Pictures of this rendition in one GOP."""
        return self.gop_frames or max(1, round(self.gop_seconds * self.rate(channel)))

    def gop_slots(self, channel: ChannelFormat) -> int:
        """Slots of the channel in one GOP; GOPs start at slots that this divides."""
        return self.gop(channel) * self.rate_divisor

    def pixel_format(self) -> str:
        """FFmpeg's name of the pixel format it is coded from."""
        return "yuv420p10le" if self.ten_bit else "yuv420p"

    def stream_format(self, channel: ChannelFormat) -> StreamFormat:
        """What a packager must know before the first access unit. Parameter sets travel in band."""
        return StreamFormat(
            kind="video",
            codec=self.codec,
            bitrate=self.bitrate,
            maxrate=self.peak,
            width=self.width,
            height=self.height,
            rate=self.rate(channel),
            sar=self.sar,
            pixel_format=self.pixel_format(),
        )


@dataclass(frozen=True, slots=True)
class AudioRendition:
    """One encoded form of one of a channel's sounds. Raises ValueError, in a sentence, on contradictions."""

    id: str
    bitrate: int
    codec: AudioCodec = "aac"
    channels: int = 2
    """1, 2 or 6; up- or down-mixed from the track when they differ (ITU-R BS.775)."""
    track: int | str = 0
    """Index of the channel's track, or its language."""
    name: str = ""
    """What a viewer reads in an audio menu."""
    encoder: str = "auto"
    options: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_id(self.id)
        if self.codec not in FRAME_SAMPLES:
            raise ValueError(
                f"rendition {self.id}: there is no audio codec {self.codec!r}; use one of {', '.join(FRAME_SAMPLES)}"
            )
        if self.channels not in (1, 2, 6):
            raise ValueError(
                f"rendition {self.id}: {self.channels} channels are neither mono, stereo nor 5.1; use 1, 2 or 6"
            )
        if self.codec == "mp2" and self.channels > 2:
            raise ValueError(f"rendition {self.id}: MP2 carries no more than 2 channels; use ac3, eac3 or aac for 5.1")
        if self.bitrate <= 0:
            raise ValueError(f"rendition {self.id}: {self.bitrate} bit/s make no sound; give a bit rate above 0")

    @property
    def frame_samples(self) -> int:
        """Samples in one access unit."""
        return FRAME_SAMPLES[self.codec]

    def track_index(self, channel: ChannelFormat) -> int:
        """Index of the channel's track that is encoded. Raises ValueError when the channel has no such track."""
        if isinstance(self.track, str):
            for index, track in enumerate(channel.tracks):
                if track.language == self.track:
                    return index
        elif 0 <= self.track < len(channel.tracks):
            return self.track
        have = ", ".join(f"{i} ({t.language})" for i, t in enumerate(channel.tracks)) or "none"
        raise ValueError(
            f"rendition {self.id}: the channel has no audio track {self.track!r}, so it would be mute; it has {have}"
        )

    def stream_format(self, channel: ChannelFormat, extradata: bytes) -> StreamFormat:
        """What a packager must know before the first access unit."""
        return StreamFormat(
            kind="audio",
            codec=self.codec,
            extradata=extradata,
            bitrate=self.bitrate,
            maxrate=self.bitrate,
            sample_rate=SAMPLE_RATE,
            channels=self.channels,
            frame_samples=self.frame_samples,
            language=channel.tracks[self.track_index(channel)].language,
            name=self.name,
        )
