"""PES packets: the header of an access unit in a transport stream (ISO/IEC 13818-1, 2.4.3.6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MODULUS: Final = 1 << 33
"""PTS and DTS, in units of 90 kHz, wrap here."""

VIDEO: Final = 0xE0
AUDIO: Final = 0xC0
PRIVATE_1: Final = 0xBD

_WITHOUT_HEADER: Final = frozenset({0xBC, 0xBE, 0xBF, 0xF0, 0xF1, 0xF2, 0xF8, 0xFF})


def unwrap(value: int, near: int) -> int:
    """The number congruent to ``value`` modulo 2^33 that lies nearest to ``near``.

    >>> unwrap(5, (1 << 33) + 3) - (1 << 33)
    5
    """
    half = MODULUS // 2
    return near + (value - near + half) % MODULUS - half


def _field(prefix: int, value: int) -> bytes:
    value %= MODULUS
    high, middle, low = value >> 30, value >> 15 & 0x7FFF, value & 0x7FFF
    return bytes((prefix << 4 | high << 1 | 1, middle >> 7, (middle & 0x7F) << 1 | 1, low >> 7, (low & 0x7F) << 1 | 1))


def _value(data: bytes) -> int:
    return (data[0] >> 1 & 7) << 30 | data[1] << 22 | data[2] >> 1 << 15 | data[3] << 7 | data[4] >> 1


def header(stream_id: int, size: int, pts: int, dts: int | None = None) -> bytes:
    """The header before ``size`` bytes of payload; DTS is written only where it differs from PTS.

    Times are units of 90 kHz and wrap. A video packet with ``size`` 0, or longer than the length field can say, is
    unbounded; sound of that length is a ValueError.
    """
    both = dts is not None and dts != pts
    times = _field(3 if both else 2, pts) + (_field(1, dts) if both and dts is not None else b"")
    length = 3 + len(times) + size
    if stream_id & 0xF0 == VIDEO and (not size or length > 0xFFFF):
        length = 0
    if length > 0xFFFF:
        raise ValueError(
            f"a PES packet of sound with {size} bytes is longer than its length field; the frame is damaged"
        )
    # data_alignment_indicator: an access unit begins with each payload.
    return b"\0\0\1" + bytes((stream_id, length >> 8, length & 0xFF, 0x84, 0xC0 if both else 0x80, len(times))) + times


@dataclass(frozen=True, slots=True)
class PesPacket:
    """A whole PES packet. Times are in units of 90 kHz modulo 2^33, or None."""

    stream_id: int
    pts: int | None
    dts: int | None
    """Equal to ``pts`` where it is not written."""
    payload: bytes

    @classmethod
    def from_bytes(cls, data: bytes) -> PesPacket:
        """Parse one. Raises ValueError if it is truncated or does not begin with the start code."""
        if data[:3] != b"\0\0\1":
            raise ValueError("the PES packet does not begin with its start code 0x000001; it is damaged or scrambled")
        if len(data) < 6:
            raise ValueError(f"the PES packet is truncated: it has {len(data)} bytes, and its header has 6")
        stream_id, length = data[3], int.from_bytes(data[4:6], "big")
        end = 6 + length if length else len(data)
        if end > len(data):
            raise ValueError(f"the PES packet is truncated: it has {len(data)} bytes of {end}")
        if stream_id in _WITHOUT_HEADER:
            return cls(stream_id, None, None, data[6:end])
        begin = 9 + data[8] if end >= 9 else end + 1
        if begin > end:
            raise ValueError("the PES packet is truncated: its header is longer than the packet")
        written = data[7] >> 6
        if data[8] < (0, 0, 5, 10)[written]:
            raise ValueError(
                "the PES packet is truncated: its header has no room for the timestamps that its flags promise"
            )
        pts = _value(data[9:14]) if written & 2 else None
        dts = _value(data[14:19]) if written == 3 else pts
        return cls(stream_id, pts, dts, data[begin:end])

    def to_bytes(self) -> bytes:
        """The packet. Raises ValueError without a PTS."""
        if self.pts is None:
            raise ValueError("a PES packet without a PTS cannot be presented")
        return header(self.stream_id, len(self.payload), self.pts, self.dts) + self.payload
