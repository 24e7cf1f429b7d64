"""Segments: what other demultiplexers and decoders find in them, and what the standard asks of them."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import imageio_ffmpeg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headend.accessunit import AccessUnit, StreamFormat
from headend.clock import TICKS_PER_SECOND as S
from packagers.codec import aac, h264, nal
from packagers.ts.demux import Demuxer, Program
from packagers.ts.packet import SIZE, Packet
from packagers.ts.pmt import ProgramMap
from packagers.ts.segment import PMT_PID, SegmentMuxer

Stream = tuple[StreamFormat, list[AccessUnit]]
Maker = Callable[..., Stream]
WRAP = 1 << 33
START = 1_800_000_002 * S
FRAME = S // 25


def found(data: bytes) -> Program:
    """What the reference demultiplexer finds; it must find no fault."""
    demuxer = Demuxer()
    demuxer.read(data)
    program = demuxer.finish()
    assert (program.continuity_errors, program.damaged) == (0, 0)
    return program


def cut(streams: list[Stream], seconds: int, length: int = 1) -> list[tuple[list[list[AccessUnit]], int, int]]:
    """Segments of one second, as the packager cuts them: by presentation time."""
    return [
        ([[u for u in units if at <= u.pts < at + length * S] for _, units in streams], at, at + length * S)
        for at in range(START, START + seconds * S, length * S)
    ]


def mux(streams: list[Stream], seconds: int = 2) -> list[bytes]:
    """All segments of the streams."""
    muxer = SegmentMuxer([fmt for fmt, _ in streams])
    return [muxer.segment(units, start=start, end=end) for units, start, end in cut(streams, seconds)]


def complaints(path: Path) -> str:
    """What ffmpeg has to say when it decodes everything."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-v", "warning", "-i", str(path), "-map", "0"]
    done = subprocess.run([*command, "-f", "null", "-"], capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.parametrize("codec", ["aac", "ac3", "eac3", "mp2"])
def test_ffmpeg_decodes_without_a_warning(make_pictures: Maker, make_sound: Maker, tmp_path: Path, codec: str) -> None:
    parts = mux([make_pictures(), make_sound(codec)])
    for name, data in (("one.ts", parts[1]), ("all.ts", b"".join(parts))):
        path = tmp_path / name
        path.write_bytes(data)
        assert complaints(path) == ""


def test_ffmpeg_decodes_hevc_without_a_warning(make_pictures: Maker, tmp_path: Path) -> None:
    path = tmp_path / "all.ts"
    path.write_bytes(b"".join(mux([make_pictures("hevc")])))
    assert complaints(path) == ""


@pytest.mark.parametrize("codec", ["aac", "ac3", "eac3", "mp2"])
@pytest.mark.parametrize("rate", [Fraction(25), Fraction(24000, 1001), Fraction(50)])
def test_another_demultiplexer_finds_every_time_and_every_frame(
    make_pictures: Maker, make_sound: Maker, codec: str, rate: Fraction
) -> None:
    count = int(rate) * 2
    streams = [make_pictures("h264", rate, count, int(rate)), make_sound(codec)]
    segments = cut(streams, 2)
    whole = b"".join(mux(streams))
    kept = [[u for units, _, _ in segments for u in units[i]] for i in range(2)]
    with av.open(io.BytesIO(whole), format="mpegts") as container:
        kinds = [stream.codec_context.codec.id for stream in container.streams]
        assert kinds == [av.Codec(name, "r").id for name in ("h264", codec)]
        assert container.streams.audio[0].language == "zho"
        seen: list[list[Any]] = [[], []]
        for p in container.demux():
            if p.size:
                seen[p.stream.index].append(p)
    assert [(p.pts % WRAP, p.dts % WRAP) for p in seen[0]] == [
        (u.pts // 300 % WRAP, u.dts // 300 % WRAP) for u in kept[0]
    ]
    assert [p.is_keyframe for p in seen[0]] == [u.key for u in kept[0]]
    assert [p.pts % WRAP for p in seen[1]] == [u.pts // 300 % WRAP for u in kept[1]]


def test_sound_is_what_went_in(make_pictures: Maker, make_sound: Maker) -> None:
    """Every AAC frame comes back behind its ADTS header, every AC-3 frame as it was."""
    for codec in ("aac", "ac3"):
        streams = [make_pictures(), make_sound(codec)]
        payload = b"".join(p.payload for p in found(b"".join(mux(streams))).packets[0x101])
        frames = [u.data for units, _, _ in cut(streams, 2) for u in units[1]]
        if codec == "aac":
            at = 0
            for frame in frames:
                assert int.from_bytes(payload[at + 3 : at + 6], "big") >> 5 & 0x1FFF == len(frame) + 7
                assert payload[at + 7 : at + 7 + len(frame)] == frame
                at += 7 + len(frame)
            assert at == len(payload)
        else:
            assert payload == b"".join(frames)


def test_high_efficiency_aac_announces_its_core(make_pictures: Maker) -> None:
    """ADTS knows only the core coder, LC at half the rate; a decoder finds SBR in the frames (14496-3, 1.6.5)."""
    config = aac.AudioSpecificConfig(aac.LC, 24_000, 2, sbr=True, extension_rate=48_000).to_bytes()
    span = 2048 * 1125 // 2
    frames = [AccessUnit(START + i * span, START + i * span, span, True, bytes(200)) for i in range(4)]
    muxer = SegmentMuxer([StreamFormat("audio", "he-aac", extradata=config, sample_rate=48_000)])
    head = found(muxer.segment([frames], start=START, end=START + S)).packets[0x100][0].payload[:7]
    assert (head[2] >> 6, head[2] >> 2 & 15) == (1, 6)  # AAC-LC, 24 kHz
    too_long = replace(frames[3], data=bytes(9000))
    before = muxer.counters()
    with pytest.raises(ValueError, match="longer than ADTS"):
        muxer.segment([[*frames[:3], too_long]], start=START, end=START + S)
    assert muxer.counters() == before


def test_a_segment_begins_with_its_tables(make_pictures: Maker, make_sound: Maker) -> None:
    for data in mux([make_pictures(), make_sound()]):
        pids = [(data[at + 1] & 0x1F) << 8 | data[at + 2] for at in range(0, 3 * SIZE, SIZE)]
        assert pids[:2] == [0, PMT_PID]
        assert len(found(data).associations) >= 10


def test_every_key_picture_is_an_entry_and_pictures_have_one_delimiter(make_pictures: Maker) -> None:
    streams = [make_pictures()]
    program = found(b"".join(mux(streams)))
    kept = [u for units, _, _ in cut(streams, 2) for u in units[0]]
    assert program.random_access[0x100] == sum(u.key for u in kept) == 2
    assert len(program.packets[0x100]) == len(kept)
    for packet, unit in zip(program.packets[0x100], kept, strict=True):
        kinds = [h264.unit_type(piece) for piece in nal.split(packet.payload)]
        assert kinds[0] == h264.AUD
        assert kinds.count(h264.AUD) == 1
        assert (h264.SPS in kinds and h264.PPS in kinds) == unit.key
        assert packet.payload.endswith(unit.data)


def test_a_delimiter_that_is_there_is_not_doubled(make_pictures: Maker) -> None:
    fmt, units = make_pictures()
    given = [replace(u, data=nal.START_CODE + h264.ACCESS_UNIT_DELIMITER + u.data) for u in units]
    assert mux([(fmt, given)]) == mux([(fmt, units)])


@pytest.mark.parametrize("rate", [Fraction(25), Fraction(24000, 1001), Fraction(50), Fraction(10)])
def test_clock_references_are_close_and_rise(make_pictures: Maker, make_sound: Maker, rate: Fraction) -> None:
    count = int(rate) * 2
    clocks = [
        pcr
        for _, pcr in found(b"".join(mux([make_pictures("h264", rate, count, int(rate)), make_sound()]))).clocks[0x100]
    ]
    steps = [after - before for before, after in pairwise(clocks)]
    assert max(steps) <= 40 * 27_000
    assert min(steps) > 0
    assert len(clocks) > 45


def test_sound_alone_carries_its_clock(make_sound: Maker, tmp_path: Path) -> None:
    data = b"".join(mux([make_sound()]))
    program = found(data)
    assert list(program.clocks) == [0x100]
    clocks = [pcr for _, pcr in program.clocks[0x100]]
    assert all(0 < after - before <= 40 * 27_000 for before, after in pairwise(clocks))
    path = tmp_path / "sound.ts"
    path.write_bytes(data)
    assert complaints(path) == ""


def test_sound_waits_at_most_100_ms_in_its_packet(make_sound: Maker) -> None:
    times = [p.pts for p in found(b"".join(mux([make_sound()]))).packets[0x100]]
    assert all(after - before <= 9_000 for before, after in pairwise(t for t in times if t is not None))
    assert len(times) < 94 / 2  # several frames in each


def test_data_comes_before_it_is_decoded(make_pictures: Maker, make_sound: Maker) -> None:
    program = found(mux([make_pictures(), make_sound()])[0])
    first = program.clocks[0x100][0][1] // 300
    for pid in (0x100, 0x101):
        dts = program.packets[pid][0].dts
        assert dts is not None
        assert 0 < (dts - first) % WRAP < 90_000  # less than a second (2.4.2.6)


def test_time_wraps_without_a_break(make_pictures: Maker, make_sound: Maker) -> None:
    """26.5 hours after any instant PTS begins at 0 again; so does the PCR."""
    wrap = -(-START // (WRAP * 300)) * WRAP * 300
    shift = wrap - START - S
    streams = [
        (fmt, [replace(u, pts=u.pts + shift, dts=u.dts + shift) for u in units])
        for fmt, units in (make_pictures(), make_sound())
    ]
    muxer = SegmentMuxer([fmt for fmt, _ in streams])
    data = b"".join(
        muxer.segment([[u for u in units if at <= u.pts < at + S] for _, units in streams], start=at, end=at + S)
        for at in (wrap - S, wrap)
    )
    program = found(data)
    times = [p.pts for p in program.packets[0x101] if p.pts is not None]
    assert max(times) > WRAP - 90_000
    assert min(times) < 90_000
    clocks = [pcr for _, pcr in program.clocks[0x100]]
    assert all((after - before) % (WRAP * 300) <= 40 * 27_000 for before, after in pairwise(clocks))


def test_a_successor_continues_the_stream(make_pictures: Maker, make_sound: Maker) -> None:
    """A new process with the journal's counters makes the bytes that the old one would have made."""
    streams = [make_pictures(), make_sound()]
    formats = [fmt for fmt, _ in streams]
    first, second = cut(streams, 2)
    old, new = SegmentMuxer(formats), SegmentMuxer(formats)
    old.segment(first[0], start=first[1], end=first[2])
    new.restore(old.counters())
    assert new.segment(second[0], start=second[1], end=second[2]) == old.segment(
        second[0], start=second[1], end=second[2]
    )
    assert new.counters() == old.counters()


def test_a_segment_taken_back_leaves_no_trace(make_pictures: Maker) -> None:
    streams = [make_pictures()]
    segments = cut(streams, 2)
    muxer = SegmentMuxer([streams[0][0]])
    before = muxer.counters()
    once = muxer.segment(segments[0][0], start=segments[0][1], end=segments[0][2])
    muxer.restore(before)
    assert muxer.counters() == before
    assert muxer.segment(segments[0][0], start=segments[0][1], end=segments[0][2]) == once


def test_other_streams_are_announced_by_a_new_version(make_pictures: Maker, make_sound: Maker) -> None:
    pictures, sound = make_pictures(), make_sound()
    alone, both = SegmentMuxer([pictures[0]]), SegmentMuxer([pictures[0], sound[0]])
    units, start, end = cut([pictures, sound], 2)[0]
    data = alone.segment(units[:1], start=start, end=end)
    both.restore(alone.counters())
    following, start, end = cut([pictures, sound], 2)[1]
    data += both.segment(following, start=start, end=end)
    versions = {ProgramMap.from_bytes(one).version for one in found(data).maps[PMT_PID]}
    assert versions == {0, 1}


def test_pictures_without_sound_and_sound_without_pictures(
    make_pictures: Maker, make_sound: Maker, tmp_path: Path
) -> None:
    streams = [make_pictures(), make_sound()]
    (one, start, end), (two, middle, last) = cut(streams, 2)
    muxer = SegmentMuxer([fmt for fmt, _ in streams])
    data = muxer.segment([one[0], []], start=start, end=end) + muxer.segment([[], two[1]], start=middle, end=last)
    program = found(data)
    assert len(program.packets[0x100]) == len(one[0])
    clocks = [pcr for _, pcr in program.clocks[0x100]]
    assert all(after >= before for before, after in pairwise(clocks))
    # The PCR goes on while only sound comes.
    assert clocks[-1] - clocks[0] > 1.7 * S
    nothing = muxer.segment([[], []], start=last, end=last + S)
    assert found(nothing).associations


def test_a_clock_that_ran_on_without_pictures_does_not_go_back(make_pictures: Maker, make_sound: Maker) -> None:
    """Pictures are decoded before they are shown: the first one behind a hole is due before the sound's end."""
    streams = [make_pictures(), make_sound()]
    (one, start, end), (two, middle, last) = cut(streams, 2)
    assert two[0][0].dts < one[1][-1].dts + one[1][-1].duration
    muxer = SegmentMuxer([fmt for fmt, _ in streams])
    data = muxer.segment([[], one[1]], start=start, end=end) + muxer.segment(two, start=middle, end=last)
    clocks = [pcr for _, pcr in found(data).clocks[0x100]]
    assert all(after >= before for before, after in pairwise(clocks))


def test_a_clock_from_a_wrong_future_is_not_believed(make_pictures: Maker) -> None:
    """Or the PCR would stand still until then."""
    units, start, end = cut([make_pictures()], 2)[0]
    muxer = SegmentMuxer([make_pictures()[0]])
    expected = muxer.segment(units, start=start, end=end)
    other = SegmentMuxer([make_pictures()[0]])
    other.restore({**other.counters(), "pcr": end + 3600 * S})
    assert other.segment(units, start=start, end=end) == expected


@pytest.mark.parametrize("rate", [Fraction(10), Fraction(24000, 1001)])
def test_packets_without_payload_repeat_the_counter(make_pictures: Maker, rate: Fraction) -> None:
    """2.4.3.3: only a packet with payload counts on."""
    data = b"".join(mux([make_pictures("h264", rate, int(rate) * 2, int(rate))]))
    last, alone = None, 0
    for at in range(0, len(data), SIZE):
        packet = Packet.from_bytes(data[at : at + SIZE])
        if packet.pid == 0x100:
            if not packet.payload:
                alone += 1
                assert packet.counter == last
            elif last is not None:
                assert packet.counter == (last + 1) % 16
            last = packet.counter
    assert alone > 20


@pytest.mark.parametrize("codec", ["av1", "opus"])
def test_codecs_without_a_mapping_are_refused(codec: Any) -> None:
    with pytest.raises(ValueError, match=rf"{codec}.*CMAF"):
        SegmentMuxer([StreamFormat("video" if codec == "av1" else "audio", codec)])


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda u: replace(u, data=b""), "empty"),
        (lambda u: replace(u, data=b"\x65" + u.data[5:]), "start code"),
        (lambda u: replace(u, data=b"\0\0\0\1"), "start code"),
        (lambda u: replace(u, dts=u.dts - 60 * S), "decoding times"),
        (lambda u: replace(u, dts=u.dts + 60 * S), "decoding times"),
    ],
)
def test_media_that_cannot_be_framed_change_nothing(make_pictures: Maker, spoil: Any, reason: str) -> None:
    fmt, _ = make_pictures()
    units, start, end = cut([make_pictures()], 2)[0]
    muxer = SegmentMuxer([fmt])
    before = muxer.counters()
    with pytest.raises(ValueError, match=reason):
        muxer.segment([[*units[0][:-1], spoil(units[0][-1])]], start=start, end=end)
    assert muxer.counters() == before
    with pytest.raises(ValueError, match="2 streams"):
        muxer.segment([units[0], []], start=start, end=end)


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 3000), min_size=1, max_size=12),
    rate=st.sampled_from([10, 24, 25, 50]),
    sounds=st.integers(0, 12),
)
def test_whatever_the_sizes_everything_comes_back(sizes: list[int], rate: int, sounds: int) -> None:
    """No size of a picture breaks the packets, and the parts come back byte for byte."""
    step = S // rate
    pictures = [
        AccessUnit(START + i * step, START + i * step, step, i == 0, b"\0\0\0\1\x09\xf0\0\0\1\x65" + b"\x55" * size)
        for i, size in enumerate(sizes)
    ]
    span = 1152 * 1125 // 2
    frames = [
        AccessUnit(START + i * span, START + i * span, span, True, b"\xff\xfd\x84\0" + b"\x11" * (i * 31))
        for i in range(sounds)
    ]
    muxer = SegmentMuxer([StreamFormat("video", "h264"), StreamFormat("audio", "mp2", sample_rate=48_000)])
    program = found(muxer.segment([pictures, frames], start=START, end=START + S))
    assert [p.payload for p in program.packets[0x100]] == [u.data for u in pictures]
    assert b"".join(p.payload for p in program.packets[0x101]) == b"".join(u.data for u in frames)


def test_a_hole_in_the_sound_begins_a_new_packet(make_sound: Maker) -> None:
    """Only the first frame of a packet has a time: frames behind a hole would be early."""
    fmt, units = make_sound()
    holed = [u for i, u in enumerate(units[:8]) if i != 2]
    packets = found(SegmentMuxer([fmt]).segment([holed], start=START, end=START + S)).packets[0x100]
    assert [p.pts for p in packets][:2] == [units[0].pts // 300 % WRAP, units[3].pts // 300 % WRAP]


@pytest.mark.gstreamer
def test_gstreamer_decodes_it_to_the_end(make_pictures: Maker, make_sound: Maker, tmp_path: Path) -> None:
    path = tmp_path / "all.ts"
    path.write_bytes(b"".join(mux([make_pictures(), make_sound()])))
    line = f"filesrc location={path} ! tsdemux name=d"
    for decoder in ("h264parse ! avdec_h264", "aacparse ! avdec_aac"):
        line += f" d. ! queue ! {decoder} ! fakesink sync=false"
    done = subprocess.run(
        ["gst-launch-1.0", "-q", *line.split()], capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "ERROR" not in done.stderr
    assert "WARNING" not in done.stderr
