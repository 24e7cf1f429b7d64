"""The desk: what the API knows of the head end, and the one way in which it asks the workers.

Reading never loads a worker with the number of readers: the state of each worker is asked for at most a few times a
second, whoever wants it waits for the same question, and a worker that does not answer is shown as it was, marked
unreachable.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from headend import clock as house
from headend.api.problem import Problem, from_reply
from headend.secrecy import redacted

FRESH: Final = 0.25
"""Seconds for which a state is taken as the present one."""
PATIENCE: Final = 2.0
"""Seconds that a worker has to answer a command."""
GLANCE: Final = 0.8
"""Seconds that a worker has to say how it is."""


class Bus(Protocol):
    """The way to the other workers."""

    async def request(self, name: str, body: dict[str, Any], patience: float) -> dict[str, Any]:
        """The worker's reply, ``{"ok": true, "result"}`` or ``{"ok": false, "problem"}``.

        Raises TimeoutError if it did not answer in ``patience`` seconds, OSError if it cannot be asked.
        """
        ...

    def events(self) -> AsyncIterator[tuple[str, Any]]:
        """Every ``(topic, payload)`` that any worker publishes."""
        ...


@dataclass(frozen=True, slots=True)
class ChannelView:
    """What the API must know of a channel's configuration."""

    id: str
    name: dict[str, str]
    """``zho`` and ``eng``."""
    renditions: tuple[dict[str, Any], ...] = ()
    """Each with ``name`` and, where known, ``codec, width, height, bit_rate``."""
    sources: tuple[dict[str, Any], ...] = ()
    """Each with ``name`` and ``kind``; without addresses."""


@dataclass(frozen=True, slots=True)
class ConfigView:
    """What the API must know of the configuration."""

    channels: tuple[ChannelView, ...]
    host: str = "127.0.0.1"
    """Where the origin listens: beyond loopback, reading needs the token too."""
    segment: float = 4.0
    """Seconds of one HLS segment."""
    fresh_frame: float = 2.0
    """Seconds after which the last picture of a channel is old."""
    version: str = ""


@dataclass(slots=True)
class Report:
    """The last thing a worker said of itself."""

    state: dict[str, Any] = field(default_factory=dict)
    reachable: bool = False
    asked: float = float("-inf")
    """``time.monotonic()`` of the answer, or of giving up."""


class Desk:
    """Asks workers, and remembers what they said of themselves."""

    def __init__(
        self,
        bus: Bus,
        config: ConfigView,
        clock: house.Clock,
        workers: Callable[[], list[dict[str, Any]]] = list,
    ) -> None:
        self.bus = bus
        self.config = config
        self.clock = clock
        self.started = clock.now()
        self.timeouts = 0
        """Questions that no worker answered in time."""
        self._records = workers
        self._reports: dict[str, Report] = {}
        self._asking: dict[str, asyncio.Task[Report]] = {}
        self._channels = {channel.id: channel for channel in config.channels}

    def channel(self, channel_id: str) -> ChannelView:
        """The configuration of a channel. Raises :class:`Problem` 404."""
        try:
            return self._channels[channel_id]
        except KeyError:
            known = ", ".join(self._channels) or "none"
            raise Problem(
                404, "no-such-channel", f"there is no channel {channel_id!r} in the configuration; there is: {known}"
            ) from None

    async def command(self, name: str, body: dict[str, Any], patience: float = PATIENCE) -> Any:
        """Ask a worker to do something; the ``result`` of its reply. Raises :class:`Problem`."""
        try:
            reply = await self.bus.request(name, body, patience)
        except TimeoutError:
            self.timeouts += 1
            raise Problem(
                504,
                "worker-silent",
                f"the worker {name} did not answer within {patience:g} s, so it is not known whether it did "
                f"{body.get('do')!r}; look at its state, then send the request again with the same Idempotency-Key",
            ) from None
        except OSError as error:
            raise Problem(
                503,
                "worker-away",
                f"the worker {name} cannot be reached ({error}); it is restarted by itself, try again",
            ) from None
        if not isinstance(reply, dict) or not reply.get("ok"):
            problem = reply.get("problem") if isinstance(reply, dict) else None
            raise from_reply(name, problem if isinstance(problem, dict) else {})
        self.forget(name)
        return reply.get("result")

    async def report(self, name: str, fresh: float = FRESH) -> Report:
        """How a worker is; the last known account, marked unreachable, if it does not say. Never raises."""
        known = self._reports.setdefault(name, Report())
        if time.monotonic() - known.asked < fresh:
            return known
        if (task := self._asking.get(name)) is None:
            task = asyncio.ensure_future(self._ask(name))
            self._asking[name] = task
            task.add_done_callback(lambda _: self._asking.pop(name, None))
        return await asyncio.shield(task)

    def forget(self, name: str) -> None:
        """The next reader asks the worker again: something has just changed."""
        if (known := self._reports.get(name)) is not None:
            known.asked = float("-inf")

    async def _ask(self, name: str) -> Report:
        report = Report(state=self._reports[name].state)
        try:
            reply = await self.bus.request(name, {"do": "state"}, GLANCE)
        except (TimeoutError, OSError):
            self.timeouts += 1
        else:
            if isinstance(reply, dict) and reply.get("ok") and isinstance(reply.get("result"), dict):
                report.state = redacted(reply["result"])
                report.reachable = True
        report.asked = time.monotonic()
        self._reports[name] = report
        return report

    async def survey(self) -> None:
        """Bring the account of every worker up to date, all at once."""
        names = [f"channel-{channel}" for channel in self._channels]
        await asyncio.gather(*(self.report(name) for name in (*names, "hls", "clock", "origin")))

    def last(self, name: str) -> Report:
        """What is known of a worker without asking it."""
        return self._reports.get(name) or Report()

    async def records(self) -> list[dict[str, Any]]:
        """The supervisor's records of its workers, read from their files."""
        return await asyncio.to_thread(self._records)

    async def close(self) -> None:
        """Let go of questions that are still open."""
        for task in list(self._asking.values()):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def age(self, moment: object) -> float | None:
        """Seconds since an ISO 8601 instant in house time; None if it is none."""
        if not isinstance(moment, str):
            return None
        try:
            return house.to_seconds(self.clock.now() - house.from_iso(moment))
        except ValueError:
            return None
