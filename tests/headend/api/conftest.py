"""A head end of two channels that exists in memory only: workers that answer what a test tells them to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer

from headend.api import ChannelView, ConfigView, Desk, Token, create_app
from headend.clock import FakeClock, from_seconds, to_iso

SECRET = "a-token-that-only-the-tests-know"


class FakeBus:
    """Workers in memory. ``silent`` ones do not answer, ``refusals`` say no."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.silent: set[str] = set()
        self.refusals: dict[str, dict[str, Any]] = {}
        self.held: asyncio.Event | None = None
        self.arrived = asyncio.Event()
        self.version = 7
        self.items: list[dict[str, Any]] = [{"id": "morning", "source": "/media/morning.mp4"}]
        self.rows: list[dict[str, Any]] = []
        self.queue: asyncio.Queue[tuple[str, Any] | Exception] = asyncio.Queue()
        self.states: dict[str, dict[str, Any]] = {name: self.channel(name) for name in ("news", "live")}

    def ago(self, seconds: float) -> str:
        return to_iso(self.clock.now() - from_seconds(seconds))

    def channel(self, name: str) -> dict[str, Any]:
        return {
            "on_air": {
                "item": "morning",
                "source": "/media/morning.mp4",
                "title": "早间新闻",
                "priority": 50,
                "planned_start": self.ago(600),
                "ends": self.ago(-600),
                "why": "as planned",
            },
            "next": {"item": "weather", "title": "天气", "starts": self.ago(-600)},
            "last_frame": self.ago(0.04),
            "delay": 0,
            "crawl": None,
            "counts": {
                "frames": 15000,
                "repeats": 3,
                "holds": 2,
                "drops": 1,
                "jumps": 1,
                "jumped": 8,
                "lateness": 0.002,
            },
            "sources": [
                {"id": "item:morning", "name": "/media/morning.mp4", "connected": True, "receiving": True},
                {
                    "id": "studio",
                    "name": "studio",
                    "kind": "udp",
                    "url": "udp://127.0.0.1:5001",
                    "connected": True,
                    "receiving": name == "live",
                    "last_picture": self.ago(0.1),
                    "last_sound": None,
                    "bit_rate": 3_000_000,
                    "errors": 4,
                    "reconnects": 1,
                    "message": "",
                },
            ],
        }

    async def request(self, name: str, body: dict[str, Any], patience: float) -> dict[str, Any]:
        self.asked.append((name, body))
        if name in self.silent:
            raise TimeoutError
        if self.held is not None and body["do"] != "state":
            self.arrived.set()
            await self.held.wait()
        if body["do"] in self.refusals:
            return {"ok": False, "problem": self.refusals[body["do"]]}
        return {"ok": True, "result": self.act(name, body)}

    def act(self, name: str, body: dict[str, Any]) -> Any:
        match body["do"]:
            case "state" if name == "hls":
                end = {"last_segment_end": self.ago(1)}
                renditions = {"360p": end, "audio": end}
                return {"channels": {c: {"counts": {"gap_segments": 1}, "renditions": renditions} for c in self.states}}
            case "state" if name.startswith("channel-"):
                return self.states[name.removeprefix("channel-")]
            case "state":
                return {"name": name}
            case "schedule.get":
                return {"version": self.version, "repeat": "never", "zone": "Asia/Shanghai", "items": self.items}
            case "schedule.put":
                self.version, self.items = self.version + 1, body["items"]
                return {"version": self.version, "items": self.items, "warnings": []}
            case "schedule.patch":
                self.version += 1
                self.items = [i for i in self.items if i["id"] not in body.get("remove", [])] + body.get("set", [])
                return {"version": self.version}
            case "asrun":
                return {"rows": self.rows}
            case _:
                return {"at": self.ago(0)}

    async def events(self) -> AsyncIterator[tuple[str, Any]]:
        while True:
            event = await self.queue.get()
            if isinstance(event, Exception):
                raise event
            yield event
            self.queue.task_done()

    def commands(self, do: str) -> list[dict[str, Any]]:
        """What was asked for, without looks at the state."""
        return [body for _, body in self.asked if body["do"] == do]


class HeadEnd:
    """An application with its fake workers, and a client that knows the token."""

    def __init__(self, client: TestClient[Any, Any], bus: FakeBus, desk: Desk) -> None:
        self.client = client
        self.bus = bus
        self.desk = desk

    async def call(
        self, method: str, path: str, body: Any = None, token: str | None = SECRET, **headers: str
    ) -> ClientResponse:
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.request(method, path, json=body, headers=named)


Start = Callable[..., Awaitable[HeadEnd]]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def start(clock: FakeClock, tmp_path: Path) -> AsyncIterator[Start]:
    """Starts head ends; each is stopped at the end of the test."""
    clients: list[TestClient[Any, Any]] = []

    async def begin(**options: Any) -> HeadEnd:
        bus = FakeBus(clock)
        channels = tuple(
            ChannelView(
                id,
                {"zho": zho, "eng": id.title()},
                (
                    {"name": "360p", "codec": "h264", "width": 640, "height": 360, "bit_rate": 800_000},
                    {"name": "audio"},
                ),
                ({"name": "studio", "kind": "udp"}, {"name": "camera", "kind": "rtsp"}),
            )
            for id, zho in (("news", "新闻频道"), ("live", "直播频道"))
        )
        records = options.pop("records", list)
        desk = Desk(bus, ConfigView(channels, version="0.1.0"), clock, records)
        page = options.pop("page", tmp_path / "dist")
        app = create_app(desk, Token(SECRET), page=page, **options)
        client: TestClient[Any, Any] = TestClient(TestServer(app))
        await client.start_server()
        clients.append(client)
        return HeadEnd(client, bus, desk)

    yield begin
    for client in clients:
        await client.close()


@pytest.fixture
async def head(start: Start) -> HeadEnd:
    """A head end on loopback."""
    return await start()
