"""Server-sent events: everything the workers publish, as one stream that survives a broken connection.

Events are numbered and the newest are kept, so that a client that comes back with ``Last-Event-ID`` gets what it
missed. If that is no longer kept, or the API worker was restarted since, the stream begins with a ``lost`` event: the
client then reads the state again. A client that does not read is cut off and counted; it costs the others nothing.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

from aiohttp import web

from headend.api.problem import Problem
from headend.secrecy import redacted

KEEP_ALIVE: Final = 15.0
"""Seconds of silence after which a comment is sent, so that proxies and clients know the stream lives."""


@dataclass(frozen=True, slots=True)
class Event:
    """One numbered event, ready to be sent."""

    number: int
    topic: str
    frame: bytes


class Topics:
    """Which topics a client wants."""

    def __init__(self, text: str | None) -> None:
        self._patterns = [part.strip() for part in (text or "").split(",") if part.strip()]

    def __contains__(self, topic: object) -> bool:
        if not isinstance(topic, str):
            return False
        return not self._patterns or any(
            topic == p or topic.startswith(p.rstrip(".") + ".") or ("*" in p and fnmatchcase(topic, p))
            for p in self._patterns
        )


class Listener:
    """One client's place in the stream: a queue that never grows beyond its bound."""

    def __init__(self, topics: Topics, bound: int) -> None:
        self.topics = topics
        self.queue: asyncio.Queue[Event | None] = asyncio.Queue(bound)
        self.hang_up: Callable[[], object] = lambda: None
        """Breaks the connection, for a client that no longer reads from it."""

    def offer(self, event: Event) -> bool:
        """Hand over an event; False when the client is too slow and has to go."""
        if event.topic not in self.topics:
            return True
        try:
            self.queue.put_nowait(event)
        except asyncio.QueueFull:
            self.cut()
            self.hang_up()
            return False
        return True

    def cut(self) -> None:
        """End the stream at once; what still waits is given up (the client asks for it by number)."""
        while not self.queue.empty():
            self.queue.get_nowait()
        self.queue.put_nowait(None)


class Stream:
    """Numbers events, keeps the newest, and passes them to whoever listens."""

    def __init__(self, run: str, now: Callable[[], str], kept: int = 2000, bound: int = 256, most: int = 200) -> None:
        """``run`` tells this process from its predecessor; ``now`` states house time; ``most`` clients at once."""
        self._run = run
        self._now = now
        self._kept: deque[Event] = deque(maxlen=kept)
        self._bound = bound
        self._most = most
        self._number = 0
        self._listeners: set[Listener] = set()
        self.dropped = 0
        """Clients cut off because they did not read."""
        self.closed = False

    def publish(self, topic: str, payload: Any) -> None:
        """Give an event to everyone who wants it."""
        self._number += 1
        data = json.dumps(
            {"topic": topic, "at": self._now(), "data": redacted(payload)},
            ensure_ascii=False,
            separators=(",", ":"),
            default=str,
        )
        event = Event(self._number, topic, f"id: {self._run}-{self._number}\ndata: {data}\n\n".encode())
        self._kept.append(event)
        for listener in list(self._listeners):
            if not listener.offer(event):
                self._listeners.discard(listener)
                self.dropped += 1

    def missed(self, last: str | None, topics: Topics) -> tuple[bool, list[Event]]:
        """Whether something is lost beyond recall, and what came after the event with id ``last``."""
        if not last:
            return False, []
        run, _, number = last.rpartition("-")
        # isdecimal() also takes the digits of other scripts; int() reads those, so it is no error.
        if run != self._run or not number.isdecimal() or len(number) > 18 or int(number) > self._number:
            return True, []
        first = int(number) + 1
        oldest = self._kept[0].number if self._kept else self._number + 1
        return first < oldest, [e for e in self._kept if e.number >= first and e.topic in topics]

    def listen(self, topics: Topics) -> Listener:
        """A new client. Raises :class:`Problem` 503 when there are too many."""
        if self.closed or len(self._listeners) >= self._most:
            raise Problem(
                503,
                "busy",
                f"{self._most} clients read the events already, so this one was refused; close some, or poll the state",
                headers={"Retry-After": "5"},
            )
        listener = Listener(topics, self._bound)
        self._listeners.add(listener)
        return listener

    def leave(self, listener: Listener) -> None:
        """The client has gone."""
        self._listeners.discard(listener)

    def close(self) -> None:
        """End every stream: the worker stops."""
        self.closed = True
        for listener in list(self._listeners):
            listener.cut()

    async def serve(self, request: web.Request, topics: Topics) -> web.StreamResponse:
        """Send events to one client until it goes, or is too slow."""
        lost, replay = self.missed(request.headers.get("Last-Event-ID"), topics)
        listener = self.listen(topics)
        greeting = self._greeting(lost, replay)  # before the first await: nothing is published in between
        response = web.StreamResponse(
            headers={
                "Content-Type": "text/event-stream; charset=utf-8",
                "Cache-Control": "no-store",
                "X-Accel-Buffering": "no",
            }
        )
        if request.transport is not None:
            listener.hang_up = request.transport.abort
        try:
            await response.prepare(request)
            await response.write(greeting)
            while True:
                try:
                    event = await asyncio.wait_for(listener.queue.get(), KEEP_ALIVE)
                except TimeoutError:
                    await response.write(b": alive\n\n")
                    continue
                if event is None:
                    break
                await response.write(event.frame)
            await response.write_eof()
        except ConnectionError:
            pass  # the client has gone, which is how every stream ends
        finally:
            self.leave(listener)
        return response

    def _greeting(self, lost: bool, replay: Iterable[Event]) -> bytes:
        parts = [b"retry: 1000\n\n"]
        if lost:
            data = json.dumps({"topic": "lost", "at": self._now(), "data": {}}, separators=(",", ":"))
            parts.append(f"data: {data}\n\n".encode())
        parts += [event.frame for event in replay]
        # An id without data is no event, but moves Last-Event-ID: a client that has seen none can come back too.
        parts.append(f"id: {self._run}-{self._number}\n\n".encode())
        return b"".join(parts)

    def state(self) -> dict[str, Any]:
        """Counters."""
        return {
            "events": self._number,
            "kept": len(self._kept),
            "listeners": len(self._listeners),
            "dropped_clients": self.dropped,
        }
