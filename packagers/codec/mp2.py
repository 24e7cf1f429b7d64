"""MPEG audio layer II: frame header (ISO/IEC 11172-3, 2.4.1.3; ISO/IEC 13818-3, 2.4.1.3).

It belongs into transport streams only: neither HLS nor CMAF defines it in fragmented MP4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

CODEC_STRING: Final = "mp4a.40.33"
"""RFC 6381: audio object type 33 of ISO/IEC 14496-3 is layer II."""

SAMPLES: Final = 1152
_RATES: Final = (44100, 48000, 32000)
_BIT_RATES: Final = (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384)
_BIT_RATES_LOW: Final = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """A layer II frame."""

    mpeg1: bool
    """Full sampling rates (11172-3); False: half rates (13818-3)."""
    bitrate: int
    """bit/s; 0 is free format."""
    sample_rate: int
    channels: int

    @classmethod
    def from_bytes(cls, data: bytes) -> FrameHeader:
        """Parse one. Raises ValueError if it is truncated or not layer II."""
        if len(data) < 4:
            raise ValueError(f"the MPEG audio frame header is truncated: it has {len(data)} bytes of 4")
        word = int.from_bytes(data[:4], "big")
        if word >> 20 != 0xFFF or word >> 17 & 3 != 2:
            raise ValueError(
                "the audio frame does not begin with an MPEG audio layer II header; it is damaged or another codec"
            )
        mpeg1, rate, speed = bool(word >> 19 & 1), word >> 10 & 3, word >> 12 & 15
        if rate == 3 or speed == 15:
            raise ValueError("the MPEG audio frame header has reserved codes; it is damaged")
        table = _BIT_RATES if mpeg1 else _BIT_RATES_LOW
        return cls(mpeg1, table[speed] * 1000, _RATES[rate] >> (not mpeg1), 1 if word >> 6 & 3 == 3 else 2)
