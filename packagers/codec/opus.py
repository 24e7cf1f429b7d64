"""Opus: OpusHead (RFC 7845, 5.1) and ``dOps`` (Encapsulation of Opus in ISOBMFF, 4.3.2)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

CODEC_STRING: Final = "Opus"
"""The sample entry's name, as RFC 6381 asks; browsers also take "opus"."""


@dataclass(frozen=True, slots=True)
class OpusHead:
    """The identification header."""

    channels: int
    pre_skip: int
    """Samples at 48 kHz that a decoder makes before the first sample of the programme."""
    input_rate: int
    gain: int
    """Q7.8 dB."""
    family: int
    mapping: bytes = b""
    """Stream count, coupled count and channel mapping, for family 1 and above."""

    @classmethod
    def from_bytes(cls, data: bytes) -> OpusHead:
        """Parse one. Raises ValueError if it is truncated or something else."""
        if data[:8] != b"OpusHead":
            raise ValueError("the extradata of the Opus stream is not an OpusHead, so a decoder cannot be configured")
        if len(data) < 19:
            raise ValueError(f"the OpusHead is truncated: it has {len(data)} bytes of 19")
        _, channels, pre_skip, rate, gain, family = struct.unpack("<BBHIhB", data[8:19])
        mapping = data[19 : 21 + channels] if family else b""
        if family and len(mapping) < 2 + channels:
            raise ValueError(
                f"the OpusHead is truncated: its channel mapping has {len(mapping)} bytes of {2 + channels}"
            )
        if not channels:
            raise ValueError("the OpusHead has no channels; it is damaged")
        return cls(channels, pre_skip, rate, gain, family, mapping)

    def configuration(self) -> bytes:
        """The body of the OpusSpecificBox: the same fields in network order, version 0."""
        return (
            struct.pack(">BBHIhB", 0, self.channels, self.pre_skip, self.input_rate, self.gain, self.family)
            + self.mapping
        )
