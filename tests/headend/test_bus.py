"""The bus: real sockets between real threads, and peers that are down, stuck or talk nonsense."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from headend.bus import Bus, Refusal, bind

Eventually = Callable[..., Any]
Make = Callable[[str], Bus]


@pytest.fixture
def make(run: Path) -> Iterator[Make]:
    buses: list[Bus] = []

    def one(name: str) -> Bus:
        buses.append(Bus(run, name))
        return buses[-1]

    yield one
    for bus in buses:
        bus.close()


def answer(request: dict[str, Any]) -> Any:
    match request["do"]:
        case "echo":
            return request
        case "refuse":
            raise Refusal(409, "Conflict", "the schedule has changed since version 3")
        case "explain":
            errors = [{"pointer": "/items/0/source", "detail": "rtmp://user:secret@host/live is not there"}]
            raise Refusal(422, "Invalid", "one thing is wrong", errors=errors)
        case "fail":
            raise OSError("cannot open rtsp://user:secret@camera/1")
        case "unspeakable":
            return object()
    return None


async def test_requests_and_replies(make: Make) -> None:
    server, client = make("channel-one"), make("api")
    server.serve(answer)
    assert client.request("channel-one", {"do": "echo", "text": "新闻"}) == {
        "ok": True,
        "result": {"do": "echo", "text": "新闻"},
    }
    assert (await client.ask("channel-one", {"do": "none"})) == {"ok": True, "result": None}
    refused = await client.ask("channel-one", {"do": "refuse"})
    assert refused["problem"] == {
        "status": 409,
        "title": "Conflict",
        "detail": "the schedule has changed since version 3",
    }
    explained = (await client.ask("channel-one", {"do": "explain"}))["problem"]
    assert explained["errors"][0]["pointer"] == "/items/0/source"
    assert "secret" not in json.dumps(explained)
    for what in ("fail", "unspeakable"):
        failed = client.request("channel-one", {"do": what})
        assert failed["problem"]["status"] == 500
        assert "secret" not in json.dumps(failed)
    assert (server.answered, server.failed) == (2, 2)
    # Many at once, each with its own reply.
    replies = await asyncio.gather(*(client.ask("channel-one", {"do": "echo", "n": n}) for n in range(50)))
    assert [reply["result"]["n"] for reply in replies] == list(range(50))


async def test_a_worker_that_is_not_there_or_does_not_answer(make: Make) -> None:
    client = make("api")
    assert client.request("hls", {})["problem"]["status"] == 503
    assert (await client.ask("hls", {}))["problem"]["status"] == 503
    release = threading.Event()
    stuck = make("hls")
    stuck.serve(lambda request: release.wait(10))
    started = time.monotonic()
    assert client.request("hls", {"do": "x"}, timeout=0.2)["problem"]["status"] == 504
    assert (await client.ask("hls", {"do": "x"}, timeout=0.2))["problem"]["status"] == 504
    assert time.monotonic() - started < 2
    release.set()


async def test_a_dead_worker_gets_no_stale_commands(make: Make, eventually: Eventually) -> None:
    """What was asked of a dead one must not be done by its successor."""
    client, first = make("api"), make("channel-one")
    first.serve(answer)
    assert client.request("channel-one", {"do": "echo"})["ok"]
    first.close()
    # A killed process leaves its socket file.
    path = first.folder / "channel-one.cmd"
    path.touch()
    assert client.request("channel-one", {"do": "skip"}, timeout=0.2)["problem"]["status"] == 504
    seen: list[Any] = []
    second = make("channel-one")
    second.serve(seen.append)
    eventually(lambda: client.request("channel-one", {"do": "state"}, 0.5)["ok"])
    assert seen == [{"do": "state"}]


def test_nonsense_does_not_stop_a_server(make: Make) -> None:
    server, client = make("hls"), make("api")
    server.serve(answer)
    with zmq.Context() as context, context.socket(zmq.DEALER) as raw:
        raw.linger = 0
        raw.connect(f"ipc://{server.folder / 'hls.cmd'}")
        for frames in ([b""], [b"1", b"\xff\xfe"], [b"1", b"[]"], [b"1", b"2", b"3"], [b"1", b"{}"]):
            raw.send_multipart(frames)
        assert raw.poll(2000)
        assert json.loads(raw.recv_multipart()[1])["problem"]["status"] == 400
    assert client.request("hls", {"do": "echo"})["ok"]


async def test_notices(make: Make) -> None:
    listener, sender = make("api"), make("channel-one")
    heard: list[tuple[str, Any]] = []
    enough = asyncio.Event()

    async def listen() -> None:
        # One of the two comes later.
        async for topic, payload in listener.subscribe(["channel-one", "hls"], ["channel.", "hls."]):
            heard.append((topic, payload))
            if topic == "channel.end":
                enough.set()

    task = asyncio.create_task(listen())

    async def until(topic: str, bus: Bus) -> None:
        while not any(t == topic for t, _ in heard):
            bus.publish(topic, {"文": 1})
            await asyncio.sleep(0.02)

    async with asyncio.timeout(10):
        await until("channel.onair", sender)
        late = make("hls")
        await until("hls.segment", late)
        sender.publish("other.topic", 1)
        for n in range(300):
            sender.publish("channel.n", n)
        sender.publish("channel.end", None)
        await enough.wait()
    task.cancel()
    assert [payload for topic, payload in heard if topic == "channel.n"] == list(range(300))
    assert not [topic for topic, _ in heard if topic.startswith("other")]
    assert ("channel.onair", {"文": 1}) in heard
    assert listener.missed == 0
    assert sender.dropped == 0


async def test_lost_notices_are_counted(make: Make, run: Path) -> None:
    listener = make("api")
    (run / "bus").mkdir(parents=True)
    with zmq.Context() as context, context.socket(zmq.XPUB) as raw:
        raw.linger = 0
        raw.bind(f"ipc://{run / 'bus' / 'hls.pub'}")
        heard = listener.subscribe(["hls"])
        first = asyncio.ensure_future(anext(heard))
        assert await asyncio.to_thread(raw.poll, 5000)
        for number in (7, 8, 11, 2, 3):
            raw.send_multipart([b"t", str(number).encode(), number.to_bytes(8, "big")])
        raw.send_multipart([b"nonsense"])
        got = [(await first)[1]] + [(await anext(heard))[1] for _ in range(4)]
        await heard.aclose()
    assert got == [7, 8, 11, 2, 3]
    assert listener.missed == 2


def test_publishing_never_blocks_and_counts_what_it_drops(make: Make) -> None:
    bus = make("hls")
    bus.publish("x", object())
    started = time.monotonic()
    for _ in range(20_000):
        bus.publish("x", {"n": 1})
    assert time.monotonic() - started < 5
    bus.close()
    # Everything was sent, or counted, or still waited when the bus was closed.
    assert bus.published + bus.dropped <= 20_001
    assert bus.dropped >= 1
    bus.publish("x", 1)


def test_one_handler_only(make: Make) -> None:
    bus = make("hls")
    bus.serve(answer)
    with pytest.raises(RuntimeError, match="already answered"):
        bus.serve(answer)


@pytest.mark.parametrize(
    "endpoint", ["tcp://*:0", "tcp://0.0.0.0:0", "tcp://192.0.2.1:5", "tcp://[::]:0", "udp://127.0.0.1:1"]
)
def test_nothing_listens_beyond_loopback_without_curve(endpoint: str) -> None:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as socket, pytest.raises(ValueError, match="the bus"):
        bind(socket, endpoint)


def test_loopback_and_curve_may() -> None:
    with zmq.Context() as context:
        with context.socket(zmq.ROUTER) as socket:
            bind(socket, "tcp://127.0.0.1:*")
        with context.socket(zmq.ROUTER) as socket:
            public, secret = zmq.curve_keypair()
            socket.curve_secretkey, socket.curve_publickey, socket.curve_server = secret, public, True
            bind(socket, "tcp://0.0.0.0:*")
