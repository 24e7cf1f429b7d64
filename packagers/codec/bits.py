"""Bits of a header, most significant first, as every codec standard writes them: ``u(n)``, ``ue(v)``, ``se(v)``.

Running past the end is always ``ValueError("the ... is truncated ...")``: headers come from the network.
"""

from __future__ import annotations


class BitReader:
    """Reads big-endian bit fields of ``data``; ``name`` is what an error calls it."""

    def __init__(self, data: bytes, name: str = "header") -> None:
        self._data = data
        self._name = name
        self._end = len(data) * 8
        self.position = 0
        """Bits read so far."""

    @property
    def left(self) -> int:
        """Bits not read yet."""
        return self._end - self.position

    def u(self, bits: int) -> int:
        """An unsigned field of ``bits`` bits."""
        end = self.position + bits
        if end > self._end:
            raise ValueError(
                f"the {self._name} is truncated: bit {end} is needed, but it has {self._end}; "
                "the stream cannot be described"
            )
        first, last = self.position >> 3, (end + 7) >> 3
        self.position = end
        return int.from_bytes(self._data[first:last], "big") >> (last * 8 - end) & ((1 << bits) - 1)

    def flag(self) -> bool:
        """One bit."""
        return self.u(1) == 1

    def skip(self, bits: int) -> None:
        """Pass over ``bits`` bits."""
        self.u(bits)

    def ue(self) -> int:
        """An unsigned Exp-Golomb code (ISO/IEC 14496-10, 9.1), at most 32 bits."""
        zeros = 0
        while not self.u(1):
            zeros += 1
            if zeros > 32:
                raise ValueError(f"the {self._name} has an Exp-Golomb code of more than 32 bits; it is damaged")
        return (1 << zeros) - 1 + self.u(zeros)

    def se(self) -> int:
        """A signed Exp-Golomb code (ISO/IEC 14496-10, 9.1.1)."""
        code = self.ue()
        return (code + 1) >> 1 if code & 1 else -(code >> 1)

    def align(self) -> None:
        """Go to the next byte boundary."""
        self.position = (self.position + 7) & ~7

    def take(self, count: int) -> bytes:
        """``count`` whole bytes from a byte boundary."""
        start = self.position >> 3
        self.u(count * 8)
        return self._data[start : start + count]


class BitWriter:
    """Writes big-endian bit fields."""

    def __init__(self) -> None:
        self._value = 0
        self._bits = 0

    def u(self, value: int, bits: int) -> BitWriter:
        """Append an unsigned field. Raises ValueError if the value does not fit."""
        if value < 0 or value >> bits:
            raise ValueError(f"the value {value} does not fit into a field of {bits} bits")
        self._value = self._value << bits | value
        self._bits += bits
        return self

    def to_bytes(self) -> bytes:
        """What was written, filled with zero bits to a whole byte."""
        fill = -self._bits % 8
        return (self._value << fill).to_bytes((self._bits + fill) // 8, "big")
