"""The boxes of fragmented MP4 that CMAF needs (ISO/IEC 14496-12; 23000-19): pure functions from fields to bytes."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from packagers.codec.colour import UNSPECIFIED, Colour

SYNC: Final = 0x0200_0000
"""Sample flags (8.8.3.1) of a sample that depends on no other."""
NON_SYNC: Final = 0x0101_0000
"""Sample flags of one that does."""

_UNITY: Final = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)


def box(kind: bytes, *parts: bytes) -> bytes:
    """A box of any kind (4.2)."""
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def full_box(kind: bytes, version: int, flags: int, *parts: bytes) -> bytes:
    """A box with version and flags (4.2)."""
    return box(kind, struct.pack(">I", version << 24 | flags), *parts)


def file_type(kind: bytes, major: bytes, *compatible: bytes) -> bytes:
    """``ftyp`` or ``styp`` (4.3, 8.16.2)."""
    return box(kind, major, b"\0\0\0\0", *compatible)


@dataclass(frozen=True, slots=True)
class Track:
    """What the ``moov`` of a one-track file says."""

    handler: bytes
    """``vide`` or ``soun``."""
    timescale: int
    language: str
    entry: bytes
    """The sample entry."""
    width: int = 0
    """Display size, luma samples: the coded size times the sample aspect ratio."""
    height: int = 0
    name: str = ""


def movie(track: Track) -> bytes:
    """``moov`` with one track and no samples. Creation times are 0, so that equal parameters give equal bytes."""
    video = track.handler == b"vide"
    mvhd = struct.pack(">IIIIIHHII", 0, 0, track.timescale, 0, 0x10000, 0x100, 0, 0, 0) + _UNITY + bytes(24)
    # Enabled, in the movie, in the preview.
    tkhd = struct.pack(">IIIIIIIHHHH", 0, 0, 1, 0, 0, 0, 0, 0, 0, 0 if video else 0x100, 0) + _UNITY
    tkhd += struct.pack(">II", track.width << 16, track.height << 16)
    header = full_box(b"vmhd", 0, 1, bytes(8)) if video else full_box(b"smhd", 0, 0, bytes(4))
    stbl = box(
        b"stbl",
        full_box(b"stsd", 0, 0, b"\0\0\0\1", track.entry),
        full_box(b"stts", 0, 0, bytes(4)),
        full_box(b"stsc", 0, 0, bytes(4)),
        full_box(b"stsz", 0, 0, bytes(8)),
        full_box(b"stco", 0, 0, bytes(4)),
    )
    dinf = box(b"dinf", full_box(b"dref", 0, 0, b"\0\0\0\1", full_box(b"url ", 0, 1)))
    mdia = box(
        b"mdia",
        full_box(b"mdhd", 0, 0, struct.pack(">IIIIHH", 0, 0, track.timescale, 0, language(track.language), 0)),
        full_box(b"hdlr", 0, 0, bytes(4), track.handler, bytes(12), track.name.encode().replace(b"\0", b""), b"\0"),
        box(b"minf", header, dinf, stbl),
    )
    # Sample description 1 is the default of every fragment; durations, sizes and flags are in the fragments.
    mvex = box(b"mvex", full_box(b"trex", 0, 0, struct.pack(">IIIII", 1, 1, 0, 0, 0)))
    return box(
        b"moov", full_box(b"mvhd", 0, 0, mvhd + b"\0\0\0\2"), box(b"trak", full_box(b"tkhd", 0, 7, tkhd), mdia), mvex
    )


def language(code: str) -> int:
    """The 15-bit packing of an ISO 639-2/T code (8.4.2); anything else is ``und``."""
    letters = code.lower()
    if len(letters) != 3 or not all("a" <= letter <= "z" for letter in letters):
        letters = "und"
    first, second, third = (ord(letter) - 0x60 for letter in letters)
    return first << 10 | second << 5 | third


def visual_entry(kind: bytes, width: int, height: int, *children: bytes) -> bytes:
    """A VisualSampleEntry (12.1.3)."""
    head = struct.pack(">6xH16xHHIIIH32sHh", 1, width, height, 0x480000, 0x480000, 0, 1, b"", 0x18, -1)
    return box(kind, head, *children)


def audio_entry(kind: bytes, channels: int, sample_rate: int, *children: bytes) -> bytes:
    """An AudioSampleEntry, version 0 (12.2.3). Rates above 65 535 Hz do not fit and are written as 0: the codec's box
    rules."""
    rate = sample_rate if sample_rate < 1 << 16 else 0
    return box(kind, struct.pack(">6xH8xHHIHH", 1, channels, 16, 0, rate, 0), *children)


def colour_information(colour: Colour) -> bytes:
    """``colr`` of type ``nclx`` (12.1.5); nothing when the stream leaves all open."""
    if (colour.primaries, colour.transfer, colour.matrix) == (UNSPECIFIED,) * 3 and not colour.full_range:
        return b""
    points = struct.pack(">HHHB", colour.primaries, colour.transfer, colour.matrix, colour.full_range << 7)
    return box(b"colr", b"nclx", points)


def pixel_aspect_ratio(sar: Fraction) -> bytes:
    """``pasp`` (12.1.4), always written: CMAF asks for it, and 1:1 is information too."""
    return box(b"pasp", struct.pack(">II", sar.numerator, sar.denominator))


def bit_rate(average: int, peak: int) -> bytes:
    """``btrt`` (8.5.2); nothing when no rate is known. The buffer size is left open (0)."""
    return box(b"btrt", struct.pack(">III", 0, max(average, peak), average)) if average else b""


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample of a fragment, in the track's timescale."""

    duration: int
    size: int
    flags: int
    offset: int
    """Composition time minus decoding time; may be negative."""


