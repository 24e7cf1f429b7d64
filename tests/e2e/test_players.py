"""Two minutes of television in four players at once, on both channels, through a join, a live take and a killed
worker."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from typing import Any

import pytest

from headend.clock import from_iso, to_seconds

SECONDS = 120
pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.gstreamer, pytest.mark.timeout(420)]


async def trouble(demo: Any) -> dict[str, Any]:
    """What happens to channel ``news`` while the players watch: a live take, its release, a worker killed with
    SIGKILL."""
    seen: dict[str, Any] = {}
    await asyncio.sleep(20)
    seen["take"] = await asyncio.to_thread(demo.post, "/api/v1/channels/news/take", {"source": "card"})
    await asyncio.sleep(6)
    seen["during take"] = await asyncio.to_thread(demo.get, "/api/v1/channels/news")
    await asyncio.sleep(9)
    seen["release"] = await asyncio.to_thread(demo.post, "/api/v1/channels/news/release", {})
    await asyncio.sleep(20)
    for name in ("channel-news", "channel-live"):
        seen[f"killed {name}"] = demo.worker(name)
        os.kill(demo.worker(name), signal.SIGKILL)
        await asyncio.sleep(20)
        seen[f"successor of {name}"] = demo.worker(name)
    return seen


async def test_every_player_plays_both_channels_through_everything(demo: Any, chromium: Any, players: Any) -> None:
    begun = time.monotonic()
    url = demo.url + "/hls/{}/{}"
    pages = [
        ("hlsjs", url.format("news", "index.m3u8")),
        ("hlsjs", url.format("live", "ts.m3u8")),
        ("native", url.format("news", "ts.m3u8")),
        ("native", url.format("live", "index.m3u8")),
    ]
    browser, *others, seen = await asyncio.gather(
        chromium.play(pages, SECONDS),
        players.ffmpeg(url.format("news", "ts.m3u8"), SECONDS),
        players.ffmpeg(url.format("live", "index.m3u8"), SECONDS),
        players.gstreamer(url.format("news", "index.m3u8"), SECONDS),
        players.gstreamer(url.format("live", "ts.m3u8"), SECONDS),
        trouble(demo),
    )
    reports = [*browser, *others]
    for report in reports:
        print(
            f"{report.player:16} {report.url.partition('/hls/')[2]:16} "
            f"played {report.played:6.1f} s of {report.wall:6.1f} s"
        )
    reasons = [reason for report in reports for reason in report.verdict(SECONDS)]
    assert not reasons, "\n".join(reasons)

    assert seen["during take"]["on_air"]["source"] == "card", json.dumps(seen["during take"])
    for name in ("channel-news", "channel-live"):
        assert seen[f"killed {name}"] != seen[f"successor of {name}"]

    rows = demo.get("/api/v1/channels/news/asrun")["rows"]
    elapsed = time.monotonic() - begun
    starts = [from_iso(row["start"]) for row in rows]
    recent = [row for row, at in zip(rows, starts, strict=True) if to_seconds(starts[-1] - at) < elapsed]
    items = {row["item"] for row in recent if row["item"]}
    assert len(items) >= 2, f"no join between items within the two minutes: {recent}"


async def test_numbers_go_on_and_nothing_is_repeated(demo: Any) -> None:
    """The segment numbers of a rendition are those of the house clock, with one entry each."""
    text = demo.text("/hls/news/360p/index.m3u8")
    sequence = int(text.partition("#EXT-X-MEDIA-SEQUENCE:")[2].split()[0])
    names = [line for line in text.splitlines() if line and not line.startswith("#")]
    numbers = [int(name.partition("?")[0].rpartition("/")[2].split(".")[0]) for name in names]
    assert numbers == list(range(sequence, sequence + len(numbers)))
    assert text.count("#EXT-X-GAP") <= 1
