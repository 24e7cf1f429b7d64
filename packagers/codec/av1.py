"""AV1: OBUs, sequence header, ``av1C``, codec string (AV1 specification 5.3 to 5.5; AV1 in ISOBMFF v1.3, 2.3 and 5)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from packagers.codec.bits import BitReader, BitWriter
from packagers.codec.colour import Colour

SEQUENCE_HEADER: Final = 1
TEMPORAL_DELIMITER: Final = 2
TILE_LIST: Final = 8
PADDING: Final = 15
UNSTORED: Final = frozenset({TEMPORAL_DELIMITER, TILE_LIST, PADDING})
"""OBUs that shall or should not be in a sample (AV1 in ISOBMFF, 2.4)."""

_SRGB: Final = 13
_BT709: Final = 1


@dataclass(frozen=True, slots=True)
class Obu:
    """One open bitstream unit: its type, its payload, and all of its bytes."""

    type: int
    payload: bytes
    data: bytes


def split(data: bytes) -> Iterator[Obu]:
    """The OBUs of a temporal unit. Raises ValueError when one is truncated or has the forbidden bit set."""
    position = 0
    while position < len(data):
        start = position
        header = data[position]
        if header & 0x80:
            raise ValueError(f"the OBU at byte {position} has the forbidden bit set, so the temporal unit is damaged")
        position += 2 if header & 4 else 1
        size = len(data) - position
        if header & 2:
            size, position = _leb128(data, position)
        if size < 0 or position + size > len(data):
            raise ValueError(
                f"the OBU at byte {start} is truncated: {size} bytes are promised, {len(data) - position} are there"
            )
        yield Obu(header >> 3 & 0xF, data[position : position + size], data[start : position + size])
        position += size


def _leb128(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for index in range(8):
        if position + index >= len(data):
            raise ValueError(f"the OBU size at byte {position} is truncated")
        byte = data[position + index]
        value |= (byte & 0x7F) << 7 * index
        if not byte & 0x80:
            return value, position + index + 1
    raise ValueError(f"the OBU size at byte {position} is longer than 8 bytes, so the temporal unit is damaged")


@dataclass(frozen=True, slots=True)
class SequenceHeader:
    """What a packager needs of a sequence header OBU (5.5)."""

    profile: int
    level: int
    """seq_level_idx of operating point 0."""
    tier: int
    width: int
    height: int
    bit_depth: int
    monochrome: bool
    subsampling: tuple[int, int]
    chroma_position: int
    colour: Colour

    @classmethod
    def from_bytes(cls, payload: bytes) -> SequenceHeader:
        """Parse the payload of a sequence header OBU. Raises ValueError if it is truncated."""
        bits = BitReader(payload, "AV1 sequence header")
        profile = bits.u(3)
        if profile > 2:
            raise ValueError(f"the AV1 sequence header has profile {profile}, which does not exist")
        bits.skip(1)
        if bits.flag():
            level, tier = bits.u(5), 0
        else:
            level, tier = _operating_points(bits)
        width_bits, height_bits = bits.u(4) + 1, bits.u(4) + 1
        width, height = bits.u(width_bits) + 1, bits.u(height_bits) + 1
        _tools(bits, reduced=_reduced(payload))
        return cls(profile, level, tier, width, height, *_colour_config(bits, profile))

    @property
    def codec_string(self) -> str:
        """AV1 in ISOBMFF, 5: short when all optional values have their defaults, complete when one has not."""
        short = f"av01.{self.profile}.{self.level:02d}{'MH'[self.tier]}.{self.bit_depth:02d}"
        chroma = f"{self.subsampling[0]}{self.subsampling[1]}{self.chroma_position}"
        colour = self.colour
        points = f"{colour.primaries:02d}.{colour.transfer:02d}.{colour.matrix:02d}"
        rest = f"{self.monochrome:d}.{chroma}.{points}.{colour.full_range:d}"
        return short if rest == "0.110.01.01.01.0" else f"{short}.{rest}"


def _reduced(payload: bytes) -> bool:
    return bool(payload[0] & 0x08)


def _operating_points(bits: BitReader) -> tuple[int, int]:
    """Pass over timing and the operating points; level and tier of the first."""
    decoder_model, delay_bits = False, 0
    if bits.flag():
        bits.skip(64)
        if bits.flag():
            bits.ue()
        decoder_model = bits.flag()
        if decoder_model:
            delay_bits = bits.u(5) + 1
            bits.skip(42)
    display_delay = bits.flag()
    found: list[tuple[int, int]] = []
    for _ in range(bits.u(5) + 1):
        bits.skip(12)
        level = bits.u(5)
        found.append((level, bits.u(1) if level > 7 else 0))
        if decoder_model and bits.flag():
            bits.skip(2 * delay_bits + 1)
        if display_delay and bits.flag():
            bits.skip(4)
    return found[0]


def _tools(bits: BitReader, reduced: bool) -> None:
    """Pass over the coding tools between the size and the colour configuration."""
    if not reduced and bits.flag():
        bits.skip(7)
    bits.skip(3)
    if not reduced:
        bits.skip(4)
        if order_hint := bits.flag():
            bits.skip(2)
        screen_content = 2 if bits.flag() else bits.u(1)
        if screen_content > 0 and not bits.flag():
            bits.skip(1)
        if order_hint:
            bits.skip(3)
    bits.skip(3)


def _colour_config(bits: BitReader, profile: int) -> tuple[int, bool, tuple[int, int], int, Colour]:
    depth = 10 if bits.flag() else 8
    if profile == 2 and depth == 10:
        depth = 12 if bits.flag() else 10
    monochrome = profile != 1 and bits.flag()
    primaries, transfer, matrix = (bits.u(8), bits.u(8), bits.u(8)) if bits.flag() else (2, 2, 2)
    if monochrome:
        return depth, True, (1, 1), 0, Colour(primaries, transfer, matrix, bits.flag())
    if (primaries, transfer, matrix) == (_BT709, _SRGB, 0):
        return depth, False, (0, 0), 0, Colour(primaries, transfer, matrix, True)
    full = bits.flag()
    subsampling = ((1, 1), (0, 0), (1, 0))[profile]
    if profile == 2 and depth == 12:
        across = bits.u(1)
        subsampling = (across, bits.u(1) if across else 0)
    position = bits.u(2) if subsampling == (1, 1) else 0
    return depth, False, subsampling, position, Colour(primaries, transfer, matrix, full)


def sequence_header(data: bytes) -> Obu:
    """The sequence header OBU of a key temporal unit. Raises ValueError when it has none."""
    for obu in split(data):
        if obu.type == SEQUENCE_HEADER:
            return obu
    raise ValueError(
        "the temporal unit has no sequence header, so no player could start here; the encoder must repeat it"
    )


def configuration(obu: Obu) -> bytes:
    """The AV1CodecConfigurationRecord (AV1 in ISOBMFF, 2.3.3) of a sequence header OBU."""
    header = SequenceHeader.from_bytes(obu.payload)
    head = BitWriter().u(0x81, 8).u(header.profile, 3).u(header.level, 5).u(header.tier, 1).u(header.bit_depth > 8, 1)
    head.u(header.bit_depth == 12, 1).u(header.monochrome, 1).u(header.subsampling[0], 1).u(header.subsampling[1], 1)
    head.u(header.chroma_position, 2).u(0, 8)
    return head.to_bytes() + obu.data


def sample(data: bytes) -> bytes:
    """A temporal unit as a sample of a file: without delimiters, tile lists and padding."""
    return b"".join(obu.data for obu in split(data) if obu.type not in UNSTORED)
