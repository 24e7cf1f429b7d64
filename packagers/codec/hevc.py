"""HEVC: parameter sets, ``hvcC``, codec string (ISO/IEC 23008-2, 7.3.2, Annex E; ISO/IEC 14496-15, 8.3.3, Annex E)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from packagers.codec.bits import BitReader, BitWriter
from packagers.codec.colour import UNKNOWN, Colour, sample_aspect_ratio, video_signal_type
from packagers.codec.nal import unescape

VPS: Final = 32
SPS: Final = 33
PPS: Final = 34
AUD: Final = 35
FILLER: Final = 38

ACCESS_UNIT_DELIMITER: Final = bytes((AUD << 1, 1, 0x50))
"""Any slice type may follow (7.4.3.5)."""


def unit_type(unit: bytes) -> int:
    """nal_unit_type."""
    return unit[0] >> 1 & 0x3F


@dataclass(frozen=True, slots=True)
class SequenceParameterSet:
    """What a packager needs of an SPS. Sizes are luma samples inside the conformance window."""

    profile_space: int
    tier: int
    profile: int
    compatibility: int
    """The 32 general_profile_compatibility_flags, the first in the most significant bit."""
    constraints: bytes
    """The 48 bits from general_progressive_source_flag on."""
    level: int
    """Thirty times the level."""
    temporal_layers: int
    temporal_nesting: bool
    chroma_format: int
    bit_depth_luma: int
    bit_depth_chroma: int
    width: int
    height: int
    sar: Fraction = Fraction(1)
    colour: Colour = UNKNOWN
    rate: Fraction = Fraction(0)
    """Pictures a second of the VUI timing; 0 when it has none."""

    @classmethod
    def from_bytes(cls, unit: bytes) -> SequenceParameterSet:
        """Parse an SPS NAL unit, its two header bytes included. Raises ValueError if it is truncated or not an SPS."""
        if len(unit) < 2 or unit_type(unit) != SPS:
            raise ValueError("the NAL unit is not an HEVC sequence parameter set, so the picture cannot be described")
        bits = BitReader(unescape(unit)[2:], "HEVC sequence parameter set")
        bits.skip(4)
        layers = bits.u(3) + 1
        nesting = bits.flag()
        space, tier, profile = bits.u(2), bits.u(1), bits.u(5)
        compatibility, constraints, level = bits.u(32), bits.take(6), bits.u(8)
        _sub_layers(bits, layers - 1)
        bits.ue()
        chroma = bits.ue()
        if chroma > 3:
            raise ValueError(f"the HEVC sequence parameter set has chroma_format_idc {chroma}, which does not exist")
        separate = chroma == 3 and bits.flag()
        width, height = bits.ue(), bits.ue()
        if bits.flag():
            across = 2 if chroma in (1, 2) and not separate else 1
            down = 2 if chroma == 1 and not separate else 1
            width -= (bits.ue() + bits.ue()) * across
            height -= (bits.ue() + bits.ue()) * down
        if width <= 0 or height <= 0:
            raise ValueError("the HEVC sequence parameter set has an empty conformance window; it is damaged")
        luma_depth, chroma_depth = 8 + bits.ue(), 8 + bits.ue()
        if luma_depth > 16 or chroma_depth > 16:
            raise ValueError("the HEVC sequence parameter set has a bit depth above 16, which does not exist")
        order_bits = bits.ue() + 4
        if order_bits > 16:
            raise ValueError(
                "the HEVC sequence parameter set has a picture order count of more than 16 bits; it is damaged"
            )
        for _ in range(layers if bits.flag() else 1):
            for _ in range(3):
                bits.ue()
        _to_vui(bits, chroma, order_bits)
        sar, colour, rate = _vui(bits) if bits.flag() else (Fraction(1), Colour(), Fraction(0))
        return cls(
            *(space, tier, profile, compatibility, constraints, level, layers, nesting, chroma),
            *(luma_depth, chroma_depth, width, height, sar, colour, rate),
        )

    @property
    def codec_string(self) -> str:
        """ISO/IEC 14496-15, E.3, e.g. ``hvc1.1.6.L93.90``."""
        reversed_flags = int(f"{self.compatibility:032b}"[::-1], 2)
        space = ("", "A", "B", "C")[self.profile_space]
        constraints = self.constraints.rstrip(b"\0")
        parts = ["hvc1", f"{space}{self.profile}", f"{reversed_flags:X}", f"{'LH'[self.tier]}{self.level}"]
        return ".".join([*parts, *(f"{byte:X}" for byte in constraints)])


def _sub_layers(bits: BitReader, count: int) -> None:
    flags = [(bits.flag(), bits.flag()) for _ in range(count)]
    if count:
        bits.skip(2 * (8 - count))
    for profile, level in flags:
        bits.skip(88 * profile + 8 * level)


def _to_vui(bits: BitReader, chroma: int, order_bits: int) -> None:
    """Pass over the coding tools between the sub-layer ordering and the VUI."""
    for _ in range(6):
        bits.ue()
    if bits.flag() and bits.flag():
        _scaling_list_data(bits, chroma)
    bits.skip(2)
    if bits.flag():
        bits.skip(8)
        bits.ue()
        bits.ue()
        bits.skip(1)
    sets = bits.ue()
    if sets > 64:
        raise ValueError(
            "the HEVC sequence parameter set has more than 64 short-term reference picture sets; it is damaged"
        )
    pictures: list[int] = []
    for index in range(sets):
        pictures.append(_reference_picture_set(bits, index, pictures))
    if bits.flag():
        count = bits.ue()
        if count > 32:
            raise ValueError("the HEVC sequence parameter set has more than 32 long-term pictures; it is damaged")
        bits.skip(count * (order_bits + 1))
    bits.skip(2)


def _scaling_list_data(bits: BitReader, chroma: int) -> None:
    for size in range(4):
        for _ in range(0, 6, 3 if size == 3 else 1):
            if not bits.flag():
                bits.ue()
                continue
            if size > 1:
                bits.se()
            for _ in range(min(64, 1 << (4 + (size << 1)))):
                bits.se()


def _reference_picture_set(bits: BitReader, index: int, before: Sequence[int]) -> int:
    """Pass over one st_ref_pic_set (7.3.7); the number of its pictures, which the next may be predicted from."""
    if index and bits.flag():
        bits.skip(1)
        bits.ue()
        kept = 0
        for _ in range(before[-1] + 1):
            used = bits.flag()
            if used or bits.flag():
                kept += 1
        return kept
    negative, positive = bits.ue(), bits.ue()
    if negative > 16 or positive > 16:
        raise ValueError("the HEVC sequence parameter set refers to more than 16 pictures; it is damaged")
    for _ in range(negative + positive):
        bits.ue()
        bits.skip(1)
    return negative + positive


def _vui(bits: BitReader) -> tuple[Fraction, Colour, Fraction]:
    sar = sample_aspect_ratio(bits) if bits.flag() else Fraction(1)
    if bits.flag():
        bits.skip(1)
    colour = video_signal_type(bits) if bits.flag() else Colour()
    if bits.flag():
        bits.ue()
        bits.ue()
    bits.skip(3)
    if bits.flag():
        for _ in range(4):
            bits.ue()
    rate = Fraction(0)
    if bits.flag():
        units, scale = bits.u(32), bits.u(32)
        rate = Fraction(scale, units) if units else rate
    return sar, colour, rate


def configuration(vps: Sequence[bytes], sps: Sequence[bytes], pps: Sequence[bytes]) -> bytes:
    """The HEVCDecoderConfigurationRecord (ISO/IEC 14496-15, 8.3.3.1) for four-byte lengths, arrays complete.

    Raises ValueError unless there is at least one of each parameter set.
    """
    if not vps or not sps or not pps:
        raise ValueError(
            f"the first access unit has {len(vps)} VPS, {len(sps)} SPS and {len(pps)} PPS, so no player could start; "
            "let the encoder repeat its parameter sets before each key picture"
        )
    first = SequenceParameterSet.from_bytes(sps[0])
    head = BitWriter().u(1, 8).u(first.profile_space, 2).u(first.tier, 1).u(first.profile, 5).u(first.compatibility, 32)
    head.u(int.from_bytes(first.constraints, "big"), 48).u(first.level, 8)
    # No minimum of spatial segmentation, parallelism unknown: zero says so for both.
    head.u(0xF, 4).u(0, 12).u(0x3F, 6).u(0, 2).u(0x3F, 6).u(first.chroma_format, 2)
    head.u(0x1F, 5).u(first.bit_depth_luma - 8, 3).u(0x1F, 5).u(first.bit_depth_chroma - 8, 3)
    head.u(0, 16).u(0, 2).u(first.temporal_layers, 3).u(first.temporal_nesting, 1).u(3, 2).u(3, 8)
    record = bytearray(head.to_bytes())
    for kind, units in ((VPS, vps), (SPS, sps), (PPS, pps)):
        record += bytes((0x80 | kind,)) + len(units).to_bytes(2, "big")
        for unit in units:
            record += len(unit).to_bytes(2, "big") + unit
    return bytes(record)
