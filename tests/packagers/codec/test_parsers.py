"""Every parser of coded headers meets bytes from anywhere: it answers, or says ValueError, and nothing else."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packagers.codec import aac, ac3, av1, eac3, h264, hevc, mp2, nal, opus

PARSERS: dict[str, tuple[bytes, Callable[[bytes], Any]]] = {
    "h264": (b"\x67\x64\0\x1f", h264.SequenceParameterSet.from_bytes),
    "hevc": (b"\x42\x01", hevc.SequenceParameterSet.from_bytes),
    "av1": (b"", av1.SequenceHeader.from_bytes),
    "obu": (b"", lambda data: list(av1.split(data))),
    "aac": (b"", aac.AudioSpecificConfig.from_bytes),
    "ac3": (b"\x0b\x77", ac3.SyncFrame.from_bytes),
    "eac3": (b"\x0b\x77", eac3.syncframes),
    "eac3 configuration": (b"\x0b\x77", lambda data: eac3.configuration(data, 192_000)),
    "mp2": (b"\xff\xfd", mp2.FrameHeader.from_bytes),
    "opus": (b"OpusHead", opus.OpusHead.from_bytes),
    "nal": (b"\0\0\1", nal.split),
}


@pytest.mark.parametrize("name", sorted(PARSERS))
@given(data=st.binary(max_size=120), headed=st.booleans())
def test_a_parser_answers_or_raises_value_error(name: str, data: bytes, headed: bool) -> None:
    head, parse = PARSERS[name]
    with contextlib.suppress(ValueError):
        parse(head + data if headed else data)


@given(st.binary(max_size=200))
def test_emulation_prevention_is_undone(payload: bytes) -> None:
    escaped = nal.escape(payload)
    assert nal.unescape(escaped) == payload
    assert b"\0\0\1" not in escaped
    assert b"\0\0\0" not in escaped


@given(st.lists(st.binary(min_size=1, max_size=40).map(lambda d: nal.escape(d) + b"\x80"), min_size=1, max_size=5))
def test_nal_units_survive_a_byte_stream(units: list[bytes]) -> None:
    assert nal.split(nal.join(units)) == units


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"OpusHead\1\2", "the OpusHead is truncated: it has 10 bytes of 19"),
        (b"Vorbis", "not an OpusHead"),
    ],
)
def test_an_error_names_its_reason(data: bytes, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        opus.OpusHead.from_bytes(data)


@pytest.mark.parametrize("rate", [48000, 44100, 24000])
@pytest.mark.parametrize("sbr", [False, True])
def test_an_audio_specific_config_is_written_as_it_was_read(rate: int, sbr: bool) -> None:
    config = aac.AudioSpecificConfig(aac.LC, rate, 2, sbr, False, 48000 if sbr else 0)
    assert aac.AudioSpecificConfig.from_bytes(config.to_bytes()) == config
    assert config.codec_string == ("mp4a.40.5" if sbr else "mp4a.40.2")


def test_backward_compatible_signalling_of_sbr_is_seen() -> None:
    # LC 24 kHz stereo, then the sync extension 0x2B7, SBR, 48 kHz.
    assert aac.AudioSpecificConfig.from_bytes(bytes.fromhex("131056e598")).codec_string == "mp4a.40.5"


def test_adts_says_the_length_of_frame_and_header() -> None:
    header = aac.AudioSpecificConfig(aac.LC, 48000, 2).adts(100)
    assert header[:2] == b"\xff\xf1"
    assert int.from_bytes(header[3:6], "big") >> 5 & 0x1FFF == 107


def test_channels_by_program_config_element_have_no_adts_header() -> None:
    with pytest.raises(ValueError, match="cannot go into a transport stream"):
        aac.AudioSpecificConfig(aac.LC, 48000, 0).adts(100)
