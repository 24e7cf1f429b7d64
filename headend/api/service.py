"""The worker: the application on its Unix socket, wired to the bus of this machine."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import ipaddress
import json
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final, Protocol

import uvloop
from aiohttp import web

from headend.api.app import STREAM, create_app
from headend.api.desk import Bus, ChannelView, ConfigView, Desk
from headend.api.token import SHORTEST, obtain
from headend.bus import Refusal
from headend.clock import Clock
from headend.config import Channel, Config
from headend.paths import Paths
from headend.secrecy import redact

_BEAT: Final = 0.5
"""Seconds between two signs of life."""
_FAREWELL: Final = 1.0
"""Seconds that open requests have to end when the worker stops."""
_LARGEST_RECORD: Final = 1024 * 1024


class HouseBus(Protocol):
    """What this worker uses of :class:`headend.bus.Bus`."""

    async def ask(self, name: str, body: dict[str, Any], timeout: float = ...) -> dict[str, Any]: ...  # noqa: ASYNC109

    def subscribe(self, names: Any, topics: Any = ...) -> AsyncIterator[tuple[str, Any]]: ...

    def serve(self, handler: Callable[[dict[str, Any]], Any]) -> None: ...


class Context(Protocol):
    """What this worker uses of its context (headend/worker.py)."""

    @property
    def config(self) -> Config: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def paths(self) -> Paths: ...
    @property
    def bus(self) -> HouseBus: ...
    @property
    def beat(self) -> Callable[[str], object]: ...
    @property
    def stopping(self) -> threading.Event: ...
    @property
    def log(self) -> Any: ...


class Wire:
    """The bus as the desk wants it."""

    def __init__(self, bus: HouseBus, names: list[str]) -> None:
        self._bus = bus
        self._names = names

    async def request(self, name: str, body: dict[str, Any], patience: float) -> dict[str, Any]:
        """See :class:`headend.api.desk.Bus`."""
        return await self._bus.ask(name, body, patience)

    def events(self) -> AsyncIterator[tuple[str, Any]]:
        """See :class:`headend.api.desk.Bus`."""
        return self._bus.subscribe(self._names)


def run(context: Context) -> None:
    """Serve until ``context.stopping`` is set.

    Raises OSError if the socket cannot be made or the token cannot be kept, ValueError if the stored token is empty.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(context))


async def _serve(context: Context) -> None:
    config, log = context.config, context.log
    token = obtain(context.paths.data)
    if token.fresh:
        # Printed, not logged: logs are kept, copied and read by many.
        print(f"headend: administrator's token, shown this once: {token.secret}", file=sys.stderr, flush=True)
    loopback = is_loopback(config.http.host)
    if not loopback and len(token.secret) < SHORTEST:
        log.warning(f"HEADEND_TOKEN has fewer than {SHORTEST} characters and {config.http.host} is open to others")
    view = view_of(config)
    names = ["supervisor", "clock", "hls", "origin", *(f"channel-{channel.id}" for channel in view.channels)]
    wire: Bus = Wire(context.bus, names)
    desk = Desk(wire, view, context.clock, lambda: records(context.paths.workers, context.paths.supervisor))
    app = create_app(desk, token, loopback=loopback, log=log)
    context.bus.serve(lambda body: _answer(body, app))

    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_FAREWELL, handle_signals=False)
    await runner.setup()
    try:
        with contextlib.suppress(FileNotFoundError):
            # Of a predecessor that was killed; while it was there nobody could bind to it.
            await asyncio.to_thread(context.paths.api.unlink)
        site = web.UnixSite(runner, str(context.paths.api), backlog=512)
        await site.start()
        await asyncio.to_thread(os.chmod, context.paths.api, 0o600)
        log.info(
            "the API answers", socket=str(context.paths.api), page=f"http://{config.http.host}:{config.http.port}/"
        )
        while not context.stopping.is_set():
            context.beat("serving")
            await asyncio.sleep(_BEAT)
    finally:
        await runner.cleanup()


def _answer(body: dict[str, Any], app: web.Application) -> dict[str, Any]:
    if body.get("do") != "state":
        raise Refusal(400, "Unknown request", f"the API cannot do {body.get('do')!r}")
    return app[STREAM].state()


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to a host name or address."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def view_of(config: Config) -> ConfigView:
    """What the API shows of a configuration."""
    try:
        version = importlib.metadata.version("headend")
    except importlib.metadata.PackageNotFoundError:
        version = "0"
    return ConfigView(
        channels=tuple(_channel(channel) for channel in config.channels),
        host=config.http.host,
        segment=float(max(channel.ladder.segment for channel in config.channels)),
        version=version,
    )


def _channel(channel: Channel) -> ChannelView:
    name = channel.name
    video: list[dict[str, Any]] = [
        {"name": row.id, "codec": row.codec, "width": row.width, "height": row.height, "bit_rate": row.bitrate}
        for row in channel.ladder.video
    ]
    audio: list[dict[str, Any]] = [
        {"name": row.id, "codec": row.codec, "bit_rate": row.bitrate} for row in channel.ladder.audio
    ]
    return ChannelView(
        id=channel.id,
        name={"zho": name.zho, "eng": name.eng},
        renditions=(*video, *audio),
        sources=tuple(
            {"name": row.id, "url": redact(row.url), "kind": row.url.partition(":")[0]} for row in channel.sources
        ),
    )


def records(workers: Path, supervisor: Path) -> list[dict[str, Any]]:
    """The records of the workers, with what the supervisor says of each; what cannot be read is left out."""
    said = _json(supervisor)
    table = said.get("workers")
    known: dict[str, dict[str, Any]] = {}
    if isinstance(table, dict):
        known = {str(name): row for name, row in table.items() if isinstance(row, dict)}
    elif isinstance(table, list):
        known = {str(row.get("name")): row for row in table if isinstance(row, dict)}
    for path in sorted(workers.glob("[!.]*.json")) if workers.is_dir() else ():
        known[path.stem] = {**_json(path), **known.get(path.stem, {})}
    return [{"name": name, **row} for name, row in sorted(known.items())]


def _json(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            value = json.loads(file.read(_LARGEST_RECORD))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
