"""The format of a channel: what every picture and every sample inside it looks like, and the slot arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from headend.clock import TICKS_PER_SECOND

SAMPLE_RATE: Final = 48_000
"""All sound inside is 48 kHz, planar float32 in [-1, 1]."""


@dataclass(frozen=True, slots=True)
class AudioTrack:
    """One sound of a channel, e.g. a language."""

    language: str = "und"
    """ISO 639-2/T."""
    channels: int = 2
    """1, 2 or 6 (5.1 in the order L R C LFE Ls Rs)."""


@dataclass(frozen=True, slots=True)
class ChannelFormat:
    """Pictures and sound of a channel. Square pixels, progressive.

    Raises ValueError if the frame rate has no integer number of ticks per slot, or the size is odd.
    """

    width: int
    height: int
    rate: Fraction
    tracks: tuple[AudioTrack, ...] = (AudioTrack(),)
    ten_bit: bool = False

    def __post_init__(self) -> None:
        if (Fraction(TICKS_PER_SECOND) / self.rate).denominator != 1:
            raise ValueError(
                f"a frame rate of {self.rate} has no whole number of 27 MHz ticks per frame, "
                "so timestamps would drift; use a broadcast rate such as 25, 50, 30000/1001"
            )
        if self.width % 2 or self.height % 2:
            raise ValueError(f"{self.width}x{self.height} is odd, which 4:2:0 pictures cannot be; make both even")

    @property
    def slot_ticks(self) -> int:
        """Ticks of one picture slot."""
        return int(TICKS_PER_SECOND / self.rate)

    @property
    def pixel_format(self) -> str:
        """FFmpeg's name of the pixel format."""
        return "yuv420p10le" if self.ten_bit else "yuv420p"

    @property
    def matrix(self) -> str:
        """FFmpeg's name of the colour matrix: BT.709 from 720 lines up, BT.601 (625 lines) below."""
        return "bt709" if self.height >= 720 else "bt470bg"

    def slot_at(self, ticks: int) -> int:
        """The slot that contains an instant."""
        return ticks // self.slot_ticks

    def ticks_of(self, slot: int) -> int:
        """The first tick of a slot."""
        return slot * self.slot_ticks

    def first_sample(self, slot: int) -> int:
        """Number, since the epoch, of the first sample that belongs to a slot."""
        return -(-slot * self.slot_ticks * SAMPLE_RATE // TICKS_PER_SECOND)

    def samples_in(self, slot: int) -> int:
        """How many samples of sound belong to a slot."""
        return self.first_sample(slot + 1) - self.first_sample(slot)
