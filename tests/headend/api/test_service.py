"""The worker as it runs: a real bus, a real Unix socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import stat
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import structlog
import yaml

from headend.api import run
from headend.api.service import is_loopback, records, view_of
from headend.bus import Bus
from headend.clock import SystemClock, to_iso
from headend.config import load_config
from headend.paths import Paths
from headend.worker import Context

LADDER = {"video": [{"id": "180p", "width": 320, "height": 180, "bitrate": "200k"}]}
CONFIG = {
    "http": {"port": 8080},
    "data": "data",
    "run": "run",
    "channels": [
        {
            "id": "news",
            "name": {"zho": "新闻", "eng": "News"},
            "format": {"width": 320, "height": 180},
            "ladder": LADDER,
            "sources": [{"id": "studio", "url": "srt://10.0.0.1:9000?passphrase=hunter2hunter2"}],
        }
    ],
}


class Beats:
    """A heartbeat that counts."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, what: str = "") -> None:
        self.count += 1


@pytest.fixture
def short() -> Iterator[Path]:
    """A run directory whose path leaves room for the names of sockets."""
    with tempfile.TemporaryDirectory(prefix="api-") as folder:
        yield Path(folder)


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short: Path) -> Iterator[Context]:
    """The API worker in a thread, with a channel's bus beside it."""
    monkeypatch.setenv("HEADEND_TOKEN", "service-test-token")
    file = tmp_path / "c.yaml"
    file.write_text(yaml.safe_dump({**CONFIG, "run": str(short)}), encoding="utf-8")
    config = load_config(file)
    paths = Paths.of(config)
    paths.make()
    paths.api.write_text("left behind by a predecessor")
    clock: Any = SystemClock()
    channel = Bus(paths.run, "channel-news")
    state = {"on_air": {"source": "studio", "priority": 60}, "last_frame": to_iso(clock.now()), "mode": "live"}
    channel.serve(lambda body: state if body["do"] == "state" else {"did": body})
    bus = Bus(paths.run, "api")
    beat: Any = Beats()
    context = Context("api", "", config, clock, paths, bus, beat, threading.Event(), structlog.get_logger("api"))
    thread = threading.Thread(target=run, args=(context,))
    thread.start()
    try:
        yield context
        channel.publish("channel.news.onair", {"last": True})
    finally:
        context.stopping.set()
        thread.join(10)
        bus.close()
        channel.close()
        assert not thread.is_alive(), "the worker did not stop within 10 s"


async def ask(context: Context, method: str, path: str, **rest: Any) -> Any:
    """A request over the socket, tried until it is there."""
    async with (
        asyncio.timeout(10),
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(context.paths.api))) as http,
    ):
        while True:
            with contextlib.suppress(aiohttp.ClientConnectionError):
                async with http.request(method, "http://api" + path, **rest) as response:
                    return response.status, await response.json()
            await asyncio.sleep(0.05)


async def test_it_answers_on_its_socket_and_reaches_the_channel(worker: Context) -> None:
    status, body = await ask(worker, "GET", "/api/v1/channels/news")
    assert (status, body["mode"], body["on_air"]["source"]) == (200, "live", "studio")
    assert body["sources"][0]["lamp"] == "idle"
    assert "hunter2" not in json.dumps(body)
    assert stat.S_IMODE(worker.paths.api.stat().st_mode) == 0o600
    assert worker.beat.count >= 1

    headers = {"Authorization": "Bearer service-test-token"}
    status, body = await ask(worker, "POST", "/api/v1/channels/news/take", json={"source": "studio"}, headers=headers)
    assert (status, body["detail"]["did"]["do"]) == (200, "take")
    status, body = await ask(worker, "POST", "/api/v1/channels/news/take", json={"source": "studio"})
    assert status == 401


async def test_it_says_how_it_is_on_the_bus(worker: Context) -> None:
    await ask(worker, "GET", "/healthz")
    other = Bus(worker.paths.run, "asker")
    try:
        reply = await other.ask("api", {"do": "state"})
        assert (reply["ok"], reply["result"]["dropped_clients"]) == (True, 0)
        assert (await other.ask("api", {"do": "dance"}))["problem"]["status"] == 400
    finally:
        other.close()


async def test_a_head_end_that_is_not_ready_says_why(worker: Context) -> None:
    status, body = await ask(worker, "GET", "/readyz")
    assert status == 503
    assert any("playlist" in reason for reason in body["reasons"])


def test_records_are_the_workers_files_with_what_the_supervisor_says(tmp_path: Path) -> None:
    workers = tmp_path / "workers"
    assert records(workers, tmp_path / "supervisor.json") == []
    workers.mkdir()
    (workers / "hls.json").write_text(json.dumps({"name": "hls", "pid": 5}))
    (workers / "api.json").write_text("{half")
    (workers / ".hls.json.99").write_text("{}")
    (tmp_path / "supervisor.json").write_text(json.dumps({"workers": {"hls": {"restarts": 2, "pid": 5}}}))
    assert records(workers, tmp_path / "supervisor.json") == [{"name": "api"}, {"name": "hls", "pid": 5, "restarts": 2}]


@pytest.mark.parametrize(
    ("host", "inside"),
    [
        ("127.0.0.1", True),
        ("localhost", True),
        ("::1", True),
        ("[::1]", True),
        ("0.0.0.0", False),
        ("::", False),
        ("tv.example", False),
    ],
)
def test_what_counts_as_this_machine_alone(host: str, inside: bool) -> None:
    assert is_loopback(host) is inside


def test_the_view_holds_no_secrets(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(yaml.safe_dump(CONFIG), encoding="utf-8")
    view = view_of(load_config(file))
    assert view.channels[0].sources[0]["kind"] == "srt"
    assert "hunter2" not in repr(view)
    assert view.channels[0].renditions[0]["name"] == "180p"
