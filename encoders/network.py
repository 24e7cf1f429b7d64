"""Live inputs that arrive over a network: where they are, and how they are opened.

UDP and RTP have a receiver of their own (a socket with a large buffer and a thread that does nothing but receive), so
that no datagram is lost while a decoder is busy, that RTP is put in order, and that closing never waits for a library.
HTTP, HLS, RTMP and RTSP are pulled by libavformat with time limits. SRT, RIST and listening for RTMP are the
gateway's (:mod:`encoders.gateway`).
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any, Final, Protocol
from urllib.parse import parse_qs, urlsplit

import av
from av.container import InputContainer

from encoders.drift import Slope
from encoders.packetqueue import PacketQueue
from encoders.redact import redact
from headend.clock import Clock, to_iso

RECEIVE_BUFFER: Final = 8 << 20
_MULTICAST_INTERFACE: Final = ("localaddr", "interface", "iface")
ANALYSE: Final = {"probesize": "2000000", "analyzeduration": "1500000"}
"""How much of a live input is looked at before its streams are known: 1.5 s, FFmpeg's default is 5 s."""


class Feed(Protocol):
    """A live input that can be opened again and again."""

    kind: str
    url: str
    """Redacted."""
    paced: bool
    """Media arrive at the pace of the source's clock, so that it can be measured."""

    def open(self) -> InputContainer:
        """Connect. Raises OSError or av.FFmpegError when it cannot be done; ``TimeoutError`` when nothing comes yet."""
        ...

    def disconnect(self) -> None:
        """End what :meth:`open` began; readers of the container get its end."""
        ...

    def close(self) -> None:
        """Release everything, waking up whoever reads."""
        ...

    def watch_staleness(self, stale: Callable[[], bool]) -> None:
        """End the current container when ``stale()`` becomes true."""
        ...

    @property
    def slope(self) -> Slope | None:
        """The measured rate of the source's clock, where the feed itself can measure it."""
        ...

    def state(self) -> dict[str, Any]:
        """Figures of this kind of feed: ``bit_rate`` among them where it is known."""
        ...


class RtpOrder:
    """Takes RTP datagrams (RFC 3550, 5.1), gives payloads in order; counts what is lost, late or no RTP."""

    DEPTH: Final = 64
    """Datagrams that may wait for one that is missing."""

    def __init__(self) -> None:
        self._next: int | None = None
        self._waiting: dict[int, bytes] = {}
        self.lost = self.late = self.malformed = 0

    def push(self, datagram: bytes) -> list[bytes]:
        """The payloads that are now in order."""
        if len(datagram) < 12 or datagram[0] >> 6 != 2:
            self.malformed += 1
            return []
        start = 12 + 4 * (datagram[0] & 0x0F)
        if datagram[0] & 0x10 and len(datagram) >= start + 4:
            start += 4 + 4 * int.from_bytes(datagram[start + 2 : start + 4], "big")
        end = len(datagram) - (datagram[-1] if datagram[0] & 0x20 else 0)
        if start >= end:
            self.malformed += 1
            return []
        number = int.from_bytes(datagram[2:4], "big")
        if self._next is None:
            self._next = number
        ahead = (number - self._next) & 0xFFFF
        if ahead > 0x8000:
            self.late += 1
            return []
        if ahead > 4 * self.DEPTH:
            # The sender has restarted: what waits is all there is of the old sequence.
            out = [self._waiting.pop(key) for key in self._order()]
            self._next = (number + 1) & 0xFFFF
            return [*out, datagram[start:end]]
        self._waiting[number] = datagram[start:end]
        out = self._run()
        while len(self._waiting) > self.DEPTH:
            following = self._order()[0]
            self.lost += (following - self._next) & 0xFFFF
            self._next = following
            out += self._run()
        return out

    def _order(self) -> list[int]:
        assert self._next is not None
        origin = self._next
        return sorted(self._waiting, key=lambda number: (number - origin) & 0xFFFF)

    def _run(self) -> list[bytes]:
        out = []
        assert self._next is not None
        while self._next in self._waiting:
            out.append(self._waiting.pop(self._next))
            self._next = (self._next + 1) & 0xFFFF
        return out


