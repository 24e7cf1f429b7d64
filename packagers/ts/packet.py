"""Transport stream packets: 188 bytes with header, adaptation field and payload (ISO/IEC 13818-1, 2.4.3).

Single packets are objects; many packets are an array ``uint8[n, 188]``, whose columns numpy reads at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

SIZE: Final = 188
SYNC: Final = 0x47
NULL_PID: Final = 0x1FFF
PCR_MODULUS: Final = (1 << 33) * 300
"""PCR, in ticks of 27 MHz, wraps here (2.4.3.5)."""

Packets = NDArray[np.uint8]
"""Shape (n, 188)."""


def pcr_bytes(ticks: int) -> bytes:
    """The six bytes of a program clock reference, from ticks of 27 MHz; wraps."""
    base, extension = divmod(ticks % PCR_MODULUS, 300)
    return (base << 15 | 0x3F << 9 | extension).to_bytes(6, "big")


def pcr_ticks(data: bytes) -> int:
    """The inverse of :func:`pcr_bytes`. Raises ValueError unless there are six bytes."""
    if len(data) != 6:
        raise ValueError(f"the program clock reference is truncated: it has {len(data)} bytes of 6")
    value = int.from_bytes(data, "big")
    return (value >> 15) * 300 + (value & 0x1FF)


@dataclass(frozen=True, slots=True)
class AdaptationField:
    """What an adaptation field says; ``rest`` is all behind the PCR (OPCR, splice, private data), kept as it came."""

    discontinuity: bool = False
    random_access: bool = False
    priority: bool = False
    pcr: int | None = None
    """Ticks of 27 MHz, modulo 2^33 * 300."""
    other_flags: int = 0
    """OPCR, splicing point, private data and extension flags, in their places (0x0F)."""
    rest: bytes = b""
    stuffing: int = 0
    """Bytes of 0xFF at the end; -1: a field of length 0, which is the length byte alone."""

    @classmethod
    def from_bytes(cls, data: bytes) -> AdaptationField:
        """Parse the field without its length byte. Raises ValueError if it is truncated."""
        if not data:
            return cls(stuffing=-1)
        flags, position, pcr = data[0], 1, None
        if flags & 0x10:
            pcr, position = pcr_ticks(data[1:7]), 7
        rest = data[position:]
        kept = rest if flags & 0x0F else rest.rstrip(b"\xff")
        return cls(
            *(bool(flags & 0x80), bool(flags & 0x40), bool(flags & 0x20), pcr, flags & 0x0F),
            *(kept, len(rest) - len(kept)),
        )

    def to_bytes(self) -> bytes:
        """The field with its length byte."""
        if self.stuffing < 0:
            return b"\0"
        flags = self.discontinuity << 7 | self.random_access << 6 | self.priority << 5 | self.other_flags
        clock = b"" if self.pcr is None else pcr_bytes(self.pcr)
        body = bytes((flags | (self.pcr is not None) << 4,)) + clock + self.rest + b"\xff" * self.stuffing
        return bytes((len(body),)) + body


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet."""

    pid: int
    payload: bytes = b""
    counter: int = 0
    unit_start: bool = False
    adaptation: AdaptationField | None = None
    error: bool = False
    priority: bool = False
    scrambling: int = 0

    @classmethod
    def from_bytes(cls, data: bytes) -> Packet:
        """Parse 188 bytes. Raises ValueError on another size, a wrong sync byte or too long an adaptation field."""
        if len(data) != SIZE:
            raise ValueError(f"the packet has {len(data)} bytes, not {SIZE}; the stream is truncated or not aligned")
        if data[0] != SYNC:
            raise ValueError(f"the packet begins with 0x{data[0]:02X}, not with 0x47; the stream is not aligned")
        word, position, adaptation = int.from_bytes(data[1:4], "big"), 4, None
        if word & 0x20:
            length = data[4]
            if length > (182 if word & 0x10 else 183):
                raise ValueError(f"the adaptation field has {length} bytes, more than fit; the packet is damaged")
            adaptation, position = AdaptationField.from_bytes(data[5 : 5 + length]), 5 + length
        return cls(
            word >> 8 & 0x1FFF,
            data[position:] if word & 0x10 else b"",
            word & 0xF,
            *(bool(word & 0x400000), adaptation, bool(word & 0x800000), bool(word & 0x200000), word >> 6 & 3),
        )

    def to_bytes(self) -> bytes:
        """188 bytes. Raises ValueError unless header, adaptation field and payload fill them exactly."""
        flags = self.error << 15 | self.unit_start << 14 | self.priority << 13 | self.pid
        control = self.scrambling << 6 | (self.adaptation is not None) << 5 | bool(self.payload) << 4 | self.counter
        field = b"" if self.adaptation is None else self.adaptation.to_bytes()
        out = bytes((SYNC, flags >> 8, flags & 0xFF, control)) + field + self.payload
        if len(out) != SIZE:
            raise ValueError(
                f"the packet of PID {self.pid} would have {len(out)} bytes, not {SIZE}; adjust its stuffing"
            )
        return out


