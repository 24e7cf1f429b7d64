"""The CRC against its published check value and against a definition bit by bit."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from packagers.ts.crc import crc32


def test_the_published_check_value() -> None:
    """CRC-32/MPEG-2 of "123456789"."""
    assert crc32(b"123456789") == 0x0376E6E7


@given(st.binary(max_size=80))
def test_bit_by_bit(data: bytes) -> None:
    value = 0xFFFFFFFF
    for bit in f"{int.from_bytes(data, 'big'):0{8 * len(data)}b}" if data else "":
        top = value >> 31 ^ int(bit)
        value = value << 1 & 0xFFFFFFFF ^ (0x04C11DB7 if top else 0)
    assert crc32(data) == value
    assert crc32(data + value.to_bytes(4, "big")) == 0