class DatagramFeed:
    """A transport stream over UDP or RTP, unicast or multicast.

    ``url`` is ``udp://[@][ADDRESS]:PORT`` or ``rtp://...``, with ``?interface=ADDRESS-OR-NAME`` for multicast and
    ``&sources=A,B`` for source-specific multicast. RTP is recognised on ``udp://`` too. Raises ValueError for an
    address that has no port or is malformed.
    """

    paced = True

    def __init__(self, url: str, clock: Clock) -> None:
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError as error:
            raise ValueError(
                f"the address {redact(url)} has a malformed port ({error}); write it like udp://239.1.1.1:5000"
            ) from None
        if port is None:
            raise ValueError(
                f"the address {redact(url)} names no port to receive on; write it like udp://239.1.1.1:5000"
            )
        self.kind = parts.scheme
        self.url = redact(url)
        self.port = port
        host = parts.hostname or ""
        try:
            self._info = socket.getaddrinfo(host or None, port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE)[0]
        except OSError as error:
            raise ValueError(
                f"the address {redact(url)} cannot be resolved ({error}); give an IP address of this machine or a group"
            ) from None
        self._address = ipaddress.ip_address(
            self._info[4][0].partition("%")[0] if isinstance(self._info[4][0], str) else "0.0.0.0"
        )
        query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        self._interface = next((query[key] for key in _MULTICAST_INTERFACE if key in query), "")
        self._sources = [source for source in query.get("sources", "").split(",") if source]
        self._buffer = int(query.get("buffer_size", RECEIVE_BUFFER))
        self._clock = clock
        self._queue = PacketQueue(clock)
        self._order = RtpOrder()
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()

    @property
    def slope(self) -> Slope | None:
        """The source's clock by its PCR."""
        return self._queue.slope

    def open(self) -> InputContainer:
        """A demultiplexer on what arrives. Raises TimeoutError when nothing has arrived for half a second."""
        if self._socket is None:
            self._socket = self._bind()
            self._thread = threading.Thread(
                target=self._receive, args=(self._socket,), name=f"receive {self.url}", daemon=True
            )
            self._thread.start()
        if not self._queue.wait_for_data(0.5, self._closed.is_set):
            raise TimeoutError("nothing arrives")
        return av.open(
            self._queue, "r", format="mpegts", options=MPEGTS, metadata_errors="replace", buffer_size=188 * 7 * 24
        )

    def _bind(self) -> socket.socket:
        family, kind, protocol, _, address = self._info
        made = socket.socket(family, kind, protocol)
        try:
            for option in (getattr(socket, "SO_RCVBUFFORCE", 33), socket.SO_RCVBUF):
                try:
                    made.setsockopt(socket.SOL_SOCKET, option, self._buffer)
                    break
                except OSError:
                    continue  # only a privileged process may exceed net.core.rmem_max
            if self._address.is_multicast:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                made.bind(address)
                self._join(made)
            else:
                made.bind(address)
            made.settimeout(0.2)
        except OSError as error:
            made.close()
            if error.errno == errno.EADDRINUSE:
                raise OSError(
                    error.errno, f"port {self.port} is in use by another program; stop that program or use another port"
                ) from None
            if error.errno == errno.EADDRNOTAVAIL:
                raise OSError(
                    error.errno, f"{self._address} is no address of this machine; use one that is, or none"
                ) from None
            raise
        return made

    def _join(self, made: socket.socket) -> None:
        group = self._address.packed
        if self._address.version == 6:
            index = socket.if_nametoindex(self._interface) if self._interface else 0
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group + struct.pack("@I", index))
            return
        local, index = b"\0\0\0\0", 0
        if self._interface:
            try:
                local = ipaddress.IPv4Address(self._interface).packed
            except ValueError:
                index = socket.if_nametoindex(self._interface)
        for source in self._sources:
            membership = group + local + ipaddress.IPv4Address(source).packed
            made.setsockopt(socket.IPPROTO_IP, getattr(socket, "IP_ADD_SOURCE_MEMBERSHIP", 39), membership)
        if not self._sources:
            made.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group + local + struct.pack("@i", index))

    def _receive(self, made: socket.socket) -> None:
        queue, order = self._queue, self._order
        while not self._closed.is_set():
            try:
                datagram = made.recv(65536)
            except TimeoutError:
                continue
            except OSError:
                break
            if self.kind == "rtp" or (datagram[:1] != b"G" and datagram[:1] >= b"\x80"):
                for payload in order.push(datagram):
                    queue.put(payload)
            elif datagram:
                queue.put(datagram)
        queue.finish()

    def disconnect(self) -> None:
        """Nothing to do: the socket stays open from one demultiplexer to the next."""

    def watch_staleness(self, stale: Callable[[], bool]) -> None:
        """End the current container when ``stale()`` becomes true."""
        self._queue.watch_staleness(stale)

    def close(self) -> None:
        """Close the socket; whoever reads gets the end."""
        self._closed.set()
        self._queue.discard()
        self._queue.finish()
        if self._thread is not None:
            self._thread.join(0.5)
        if self._socket is not None:
            self._socket.close()

    def state(self) -> dict[str, Any]:
        """Bit rate, datagrams and what was lost of them; ``drift_ppm`` of the source's clock."""
        queue = self._queue
        return {
            "bit_rate": queue.bit_rate,
            "packets": queue.packets,
            "bytes": queue.bytes,
            "overruns": queue.overruns,
            "rtp_lost": self._order.lost,
            "rtp_late": self._order.late,
            "last_packet": None if queue.last is None else to_iso(queue.last),
            "drift_ppm": round(queue.slope.rate * 1e6, 1),
        }


