"""H.264: parameter sets, ``avcC``, codec string (ISO/IEC 14496-10, 7.3.2 and Annex E; ISO/IEC 14496-15, 5.3.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from packagers.codec.bits import BitReader
from packagers.codec.colour import UNKNOWN, Colour, sample_aspect_ratio, video_signal_type
from packagers.codec.nal import unescape

IDR: Final = 5
SPS: Final = 7
PPS: Final = 8
AUD: Final = 9
FILLER: Final = 12

ACCESS_UNIT_DELIMITER: Final = bytes((AUD, 0xF0))
"""Any slice type may follow (7.4.2.4)."""

_WITH_CHROMA_FORMAT: Final = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})


def unit_type(unit: bytes) -> int:
    """nal_unit_type."""
    return unit[0] & 0x1F


@dataclass(frozen=True, slots=True)
class SequenceParameterSet:
    """What a packager needs of an SPS. Sizes are luma samples after cropping."""

    profile: int
    constraints: int
    """The byte of constraint_set flags."""
    level: int
    """Ten times the level."""
    chroma_format: int
    bit_depth_luma: int
    bit_depth_chroma: int
    width: int
    height: int
    interlaced: bool
    sar: Fraction = Fraction(1)
    colour: Colour = UNKNOWN
    rate: Fraction = Fraction(0)
    """Pictures a second of the VUI timing; 0 when it has none."""

    @classmethod
    def from_bytes(cls, unit: bytes) -> SequenceParameterSet:
        """Parse an SPS NAL unit, its header byte included. Raises ValueError if it is truncated or not an SPS."""
        if not unit or unit_type(unit) != SPS:
            raise ValueError("the NAL unit is not an H.264 sequence parameter set, so the picture cannot be described")
        bits = BitReader(unescape(unit)[1:], "H.264 sequence parameter set")
        profile, constraints, level = bits.u(8), bits.u(8), bits.u(8)
        bits.ue()
        chroma, separate, luma_depth, chroma_depth = 1, False, 8, 8
        if profile in _WITH_CHROMA_FORMAT:
            chroma = bits.ue()
            if chroma > 3:
                raise ValueError(
                    f"the H.264 sequence parameter set has chroma_format_idc {chroma}, which does not exist"
                )
            separate = chroma == 3 and bits.flag()
            luma_depth, chroma_depth = 8 + bits.ue(), 8 + bits.ue()
            if luma_depth > 14 or chroma_depth > 14:
                raise ValueError("the H.264 sequence parameter set has a bit depth above 14, which does not exist")
            bits.skip(1)
            if bits.flag():
                _scaling_lists(bits, 12 if chroma == 3 else 8)
        bits.ue()
        order = bits.ue()
        if order == 0:
            bits.ue()
        elif order == 1:
            bits.skip(1)
            bits.se()
            bits.se()
            for _ in range(_bounded(bits.ue(), 255, "num_ref_frames_in_pic_order_cnt_cycle")):
                bits.se()
        bits.ue()
        bits.skip(1)
        width = (bits.ue() + 1) * 16
        frames_only = (units := bits.ue() + 1) and bits.flag()
        height = units * (16 if frames_only else 32)
        if not frames_only:
            bits.skip(1)
        bits.skip(1)
        if bits.flag():
            # Table 6-1 and equations 7-19 to 7-22: cropping counts chroma samples, and field lines.
            across = 1 if separate or chroma in (0, 3) else 2
            down = (2 if chroma == 1 and not separate else 1) * (1 if frames_only else 2)
            width -= (bits.ue() + bits.ue()) * across
            height -= (bits.ue() + bits.ue()) * down
        if width <= 0 or height <= 0:
            raise ValueError("the H.264 sequence parameter set crops the whole picture away; it is damaged")
        sar, colour, rate = _vui(bits) if bits.flag() else (Fraction(1), Colour(), Fraction(0))
        return cls(
            *(profile, constraints, level, chroma, luma_depth, chroma_depth, width, height),
            *(not frames_only, sar, colour, rate),
        )

    @property
    def codec_string(self) -> str:
        """RFC 6381, e.g. ``avc1.64001f``."""
        return f"avc1.{self.profile:02x}{self.constraints:02x}{self.level:02x}"


def _bounded(value: int, limit: int, name: str) -> int:
    if value > limit:
        raise ValueError(f"the sequence parameter set has {name} {value}, above the limit of {limit}; it is damaged")
    return value


def _scaling_lists(bits: BitReader, count: int) -> None:
    for index in range(count):
        if not bits.flag():
            continue
        last = following = 8
        for _ in range(16 if index < 6 else 64):
            if following:
                following = (last + bits.se()) % 256
            last = following or last


def _vui(bits: BitReader) -> tuple[Fraction, Colour, Fraction]:
    sar = sample_aspect_ratio(bits) if bits.flag() else Fraction(1)
    if bits.flag():
        bits.skip(1)
    colour = video_signal_type(bits) if bits.flag() else Colour()
    if bits.flag():
        bits.ue()
        bits.ue()
    rate = Fraction(0)
    if bits.flag():
        units, scale = bits.u(32), bits.u(32)
        # A tick is a field (E.2.1): two of them make a picture.
        rate = Fraction(scale, 2 * units) if units else rate
    return sar, colour, rate


def configuration(sps: Sequence[bytes], pps: Sequence[bytes]) -> bytes:
    """The AVCDecoderConfigurationRecord (ISO/IEC 14496-15, 5.3.3.1) for four-byte lengths.

    Raises ValueError without an SPS and a PPS, or with more than the record can count.
    """
    if not 1 <= len(sps) <= 31 or not 1 <= len(pps) <= 255:
        raise ValueError(
            f"the first access unit has {len(sps)} SPS and {len(pps)} PPS, so no player could start; "
            "let the encoder repeat its parameter sets before each key picture"
        )
    first = SequenceParameterSet.from_bytes(sps[0])
    record = bytearray((1, *sps[0][1:4], 0xFF, 0xE0 | len(sps)))
    for unit in sps:
        record += len(unit).to_bytes(2, "big") + unit
    record.append(len(pps))
    for unit in pps:
        record += len(unit).to_bytes(2, "big") + unit
    if first.profile not in (66, 77, 88):
        record += bytes(
            (0xFC | first.chroma_format, 0xF8 | first.bit_depth_luma - 8, 0xF8 | first.bit_depth_chroma - 8, 0)
        )
    return bytes(record)