def view(data: bytes) -> Packets:
    """Bytes that begin with a packet as an array, without copying; a part of a packet at the end is left out.

    Raises ValueError if a sync byte is missing.
    """
    count = len(data) // SIZE
    packets = np.frombuffer(data, np.uint8, count * SIZE).reshape(count, SIZE)
    wrong = np.flatnonzero(packets[:, 0] != SYNC)
    if wrong.size:
        raise ValueError(
            f"packet {wrong[0]} does not begin with the sync byte 0x47; the stream is damaged or not aligned"
        )
    return packets


def pids(packets: Packets) -> NDArray[np.uint16]:
    """The PID of each packet."""
    high = packets[:, 1].astype(np.uint16) & np.uint16(0x1F)
    return np.asarray(high << np.uint16(8) | packets[:, 2], np.uint16)


def _adaptation(*, random_access: bool, pcr: int | None) -> bytes:
    return AdaptationField(random_access=random_access, pcr=pcr).to_bytes() if random_access or pcr is not None else b""


def packetise(pid: int, counter: int, data: bytes, *, random_access: bool = False, pcr: int | None = None) -> Packets:
    """A PES packet in transport packets of its own; ``counter`` is the first one's continuity_counter.

    The first packet carries the PCR and the random_access_indicator. The last is filled by its adaptation field. The
    payloads between are copied as one block: no Python runs per packet.
    """
    field = _adaptation(random_access=random_access, pcr=pcr)
    first = min(len(data), SIZE - 4 - len(field))
    middle, last = divmod(len(data) - first, SIZE - 4)
    count = 1 + middle + bool(last)
    rows = np.empty((count, SIZE), np.uint8)
    rows[:, 0] = SYNC
    rows[:, 1] = pid >> 8
    rows[:, 2] = pid & 0xFF
    rows[:, 3] = (np.arange(count) + counter) & 0xF | 0x10
    rows[0, 1] |= 0x40
    source = np.frombuffer(data, np.uint8)
    _fill(rows[0], field, source[:first])
    if middle:
        rows[1 : 1 + middle, 4:] = source[first : first + middle * (SIZE - 4)].reshape(middle, SIZE - 4)
    if last:
        _fill(rows[-1], b"", source[len(data) - last :])
    return rows


def _fill(row: NDArray[np.uint8], field: bytes, payload: NDArray[np.uint8]) -> None:
    """Put an adaptation field and a payload into one packet, with stuffing between if they do not fill it."""
    stuffing = SIZE - 4 - len(field) - len(payload)
    if stuffing and not field:
        # The length byte alone, or length and flags (2.4.3.5).
        field = b"\0" if stuffing == 1 else b"\1\0"
        stuffing -= len(field)
    if field:
        row[3] |= 0x20
        row[4 : 4 + len(field)] = np.frombuffer(field, np.uint8)
        row[4] += stuffing
        row[4 + len(field) : 4 + len(field) + stuffing] = 0xFF
    row[SIZE - len(payload) :] = payload


def section_packets(pid: int, counter: int, section: bytes) -> Packets:
    """A section in packets of its own, the rest filled with 0xFF (2.4.4); ``counter`` is the first packet's."""
    data = b"\0" + section
    count = -(-len(data) // (SIZE - 4))
    rows = np.full((count, SIZE), 0xFF, np.uint8)
    rows[:, 0] = SYNC
    rows[:, 1] = pid >> 8
    rows[:, 2] = pid & 0xFF
    rows[:, 3] = (np.arange(count) + counter) & 0xF | 0x10
    rows[0, 1] |= 0x40
    rows[:, 4:] = np.frombuffer(data.ljust(count * (SIZE - 4), b"\xff"), np.uint8).reshape(count, SIZE - 4)
    return rows


def pcr_packet(pid: int, counter: int, pcr: int) -> Packets:
    """A packet with nothing but a PCR. ``counter`` is that of the packet before: only payload counts (2.4.3.3)."""
    packet = Packet(pid, b"", counter & 0xF, adaptation=AdaptationField(pcr=pcr, stuffing=176))
    return np.frombuffer(packet.to_bytes(), np.uint8).reshape(1, SIZE)
