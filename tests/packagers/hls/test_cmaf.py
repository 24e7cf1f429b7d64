"""CMAF as other people's demuxers and decoders read it: exact times, identical pictures."""

from __future__ import annotations

import io
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest

from headend.accessunit import AccessUnit, StreamFormat
from packagers.codec import av1, codec_string
from packagers.hls import boxes
from packagers.hls.cmaf import CmafTrack

EPOCH = 1_800_000_000 * 27_000_000
FRAMES = 30
ENCODERS = {
    "h264": (
        "libx264",
        {"preset": "veryfast", "x264-params": "repeat-headers=1:scenecut=0:keyint=10:bframes=2:b-adapt=0"},
    ),
    "hevc": (
        "libx265",
        {"preset": "ultrafast", "x265-params": "repeat-headers=1:open-gop=0:keyint=10:bframes=2:log-level=none"},
    ),
    "av1": ("libsvtav1", {"preset": "12", "svtav1-params": "keyint=10:pred-struct=1"}),
}
DECODERS = {"h264": "h264", "hevc": "hevc", "av1": "libdav1d"}


def pictures(codec: str, rate: Fraction) -> tuple[StreamFormat, list[AccessUnit]]:
    """A short moving picture, its times on the house grid."""
    name, options = ENCODERS[codec]
    context = av.CodecContext.create(name, "w")
    context.width, context.height, context.pix_fmt = 160, 90, "yuv420p"
    context.framerate, context.time_base, context.gop_size, context.options = rate, 1 / rate, 10, options
    packets = []
    for index in range(FRAMES):
        plane = np.full((135, 160), 40 + index, np.uint8)
        plane[:90, index * 4 : index * 4 + 16] = 235
        frame = av.VideoFrame.from_ndarray(plane, "yuv420p")
        frame.pts, frame.time_base = index, 1 / rate
        packets += context.encode(frame)
    packets += context.encode(None)
    slot = int(27_000_000 / rate)
    first = EPOCH // slot * slot
    units = []
    for packet in packets:
        assert packet.pts is not None
        assert packet.dts is not None
        data = av1.sample(bytes(packet)) if codec == "av1" else bytes(packet)
        times = first + packet.pts * slot, first + packet.dts * slot, slot
        units.append(AccessUnit(*times, packet.is_keyframe, data))
    return StreamFormat("video", codec, width=160, height=90, rate=rate, bitrate=300_000, maxrate=400_000), units  # type: ignore[arg-type]


def segments(units: list[AccessUnit]) -> list[list[AccessUnit]]:
    keys = [index for index, unit in enumerate(units) if unit.key]
    return [units[a:b] for a, b in zip(keys, [*keys[1:], len(units)], strict=True)]


def decoded(units: list[AccessUnit], codec: str) -> list[bytes]:
    context = av.CodecContext.create(DECODERS[codec], "r")
    frames = [frame for unit in units for frame in context.decode(av.Packet(unit.data))] + context.decode(None)
    return [frame.to_ndarray().tobytes() for frame in frames]


@pytest.mark.parametrize(
    ("codec", "rate", "timescale"),
    [
        ("h264", Fraction(25), 90_000),
        ("h264", Fraction(24000, 1001), 24_000),
        ("h264", Fraction(30000, 1001), 90_000),
        ("h264", Fraction(60000, 1001), 60_000),
        ("hevc", Fraction(50), 90_000),
        ("av1", Fraction(25), 90_000),
    ],
)
def test_times_are_house_time_and_pictures_are_those_of_the_byte_stream(
    codec: str, rate: Fraction, timescale: int, tmp_path: Path
) -> None:
    fmt, units = pictures(codec, rate)
    track = CmafTrack(fmt)
    assert track.timescale == timescale
    data = track.init(units[0]) + b"".join(track.fragment(run, sequence=n) for n, run in enumerate(segments(units)))
    tick = Fraction(27_000_000, timescale)
    with av.open(io.BytesIO(data)) as container:
        read = [packet for packet in container.demux() if packet.size]
        assert [(p.pts or 0) * tick for p in read] == [unit.pts for unit in units]
        assert [(p.dts or 0) * tick for p in read] == [unit.dts for unit in units]
        assert [p.is_keyframe for p in read] == [unit.key for unit in units]
    with av.open(io.BytesIO(data)) as container:
        assert [f.to_ndarray().tobytes() for f in container.decode(video=0)] == decoded(units, codec)
    file = tmp_path / "all.mp4"
    file.write_bytes(data)
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "warning", "-xerror", "-i", str(file), "-f", "null", "-"]
    judged = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert (judged.returncode, judged.stderr) == (0, "")


@pytest.mark.gstreamer
def test_gstreamer_reads_every_sample(tmp_path: Path) -> None:
    fmt, units = pictures("h264", Fraction(25))
    track = CmafTrack(fmt)
    file = tmp_path / "all.mp4"
    file.write_bytes(track.init(units[0]) + b"".join(track.fragment(run) for run in segments(units)))
    chain = f"filesrc location={file} ! qtdemux ! fakesink silent=false"
    judged = subprocess.run(
        ["gst-launch-1.0", "-v", *chain.split()], capture_output=True, text=True, timeout=50, check=False
    )
    assert judged.returncode == 0, judged.stderr
    assert judged.stdout.count("chain   *******") == FRAMES


