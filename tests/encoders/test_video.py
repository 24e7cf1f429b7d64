"""Picture encoders: house-clock times, closed GOPs on the grid, framing, strict buffers, truthful colours."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from fractions import Fraction
from itertools import pairwise

import av
import numpy as np
import pytest
from av.video.codeccontext import VideoCodecContext
from hypothesis import given
from hypothesis import strategies as st

from encoders.capability import moving_picture
from encoders.format import ChannelFormat
from encoders.rendition import VideoRendition
from encoders.vbv import Verifier
from encoders.video import VideoEncoder, encoder_options, framed, threads_for
from headend.accessunit import AccessUnit

CHANNEL = ChannelFormat(160, 90, Fraction(25))
ENCODERS = [("h264", "libx264"), ("hevc", "libx265"), ("av1", "libsvtav1")]
FIRST = 45_000_000_003


def rendition(codec: str, **fields: object) -> VideoRendition:
    whole: dict[str, object] = {"id": "v", "width": 160, "height": 90, "bitrate": 300_000, "codec": codec} | fields
    return VideoRendition(**whole)  # type: ignore[arg-type]


def run(
    wish: VideoRendition, name: str, slots: Sequence[int], channel: ChannelFormat = CHANNEL, after: int | None = None
) -> list[AccessUnit]:
    encoder = VideoEncoder(wish, channel, name, after=after, generation=5)
    units: list[AccessUnit] = []
    for slot in slots:
        units += encoder.encode(slot, moving_picture(slot, wish.width, wish.height, wish.ten_bit))
    return units + encoder.flush()


def decoded(codec: str, units: Sequence[AccessUnit]) -> list[av.VideoFrame]:
    decoder = av.CodecContext.create("libdav1d" if codec == "av1" else codec, "r")
    assert isinstance(decoder, VideoCodecContext)
    pictures = [p for unit in units for p in decoder.decode(av.Packet(unit.data))]
    return pictures + decoder.decode(None)


@pytest.mark.parametrize(("codec", "name"), ENCODERS)
def test_times_keys_and_framing(codec: str, name: str) -> None:
    """First picture off the grid: key there, then exactly where the GOP length divides the slot."""
    slots = range(FIRST, FIRST + 35)
    units = run(rendition(codec, gop_frames=10), name, slots)
    assert sorted(u.pts for u in units) == [CHANNEL.ticks_of(s) for s in slots]
    assert all(a.dts < b.dts for a, b in pairwise(units))
    assert all(u.dts <= u.pts and u.duration == CHANNEL.slot_ticks and u.generation == 5 for u in units)
    keys = [u.pts // CHANNEL.slot_ticks for u in units if u.key]
    assert keys == [FIRST, *[s for s in slots if s % 10 == 0]]
    # Closed: every GOP is decodable alone, and all of its pictures are shown after its key.
    starts = [i for i, u in enumerate(units) if u.key] + [len(units)]
    for a, b in pairwise(starts):
        assert all(u.pts >= units[a].pts for u in units[a:b])
        pictures = decoded(codec, units[a:b])
        assert len(pictures) == b - a
        assert not any(p.is_corrupt for p in pictures)


@pytest.mark.parametrize(("codec", "name"), ENCODERS)
def test_colours_and_shape_are_signalled(codec: str, name: str) -> None:
    for channel, tags in ((CHANNEL, (5, 5, 6)), (ChannelFormat(1280, 720, Fraction(25)), (1, 1, 1))):
        pictures = decoded(codec, run(rendition(codec), name, range(3), channel))
        shown = pictures[0]
        assert (shown.colorspace, shown.color_primaries, shown.color_trc, shown.color_range) == (*tags, 1)


@pytest.mark.parametrize(("codec", "name"), ENCODERS[1:])
def test_ten_bits(codec: str, name: str) -> None:
    pictures = decoded(codec, run(rendition(codec, ten_bit=True), name, range(4)))
    assert [p.format.name for p in pictures] == ["yuv420p10le"] * 4


def test_a_half_rate_rendition_encodes_every_second_slot() -> None:
    channel = ChannelFormat(160, 90, Fraction(50))
    slots = range(100_000, 100_060, 2)
    units = run(rendition("h264", rate_divisor=2, gop_frames=10), "libx264", slots, channel)
    assert sorted(u.pts for u in units) == [channel.ticks_of(s) for s in slots]
    assert {u.duration for u in units} == {2 * channel.slot_ticks}
    assert [u.pts // channel.slot_ticks % 20 for u in units if u.key] == [0, 0, 0]


@pytest.mark.parametrize("b_frames", [0, 3])
def test_decoding_times_rise_across_a_restart(b_frames: int) -> None:
    """The successor's first decoding times would reach back behind the predecessor's last."""
    wish = rendition("h264", b_frames=b_frames, preset="medium", options={"x264-params": "b-adapt=0"})
    old = run(wish, "libx264", range(FIRST, FIRST + 20))
    new = run(wish, "libx264", range(FIRST + 20, FIRST + 45), after=old[-1].dts)
    joined = old + new
    assert new[0].key
    assert all(a.dts < b.dts for a, b in pairwise(joined))
    assert all(u.dts <= u.pts for u in joined)
    alone = run(wish, "libx264", range(FIRST + 20, FIRST + 45))
    assert [u.dts for u in new[4:]] == [u.dts for u in alone[4:]]  # soon on its own times again


def test_a_jump_is_refused() -> None:
    encoder = VideoEncoder(rendition("h264"), CHANNEL, "libx264")
    encoder.encode(5, moving_picture(5, 160, 90))
    with pytest.raises(ValueError, match="start a new encoder"):
        encoder.encode(7, moving_picture(7, 160, 90))


@pytest.mark.parametrize(("codec", "name"), ENCODERS[:2])
def test_hard_pictures_stay_within_the_buffer(codec: str, name: str) -> None:
    """Noise after calm: the promised buffer never underflows."""
    rng = np.random.default_rng(3)
    wish = rendition(codec, bitrate=1_500_000, maxrate=1_500_000, bufsize=1_500_000, gop_frames=25)
    encoder = VideoEncoder(wish, CHANNEL, name)
    units: list[AccessUnit] = []
    for slot in range(100):
        picture = moving_picture(slot, 160, 90)
        if slot % 40 >= 20:
            noise = rng.integers(60, 180, (135, 160)).astype(np.uint8)
            picture = av.VideoFrame.from_ndarray(noise, "yuv420p")
        units += encoder.encode(slot, picture)
    verifier = Verifier(wish.peak, wish.buffer)
    assert all(verifier.add(u.dts, len(u.data)) for u in units + encoder.flush())


def test_pictures_in_a_cards_pixel_format_keep_their_time_and_type() -> None:
    """PyAV converts what an encoder does not take: times and forced keys must survive that."""
    encoder = VideoEncoder(rendition("h264", gop_frames=10), CHANNEL, "libx264")
    units: list[AccessUnit] = []
    for slot in range(FIRST, FIRST + 25):
        units += encoder.encode(slot, moving_picture(slot, 160, 90).reformat(format="nv12"))
    units += encoder.flush()
    assert sorted(u.pts for u in units) == [CHANNEL.ticks_of(s) for s in range(FIRST, FIRST + 25)]
    assert [u.pts // CHANNEL.slot_ticks - FIRST for u in units if u.key] == [0, 7, 17]


def test_bad_options_fail_at_once() -> None:
    with pytest.raises((av.FFmpegError, ValueError)):
        VideoEncoder(rendition("h264", profile="no-such"), CHANNEL, "libx264")


def test_users_options_win() -> None:
    wish = rendition("h264", options={"preset": "veryslow", "x264-params": "aq-mode=0"})
    options = encoder_options("libx264", wish, 50, 1)
    assert options["preset"] == "veryslow"
    assert options["x264-params"].endswith(":aq-mode=0")


@pytest.mark.parametrize("name", ["h264_nvenc", "hevc_nvenc", "av1_nvenc", "h264_qsv", "hevc_vaapi", "h264_v4l2m2m"])
def test_hardware_gets_forced_keys_and_a_buffer(name: str) -> None:
    """Every option written for hardware is one that FFmpeg knows there (where it was built in)."""
    options = encoder_options(name, rendition("h264", preset="medium"), 50, 1)
    assert options["maxrate"] == "321000"
    assert options["bufsize"] == "450000"
    try:
        codec = av.CodecContext.create(name, "w")
    except av.codec.codec.UnknownCodecError:
        return
    known = codec.supported_options
    assert set(options) <= {o.name for o in (*known.generic, *known.private)}


@given(share=st.floats(0, 1), cores=st.integers(1, 256))
def test_threads_are_never_none_and_never_more_than_x264_likes(share: float, cores: int) -> None:
    assert 1 <= threads_for(share, cores) <= 16


def test_threads_on_two_cores() -> None:
    assert [threads_for(s, 2) for s in (0.55, 0.25, 0.14, 1.0)] == [2, 1, 1, 2]


def test_missing_parameter_sets_are_put_in_band() -> None:
    sets = b"\0\0\0\1\x67abc\0\0\0\1\x68d"
    picture = b"\0\0\1\x65xyz"
    assert framed("h264", picture, True, sets) == sets + picture
    assert framed("h264", sets + picture, True, sets) == sets + picture
    assert framed("h264", picture, False, None) == picture


def test_temporal_delimiters_go_and_a_sequence_header_comes() -> None:
    delimiter, header, frame = b"\x12\x00", b"\x0a\x01h", b"\x32\x02ff"
    assert framed("av1", delimiter + header + frame, True) == header + frame
    assert framed("av1", delimiter + frame, True, b"\x81\0\0\0" + header) == header + frame
    assert framed("av1", delimiter + frame, False) == frame


@given(st.binary(max_size=60), st.sampled_from(["h264", "hevc", "av1"]), st.booleans(), st.binary(max_size=8))
def test_framing_of_garbage_ends(data: bytes, codec: str, key: bool, extra: bytes) -> None:
    with suppress(ValueError):
        assert len(framed(codec, data, key, extra)) <= len(data) + len(extra)
