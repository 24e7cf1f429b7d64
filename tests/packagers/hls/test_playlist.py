"""Playlists: golden texts, the rules by number, and parsers of others."""

from __future__ import annotations

from fractions import Fraction

import m3u8
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.clock import TICKS_PER_SECOND, from_iso
from packagers.hls.playlist import (
    Sound,
    Variant,
    extinf,
    groups,
    media_playlist,
    multivariant,
    target_duration,
    version,
)
from packagers.hls.timeline import Part, Segment, Timeline

S = TICKS_PER_SECOND
START = from_iso("2026-11-21T12:00:00+00:00")


def timeline(*segments: Segment, gone: int = 0) -> Timeline:
    made = Timeline((), gone)
    for segment in segments:
        made = made.append(segment)
    return made


def fmp4(number: int, *, init: int | None = 0, gap: bool = False, discontinuity: bool = False) -> Segment:
    return Segment(
        number,
        START + (number - 10) * 6 * S,
        6 * S,
        f"{number}.m4s",
        1,
        gap=gap,
        discontinuity=discontinuity,
        init=init,
    )


GOLDEN = """\
#EXTM3U
#EXT-X-VERSION:6
#EXT-X-TARGETDURATION:6
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-MEDIA-SEQUENCE:10
#EXT-X-DISCONTINUITY-SEQUENCE:4
#EXT-X-MAP:URI="init-0.mp4"
#EXT-X-PROGRAM-DATE-TIME:2026-11-21T12:00:00.000Z
#EXTINF:6.000000,
10.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-11-21T12:00:06.000Z
#EXT-X-GAP
#EXTINF:6.000000,
11.m4s
#EXT-X-DISCONTINUITY
#EXT-X-MAP:URI="init-1.mp4"
#EXT-X-PROGRAM-DATE-TIME:2026-11-21T12:00:12.000Z
#EXTINF:6.000000,
12.m4s
"""


def test_golden_media_playlist() -> None:
    made = timeline(fmp4(10), fmp4(11, init=None, gap=True), fmp4(12, init=1, discontinuity=True), gone=4)
    assert media_playlist(made, segment_ticks=6 * S) == GOLDEN


def test_an_outside_parser_reads_the_same() -> None:
    parsed = m3u8.loads(GOLDEN)
    assert parsed.media_sequence == 10
    assert parsed.discontinuity_sequence == 4
    assert parsed.is_independent_segments
    assert [s.gap_tag for s in parsed.segments] == [None, True, None]
    assert [s.discontinuity for s in parsed.segments] == [False, False, True]
    assert [s.init_section.uri for s in parsed.segments] == ["init-0.mp4", "init-0.mp4", "init-1.mp4"]
    assert [s.program_date_time.isoformat() for s in parsed.segments][2] == "2026-11-21T12:00:12+00:00"


def test_a_transport_stream_needs_version_three_only() -> None:
    """not higher than needed."""
    segment = Segment(1, START, 6 * S, "1.ts", 1)
    text = media_playlist(timeline(segment), segment_ticks=6 * S)
    assert "#EXT-X-VERSION:3\n" in text
    assert "EXT-X-MAP" not in text
    assert "ENDLIST" not in text
    assert media_playlist(timeline(segment), segment_ticks=6 * S, ended=True).endswith("#EXT-X-ENDLIST\n")


@pytest.mark.parametrize(
    ("features", "floor"),
    [({}, 1), ({"floats": True}, 3), ({"byte_ranges": True}, 4), ({"maps": True, "floats": True}, 6),
     ({"skip": "v1"}, 9), ({"skip": "v2", "maps": True}, 10)],
)  # fmt: skip
def test_version_floor(features: dict[str, object], floor: int) -> None:
    assert version(**features) == floor  # type: ignore[arg-type]


@given(st.integers(1, 12_000), st.integers(0, 48))
def test_no_extinf_exceeds_the_target(milliseconds: int, over: int) -> None:
    """each EXTINF rounded to the nearest integer is at most the target."""
    ticks = milliseconds * S // 1000
    seconds = Fraction(extinf(START, ticks + over * S // 1000))
    assert int(seconds + Fraction(1, 2)) <= target_duration(ticks)


@pytest.mark.parametrize(("seconds", "target"), [("6", 6), ("2", 2), ("4", 4), ("6.006", 6), ("0.48", 1), ("3.84", 4)])
def test_target_duration_of_common_segments(seconds: str, target: int) -> None:
    assert target_duration(int(Fraction(seconds) * S)) == target


@given(st.integers(0, 2**60), st.lists(st.integers(1, 400_000_000), min_size=1, max_size=60))
def test_rounding_never_adds_up(start: int, durations: list[int]) -> None:
    """the sum of any run is within a microsecond of the media."""
    at, total = start, Fraction(0)
    for duration in durations:
        total += Fraction(extinf(at, duration))
        at += duration
        assert abs(total - Fraction(at - start, S)) <= Fraction(1, 1_000_000)


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 2)), min_size=2, max_size=20), st.data())
def test_sliding_changes_nothing_that_is_still_listed(rows: list[tuple[bool, bool, int]], data: st.DataObject) -> None:
    """what follows the first segment kept is the same text, whatever was removed before it."""
    made = timeline(
        *(fmp4(i, gap=gap, discontinuity=broken, init=version) for i, (gap, broken, version) in enumerate(rows))
    )
    cut = data.draw(st.integers(0, len(rows) - 1))
    before = m3u8.loads(media_playlist(made, segment_ticks=6 * S))
    after = m3u8.loads(media_playlist(made.slide(cut), segment_ticks=6 * S))
    assert after.media_sequence == cut
    assert [
        (s.uri, s.duration, s.program_date_time, s.discontinuity, s.gap_tag, s.init_section.uri) for s in after.segments
    ] == [
        (s.uri, s.duration, s.program_date_time, s.discontinuity, s.gap_tag, s.init_section.uri)
        for s in before.segments[cut:]
    ]


