"""The metrics, read by Prometheus' own parser."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families


async def scrape(head: Any) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    response = await head.call("GET", "/metrics", token=None)
    assert response.status == 200
    assert response.content_type == "text/plain"
    return {
        (s.name, tuple(sorted(s.labels.items()))): s.value
        for family in text_string_to_metric_families(await response.text())
        for s in family.samples
    }


async def test_channels_sources_and_workers_are_measured(start: Any) -> None:
    head = await start(records=lambda: [{"name": "channel-news", "restarts": 3}])
    found = await scrape(head)
    news = (("channel", "news"),)
    assert found["headend_channel_frames_total", news] == 15000
    assert found["headend_channel_repeats_total", news] == 3
    assert found["headend_channel_holds_total", news] == 2
    assert found["headend_channel_drops_total", news] == 1
    assert found["headend_channel_jumps_total", news] == 8
    assert found["headend_channel_lateness_seconds", news] == 0.002
    assert found["headend_channel_up", news] == 1
    assert found["headend_channel_last_frame_age_seconds", news] == pytest.approx(0.04)
    assert found["headend_hls_gaps_total", news] == 1
    assert found["headend_channel_mode", (*news, ("mode", "schedule"))] == 1
    assert found["headend_channel_mode", (*news, ("mode", "slate"))] == 0
    studio = (*news, ("source", "studio"))
    assert found["headend_source_bit_rate", studio] == 3_000_000
    assert found["headend_source_state", (*studio, ("state", "waiting"))] == 1
    assert found["headend_rendition_bit_rate", (*news, ("rendition", "360p"))] == 800_000
    assert found["headend_hls_segment_age_seconds", (*news, ("rendition", "360p"))] == pytest.approx(1)
    assert found["headend_worker_restarts_total", (("worker", "channel-news"),)] == 3


async def test_labels_do_not_grow_with_what_arrives(head: Any) -> None:
    before = set(await scrape(head))
    head.bus.states["news"]["sources"] += [{"id": f"item:{n}", "name": f"/media/{n}.mp4"} for n in range(50)]
    head.bus.states["news"]["mode"] = "made-up"
    head.desk.forget("channel-news")
    assert set(await scrape(head)) == before


async def test_a_dead_channel_is_seen(head: Any) -> None:
    head.bus.silent.add("channel-live")
    assert (await scrape(head))["headend_channel_up", (("channel", "live"),)] == 0


async def test_a_scraper_may_ask_for_openmetrics(head: Any) -> None:
    response = await head.call("GET", "/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert response.content_type == "application/openmetrics-text"
    assert (await response.text()).endswith("# EOF\n")
