"""Renditions refuse contradictions in sentences, and their GOP arithmetic agrees on every machine."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders.format import AudioTrack, ChannelFormat
from encoders.rendition import AudioRendition, VideoRendition
from headend.accessunit import StreamFormat

RATES = [Fraction(24000, 1001), Fraction(25), Fraction(30000, 1001), Fraction(50), Fraction(60000, 1001)]


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"id": "a/b"}, "path"),
        ({"id": ""}, "path"),
        ({"width": 641}, "even"),
        ({"height": 8}, "even"),
        ({"codec": "vp9"}, "vp9"),
        ({"bitrate": 0}, "above 0"),
        ({"maxrate": 1000}, "maxrate"),
        ({"rate_divisor": 0}, "positive"),
        ({"gop_seconds": Fraction(0)}, "positive"),
        ({"ten_bit": True}, "10-bit"),
    ],
)
def test_video_refuses(fields: dict[str, object], word: str) -> None:
    whole: dict[str, object] = {"id": "v", "width": 640, "height": 360, "bitrate": 800_000} | fields
    with pytest.raises(ValueError, match=word):
        VideoRendition(**whole)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"codec": "dra"}, "dra"),
        ({"channels": 3}, "mono"),
        ({"codec": "mp2", "channels": 6}, "MP2"),
        ({"bitrate": -1}, "above 0"),
    ],
)
def test_audio_refuses(fields: dict[str, object], word: str) -> None:
    whole: dict[str, object] = {"id": "a", "bitrate": 128_000} | fields
    with pytest.raises(ValueError, match=word):
        AudioRendition(**whole)  # type: ignore[arg-type]


@given(rate=st.sampled_from(RATES), divisor=st.sampled_from([1, 2]), seconds=st.fractions(Fraction(1, 25), 10))
def test_gop_is_whole_pictures_near_the_wish(rate: Fraction, divisor: int, seconds: Fraction) -> None:
    channel = ChannelFormat(1280, 720, rate)
    rendition = VideoRendition("v", 640, 360, 800_000, gop_seconds=seconds, rate_divisor=divisor)
    gop = rendition.gop(channel)
    assert gop >= 1
    assert gop == 1 or abs(gop / rendition.rate(channel) - seconds) * 2 <= 1 / rendition.rate(channel)
    assert rendition.gop_slots(channel) == gop * divisor


def test_renditions_of_one_channel_share_their_grid() -> None:
    """A 29.97p rendition of a 59.94p channel begins its GOPs where the full rate does."""
    channel = ChannelFormat(1280, 720, Fraction(60000, 1001))
    full = VideoRendition("v", 1280, 720, 3_000_000)
    half = VideoRendition("w", 640, 360, 800_000, rate_divisor=2)
    assert full.gop_slots(channel) == half.gop_slots(channel) == 120


def test_stream_formats_tell_the_truth() -> None:
    channel = ChannelFormat(1280, 720, Fraction(50), (AudioTrack("zho", 2), AudioTrack("eng", 6)))
    video = VideoRendition("v", 640, 360, 800_000, "hevc", ten_bit=True, rate_divisor=2).stream_format(channel)
    assert (video.kind, video.codec, video.rate, video.pixel_format) == ("video", "hevc", 25, "yuv420p10le")
    assert video.maxrate == 856_000
    audio = AudioRendition("a", 128_000, track="eng", channels=6, name="English").stream_format(channel, b"\x11")
    assert (audio.language, audio.channels, audio.frame_samples) == ("eng", 6, 1024)
    assert StreamFormat.from_json(audio.to_json()) == audio


def test_an_unknown_track_is_refused_with_what_there_is() -> None:
    channel = ChannelFormat(1280, 720, Fraction(50), (AudioTrack("zho"),))
    for track in ("eng", 1, -1):
        with pytest.raises(ValueError, match="zho"):
            AudioRendition("a", 128_000, track=track).track_index(channel)
