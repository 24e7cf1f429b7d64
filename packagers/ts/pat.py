"""Program association table (ISO/IEC 13818-1, 2.4.4.3): which PID carries the map of which program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from packagers.ts.section import Section

PID: Final = 0
TABLE_ID: Final = 0


@dataclass(frozen=True, slots=True)
class ProgramAssociation:
    """One section of the table."""

    transport_stream_id: int
    programs: Mapping[int, int]
    """Program number to the PID of its map, in order; number 0 names the network PID."""
    version: int = 0
    current: bool = True
    number: int = 0
    last_number: int = 0

    @classmethod
    def from_bytes(cls, data: bytes) -> ProgramAssociation:
        """Parse a section. Raises ValueError if it is damaged or another table."""
        section = Section.from_bytes(data)
        body = section.body
        if section.table_id != TABLE_ID or len(body) % 4:
            raise ValueError(f"the section of table 0x{section.table_id:02X} is no program association; it is damaged")
        words = (int.from_bytes(body[i : i + 4], "big") for i in range(0, len(body), 4))
        programs = {word >> 16: word & 0x1FFF for word in words}
        whole = section.table_id_extension, programs, section.version, section.current
        return cls(*whole, section.number, section.last_number)

    def to_bytes(self) -> bytes:
        """The section with its CRC. Raises ValueError if it is too long."""
        body = b"".join((number << 16 | 0xE000 | pid).to_bytes(4, "big") for number, pid in self.programs.items())
        head = TABLE_ID, self.transport_stream_id, body, self.version, self.current
        return Section(*head, self.number, self.last_number).to_bytes()
