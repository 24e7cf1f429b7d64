"""The strings of CODECS attributes (RFC 6381), true to the parameter sets of a stream and not to its configuration."""

from __future__ import annotations

from collections.abc import Callable

from headend.accessunit import AccessUnit, StreamFormat
from packagers.codec import aac, ac3, av1, eac3, h264, hevc, mp2, nal, opus


def codec_string(fmt: StreamFormat, unit: AccessUnit) -> str:
    """RFC 6381 name of a stream, read from ``fmt.extradata`` (AAC, Opus) or from the key access unit ``unit``.

    Raises ValueError when they are missing or damaged.
    """
    match fmt.codec:
        case "h264":
            return h264.SequenceParameterSet.from_bytes(_first(unit.data, h264.SPS, h264.unit_type)).codec_string
        case "hevc":
            return hevc.SequenceParameterSet.from_bytes(_first(unit.data, hevc.SPS, hevc.unit_type)).codec_string
        case "av1":
            return av1.SequenceHeader.from_bytes(av1.sequence_header(unit.data).payload).codec_string
        case "aac" | "he-aac":
            return aac.AudioSpecificConfig.from_bytes(fmt.extradata).codec_string
        case "ac3":
            ac3.SyncFrame.from_bytes(unit.data)
            return ac3.CODEC_STRING
        case "eac3":
            eac3.syncframes(unit.data)
            return eac3.CODEC_STRING
        case "mp2":
            mp2.FrameHeader.from_bytes(unit.data)
            return mp2.CODEC_STRING
        case "opus":
            opus.OpusHead.from_bytes(fmt.extradata)
            return opus.CODEC_STRING


def _first(data: bytes, kind: int, unit_type: Callable[[bytes], int]) -> bytes:
    for unit in nal.split(data):
        if unit_type(unit) == kind:
            return unit
    raise ValueError(
        "the access unit has no sequence parameter set, so the stream cannot be described; ask with a key access unit"
    )
