"""A small demultiplexer: PAT to PMT to PES, in memory. The reference that tests judge the muxers by, not a live input.

It counts what is wrong and goes on, as a receiver does: damaged sections and PES packets are left out and counted.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from packagers.ts import packet, pat, pmt
from packagers.ts.pes import PesPacket
from packagers.ts.section import SectionAssembler


@dataclass(slots=True)
class Program:
    """What was found. PIDs are the keys."""

    associations: list[bytes] = field(default_factory=list)
    """Sections of the PAT, as they came."""
    maps: dict[int, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    """Sections of PMTs by their PID."""
    streams: dict[int, pmt.ElementaryStream] = field(default_factory=dict)
    packets: dict[int, list[PesPacket]] = field(default_factory=lambda: defaultdict(list))
    clocks: dict[int, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))
    """Index of the packet, and PCR in ticks of 27 MHz."""
    random_access: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    continuity_errors: int = 0
    damaged: int = 0
    """Sections and PES packets that could not be parsed, and packets marked as erroneous."""


class Demuxer:
    """Reads a transport stream that begins with a packet; :meth:`read` may be called again for what follows."""

    def __init__(self) -> None:
        self.found = Program()
        self._sections: dict[int, SectionAssembler] = {pat.PID: SectionAssembler()}
        self._maps: set[int] = set()
        self._open: dict[int, bytearray] = {}
        self._counters: dict[int, int] = {}
        self._index = 0

    def read(self, data: bytes) -> Program:
        """Demultiplex whole packets. Raises ValueError where a sync byte is missing."""
        for row in packet.view(data):
            self._packet(row.tobytes())
            self._index += 1
        return self.found

    def finish(self) -> Program:
        """End the PES packets that are under way, and return all that was found."""
        for pid in list(self._open):
            self._close(pid)
        return self.found

    def _packet(self, data: bytes) -> None:
        try:
            one = packet.Packet.from_bytes(data)
        except ValueError:
            self.found.damaged += 1
            return
        if one.pid == packet.NULL_PID:
            return
        if one.error:
            self.found.damaged += 1
            return
        jumps = one.adaptation is not None and one.adaptation.discontinuity
        if one.adaptation is not None:
            self.found.random_access[one.pid] += one.adaptation.random_access
            if one.adaptation.pcr is not None:
                self.found.clocks[one.pid].append((self._index, one.adaptation.pcr))
        if not self._continuous(one, jumps):
            return
        if one.scrambling:
            return
        if one.pid in self._sections:
            for section in self._sections[one.pid].push(one.payload, one.unit_start):
                self._section(one.pid, section)
        elif one.pid in self.found.streams:
            if one.unit_start:
                self._close(one.pid)
                self._open[one.pid] = bytearray()
            if one.pid in self._open:
                self._open[one.pid] += one.payload

    def _continuous(self, one: packet.Packet, jumps: bool) -> bool:
        """Check the continuity counter (2.4.3.3); False for a packet without payload or a repeated one."""
        last = self._counters.get(one.pid)
        if not one.payload:
            return False
        self._counters[one.pid] = one.counter
        if last is None or jumps or one.counter == (last + 1) & 15:
            return True
        if one.counter == last:
            return False
        self.found.continuity_errors += 1
        if one.pid in self._sections:
            self._sections[one.pid].lose()
        self._open.pop(one.pid, None)
        return True

    def _section(self, pid: int, section: bytes) -> None:
        try:
            if pid == pat.PID:
                self.found.associations.append(section)
                for number, map_pid in pat.ProgramAssociation.from_bytes(section).programs.items():
                    if number and map_pid not in self._sections:
                        self._maps.add(map_pid)
                        self._sections[map_pid] = SectionAssembler()
            elif pid in self._maps and section[0] == pmt.TABLE_ID:
                table = pmt.ProgramMap.from_bytes(section)
                self.found.maps[pid].append(section)
                self.found.streams |= {stream.pid: stream for stream in table.streams}
        except ValueError:
            self.found.damaged += 1

    def _close(self, pid: int) -> None:
        data = bytes(self._open.pop(pid, b""))
        if not data:
            return
        try:
            self.found.packets[pid].append(PesPacket.from_bytes(data))
        except ValueError:
            self.found.damaged += 1
