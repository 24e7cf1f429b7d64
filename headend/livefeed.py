"""A stand-in for a live contribution: a second process that sends a transport stream over UDP, for ever.

    python -m headend.livefeed --url udp://127.0.0.1:5000

What it sends was encoded once; its packets are multiplexed again and again into one constant-rate stream whose
timestamps go on rising from loop to loop (and wrap at 33 bits after 26.5 hours, as those of real feeds do). Each
datagram has seven packets and leaves when the clock says that its first byte is due: byte n at n * 8 / rate, as its
PCRs say too.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import av

from headend.clock import TICKS_PER_SECOND, Clock, SystemClock, to_iso
from headend.programme import VERSION, Programme, render
from headend.scenery import Radar

log = logging.getLogger(__name__)

DATAGRAM: Final = 7 * 188
"""Bytes of a datagram (seven transport packets fit an Ethernet frame)."""

CARRIED: Final = frozenset({"h264", "hevc", "mpeg2video", "aac", "mp2", "mp3", "ac3", "eac3"})
"""Codecs that are sent as they are."""

LIVE: Final = Programme(
    f"live-{VERSION}.mp4",
    "现场直播 · 气象雷达",
    "LIVE  Weather radar",
    Radar,
    1280,
    720,
    Fraction(25),
    # A whole number of pictures and of 1 024-sample audio frames: the loop has no seam.
    48,
    mood="calm",
    root=130.81,
    beat=0.75,
    accent=(226, 40, 52),
    options=(("preset", "superfast"), ("b", "1500000"), ("maxrate", "2000000"), ("bufsize", "1000000"), ("g", "25")),
)
"""What is sent when no file is given."""

_DELAY: Final = Fraction(1, 2)
"""Seconds that the multiplexer lets data lie before they are due."""
_LATE: Final = TICKS_PER_SECOND
"""Behind by more than this (the machine slept), the feed goes on from now instead of catching up in a burst."""


def generate(folder: str | Path) -> Path:
    """The file to send, made in ``folder`` if it is not there. Raises OSError."""
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    path = place / LIVE.file
    if not path.exists():
        for _ in render(LIVE, path):
            pass
    return path


class TransportStream:
    """A media file as an endless transport stream of constant rate.

    ``rate`` is in bit/s; None: what the file's busiest second needs, and a fifth more.
    Raises ValueError with a sentence if the file cannot be opened or holds nothing that can be carried.
    """

    def __init__(self, path: str | Path, rate: int | None = None) -> None:
        self.path = Path(path)
        self.loops = 0
        """How often the file was begun."""
        self.length, needed = self._measured()
        self.rate = rate or needed

    def _open(self) -> tuple[av.container.InputContainer, list[Any]]:
        try:
            source = av.open(str(self.path))
        except (av.error.FFmpegError, OSError) as error:
            raise ValueError(
                f"the file {self.path} cannot be opened ({error.strerror or error}), so there is no live feed; "
                "name a media file"
            ) from error
        streams = [next(iter(kind), None) for kind in (source.streams.video, source.streams.audio)]
        found = [stream for stream in streams if stream is not None and _codec(stream) in CARRIED]
        if not found:
            source.close()
            raise ValueError(
                f"the file {self.path} has no stream that can be sent as it is, so there is no live feed; "
                f"give a file with {', '.join(sorted(CARRIED))}"
            )
        return source, found

    def _measured(self) -> tuple[Fraction, int]:
        """Length in seconds, and the rate that its busiest second needs with the packets' overhead."""
        source, streams = self._open()
        seconds: dict[int, int] = {}
        ends = [Fraction(0)]
        with source:
            for packet in source.demux(streams):
                if packet.pts is None or packet.dts is None or packet.time_base is None:
                    continue
                begins = packet.pts * packet.time_base
                ends.append(begins + (packet.duration or 0) * packet.time_base)
                at = int(packet.dts * packet.time_base)
                # Each frame fills up its last packet, and PES and packet headers are four bytes in 188 and more.
                seconds[at] = seconds.get(at, 0) + packet.size * 188 // 184 + 250
        if max(ends) <= 0:
            raise ValueError(
                f"the file {self.path} has no length, so there is no live feed; name a media file that plays"
            )
        return max(ends), max(max(seconds.values()) * 8 * 6 // 5, 200_000)

    def datagrams(self) -> Iterator[bytes]:
        """The stream from its beginning, seven packets at a time, for ever."""
        pool = _Pool()
        source, streams = self._open()
        options = {
            "muxrate": str(self.rate),
            "pcr_period": "25",
            "max_delay": str(int(_DELAY * 1_000_000)),
            "avoid_negative_ts": "disabled",
        }
        output = av.open(pool, "w", format="mpegts", options=options)
        output.metadata["service_name"] = LIVE.chinese
        output.metadata["service_provider"] = "headend"
        outputs = {stream.index: output.add_stream_from_template(stream) for stream in streams}
        begin = Fraction(0)
        last: dict[int, int] = {}
        try:
            while True:
                self.loops += 1
                for packet in source.demux(streams):
                    if packet.pts is None or packet.dts is None or packet.time_base is None:
                        continue  # the flush packet at the end
                    index = packet.stream_index
                    if packet.pts < 0 and packet.stream.type == "audio":
                        continue  # the encoder's priming, which would overlap the loop before
                    base = packet.time_base
                    shift = round(begin / base)
                    packet.pts += shift
                    packet.dts = max(packet.dts + shift, last.get(index, packet.dts + shift - 1) + 1)
                    packet.pts = max(packet.pts, packet.dts)
                    last[index] = packet.dts
                    packet.stream = outputs[index]
                    output.mux(packet)
                    yield from pool.datagrams()
                source.close()
                begin += self.length
                source, streams = self._open()
        finally:
            source.close()
            output.close()


def _codec(stream: Any) -> str:
    return (
        str(stream.codec_context.name)
        if stream.codec_context.codec is None
        else str(stream.codec_context.codec.canonical_name)
    )


class _Pool:
    """Where the multiplexer writes."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def write(self, data: bytes) -> int:
        self._bytes += data
        return len(data)

    def datagrams(self) -> Iterator[bytes]:
        """What is whole; the rest waits."""
        whole = len(self._bytes) // DATAGRAM * DATAGRAM
        data, self._bytes = bytes(self._bytes[:whole]), self._bytes[whole:]
        for at in range(0, whole, DATAGRAM):
            yield data[at : at + DATAGRAM]


class LiveFeed:
    """Sends a :class:`TransportStream` to a UDP address, in real time.

    ``url`` is ``udp://HOST:PORT``, for a multicast group with ``?ttl=N&localaddr=ADDRESS``. Raises ValueError with a
    sentence if it is not.
    """

    def __init__(self, stream: TransportStream, url: str, clock: Clock) -> None:
        self.stream, self.url, self._clock = stream, url, clock
        self._address, self._ttl, self._local = _parsed(url)
        self._sent = self._failed = self._restarts = 0
        self._last: int | None = None

    def run(self, stop: threading.Event) -> None:
        """Send until ``stop`` is set."""
        family = socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as out:
            if family == socket.AF_INET:
                out.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, self._ttl)
            if self._local and family == socket.AF_INET:
                out.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(self._local))
            out.setblocking(False)
            begin, position = self._clock.now(), 0
            for datagram in self.stream.datagrams():
                due = begin + position * 8 * TICKS_PER_SECOND // self.stream.rate
                now = self._clock.now()
                if now - due > _LATE:
                    begin, position, due = now, 0, now
                    self._restarts += 1
                # Two at a time halve the wake-ups; the second leaves at most one datagram's time early.
                if position // DATAGRAM % 2 == 0 and not self._clock.wait_until(due, stop):
                    return
                position += DATAGRAM
                try:
                    out.sendto(datagram, self._address)
                    self._sent += 1
                    self._last = due
                except OSError:  # nobody there, or no room: a live feed goes on
                    self._failed += 1

    def state(self) -> dict[str, Any]:
        """``url, rate, sent, failed`` (datagrams), ``loops, restarts`` (after lateness), ``last`` (instant)."""
        return {
            "url": self.url,
            "rate": self.stream.rate,
            "sent": self._sent,
            "failed": self._failed,
            "loops": self.stream.loops,
            "restarts": self._restarts,
            "last": None if self._last is None else to_iso(self._last),
        }


def _parsed(url: str) -> tuple[tuple[str, int], int, str]:
    parts = urlsplit(url)
    try:
        port = parts.port
        options = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        ttl = int(options.get("ttl", "1"))
        if parts.scheme == "udp" and parts.hostname and port and 0 <= ttl <= 255:
            return (parts.hostname, port), ttl, options.get("localaddr", "")
    except ValueError:
        pass
    raise ValueError(
        f"{parts.scheme}://{parts.hostname or ''} is no address to send to, so there is no live feed; write it like udp://127.0.0.1:5000"
    )


def main(arguments: list[str] | None = None) -> int:
    """The command; 0 after a clean stop, 2 if it could not start."""
    parser = argparse.ArgumentParser(
        prog="python -m headend.livefeed",
        description="Send a live transport stream over UDP, in real time, until SIGTERM or Ctrl-C.",
        epilog="example: python -m headend.livefeed --url udp://127.0.0.1:5000 --file programme.mp4",
    )
    parser.add_argument("--url", default="udp://127.0.0.1:5000", help="where to send (default: %(default)s)")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--file", type=Path, help="media file to send in a loop, without encoding it again")
    what.add_argument(
        "--generate",
        type=Path,
        metavar="FOLDER",
        default=Path(tempfile.gettempdir()) / f"headend-demo-{os.getuid()}",
        help="make the demo's live picture in FOLDER, once, and send it (default: %(default)s)",
    )
    parser.add_argument("--rate", type=int, help="bit/s of the transport stream (default: what the file needs)")
    given = parser.parse_args(arguments)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        feed = LiveFeed(TransportStream(given.file or generate(given.generate), given.rate), given.url, SystemClock())
        print(
            f"sending {feed.stream.path} to {feed.url} at {feed.stream.rate / 1e6:.3f} Mbit/s",
            file=sys.stderr,
            flush=True,
        )
        feed.run(stop)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