def fragment(sequence: int, decode_time: int, samples: Sequence[Sample]) -> bytes:
    """``moof`` of track 1 (8.8.4) for an ``mdat`` with an 8-byte header that follows at once."""
    # What all samples share moves into the tfhd, where it costs four bytes instead of four each.
    durations, flags = ({s.duration for s in samples}, {s.flags for s in samples})
    head, defaults = b"\0\0\0\1", 0x02_0000
    columns = [[s.size for s in samples]]
    run = 0x000201
    if len(durations) == 1:
        head, defaults = head + struct.pack(">I", samples[0].duration), defaults | 0x08
    else:
        columns.insert(0, [s.duration for s in samples])
        run |= 0x100
    if len(flags) == 1:
        head, defaults = head + struct.pack(">I", samples[0].flags), defaults | 0x20
    else:
        columns.append([s.flags for s in samples])
        run |= 0x400
    if any(s.offset for s in samples):
        columns.append([s.offset & 0xFFFFFFFF for s in samples])
        run |= 0x800
    table = [value for row in zip(*columns, strict=True) for value in row]
    body = struct.pack(f">{len(table)}I", *table)
    mfhd = full_box(b"mfhd", 0, 0, struct.pack(">I", sequence & 0xFFFFFFFF))
    tfhd = full_box(b"tfhd", 0, defaults, head)
    tfdt = full_box(b"tfdt", 1, 0, struct.pack(">Q", decode_time))
    size = 8 + len(mfhd) + 8 + len(tfhd) + len(tfdt) + 20 + len(body)
    trun = full_box(b"trun", 1, run, struct.pack(">II", len(samples), size + 8), body)
    return box(b"moof", mfhd, box(b"traf", tfhd, tfdt, trun))


def walk(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The boxes of ``data``, each as (type, body). Raises ValueError when one is truncated."""
    position = 0
    while position < len(data):
        if len(data) - position < 8:
            raise ValueError(
                f"the box at byte {position} is truncated: its header has {len(data) - position} bytes of 8"
            )
        size, kind, head = int.from_bytes(data[position : position + 4], "big"), data[position + 4 : position + 8], 8
        if size == 1:
            size, head = int.from_bytes(data[position + 8 : position + 16], "big"), 16
        elif size == 0:
            size = len(data) - position
        if size < head or position + size > len(data):
            raise ValueError(f"the box {kind!r} at byte {position} is truncated: {size} bytes are promised")
        yield kind, data[position + head : position + size]
        position += size
