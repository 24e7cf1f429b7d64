"""Program map table (ISO/IEC 13818-1, 2.4.4.8): the elementary streams of a program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from headend.accessunit import StreamFormat
from packagers.ts import descriptor
from packagers.ts.descriptor import Descriptor
from packagers.ts.section import Section

TABLE_ID: Final = 2

MPEG1_AUDIO: Final = 0x03
MPEG2_AUDIO: Final = 0x04
PRIVATE_PES: Final = 0x06
AAC_ADTS: Final = 0x0F
H264: Final = 0x1B
HEVC: Final = 0x24
AC3: Final = 0x81
"""ATSC A/53 part 3; HLS players know AC-3 by it."""
EAC3: Final = 0x87


@dataclass(frozen=True, slots=True)
class ElementaryStream:
    """One row of the table."""

    stream_type: int
    pid: int
    descriptors: tuple[Descriptor, ...] = ()


@dataclass(frozen=True, slots=True)
class ProgramMap:
    """The table, which has one section."""

    program: int
    pcr_pid: int
    streams: Sequence[ElementaryStream]
    descriptors: tuple[Descriptor, ...] = ()
    version: int = 0
    current: bool = True

    @classmethod
    def from_bytes(cls, data: bytes) -> ProgramMap:
        """Parse a section. Raises ValueError if it is damaged, truncated or another table."""
        section = Section.from_bytes(data)
        body = section.body
        if section.table_id != TABLE_ID or len(body) < 4:
            raise ValueError(f"the section of table 0x{section.table_id:02X} is no program map; it is damaged")
        descriptors, position = _loop(body, 2)
        streams: list[ElementaryStream] = []
        while position < len(body):
            if position + 5 > len(body):
                raise ValueError("the program map is truncated: its last stream has less than 5 bytes")
            kind, pid = body[position], int.from_bytes(body[position + 1 : position + 3], "big") & 0x1FFF
            own, position = _loop(body, position + 3)
            streams.append(ElementaryStream(kind, pid, own))
        pcr_pid = int.from_bytes(body[:2], "big") & 0x1FFF
        return cls(section.table_id_extension, pcr_pid, tuple(streams), descriptors, section.version, section.current)

    def to_bytes(self) -> bytes:
        """The section. Raises ValueError if it is too long."""
        body = (0xE000 | self.pcr_pid).to_bytes(2, "big") + _sized(self.descriptors)
        for stream in self.streams:
            body += bytes((stream.stream_type,)) + (0xE000 | stream.pid).to_bytes(2, "big") + _sized(stream.descriptors)
        return Section(TABLE_ID, self.program, body, self.version, self.current).to_bytes()


def _loop(body: bytes, position: int) -> tuple[tuple[Descriptor, ...], int]:
    length = int.from_bytes(body[position : position + 2], "big") & 0xFFF
    end = position + 2 + length
    if end > len(body):
        raise ValueError(f"the program map is truncated: its descriptors need {end} bytes, it has {len(body)}")
    return descriptor.parse(body[position + 2 : end]), end


def _sized(descriptors: tuple[Descriptor, ...]) -> bytes:
    data = descriptor.join(descriptors)
    return (0xF000 | len(data)).to_bytes(2, "big") + data


def stream_of(fmt: StreamFormat, pid: int) -> ElementaryStream:
    """How a stream of the house is announced to HLS players.

    AC-3 and E-AC-3 get the stream types of ATSC (0x81, 0x87; A/52, Annexes A and G), which hls.js, Apple's and FFmpeg's
    demuxers know; DVB's 0x06 with a descriptor is for the multiplexes of receivers. Raises ValueError for a codec that
    has no mapping to transport streams in HLS.
    """
    notes = () if fmt.kind == "video" else (descriptor.language(fmt.language),)
    match fmt.codec:
        case "h264":
            return ElementaryStream(H264, pid, notes)
        case "hevc":
            return ElementaryStream(HEVC, pid, (descriptor.registration(b"HEVC"), *notes))
        case "aac" | "he-aac":
            return ElementaryStream(AAC_ADTS, pid, notes)
        case "ac3":
            return ElementaryStream(AC3, pid, (descriptor.registration(b"AC-3"), *notes))
        case "eac3":
            return ElementaryStream(EAC3, pid, (descriptor.registration(b"EAC3"), *notes))
        case "mp2":
            # The half sampling rates came with ISO/IEC 13818-3, and with them another stream type.
            return ElementaryStream(MPEG2_AUDIO if 0 < fmt.sample_rate < 32_000 else MPEG1_AUDIO, pid, notes)
        case _:
            raise ValueError(
                f"{fmt.codec} cannot go into the transport stream segments of HLS, which have no mapping for it; "
                "use CMAF for this rendition"
            )
