"""Colour of coded pictures (code points of ISO/IEC 23091-2) and sample aspect ratios, which all video codecs share."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from packagers.codec.bits import BitReader

UNSPECIFIED: Final = 2
EXTENDED_SAR: Final = 255

SAMPLE_ASPECT_RATIOS: Final = (
    *((0, 1), (1, 1), (12, 11), (10, 11), (16, 11), (40, 33), (24, 11), (20, 11), (32, 11), (80, 33), (18, 11)),
    *((15, 11), (64, 33), (160, 99), (4, 3), (3, 2), (2, 1)),
)
"""Table E.1; index 0 is "unspecified"."""


@dataclass(frozen=True, slots=True)
class Colour:
    """Code points of colour primaries, transfer characteristics and matrix; whether the range is full."""

    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED
    matrix: int = UNSPECIFIED
    full_range: bool = False


UNKNOWN: Final = Colour()
"""A stream that does not say."""


def sample_aspect_ratio(bits: BitReader) -> Fraction:
    """Read ``aspect_ratio_idc`` and what follows it; an unspecified ratio counts as square."""
    number = bits.u(8)
    if number == EXTENDED_SAR:
        width, height = bits.u(16), bits.u(16)
    elif number < len(SAMPLE_ASPECT_RATIOS):
        width, height = SAMPLE_ASPECT_RATIOS[number]
    else:
        width = height = 0
    return Fraction(width, height) if width and height else Fraction(1)


def video_signal_type(bits: BitReader) -> Colour:
    """Read ``video_format`` and what follows it (E.1.1, after video_signal_type_present_flag)."""
    bits.skip(3)
    full = bits.flag()
    if not bits.flag():
        return Colour(full_range=full)
    return Colour(bits.u(8), bits.u(8), bits.u(8), full)