MPEGTS: Final = {**ANALYSE, "merge_pmt_versions": "1", "scan_all_pmts": "1"}

_TIMEOUT: Final = 10.0
"""Seconds after which a silent connection is given up."""

_PULL_OPTIONS: Final[dict[str, dict[str, str]]] = {
    "http": {"reconnect": "1", "reconnect_streamed": "1", "reconnect_delay_max": "4"},
    "https": {"reconnect": "1", "reconnect_streamed": "1", "reconnect_delay_max": "4"},
    "rtmp": {"rtmp_live": "live"},
    "rtmps": {"rtmp_live": "live"},
    "rtsp": {"rtsp_transport": "tcp"},
    "rtsps": {"rtsp_transport": "tcp"},
}


class PullFeed:
    """A stream that libavformat fetches: HTTP, HLS, RTMP, RTSP (over TCP).

    libavformat cannot be interrupted from outside; a reader blocked in it ends within ten seconds, and nobody waits
    for it.
    """

    def __init__(self, url: str, options: dict[str, str] | None = None) -> None:
        scheme = urlsplit(url).scheme.lower()
        self.kind = "hls" if scheme.startswith("http") and urlsplit(url).path.endswith((".m3u8", ".m3u")) else scheme
        self.url = redact(url)
        self.paced = scheme.startswith("rt")
        self._url = url
        base = _PULL_OPTIONS.get(scheme, {})
        # HLS fetches each segment anew; libavformat's own reconnecting would hide the end of one.
        self._options = {**ANALYSE, **({} if self.kind == "hls" else base), **(options or {})}

    @property
    def slope(self) -> Slope | None:
        """Not measured here: the arrival of packets at the demultiplexer tells it."""
        return None

    def open(self) -> InputContainer:
        """Connect within ten seconds."""
        return av.open(self._url, "r", options=self._options, metadata_errors="replace", timeout=(_TIMEOUT, _TIMEOUT))

    def disconnect(self) -> None:
        """The container's owner closes it."""

    def watch_staleness(self, stale: Callable[[], bool]) -> None:
        """Not needed: the time limit of reading does it."""

    def close(self) -> None:
        """The container's owner closes it."""

    def state(self) -> dict[str, Any]:
        """Nothing of its own."""
        return {}
