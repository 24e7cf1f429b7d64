"""The bus: notices, commands and telemetry between the processes of one machine, over zmq.

Each process binds two sockets below ``RUN/bus/``: ``NAME.cmd`` answers requests, ``NAME.pub`` sends notices. There is
no broker, so nothing central can die, and a peer that is down, stuck or slow never blocks the caller: notices are
dropped and counted, requests end in a reply that says so.

A request is ``[id, JSON]``, its reply ``[id, JSON]``, ``{"ok": true, "result": ...}`` or ``{"ok": false, "problem":
{"status", "title", "detail", ...}}`` (members of RFC 9457). A notice is ``[topic, JSON, number]``; the number rises by
one with each notice of a sender, so that a receiver knows what it missed.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import os
import queue
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any, Final

import zmq
import zmq.asyncio

from headend.secrecy import redact, redacted

Json = dict[str, Any]
Handler = Callable[[Json], Any]
"""Takes a request, returns the ``result`` of the reply; raises Refusal to decline."""

_QUEUE: Final = 1000
_LARGEST: Final = 8 * 1024 * 1024
"""Bytes of one message; more is a mistake or an attack."""


class Refusal(Exception):
    """A handler's "no": becomes the ``problem`` of the reply. ``status`` as in HTTP.

    ``members`` are further members of the problem (RFC 9457, 3.2), JSON-able, such as ``errors``.
    """

    def __init__(self, status: int, title: str, detail: str, **members: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.title = title
        self.members = members


def bind(socket: zmq.Socket[bytes], endpoint: str) -> None:
    """Bind a socket, but never one that another machine could reach without CURVE.

    Raises ValueError for such a one; zmq.ZMQError if the address is taken.
    """
    if endpoint.startswith("tcp://"):
        host = endpoint.removeprefix("tcp://").rpartition(":")[0].strip("[]")
        try:
            inside = host == "localhost" or ipaddress.ip_address(host).is_loopback
        except ValueError:
            inside = False
        if not inside and not socket.getsockopt(zmq.CURVE_SERVER):
            raise ValueError(
                f"the bus must not listen on {endpoint} without CURVE, since anybody on that network could command it; "
                "set the CURVE keys or bind to 127.0.0.1"
            )
    elif not endpoint.startswith(("ipc://", "inproc://")):
        raise ValueError(f"the bus cannot listen on {endpoint}; use ipc:// or tcp://")
    socket.bind(endpoint)


def problem(status: int, title: str, detail: str, **members: Any) -> Json:
    """A reply that declines. ``members`` go beside the others, without credentials like them."""
    return {
        "ok": False,
        "problem": {**redacted(members), "status": status, "title": title, "detail": redact(detail)},
    }


class Bus:
    """One process's end of the bus. ``run`` is the run directory, ``name`` the worker's name.

    All methods may be called from any thread. Threads and sockets are made when first needed.
    """

    def __init__(self, run: str | os.PathLike[str], name: str) -> None:
        self.folder = Path(run) / "bus"
        self.name = name
        self._context = zmq.Context(io_threads=1)
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._notices: queue.Queue[tuple[str, Any] | None] = queue.Queue(_QUEUE)
        self._publisher: threading.Thread | None = None
        self._server: threading.Thread | None = None
        self._loops: dict[int, zmq.asyncio.Context] = {}
        self.published = 0
        self.dropped = 0
        self.answered = 0
        self.failed = 0
        self.missed = 0
        """Notices of others that were lost on the way to :meth:`subscribe`."""

    # -- notices ---------------------------------------------------------------------------------

    def publish(self, topic: str, payload: Any) -> None:
        """Send a notice to whoever listens. Never blocks, never raises; a full queue drops it and counts that."""
        if self._publisher is None:
            self._start_publisher()
        try:
            self._notices.put_nowait((topic, payload))
        except queue.Full:
            self.dropped += 1

    def _start_publisher(self) -> None:
        with self._lock:
            if self._publisher is None and not self._closed.is_set():
                self._publisher = threading.Thread(target=self._send_notices, name="bus-pub", daemon=True)
                self._publisher.start()

    def _send_notices(self) -> None:
        with self._context.socket(zmq.PUB) as socket:
            socket.linger = 0
            socket.sndhwm = _QUEUE
            self._bind(socket, "pub")
            number = 0
            while (notice := self._notices.get()) is not None:
                topic, payload = notice
                try:
                    body = json.dumps(payload, ensure_ascii=False).encode()
                    socket.send_multipart([topic.encode(), body, number.to_bytes(8, "big")], zmq.DONTWAIT)
                except (zmq.ZMQError, TypeError, ValueError):
                    self.dropped += 1
                    continue
                number += 1
                self.published += 1

    def _bind(self, socket: zmq.Socket[bytes], kind: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        bind(socket, f"ipc://{self.folder / f'{self.name}.{kind}'}")

    async def subscribe(self, names: Iterable[str], topics: Iterable[str] = ("",)) -> AsyncIterator[tuple[str, Any]]:
        """Yield ``(topic, payload)`` of the workers named, of topics that begin with one of ``topics``.

        A worker that is not there yet is listened to as soon as it is. Notices that were lost are counted in
        :attr:`missed`.
        """
        wanted = tuple(topics)
        last: dict[bytes, int] = {}
        context = self._loop_context()
        sockets = {name: context.socket(zmq.SUB) for name in names}
        poller = zmq.asyncio.Poller()
        try:
            for name, socket in sockets.items():
                socket.linger = 0
                socket.rcvhwm = _QUEUE
                socket.maxmsgsize = _LARGEST
                socket.reconnect_ivl = 100
                socket.reconnect_ivl_max = 1000
                # Everything of a sender, and filtered here: a gap in the numbers is then a loss.
                socket.subscribe(b"")
                socket.connect(f"ipc://{self.folder / f'{name}.pub'}")
                poller.register(socket, zmq.POLLIN)
            by_socket = {id(socket): name.encode() for name, socket in sockets.items()}
            while not self._closed.is_set():
                # zmq.asyncio's poller is typed for plain sockets only.
                ready: Any = await poller.poll(500)
                for socket, _ in ready:
                    frames = await socket.recv_multipart()
                    notice = _notice(frames)
                    if notice is None:
                        continue
                    topic, payload, number = notice
                    sender = by_socket[id(socket)]
                    expected = last.get(sender, number - 1) + 1
                    # A lower number is a restarted worker.
                    self.missed += max(0, number - expected)
                    last[sender] = number
                    if topic.startswith(wanted):
                        yield topic, payload
        finally:
            for socket in sockets.values():
                socket.close()

    # -- requests --------------------------------------------------------------------------------

    def serve(self, handler: Handler) -> None:
        """Answer requests in a thread of the bus. ``handler`` returns the result, or raises Refusal; anything else
        that it raises becomes a reply of status 500. Raises RuntimeError if requests are served already.
        """
        with self._lock:
            if self._server is not None:
                raise RuntimeError(f"the requests to {self.name} are already answered by another handler")
            bound = threading.Event()
            self._server = threading.Thread(target=self._answer, args=(handler, bound), name="bus-cmd", daemon=True)
            self._server.start()
        bound.wait(2)

    def _answer(self, handler: Handler, bound: threading.Event) -> None:
        with self._context.socket(zmq.ROUTER) as socket:
            socket.linger = 0
            socket.sndhwm = socket.rcvhwm = _QUEUE
            socket.maxmsgsize = _LARGEST
            self._bind(socket, "cmd")
            bound.set()
            while not self._closed.is_set():
                try:
                    if not socket.poll(200):
                        continue
                    frames = socket.recv_multipart()
                    if len(frames) != 3:
                        continue
                    peer, number, body = frames
                    reply = json.dumps(self._reply(handler, body), ensure_ascii=False).encode()
                    # A peer that is gone or does not read must not hold up the next one.
                    socket.send_multipart([peer, number, reply], zmq.DONTWAIT)
                except zmq.ContextTerminated:
                    return
                except (zmq.ZMQError, TypeError, ValueError):
                    self.failed += 1

    def _reply(self, handler: Handler, body: bytes) -> Json:
        try:
            request = json.loads(body)
            if not isinstance(request, dict):
                raise ValueError
        except ValueError:
            self.failed += 1
            return problem(400, "Bad request", f"the request to {self.name} is no JSON object")
        try:
            result = handler(request)
            json.dumps(result)
        except Refusal as refusal:
            return problem(refusal.status, refusal.title, str(refusal), **refusal.members)
        except Exception as error:
            self.failed += 1
            what = str(request.get("do", "the request"))
            return problem(500, "Internal error", f"{self.name} could not do '{what}': {type(error).__name__}: {error}")
        self.answered += 1
        return {"ok": True, "result": result}

    def request(self, name: str, body: Json, timeout: float = 2.0) -> Json:
        """Ask a worker and wait for its reply; never raises: a worker that is down or silent is a reply with a problem.

        ``timeout`` in seconds.
        """
        endpoint = self.folder / f"{name}.cmd"
        if not endpoint.exists():
            return _down(name)
        number = uuid.uuid4().bytes
        try:
            with self._context.socket(zmq.DEALER) as socket:
                _prepare(socket, endpoint)
                socket.sndtimeo = round(timeout * 1000)
                socket.send_multipart([number, json.dumps(body).encode()])
                until = time.monotonic() + timeout
                while (left := until - time.monotonic()) > 0:
                    if socket.poll(max(1, round(left * 1000))):
                        frames = socket.recv_multipart()
                        if len(frames) == 2 and frames[0] == number:
                            return _parsed(name, frames[1])
        except zmq.ZMQError:
            return _silent(name, timeout)
        return _silent(name, timeout)

    async def ask(self, name: str, body: Json, timeout: float = 2.0) -> Json:  # noqa: ASYNC109
        """:meth:`request` for an event loop."""
        endpoint = self.folder / f"{name}.cmd"
        if not endpoint.exists():
            return _down(name)
        number = uuid.uuid4().bytes
        socket = self._loop_context().socket(zmq.DEALER)
        try:
            _prepare(socket, endpoint)
            async with asyncio.timeout(timeout):
                await socket.send_multipart([number, json.dumps(body).encode()])
                while True:
                    frames = await socket.recv_multipart()
                    if len(frames) == 2 and frames[0] == number:
                        return _parsed(name, frames[1])
        except (zmq.ZMQError, TimeoutError):
            return _silent(name, timeout)
        finally:
            socket.close()

    def _loop_context(self) -> zmq.asyncio.Context:
        loop = id(asyncio.get_running_loop())
        with self._lock:
            if loop not in self._loops:
                self._loops[loop] = zmq.asyncio.Context(self._context)
            return self._loops[loop]

    # -- life ------------------------------------------------------------------------------------

    def state(self) -> Json:
        """Counters."""
        return {
            "name": self.name,
            "published": self.published,
            "dropped": self.dropped,
            "missed": self.missed,
            "answered": self.answered,
            "failed": self.failed,
        }

    def close(self) -> None:
        """Stop threads and close sockets. Idempotent."""
        if self._closed.is_set():
            return
        self._closed.set()
        while self._publisher is not None and self._publisher.is_alive():
            with contextlib.suppress(queue.Full):
                self._notices.put_nowait(None)
            self._publisher.join(0.05)
        if self._server is not None and self._server is not threading.current_thread():
            self._server.join(2)
        self._context.destroy(linger=0)


def _prepare(socket: zmq.Socket[Any], endpoint: Path) -> None:
    socket.linger = 0
    socket.maxmsgsize = _LARGEST
    # Do not queue for a peer that is not there: the next worker of that name must not get stale commands.
    socket.immediate = True
    socket.connect(f"ipc://{endpoint}")


def _parsed(name: str, body: bytes) -> Json:
    try:
        reply = json.loads(body)
    except ValueError:
        reply = None
    return reply if isinstance(reply, dict) else problem(502, "Bad reply", f"the reply of {name} is no JSON object")


def _down(name: str) -> Json:
    return problem(
        503, "Not running", f"{name} is not running, so nothing was done; it is started again by the supervisor"
    )


def _silent(name: str, timeout: float) -> Json:
    return problem(504, "No reply", f"{name} did not reply within {timeout:g} s, so it is unknown whether it acted")


def _notice(frames: list[bytes]) -> tuple[str, Any, int] | None:
    try:
        topic, body, number = frames
        return topic.decode(), json.loads(body), int.from_bytes(number, "big")
    except (ValueError, UnicodeDecodeError):
        return None
