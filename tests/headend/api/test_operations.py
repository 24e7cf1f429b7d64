"""The requests, seen by a client."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest


async def problem(response: Any, status: int, kind: str) -> dict[str, Any]:
    """The problem document of an answer, which is checked to be one (RFC 9457, section 3)."""
    body = json.loads(await response.text())
    assert response.status == status, body
    assert response.content_type == "application/problem+json"
    assert body["status"] == status
    assert body["type"] == f"urn:headend:problem:{kind}"
    assert body["title"]
    assert len(body["detail"]) > 20
    return dict(body)


async def test_a_channel_says_what_is_on_air_and_what_is_next(head: Any) -> None:
    body = await (await head.call("GET", "/api/v1/channels/news", token=None)).json()
    assert body["name"] == {"zho": "新闻频道", "eng": "News"}
    assert (body["mode"], body["on_air"]["source"], body["on_air"]["title"]) == (
        "schedule",
        "/media/morning.mp4",
        "早间新闻",
    )
    assert (body["next"]["item"], body["reachable"], body["gaps"]) == ("weather", True, 1)
    assert body["last_frame_age"] == pytest.approx(0.04, abs=0.001)
    assert body["counts"]["frames"] == 15000
    assert [(s["name"], s["lamp"]) for s in body["sources"]] == [("studio", "waiting"), ("camera", "idle")]


async def test_all_channels_are_listed_in_the_order_of_the_configuration(head: Any) -> None:
    body = await (await head.call("GET", "/api/v1/channels")).json()
    assert [row["id"] for row in body["channels"]] == ["news", "live"]


@pytest.mark.parametrize(
    ("priority", "mode"),
    [(100, "alert"), (60, "live"), (50, "schedule"), (25, "filler"), (1, "slate"), (None, "unknown")],
)
async def test_the_mode_follows_from_the_priority_on_air(head: Any, priority: int | None, mode: str) -> None:
    head.bus.states["news"]["on_air"]["priority"] = priority
    assert (await (await head.call("GET", "/api/v1/channels/news")).json())["mode"] == mode


async def test_a_silent_worker_is_shown_as_it_was(head: Any) -> None:
    await head.call("GET", "/api/v1/channels/news")
    head.bus.silent.add("channel-news")
    head.desk.forget("channel-news")
    body = await (await head.call("GET", "/api/v1/channels/news")).json()
    assert body["reachable"] is False
    assert body["on_air"]["item"] == "morning"


async def test_a_worker_whose_account_makes_no_sense_does_no_harm(head: Any) -> None:
    head.bus.states["news"] = {
        "on_air": 5,
        "next": "x",
        "sources": [None, {"id": 3}],
        "counts": [],
        "delay": True,
        "last_frame": "soon",
    }
    body = await (await head.call("GET", "/api/v1/channels/news")).json()
    assert (body["mode"], body["on_air"], body["last_frame_age"]) == ("unknown", None, None)
    assert body["counts"]["frames"] == 0


async def test_many_readers_are_one_question(head: Any) -> None:
    await asyncio.gather(*(head.call("GET", "/api/v1/channels/news/sources") for _ in range(50)))
    assert len([name for name, body in head.bus.asked if name == "channel-news" and body["do"] == "state"]) <= 5


async def test_an_unknown_channel_is_a_problem_that_names_those_there_are(head: Any) -> None:
    body = await problem(await head.call("GET", "/api/v1/channels/sport"), 404, "no-such-channel")
    assert "news, live" in body["detail"]


async def test_take_and_release_reach_the_channel(head: Any) -> None:
    at = "2027-01-15T20:00:00+08:00"
    assert (await head.call("POST", "/api/v1/channels/news/take", {"source": "studio", "at": at})).status == 200
    assert (await head.call("POST", "/api/v1/channels/news/release")).status == 200
    assert (await head.call("POST", "/api/v1/channels/news/skip", {})).status == 200
    assert (await head.call("POST", "/api/v1/channels/news/dump", {})).status == 200
    assert (await head.call("PUT", "/api/v1/channels/news/crawl", {"text": "暴雨橙色预警"})).status == 200
    assert head.bus.commands("take") == [{"do": "take", "source": "studio", "at": at}]
    assert head.bus.commands("release") == [{"do": "release", "at": None}]
    assert head.bus.commands("skip") == [{"do": "skip"}]
    assert head.bus.commands("dump") == [{"do": "dump"}]
    assert head.bus.commands("crawl") == [{"do": "crawl", "text": "暴雨橙色预警"}]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"sauce": "studio", "source": "studio"}, "/sauce"),
        ({}, "/source"),
        ([], ""),
        ({"source": ""}, "/source"),
        ({"source": 5}, "/source"),
        ({"source": "studio", "at": "20:00"}, "/at"),
        ({"source": "studio", "at": "2026-11-21T20:00:00"}, "/at"),
    ],
)
async def test_a_take_that_is_not_one_is_refused_and_changes_nothing(head: Any, body: Any, pointer: str) -> None:
    answer = await problem(await head.call("POST", "/api/v1/channels/news/take", body), 422, "invalid")
    assert [row["pointer"] for row in answer["errors"]] == [pointer]
    assert not head.bus.commands("take")


async def test_a_body_that_is_no_json_is_refused(head: Any) -> None:
    headers = {"Authorization": "Bearer a-token-that-only-the-tests-know", "Content-Type": "application/json"}
    url = "/api/v1/channels/news/take"
    await problem(await head.client.post(url, data=b"{source", headers=headers), 400, "malformed")
    headers["Content-Type"] = "text/plain"
    await problem(await head.client.post(url, data=b"studio", headers=headers), 415, "not-json")


async def test_a_body_too_large_is_refused_however_its_length_is_told(head: Any) -> None:
    async def chunks() -> Any:
        for _ in range(20):
            yield b" " * 8192

    headers = {"Authorization": "Bearer a-token-that-only-the-tests-know", "Content-Type": "application/json"}
    for data in (b" " * 70_000, chunks()):
        response = await head.client.post("/api/v1/channels/news/take", data=data, headers=headers)
        await problem(response, 413, "too-large")


async def test_what_the_worker_refuses_is_passed_on(head: Any) -> None:
    head.bus.refusals["take"] = {
        "status": 409,
        "title": "Not now",
        "detail": "the source studio is not receiving anything",
    }
    body = await problem(await head.call("POST", "/api/v1/channels/news/take", {"source": "studio"}), 409, "conflict")
    assert body["title"] == "Not now"


async def test_a_worker_that_does_not_answer_is_a_504(head: Any) -> None:
    head.bus.silent.add("channel-news")
    body = await problem(await head.call("POST", "/api/v1/channels/news/skip"), 504, "worker-silent")
    assert "not known" in body["detail"]


async def test_the_schedule_has_a_version_that_guards_it(head: Any) -> None:
    url = "/api/v1/channels/news/schedule"
    response = await head.call("GET", url)
    assert response.headers["ETag"] == '"7"'
    assert (await response.json())["settings"] == {"repeat": "never", "zone": "Asia/Shanghai"}

    new = {
        "items": [
            {"id": "evening", "source": "/media/evening.mp4", "start": "20:00:00", "in": 1.5, "duration": "00:30:00"}
        ]
    }
    await problem(await head.call("PUT", url, new), 428, "version-missing")
    assert (await problem(await head.call("PUT", url, new, If_Match='"6"'), 412, "version"))["version"] == 7
    assert not head.bus.commands("schedule.put")

    response = await head.call("PUT", url, new, If_Match='"7"')
    assert (response.status, response.headers["ETag"]) == (200, '"8"')
    assert head.bus.commands("schedule.put") == [{"do": "schedule.put", "items": new["items"], "version": 7}]

    change = {"set": [{"id": "night", "source": "/media/night.mp4"}], "remove": ["evening"]}
    response = await head.call("PATCH", url, change, If_Match='"8"')
    assert [row["id"] for row in (await response.json())["items"]] == ["night"]
    assert response.headers["ETag"] == '"9"'


async def test_an_item_with_a_field_that_does_not_exist_is_named(head: Any) -> None:
    body = {"items": [{"id": "a", "source": "b"}, {"id": "c", "source": "d", "lenght": 5}]}
    answer = await problem(await head.call("PUT", "/api/v1/channels/news/schedule", body, If_Match="*"), 422, "invalid")
    assert answer["errors"][0]["pointer"] == "/items/1/lenght"


async def test_readiness_needs_a_fresh_frame_and_playlist_of_every_channel(head: Any, clock: Any) -> None:
    response = await head.call("GET", "/readyz", token=None)
    assert (response.status, (await response.json())["reasons"]) == (200, [])

    head.bus.states["live"]["last_frame"] = head.bus.ago(3)
    head.desk.forget("channel-live")
    response = await head.call("GET", "/readyz", token=None)
    assert response.status == 503
    assert [reason.split(":")[0] for reason in (await response.json())["reasons"]] == ["channel live"]

    head.bus.silent.add("hls")
    head.desk.forget("hls")
    head.bus.states["live"]["last_frame"] = head.bus.ago(0)
    head.desk.forget("channel-live")
    assert (await head.call("GET", "/readyz")).status == 200, "the last known segments are young enough"
    clock.advance(60 * 27_000_000)
    reasons = (await (await head.call("GET", "/readyz")).json())["reasons"]
    assert any("players run dry" in reason for reason in reasons)


async def test_the_delay_is_no_reason_to_be_unready(head: Any) -> None:
    head.bus.states["live"].update(last_frame=head.bus.ago(7.5), delay=7)
    assert (await head.call("GET", "/readyz")).status == 200


async def test_health_is_this_process_alone(head: Any) -> None:
    head.bus.silent.update({"hls", "channel-news", "channel-live", "clock", "origin"})
    assert (await head.call("GET", "/healthz", token=None)).status == 200


async def test_the_state_of_the_head_end(head: Any) -> None:
    body = await (await head.call("GET", "/api/v1/state")).json()
    assert body["ready"] is True
    assert body["channels"] == {"news": "schedule", "live": "schedule"}
    assert body["now"] == body["started"] == "2027-01-15T08:00:00.000Z"


async def test_workers_are_what_the_supervisor_recorded(start: Any) -> None:
    head = await start(records=lambda: [{"name": "channel-news", "kind": "channel", "pid": 12, "restarts": 2}])
    rows = (await (await head.call("GET", "/api/v1/workers")).json())["workers"]
    assert [(row["name"], row["pid"], row["restarts"]) for row in rows] == [("channel-news", 12, 2)]


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/api/v1/nothing", 404), ("DELETE", "/api/v1/channels", 405)]
)
async def test_what_does_not_exist_is_a_problem_too(head: Any, method: str, path: str, status: int) -> None:
    await problem(await head.call(method, path), status, {404: "not-found", 405: "method"}[status])


async def test_a_misspelt_query_is_refused(head: Any) -> None:
    await problem(await head.call("GET", "/api/v1/channels?id=news"), 422, "invalid")
    await problem(await head.call("GET", "/api/v1/channels/news/asrun?form=csv"), 422, "invalid")
    await problem(await head.call("GET", "/api/v1/channels/news/asrun?format=csv&format=json"), 422, "invalid")
