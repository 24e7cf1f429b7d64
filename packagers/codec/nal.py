"""NAL units of a byte stream: what H.264 (ISO/IEC 14496-10, Annex B) and HEVC (ISO/IEC 23008-2, Annex B) share."""

from __future__ import annotations

from collections.abc import Iterable

START_CODE = b"\0\0\0\1"


def split(data: bytes) -> list[bytes]:
    """The NAL units of a byte stream, without start codes and trailing zeros.

    Raises ValueError if there is none.
    """
    units: list[bytes] = []
    start = data.find(b"\0\0\1")
    while start >= 0:
        following = data.find(b"\0\0\1", start + 3)
        # A NAL unit never ends with a zero byte (7.4.1): zeros there belong to the next, four-byte, start code.
        unit = data[start + 3 : following if following >= 0 else len(data)].rstrip(b"\0")
        if unit:
            units.append(unit)
        start = following
    if not units:
        raise ValueError("the access unit has no NAL unit behind a start code, so it is no Annex B byte stream")
    return units


def join(units: Iterable[bytes]) -> bytes:
    """A byte stream with four-byte start codes."""
    return b"".join(START_CODE + unit for unit in units)


def length_prefixed(units: Iterable[bytes]) -> bytes:
    """NAL units behind four-byte lengths (ISO/IEC 14496-15, 4.3.3)."""
    return b"".join(len(unit).to_bytes(4, "big") + unit for unit in units)


def unescape(unit: bytes) -> bytes:
    """The raw byte sequence payload of a NAL unit: without emulation_prevention_three_byte (7.3.1)."""
    if b"\0\0\3" not in unit:
        return unit
    out = bytearray()
    start = 0
    while (found := unit.find(b"\0\0\3", start)) >= 0:
        out += unit[start : found + 2]
        # The zeros before a removed 3 do not count for the next one.
        start = found + 3
    return bytes(out + unit[start:])


def escape(payload: bytes) -> bytes:
    """The inverse of :func:`unescape`."""
    out = bytearray()
    zeros = 0
    for byte in payload:
        if zeros >= 2 and byte <= 3:
            out.append(3)
            zeros = 0
        out.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return bytes(out)
