"""Sections of PSI and SI tables, and their way through packets (ISO/IEC 13818-1, 2.4.4)."""

from __future__ import annotations

from dataclasses import dataclass

from packagers.ts.crc import crc32


@dataclass(frozen=True, slots=True)
class Section:
    """A section with the long header (section_syntax_indicator 1)."""

    table_id: int
    table_id_extension: int
    body: bytes
    """Between last_section_number and CRC_32."""
    version: int = 0
    current: bool = True
    number: int = 0
    last_number: int = 0
    private: bool = False
    """The bit after section_syntax_indicator: 0 in PAT and PMT, 1 in DVB tables."""

    @classmethod
    def from_bytes(cls, data: bytes) -> Section:
        """Parse one. Raises ValueError if it is truncated, has the short header, or fails its CRC."""
        if len(data) < 12:
            raise ValueError(f"the section is truncated: it has {len(data)} bytes, and the shortest has 12")
        length = 3 + (int.from_bytes(data[1:3], "big") & 0xFFF)
        if not data[1] & 0x80:
            raise ValueError(f"the section of table 0x{data[0]:02X} has the short header, so it is no PSI table")
        if length < 12 or length > len(data):
            raise ValueError(f"the section of table 0x{data[0]:02X} is truncated: it has {len(data)} bytes of {length}")
        if crc32(data[:length]):
            raise ValueError(f"the section of table 0x{data[0]:02X} fails its CRC; it was damaged on its way")
        return cls(
            *(data[0], int.from_bytes(data[3:5], "big"), data[8 : length - 4], data[5] >> 1 & 31, bool(data[5] & 1)),
            *(data[6], data[7], bool(data[1] & 0x40)),
        )

    def to_bytes(self) -> bytes:
        """The section with its CRC. Raises ValueError if it is longer than 4 096 bytes (1 024 for PAT and PMT)."""
        length = len(self.body) + 9
        limit = 4093 if self.private else 1021
        if length > limit:
            raise ValueError(
                f"the section of table 0x{self.table_id:02X} has a length of {length}, above {limit}; split it"
            )
        head = bytes((self.table_id,)) + (0xB000 | self.private << 14 | length).to_bytes(2, "big")
        head += self.table_id_extension.to_bytes(2, "big")
        head += bytes((0xC0 | self.version << 1 | self.current, self.number, self.last_number))
        whole = head + self.body
        return whole + crc32(whole).to_bytes(4, "big")


class SectionAssembler:
    """Puts sections of one PID together again from packet payloads. Never holds more than one section (4 098 bytes)."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._started = False

    def lose(self) -> None:
        """A packet is missing: forget the section under way."""
        self._started = False
        self._buffer.clear()

    def push(self, payload: bytes, unit_start: bool) -> list[bytes]:
        """The sections that this payload completes, unchecked."""
        if not payload:
            return []
        if not unit_start:
            self._buffer += payload if self._started else b""
            return self._cut()
        begin = 1 + payload[0]
        if begin > len(payload):
            self.lose()
            return []
        done: list[bytes] = []
        if self._started:
            self._buffer += payload[1:begin]
            done = self._cut()
        self._buffer[:] = payload[begin:]
        self._started = True
        return done + self._cut()

    def _cut(self) -> list[bytes]:
        done: list[bytes] = []
        while len(self._buffer) >= 3 and self._buffer[0] != 0xFF:
            length = 3 + (int.from_bytes(self._buffer[1:3], "big") & 0xFFF)
            if len(self._buffer) < length:
                return done
            done.append(bytes(self._buffer[:length]))
            del self._buffer[:length]
        if self._buffer[:1] == b"\xff":
            self.lose()
        return done
