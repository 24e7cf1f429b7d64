"""Parameter sets and codec strings, judged by the encoders that wrote them and by the decoders that read them."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest

from headend.accessunit import AccessUnit, StreamFormat
from packagers.codec import ac3, av1, codec_string, eac3, h264, hevc, mp2, nal, opus

ENCODERS = {"h264": "libx264", "hevc": "libx265", "av1": "libsvtav1"}
H264_PROFILES = {"baseline": 66, "main": 77, "high": 100, "high10": 110, "high422": 122}


def key_picture(codec: str, size: tuple[int, int], pixels: str, options: dict[str, str], sar: Fraction) -> bytes:
    """The first access unit of an encoder."""
    context: Any = av.CodecContext.create(ENCODERS[codec], "w")
    context.width, context.height, context.pix_fmt = *size, pixels
    context.time_base, context.framerate = Fraction(1, 25), Fraction(25)
    context.sample_aspect_ratio = sar
    context.color_primaries, context.color_trc, context.colorspace = 9, 18, 9  # BT.2020 with HLG
    context.options = options
    plane = np.full((size[1], size[0], 3), 90, np.uint8)
    packets = []
    for index in range(3):
        frame = av.VideoFrame.from_ndarray(plane, format="rgb24").reformat(format=pixels)
        frame.pts, frame.time_base = index, Fraction(1, 25)
        packets += context.encode(frame)
    packets += context.encode(None)
    return bytes(packets[0])


def decoded(codec: str, data: bytes) -> Any:
    """What FFmpeg's decoder says of the access unit: the context, after it was fed."""
    context: Any = av.CodecContext.create({"av1": "libdav1d"}.get(codec, codec), "r")
    assert [*context.decode(av.Packet(data)), *context.decode(None)]
    return context


def unit(data: bytes) -> AccessUnit:
    return AccessUnit(0, 0, 1, True, data)


@pytest.mark.parametrize("size", [(160, 90), (1440, 1080), (130, 66), (720, 576)])
@pytest.mark.parametrize(
    ("profile", "pixels"),
    [
        ("baseline", "yuv420p"),
        ("main", "yuv420p"),
        ("high", "yuv420p"),
        ("high10", "yuv420p10le"),
        ("high422", "yuv422p"),
    ],
)
def test_h264(size: tuple[int, int], profile: str, pixels: str) -> None:
    options = {"preset": "ultrafast", "profile": profile, "x264-params": "threads=1:bframes=0"}
    data = key_picture("h264", size, pixels, options, Fraction(4, 3))
    judge = decoded("h264", data)
    sps = h264.SequenceParameterSet.from_bytes(next(u for u in nal.split(data) if h264.unit_type(u) == h264.SPS))
    assert (sps.width, sps.height) == (judge.width, judge.height) == size
    assert sps.sar == judge.sample_aspect_ratio == Fraction(4, 3)
    assert (sps.colour.primaries, sps.colour.transfer, sps.colour.matrix) == (9, 18, 9)
    assert (sps.rate, sps.interlaced) == (25, False)
    assert sps.bit_depth_luma == (10 if "10" in pixels else 8)
    assert sps.chroma_format == (2 if "422" in pixels else 1)
    name = codec_string(StreamFormat("video", "h264"), unit(data))
    assert name.startswith("avc1.")
    # x264 may write a smaller profile than it was allowed, never a larger one.
    assert int(name[5:7], 16) <= H264_PROFILES[profile]
    assert bytes.fromhex(name[5:]) == next(u for u in nal.split(data) if h264.unit_type(u) == h264.SPS)[1:4]


def test_h264_interlaced() -> None:
    """The height counts lines of both fields, as the broadcaster does."""
    options = {"preset": "ultrafast", "flags": "+ildct+ilme", "x264-params": "threads=1:interlaced=1"}
    data = key_picture("h264", (720, 576), "yuv420p", options, Fraction(1))
    sps = h264.SequenceParameterSet.from_bytes(next(u for u in nal.split(data) if h264.unit_type(u) == h264.SPS))
    assert (sps.width, sps.height, sps.interlaced) == (720, 576, True)