def test_parts_hold_the_samples_of_their_segment() -> None:
    fmt, units = pictures("h264", Fraction(25))
    track = CmafTrack(fmt)
    run = segments(units)[1]
    init = track.init(run[0])

    def samples(data: bytes) -> list[tuple[int | None, int | None, int | None, bytes]]:
        with av.open(io.BytesIO(init + data)) as container:
            return [(p.pts, p.dts, p.duration, bytes(p)) for p in container.demux() if p.size]

    parts = b"".join(track.fragment(run[at : at + 4]) for at in range(0, len(run), 4))
    assert samples(parts) == samples(track.fragment(run))


def test_the_last_sample_lasts_until_the_end_of_the_segment() -> None:
    fmt, units = pictures("h264", Fraction(25))
    track = CmafTrack(fmt)
    run = segments(units)[0]
    # The last picture of the segment was lost: the one before it is shown for both.
    whole = run[0].pts + len(run) * run[0].duration
    with av.open(io.BytesIO(track.init(run[0]) + track.fragment(run[:-1], end=whole))) as container:
        lasting = [p.duration for p in container.demux() if p.size]
    assert lasting[-1] == 2 * 3600


def test_parameter_sets_are_in_the_sample_entry_alone() -> None:
    fmt, units = pictures("h264", Fraction(25))
    track = CmafTrack(fmt)
    mdat = dict(boxes.walk(track.fragment(units[:1])))[b"mdat"]
    kinds = []
    while mdat:
        size = int.from_bytes(mdat[:4], "big")
        kinds.append(mdat[4] & 31)
        mdat = mdat[4 + size :]
    assert kinds.count(5) >= 1
    assert not {7, 8, 9} & set(kinds)
    assert b"avcC" in track.init(units[0])
    assert codec_string(fmt, units[0]).startswith("avc1.64")


def test_an_init_is_the_same_for_every_key_picture() -> None:
    fmt, units = pictures("hevc", Fraction(25))
    assert len({CmafTrack(fmt).init(unit) for unit in units if unit.key}) == 1


def sound(codec: str) -> tuple[StreamFormat, list[AccessUnit]]:
    name, size = {"aac": ("aac", 1024), "ac3": ("ac3", 1536), "eac3": ("eac3", 1536), "opus": ("libopus", 960)}[codec]
    context = av.CodecContext.create(name, "w")
    context.sample_rate, context.layout, context.bit_rate = 48000, "stereo", 128_000
    context.format = (context.codec.audio_formats or [])[0].name
    context.flags |= int(av.codec.context.Flags.global_header)
    context.open()
    packets = []
    for index in range(20):
        shape = (2, size) if context.format.is_planar else (1, 2 * size)
        dtype = np.int16 if context.format.name.startswith("s16") else np.float32
        frame = av.AudioFrame.from_ndarray(np.zeros(shape, dtype), context.format.name, "stereo")
        frame.sample_rate, frame.pts, frame.time_base = 48000, index * size, Fraction(1, 48000)
        packets += context.encode(frame)
    first = EPOCH * 2 // 1125 // size * size
    times = [(first + index * size) * 1125 // 2 for index in range(len(packets) + 1)]
    units = [AccessUnit(a, a, b - a, True, bytes(p)) for p, a, b in zip(packets, times, times[1:], strict=False)]
    extra = context.extradata or b""
    fmt = StreamFormat(
        "audio", codec, extradata=extra, sample_rate=48000, channels=2, frame_samples=size, bitrate=128_000
    )  # type: ignore[arg-type]
    return fmt, units


@pytest.mark.parametrize(("codec", "name"), [("aac", "mp4a.40.2"), ("ac3", "ac-3"), ("eac3", "ec-3"), ("opus", "Opus")])
def test_sound_stays_on_the_grid_of_its_samples(codec: str, name: str) -> None:
    fmt, units = sound(codec)
    track = CmafTrack(fmt)
    data = track.init(units[0]) + track.fragment(units[:7]) + track.fragment(units[7:])
    with av.open(io.BytesIO(data)) as container:
        read = [packet for packet in container.demux() if packet.size]
        assert [p.pts for p in read] == [round(Fraction(unit.pts * 2, 1125)) for unit in units]
        assert all((p.pts or 0) % fmt.frame_samples == 0 for p in read)
        assert [bytes(p) for p in read] == [unit.data for unit in units]
    assert codec_string(fmt, units[0]) == name


def test_layer_two_is_refused() -> None:
    with pytest.raises(ValueError, match="layer II cannot go into fragmented MP4"):
        CmafTrack(StreamFormat("audio", "mp2", sample_rate=48000))


def test_an_empty_run_and_falling_times_are_refused() -> None:
    fmt, units = pictures("h264", Fraction(25))
    track = CmafTrack(fmt)
    with pytest.raises(ValueError, match="at least one access unit"):
        track.fragment([])
    with pytest.raises(ValueError, match="do not rise"):
        track.fragment([units[1], units[0]])
    with pytest.raises(ValueError, match="Annex B"):
        track.fragment([AccessUnit(0, 0, 1, True, b"nothing")])
