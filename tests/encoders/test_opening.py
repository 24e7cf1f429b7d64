"""Which kind of source an address means."""

from __future__ import annotations

from typing import Any

import pytest

from encoders.file import FileSource
from encoders.format import ChannelFormat
from encoders.live import LiveSource
from encoders.opening import open_source, register
from headend.clock import FakeClock


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("/media/news.mp4", "file"),
        ("file:///media/a%20b.ts", "file"),
        ("news: late edition.mp4", "file"),
        ("udp://127.0.0.1:5000", "udp"),
        ("rtp://127.0.0.1:5000", "rtp"),
        ("http://host/a.ts", "http"),
        ("https://host/a.m3u8", "hls"),
        ("rtmp://host/app/key", "rtmp"),
        ("rtmp://0.0.0.0:1935/app/key?listen=1", "rtmp"),
        ("rtsp://host/1", "rtsp"),
        ("srt://host:9000", "srt"),
        ("rist://@0.0.0.0:8000", "rist"),
    ],
)
def test_addresses(url: str, kind: str, channel: ChannelFormat, clock: FakeClock) -> None:
    source: Any = open_source("s", url, channel, clock)
    assert source.kind == kind
    assert isinstance(source, FileSource if kind == "file" else LiveSource)
    state = source.state()
    wanted = (
        "name url kind connected receiving last_picture last_sound bit_rate errors reconnects repeats drops message"
    )
    assert set(wanted.split()) <= state.keys()
    assert not state["connected"]
    source.close()


def test_paths_are_unquoted_and_options_passed(channel: ChannelFormat, clock: FakeClock) -> None:
    source = open_source("s", "file:///media/a%20b.ts", channel, clock, in_point=5, loop=True)
    assert isinstance(source, FileSource)
    assert source.path == "/media/a b.ts"


def test_refusals_are_sentences(channel: ChannelFormat, clock: FakeClock) -> None:
    with pytest.raises(
        ValueError,
        match=r"s: gopher://\*\*\*@host/x begins with 'gopher', which is no kind of source; use one of .*udp",
    ):
        open_source("s", "gopher://u:p@host/x", channel, clock)
    with pytest.raises(ValueError, match="in_point cannot be given for the live input"):
        open_source("s", "udp://127.0.0.1:5000", channel, clock, in_point=7)


def test_others_register_themselves(channel: ChannelFormat, clock: FakeClock) -> None:
    made: list[tuple[Any, ...]] = []
    register("weather", lambda *args, **options: made.append((args, options)))  # type: ignore[arg-type, return-value]
    open_source("s", "weather:beijing", channel, clock, zoom=2)
    assert made == [(("s", "weather:beijing", channel, clock), {"zoom": 2})]


@pytest.mark.parametrize(("url", "kind"), [("testcard:Channel 1", "TestCard"), ("/media/logo.PNG", "Still")])
def test_test_cards_and_stills(url: str, kind: str, channel: ChannelFormat, clock: FakeClock) -> None:
    assert type(open_source("s", url, channel, clock)).__name__ == kind
