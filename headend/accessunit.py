"""One coded picture or audio frame, and the format of the stream it belongs to.

The framing of ``AccessUnit.data`` is fixed per codec, so that every packager can rely on it:

========  ==========================================================================================
h264      Annex B byte stream, SPS and PPS in band before each key picture (ISO/IEC 14496-10)
hevc      Annex B byte stream, VPS, SPS and PPS in band before each key picture (ISO/IEC 23008-2)
av1       one temporal unit of low-overhead OBUs, no temporal delimiter, sequence header before each key
aac       one raw_data_block without ADTS; ``extradata`` is the AudioSpecificConfig (ISO/IEC 14496-3)
he-aac    as aac, SBR signalled in the AudioSpecificConfig
ac3       one syncframe (ETSI TS 102 366)
eac3      the syncframes of one 1 536-sample access unit
mp2       one frame (ISO/IEC 11172-3 or 13818-3, layer II)
opus      one packet; ``extradata`` is the OpusHead (RFC 7845)
========  ==========================================================================================
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any, Literal

Kind = Literal["video", "audio"]
Codec = Literal["h264", "hevc", "av1", "aac", "he-aac", "ac3", "eac3", "mp2", "opus"]


@dataclass(frozen=True, slots=True)
class AccessUnit:
    """One coded picture or audio frame. All times are ticks of 27 MHz since the Unix epoch."""

    pts: int
    """Presentation time of the first sample or of the picture."""
    dts: int
    """Decoding time; equal to ``pts`` for sound. Strictly rising within a stream."""
    duration: int
    """How long it is presented."""
    key: bool
    """A decoder can start here, and nothing after it refers to anything before it (closed GOP). Always true for
    sound."""
    data: bytes
    """The bytes, framed as this module's docstring says."""
    generation: int = 0
    """House time at which the encoder that made it was started: it changes when the encoder was replaced."""


@dataclass(frozen=True, slots=True)
class StreamFormat:
    """What a reader must know about a stream before its first access unit."""

    kind: Kind
    codec: Codec
    timescale: int = 27_000_000
    extradata: bytes = b""
    bitrate: int = 0
    """Average, bit/s, as configured."""
    maxrate: int = 0
    """VBV peak, bit/s; equals ``bitrate`` for sound."""
    width: int = 0
    height: int = 0
    rate: Fraction = Fraction(0)
    """Pictures a second."""
    sar: Fraction = Fraction(1)
    pixel_format: str = ""
    video_range: Literal["SDR", "HLG", "PQ"] = "SDR"
    sample_rate: int = 0
    channels: int = 0
    frame_samples: int = 0
    """Samples in one audio access unit."""
    language: str = "und"
    """ISO 639-2/T code."""
    name: str = ""
    """What a viewer reads in an audio menu."""

    def to_json(self) -> dict[str, Any]:
        """A JSON object; ``extradata`` in hex, fractions as strings."""
        row = asdict(self)
        row["extradata"] = self.extradata.hex()
        row["rate"] = str(self.rate)
        row["sar"] = str(self.sar)
        return row

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> StreamFormat:
        """The inverse of :meth:`to_json`. Raises TypeError or ValueError on a row of another shape."""
        return cls(
            **{
                **row,
                "extradata": bytes.fromhex(row["extradata"]),
                "rate": Fraction(row["rate"]),
                "sar": Fraction(row["sar"]),
            }
        )
