"""AAC: AudioSpecificConfig, ADTS header, ``esds`` (ISO/IEC 14496-3, 1.6.2 and 1.A.2.2; ISO/IEC 14496-1, 7.2.6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from packagers.codec.bits import BitReader, BitWriter

SAMPLE_RATES: Final = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
CHANNELS: Final = (0, 1, 2, 3, 4, 5, 6, 8)
"""Channels of a channelConfiguration; 0 is described by a program config element."""

LC: Final = 2
SBR: Final = 5
PS: Final = 29
_SYNC_EXTENSION: Final = 0x2B7


@dataclass(frozen=True, slots=True)
class AudioSpecificConfig:
    """What a decoder must know of an AAC stream."""

    object_type: int
    """Of the core coder: 2 is AAC-LC."""
    sample_rate: int
    """Of the core coder; with SBR half of what is heard."""
    channel_configuration: int
    sbr: bool = False
    ps: bool = False
    extension_rate: int = 0
    """Sample rate with SBR, 0 without."""
    short_frames: bool = False
    """960 samples in a frame of the core coder, not 1 024."""

    @classmethod
    def from_bytes(cls, data: bytes) -> AudioSpecificConfig:
        """Parse one. Raises ValueError if it is truncated or no AAC."""
        bits = BitReader(data, "AudioSpecificConfig")
        kind, rate, channels = _object_type(bits), _rate(bits), bits.u(4)
        sbr, ps, extension = kind in (SBR, PS), kind == PS, 0
        if sbr:
            extension, kind = _rate(bits), _object_type(bits)
        if kind not in (1, 2, 3, 4, 6, 7, 17, 19, 20, 21, 22, 23):
            raise ValueError(f"the AudioSpecificConfig has object type {kind}, which is not AAC; use AAC-LC or HE-AAC")
        short = bits.flag()
        if bits.flag():
            bits.skip(14)
        if bits.flag() and kind == 22:
            bits.skip(16)
        # Explicit, backward compatible signalling (1.6.6.1) stands behind the core's configuration.
        if (
            not sbr
            and channels
            and bits.left >= 16
            and bits.u(11) == _SYNC_EXTENSION
            and _object_type(bits) == SBR
            and bits.flag()
        ):
            sbr, extension = True, _rate(bits)
            ps = bits.left >= 12 and bits.u(11) == 0x548 and bits.flag()
        return cls(kind, rate, channels, sbr, ps, extension, short)

    def to_bytes(self) -> bytes:
        """The config with hierarchical (explicit) SBR signalling. Raises ValueError on values it cannot hold."""
        out = BitWriter()
        if self.sbr:
            out.u(PS if self.ps else SBR, 5)
            _write_rate(out, self.sample_rate)
            out.u(self.channel_configuration, 4)
            _write_rate(out, self.extension_rate)
            out.u(self.object_type, 5)
        else:
            out.u(self.object_type, 5)
            _write_rate(out, self.sample_rate)
            out.u(self.channel_configuration, 4)
        return out.u(self.short_frames, 1).u(0, 2).to_bytes()

    @property
    def codec_string(self) -> str:
        """RFC 6381: ``mp4a.40.2`` for AAC-LC, ``mp4a.40.5`` for HE-AAC, ``mp4a.40.29`` for HE-AAC v2."""
        return f"mp4a.40.{PS if self.ps else SBR if self.sbr else self.object_type}"

    def adts(self, size: int) -> bytes:
        """The ADTS header of a raw_data_block of ``size`` bytes (1.A.2.2), without CRC.

        Raises ValueError for what ADTS cannot say: object types above 4, odd rates, a program config element.
        """
        if (
            not 1 <= self.object_type <= 4
            or self.sample_rate not in SAMPLE_RATES
            or not 1 <= self.channel_configuration <= 7
        ):
            raise ValueError(
                f"AAC with object type {self.object_type}, {self.sample_rate} Hz and channel configuration "
                f"{self.channel_configuration} has no ADTS header, so it cannot go "
                "into a transport stream; use AAC-LC or CMAF"
            )
        length = size + 7
        if length > 0x1FFF:
            raise ValueError(
                f"an AAC frame of {size} bytes is longer than ADTS can say (8184); the encoder's output is damaged"
            )
        word = 0xFFF1 << 40 | (self.object_type - 1) << 38 | SAMPLE_RATES.index(self.sample_rate) << 34
        # 0x7FF in adts_buffer_fullness: variable rate.
        return (word | self.channel_configuration << 30 | length << 13 | 0x7FF << 2).to_bytes(7, "big")


def _object_type(bits: BitReader) -> int:
    kind = bits.u(5)
    return 32 + bits.u(6) if kind == 31 else kind


def _rate(bits: BitReader) -> int:
    index = bits.u(4)
    if index == 15:
        return bits.u(24)
    if index >= len(SAMPLE_RATES):
        raise ValueError(f"the AudioSpecificConfig has the reserved sampling frequency index {index}; it is damaged")
    return SAMPLE_RATES[index]


def _write_rate(out: BitWriter, rate: int) -> None:
    if rate in SAMPLE_RATES:
        out.u(SAMPLE_RATES.index(rate), 4)
    else:
        out.u(15, 4).u(rate, 24)


def descriptor(config: bytes, bitrate: int, maxrate: int) -> bytes:
    """The ES_Descriptor of an ``esds`` box (ISO/IEC 14496-14, 5.6), object type indication 0x40."""
    specific = _expandable(5, config)
    decoder = bytes((0x40, 5 << 2 | 1, 0, 0, 0)) + maxrate.to_bytes(4, "big") + bitrate.to_bytes(4, "big") + specific
    return _expandable(3, b"\0\0\0" + _expandable(4, decoder) + _expandable(6, b"\2"))


def _expandable(tag: int, payload: bytes) -> bytes:
    size = [len(payload) & 0x7F]
    rest = len(payload) >> 7
    while rest:
        size.insert(0, 0x80 | rest & 0x7F)
        rest >>= 7
    return bytes((tag, *size)) + payload
