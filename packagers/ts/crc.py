"""CRC-32 of MPEG-2 sections (ISO/IEC 13818-1, Annex A): polynomial 0x04C11DB7, not reflected, no final inversion."""

from __future__ import annotations

from typing import Final


def _entry(byte: int) -> int:
    value = byte << 24
    for _ in range(8):
        value = (value << 1 ^ 0x04C11DB7 if value & 0x80000000 else value << 1) & 0xFFFFFFFF
    return value


_TABLE: Final = tuple(_entry(byte) for byte in range(256))


def crc32(data: bytes) -> int:
    """The CRC of ``data``; 0 for data that ends with its own CRC.

    >>> hex(crc32(b"123456789"))
    '0x376e6e7'
    """
    value = 0xFFFFFFFF
    for byte in data:
        value = (value << 8 & 0xFFFFFFFF) ^ _TABLE[value >> 24 ^ byte]
    return value