def test_parts_are_listed_near_the_edge_only() -> None:
    """hold-back of three part targets; no parts further than three targets from the end."""
    third = S // 3
    parts = tuple(Part(third, f"p{i}.m4s", independent=i == 0, gap=i == 2) for i in range(3))
    segments = [Segment(i, START + i * S, S, f"{i}.m4s", 1, init=0, parts=parts) for i in range(6)]
    text = media_playlist(timeline(*segments), segment_ticks=S, part_target=third)
    assert "#EXT-X-PART-INF:PART-TARGET=0.333334\n" in text
    assert "#EXT-X-SERVER-CONTROL:PART-HOLD-BACK=1.000000\n" in text
    assert "#EXT-X-VERSION:6\n" in text
    assert text.count("#EXT-X-PART:") == 9
    assert '#EXT-X-PART:DURATION=0.333334,URI="p0.m4s",INDEPENDENT=YES\n' in text
    assert '#EXT-X-PART:DURATION=0.333334,URI="p2.m4s",GAP=YES\n' in text
    assert "PART" not in media_playlist(timeline(*segments), segment_ticks=S)


def video(name: str, height: int, peak: int) -> Variant:
    return Variant(
        f"{name}/index.m3u8", "avc1.640028", peak, peak * 9 // 10, height * 16 // 9, height, Fraction(1), Fraction(25)
    )


def sound(name: str, language: str, codec: str = "mp4a.40.2", peak: int = 70_000) -> Sound:
    return Sound(f"{name}/index.m3u8", codec, language, name, 2, peak, peak - 2000)


MULTIVARIANT = """\
#EXTM3U
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="aac",NAME="普通话",LANGUAGE="zh",DEFAULT=YES,AUTOSELECT=YES,CHANNELS="2",URI="普通话/index.m3u8"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="aac",NAME="English",LANGUAGE="en",DEFAULT=NO,AUTOSELECT=YES,CHANNELS="2",URI="English/index.m3u8"
#EXT-X-STREAM-INF:BANDWIDTH=2080000,AVERAGE-BANDWIDTH=1878000,CODECS="avc1.640028,mp4a.40.2",RESOLUTION=960x540,FRAME-RATE=25.000,VIDEO-RANGE=SDR,AUDIO="aac",CLOSED-CAPTIONS=NONE
p540/index.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=6080000,AVERAGE-BANDWIDTH=5478000,CODECS="avc1.640028,mp4a.40.2",RESOLUTION=1920x1080,FRAME-RATE=25.000,VIDEO-RANGE=SDR,AUDIO="aac",CLOSED-CAPTIONS=NONE
p1080/index.m3u8
"""


def test_golden_multivariant() -> None:
    """the heaviest sound is added. Apple 1.32: the variant near 2 Mbit/s comes first."""
    made = multivariant(
        [video("p1080", 1080, 6_000_000), video("p540", 540, 2_000_000)],
        groups([sound("普通话", "zho"), sound("English", "eng", peak=80_000)]),
    )
    assert made == MULTIVARIANT
    parsed = m3u8.loads(made)
    assert parsed.is_variant
    assert [p.stream_info.bandwidth for p in parsed.playlists] == [2_080_000, 6_080_000]
    assert [p.stream_info.resolution for p in parsed.playlists] == [(960, 540), (1920, 1080)]
    assert [m.language for m in parsed.media] == ["zh", "en"]


def test_each_audio_codec_is_a_group_and_each_variant_has_each() -> None:
    made = m3u8.loads(
        multivariant([video("v", 540, 2_000_000)], groups([sound("a", "zho"), sound("b", "zho", "ac-3", 200_000)]))
    )
    assert {(p.stream_info.audio, p.stream_info.codecs) for p in made.playlists} == {
        ("aac", "avc1.640028,mp4a.40.2"),
        ("ac-3", "avc1.640028,ac-3"),
    }
    assert [m.default for m in made.media] == ["YES", "YES"]


def test_names_are_unique_and_quotes_cannot_break_out() -> None:
    """unique NAMEs within a group; 4.2: a quoted-string holds no quotes or line breaks."""
    rude = Sound("x/index.m3u8", "mp4a.40.2", "eng", 'A",\nURI="evil', 2, 1, 1)
    twice = [sound("same", "zho"), sound("same", "eng"), rude]
    made = m3u8.loads(multivariant([video("v", 540, 1)], groups(twice)))
    assert [m.name for m in made.media] == ["same", "same 2", "A', URI='evil"]


def test_the_same_choice_twice_goes_to_another_group() -> None:
    made = groups([sound("a", "zho"), sound("a", "zho", peak=30_000)])
    assert [(g.id, len(g.sounds)) for g in made] == [("aac", 1), ("aac-2", 1)]


def test_anamorphic_pictures_and_ntsc_rates() -> None:
    variant = Variant("v/index.m3u8", "avc1", 1, 1, 720, 576, Fraction(64, 45), Fraction(30000, 1001), "HLG")
    text = multivariant([variant])
    assert "RESOLUTION=1024x576,FRAME-RATE=29.970,VIDEO-RANGE=HLG,CLOSED-CAPTIONS=NONE" in text
    assert "AUDIO=" not in text
