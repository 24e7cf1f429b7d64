"""Multivariant playlists from folders: what is added to what, and what is offered where."""

from __future__ import annotations

from fractions import Fraction

import m3u8

from headend.accessunit import StreamFormat
from packagers.hls.bandwidth import Bandwidth
from packagers.hls.index import indexes
from packagers.hls.track import CmafFolder, Folder, Makers, TransportFolder

MAKERS = Makers(lambda fmt: None, lambda formats: None, lambda fmt, unit: "")  # type: ignore[arg-type,return-value]
VIDEO = StreamFormat("video", "h264", width=1920, height=1080, rate=Fraction(50), video_range="HLG")
FORMATS = {
    "v": VIDEO,
    "z": StreamFormat("audio", "aac", language="zho", name="普通话", channels=2),
    "e": StreamFormat("audio", "aac", language="eng", name="English", channels=2),
    "d": StreamFormat("audio", "ac3", language="zho", name="普通话", channels=6),
}
CODECS = {"v": "avc1.640028", "z": "mp4a.40.2", "e": "mp4a.40.2", "d": "ac-3"}


def rates(*names: str) -> dict[str, Bandwidth]:
    known = {"v": 5_000_000, "z": 70_000, "e": 140_000, "d": 400_000}
    return {name: Bandwidth(known[name[-1]], known[name[-1]] - 1000) for name in names}


def test_cmaf_with_two_codecs() -> None:
    folders: list[Folder] = [CmafFolder(name, name) for name in "vzed"]
    made = m3u8.loads(indexes(folders, FORMATS, CODECS, rates(*"vzed"))["index.m3u8"])
    found = {p.stream_info.audio: p.stream_info for p in made.playlists}
    assert found["aac"].bandwidth == 5_140_000
    assert found["aac"].average_bandwidth == 4_999_000 + 139_000
    assert found["ac-3"].bandwidth == 5_400_000
    assert found["ac-3"].codecs == "avc1.640028,ac-3"
    assert found["aac"].video_range == "HLG"
    assert found["aac"].frame_rate == 50
    assert {(m.group_id, m.language, m.channels) for m in made.media} == {
        ("aac", "zh", "2"),
        ("aac", "en", "2"),
        ("ac-3", "zh", "6"),
    }


def test_transport_streams_count_their_own_sound_once() -> None:
    folders: list[Folder] = [TransportFolder("ts-v", ["v", "z"], MAKERS), TransportFolder("ts-e", ["e"], MAKERS)]
    texts = indexes(folders, FORMATS, CODECS, rates("ts-v", "ts-e"))
    assert list(texts) == ["ts.m3u8"]
    made = m3u8.loads(texts["ts.m3u8"])
    assert made.playlists[0].stream_info.bandwidth == 5_140_000
    assert made.playlists[0].stream_info.codecs == "avc1.640028,mp4a.40.2"
    assert [(m.language, m.uri) for m in made.media] == [("zh", None), ("en", "ts-e/index.m3u8")]


def test_one_sound_inside_needs_no_group() -> None:
    text = indexes([TransportFolder("ts-v", ["v", "z"], MAKERS)], FORMATS, CODECS, rates("ts-v"))["ts.m3u8"]
    assert "EXT-X-MEDIA" not in text
    assert "AUDIO=" not in text


def test_radio_in_two_codecs() -> None:
    text = indexes([CmafFolder(n, n) for n in "zd"], FORMATS, CODECS, rates("z", "d"))["index.m3u8"]
    made = m3u8.loads(text)
    assert {(p.uri, p.stream_info.bandwidth) for p in made.playlists} == {
        ("z/index.m3u8", 70_000),
        ("d/index.m3u8", 400_000),
    }


def test_nothing_known_is_no_playlist() -> None:
    assert indexes([], {}, {}, {}) == {}