@pytest.mark.parametrize("size", [(160, 90), (720, 576)])
@pytest.mark.parametrize(("pixels", "name"), [("yuv420p", "hvc1.1.6.L"), ("yuv420p10le", "hvc1.2.4.L")])
def test_hevc(size: tuple[int, int], pixels: str, name: str) -> None:
    options = {"preset": "ultrafast", "x265-params": "log-level=none:pools=none:frame-threads=1:bframes=0"}
    data = key_picture("hevc", size, pixels, options, Fraction(4, 3))
    judge = decoded("hevc", data)
    sps = hevc.SequenceParameterSet.from_bytes(next(u for u in nal.split(data) if hevc.unit_type(u) == hevc.SPS))
    assert (sps.width, sps.height) == (judge.width, judge.height) == size
    assert sps.sar == judge.sample_aspect_ratio == Fraction(4, 3)
    assert (sps.colour.primaries, sps.colour.transfer, sps.colour.matrix) == (9, 18, 9)
    assert sps.bit_depth_luma == (10 if "10" in pixels else 8)
    assert sps.rate == 25
    assert codec_string(StreamFormat("video", "hevc"), unit(data)).startswith(name)


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv420p10le"])
def test_av1(pixels: str) -> None:
    data = key_picture("av1", (160, 90), pixels, {"preset": "12", "svtav1-params": "lp=1"}, Fraction(1))
    judge = decoded("av1", data)
    header = av1.SequenceHeader.from_bytes(av1.sequence_header(data).payload)
    assert (header.width, header.height) == (judge.width, judge.height) == (160, 90)
    assert header.bit_depth == (10 if "10" in pixels else 8)
    assert (header.colour.primaries, header.colour.transfer, header.colour.matrix) == (9, 18, 9)
    name = codec_string(StreamFormat("video", "av1"), unit(data))
    assert name.startswith(f"av01.0.{header.level:02d}M.{header.bit_depth:02d}.0.11")
    assert name.endswith(".09.18.09.0")


@pytest.mark.parametrize(
    ("codec", "encoder", "rate", "name"),
    [
        ("aac", "aac", 48_000, "mp4a.40.2"),
        ("aac", "aac", 44_100, "mp4a.40.2"),
        ("ac3", "ac3", 48_000, "ac-3"),
        ("ac3", "ac3", 32_000, "ac-3"),
        ("eac3", "eac3", 48_000, "ec-3"),
        ("mp2", "mp2", 48_000, "mp4a.40.33"),
        ("mp2", "mp2", 24_000, "mp4a.40.33"),
        ("opus", "libopus", 48_000, "Opus"),
    ],
)
def test_sound(codec: Any, encoder: str, rate: int, name: str) -> None:
    context: Any = av.CodecContext.create(encoder, "w")
    context.sample_rate, context.layout, context.bit_rate = rate, "stereo", 96_000
    context.format = "s16" if encoder in ("mp2", "libopus") else "fltp"
    context.time_base = Fraction(1, rate)
    context.open()
    shape = (1, 2 * context.frame_size) if context.format.is_packed else (2, context.frame_size)
    kind = np.int16 if context.format.name == "s16" else np.float32
    packets = []
    for index in range(4):
        frame = av.AudioFrame.from_ndarray(np.zeros(shape, kind), format=context.format.name, layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = rate, index * context.frame_size, Fraction(1, rate)
        packets += context.encode(frame)
    data = bytes(packets[0])
    fmt = StreamFormat("audio", codec, extradata=bytes(context.extradata or b""), sample_rate=rate, channels=2)
    assert codec_string(fmt, unit(data)) == name
    if codec == "ac3":
        found = ac3.SyncFrame.from_bytes(data)
        assert (found.sample_rate, found.acmod, found.lfeon) == (rate, 2, False)
    elif codec == "eac3":
        assert [(f.size, f.acmod, f.blocks) for f in eac3.syncframes(data)] == [(len(data), 2, 6)]
    elif codec == "mp2":
        header = mp2.FrameHeader.from_bytes(data)
        assert (header.sample_rate, header.channels, header.bitrate) == (rate, 2, 96_000)
        assert header.mpeg1 == (rate >= 32_000)
    elif codec == "opus":
        assert opus.OpusHead.from_bytes(fmt.extradata).channels == 2


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_a_picture_without_parameter_sets_is_refused(codec: Any) -> None:
    with pytest.raises(ValueError, match="no sequence parameter set"):
        codec_string(StreamFormat("video", codec), unit(b"\0\0\0\1\x41\x01\x02"))
