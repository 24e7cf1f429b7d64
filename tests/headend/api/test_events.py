"""The event stream, and clients that break off, come back, or do not read."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from headend.api.events import Stream, Topics
from headend.api.problem import Problem


class Reader:
    """A client's view of the stream."""

    def __init__(self, response: Any) -> None:
        self.response = response
        self.last = ""

    async def event(self) -> dict[str, Any]:
        """The next event that carries data."""
        data = ""
        async with asyncio.timeout(5):
            while True:
                line = (await self.response.content.readline()).decode().rstrip("\n")
                if line.startswith("id: "):
                    self.last = line[4:]
                elif line.startswith("data: "):
                    data = line[6:]
                elif not line and data:
                    return dict(json.loads(data))
                elif not line and self.response.content.at_eof():
                    raise EOFError

    async def greeted(self) -> Reader:
        """Wait until the head end has said where the stream stands."""
        async with asyncio.timeout(5):
            while not self.last:
                line = (await self.response.content.readline()).decode()
                if line.startswith("id: "):
                    self.last = line[4:].strip()
        return self


async def listen(head: Any, query: str = "", **headers: str) -> Reader:
    return Reader(await head.call("GET", "/api/v1/events" + query, **headers))


async def test_what_the_workers_publish_arrives_in_order(head: Any) -> None:
    reader = await (await listen(head)).greeted()
    assert reader.response.content_type == "text/event-stream"
    for n in range(5):
        head.bus.queue.put_nowait(("channel.news.onair", {"item": n}))
    events = [await reader.event() for _ in range(5)]
    assert [e["data"]["item"] for e in events] == list(range(5))
    assert events[0]["topic"] == "channel.news.onair"
    assert events[0]["at"].endswith("Z")


async def test_a_client_takes_only_the_topics_it_wants(head: Any) -> None:
    reader = await (await listen(head, "?topics=channel.news,worker.*")).greeted()
    for topic in (
        "channel.live.onair",
        "channel.newsreel.onair",
        "channel.news.asrun",
        "hls.news.segment",
        "worker.hls",
    ):
        head.bus.queue.put_nowait((topic, {}))
    assert [(await reader.event())["topic"] for _ in range(2)] == ["channel.news.asrun", "worker.hls"]


@pytest.mark.parametrize(
    ("wanted", "topic", "takes"),
    [
        (None, "anything", True),
        ("", "anything", True),
        ("channel.news", "channel.news", True),
        ("channel.news.", "channel.news.onair", True),
        ("channel.*.onair", "channel.live.onair", True),
        ("channel.*.onair", "channel.live.asrun", False),
        ("channel.new", "channel.news.onair", False),
    ],
)
def test_topics(wanted: str | None, topic: str, takes: bool) -> None:
    assert (topic in Topics(wanted)) is takes


async def test_a_client_that_comes_back_gets_what_it_missed(head: Any) -> None:
    reader = await (await listen(head)).greeted()
    head.bus.queue.put_nowait(("worker.hls", {"n": 0}))
    await reader.event()
    last = reader.last
    reader.response.close()
    for n in range(1, 4):
        head.bus.queue.put_nowait(("worker.hls", {"n": n}))
    await head.bus.queue.join()
    reader = await listen(head, Last_Event_ID=last)
    assert [(await reader.event())["data"]["n"] for _ in range(3)] == [1, 2, 3]
    head.bus.queue.put_nowait(("worker.hls", {"n": 4}))
    assert (await reader.event())["data"]["n"] == 4


@pytest.mark.parametrize("last", ["other-run-5", "zzz", "run-99", "run--1", "run-" + "9" * 40, "run-²", "run-1"])
def test_what_cannot_be_replayed_is_said_to_be_lost(last: str) -> None:
    stream = Stream("run", lambda: "now", kept=3)
    for n in range(10):
        stream.publish("t", n)
    lost, _ = stream.missed(last, Topics(None))
    assert lost


def test_replay_is_exact_at_the_edge_of_what_is_kept() -> None:
    stream = Stream("run", lambda: "now", kept=3)
    for n in range(10):
        stream.publish("t", n)
    assert [e.number for e in stream.missed("run-7", Topics(None))[1]] == [8, 9, 10]
    assert stream.missed("run-7", Topics(None))[0] is False
    assert stream.missed("run-10", Topics(None)) == (False, [])


async def test_a_client_that_does_not_read_is_cut_off_and_counted() -> None:
    stream = Stream("run", lambda: "now", bound=10)
    cut: list[int] = []
    slow, good = stream.listen(Topics(None)), stream.listen(Topics(None))
    slow.hang_up = lambda: cut.append(1)
    for n in range(12):
        stream.publish("t", n)
        event = good.queue.get_nowait()
        assert event is not None
        assert event.number == n + 1
    assert (stream.dropped, cut, stream.state()["listeners"]) == (1, [1], 1)
    assert slow.queue.get_nowait() is None
    assert slow.queue.empty()


async def test_the_number_of_clients_is_bounded() -> None:
    stream = Stream("run", lambda: "now", most=2)
    first = stream.listen(Topics(None))
    stream.listen(Topics(None))
    with pytest.raises(Problem) as refused:
        stream.listen(Topics(None))
    assert refused.value.status == 503
    stream.leave(first)
    stream.listen(Topics(None))


async def test_silence_is_broken_by_comments(head: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headend.api.events.KEEP_ALIVE", 0.05)
    reader = await (await listen(head)).greeted()
    async with asyncio.timeout(5):
        while (await reader.response.content.readline()) != b": alive\n":
            pass


async def test_a_bus_that_breaks_is_listened_to_again(head: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headend.api.app._RESTED", 0.01)
    reader = await (await listen(head)).greeted()
    head.bus.queue.put_nowait(OSError("the socket is gone"))
    head.bus.queue.put_nowait(("worker.hls", {"n": 1}))
    assert (await reader.event())["data"] == {"n": 1}


async def test_secrets_of_a_careless_worker_go_no_further(head: Any) -> None:
    reader = await (await listen(head)).greeted()
    head.bus.queue.put_nowait(("channel.news.source", {"url": "rtsp://admin:hunter2@10.0.0.7/main"}))
    assert "hunter2" not in json.dumps(await reader.event())


async def test_streams_end_when_the_worker_stops(head: Any) -> None:
    reader = await (await listen(head)).greeted()
    await head.client.server.close()
    with pytest.raises((EOFError, OSError)):
        await reader.event()
