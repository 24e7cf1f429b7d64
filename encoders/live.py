"""A live input as a source: connected for ever, placed on house time, never waited for.

Three threads work on it. The *demultiplexer* connects, reads packets as they come into a bounded queue and connects
again, with growing pauses, when the input fails. The *decoder* takes packets, decodes, conforms and places them:
media of source time t stand at a house time that was fixed when the input came, ``latency`` after its arrival. (UDP
has a third, which only receives.) What the source's crystal makes of that in hours is measured and followed: sound is
stretched, pictures are repeated or dropped. A jump of the source's timestamps is bridged; when media come too late
all the same, they are placed anew.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from fractions import Fraction
from typing import Any, Final

import av

from encoders.buffer import SliceBuffer
from encoders.cadence import slot_of
from encoders.conform import PictureConformer, Straightener
from encoders.drift import Follower, Reservoir, Slope, correction
from encoders.format import ChannelFormat
from encoders.media import Kind, Media, Packet, Picture, Samples, packet_time
from encoders.network import Feed
from encoders.redact import redact
from encoders.sound import SoundLine, first_sample_of
from encoders.source import Slice
from encoders.timeline import Timeline
from headend.clock import TICKS_PER_SECOND, Clock, to_iso

_SETTLE: Final = TICKS_PER_SECOND * 3 // 10
"""How long arrivals are watched before media are placed: what was analysed comes in one burst."""
_HELD_BYTES: Final = 32 << 20
_STALE: Final = 5 * TICKS_PER_SECOND
"""Bytes arrive, but nothing of them could be decoded for so long: the streams have changed, look at them anew."""
_LATE: Final = TICKS_PER_SECOND
_FAR: Final = 2 * TICKS_PER_SECOND
"""Media that are this much too late or too early are placed anew at once."""
_RECEIVING: Final = 2 * TICKS_PER_SECOND
_PAUSE: Final = (0.5, 30.0)


class LiveSource:
    """A source that yields what ``feed`` receives, ``latency`` seconds after it came."""

    def __init__(
        self,
        name: str,
        feed: Feed,
        format: ChannelFormat,
        clock: Clock,
        *,
        latency: float = 0.5,
        gain_db: float = 0.0,
        seed: int | None = None,
    ) -> None:
        self.name = name
        self.feed = feed
        self.kind = feed.kind
        self.format = format
        self.clock = clock
        self.latency = round(latency * TICKS_PER_SECOND)
        self.gain_db = gain_db
        self.buffer = SliceBuffer(format, ahead=max(latency, 0.2) + 0.5, live=True)
        self.closed = threading.Event()
        self.media: _Arrivals | None = None
        self.last: dict[Kind, int | None] = {"video": None, "audio": None}
        self.errors = self.reconnects = self.jumps = self.wraps = self.reanchors = self.moves = 0
        self.rate = 0.0
        self.message = ""
        self._random = random.Random(seed)
        self._thread: threading.Thread | None = None
        self._connected_at = 0
        feed.watch_staleness(self._stale)

    def open(self, first: int) -> None:
        """Begin to receive. Media come as soon as there are any, not at ``first``. Returns at once."""
        if self._thread is not None:
            return
        self.buffer.start(first)
        self._thread = threading.Thread(target=self._run, name=f"{self.kind} {self.name}", daemon=True)
        self._thread.start()

    def ready(self, slot: int) -> bool:
        """Whether ``pull(slot)`` would yield media now."""
        return self.buffer.ready(slot)

    def pull(self, slot: int, wait: float = 0.0) -> Slice | None:
        """The media of a slot; None when there is none. Waits for what has not come only as long as ``wait`` says."""
        return self.buffer.pull(slot, wait)

    def state(self) -> dict[str, Any]:
        """See :class:`encoders.source.Source`; and ``jumps, wraps, reanchors, moves, late, drift_ppm`` and the feed's
        own figures.
        """
        media, now = self.media, self.clock.now()
        newest = max((t for t in self.last.values() if t is not None), default=None)
        feed = self.feed.state()
        own = {
            "name": self.name,
            "url": self.feed.url,
            "kind": self.kind,
            "connected": media is not None,
            "receiving": newest is not None and now - newest < _RECEIVING,
            "last_picture": _iso(self.last["video"]),
            "last_sound": _iso(self.last["audio"]),
            "bit_rate": feed.get("bit_rate") or (media.bit_rate(now) if media else 0),
            "errors": self.errors + (media.errors if media else 0),
            "reconnects": self.reconnects,
            "repeats": self.buffer.repeats,
            "drops": self.buffer.drops,
            "late": self.buffer.late,
            "jumps": self.jumps + (media.timeline.jumps if media else 0),
            "wraps": self.wraps + (media.timeline.wraps if media else 0),
            "reanchors": self.reanchors,
            "moves": self.moves,
            "followed_ppm": round(self.rate * 1e6, 1),
            "message": self.message,
        }
        return {**feed, **own}

    def close(self) -> None:
        """Stop. Returns within a second; a thread that a library holds ends by its time limit, unattended."""
        self.closed.set()
        self.buffer.close()
        self.feed.close()
        media = self.media
        if media is not None:
            media.stop()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(0.4)

    # -- connecting

    def _stale(self) -> bool:
        since = max(self._connected_at, *(t for t in self.last.values() if t is not None), 0)
        return self.closed.is_set() or (self.media is not None and self.clock.now() - since > _STALE)

    def _run(self) -> None:
        pause = _PAUSE[0]
        while not self.closed.is_set():
            try:
                container = self.feed.open()
            except TimeoutError as error:
                if isinstance(error, av.FFmpegError):
                    self._failed(error)
                    pause = self._rest(pause)
                    continue
                self.message = (
                    f"{self.name}: nothing arrives from {self.feed.url} ({redact(str(error))}), so there is no signal; "
                    "check that it is being sent"
                )
                continue
            except Exception as error:  # whatever a library throws: the source tries again
                self._failed(error)
                pause = self._rest(pause)
                continue
            began = time.monotonic()
            try:
                self._use(container)
            except Exception as error:  # the thread outlives whatever a library throws
                self.message = f"{self.name}: {self.feed.url} cannot be used ({_reason(error)}); it is opened anew"
                self.errors += 1
                self.media = None
            self.feed.disconnect()
            if self.closed.is_set():
                break
            self.reconnects += 1
            if time.monotonic() - began > 10:
                pause = _PAUSE[0]
            pause = self._rest(pause)

    def _failed(self, error: Exception) -> None:
        if not self.closed.is_set():
            self.message = (
                f"{self.name}: {self.feed.url} cannot be opened ({_reason(error)}), so there is no signal; "
                "it is tried again, check the address and the sender"
            )
            self.errors += 1

    def _rest(self, pause: float) -> float:
        """Wait about ``pause`` seconds, not all sources at the same instant; returns the next pause, twice as long."""
        self.closed.wait(pause * self._random.uniform(0.7, 1.0))
        return min(pause * 2, _PAUSE[1])

    def _use(self, container: av.container.InputContainer) -> None:
        media = _Arrivals(container, self)
        if media.video is None and not media.audio:
            self.message = (
                f"{self.name}: {self.feed.url} holds neither pictures nor sound that can be decoded; check the sender"
            )
            self.errors += 1
            container.close()
            return
        self._connected_at = self.clock.now()
        self.media = media
        media.start()
        if not self.closed.is_set():
            self.message = ""
            try:
                _Placing(self, media).run()
            except Exception as error:  # a decoder or filter that fails altogether: begin anew
                self.message = f"{self.name}: decoding {self.feed.url} failed ({_reason(error)}); it is opened anew"
                self.errors += 1
        if not self.closed.is_set() and not self.message:
            why = _reason(media.failure) if media.failure else "end of stream"
            self.message = f"{self.name}: {self.feed.url} has ended ({why}), so there is no signal; it is tried again"
        self.errors += media.errors
        self.jumps += media.timeline.jumps
        self.wraps += media.timeline.wraps
        self.media = None
        media.stop()


class _Arrivals(Media):
    """Media whose packets are read by a thread of their own, as they come."""

    def __init__(self, container: av.container.InputContainer, source: LiveSource) -> None:
        super().__init__(container, source.format)
        self.timeline = Timeline(backward=TICKS_PER_SECOND // 2, forward=TICKS_PER_SECOND)
        self.clock = source.clock
        self.slope = source.feed.slope or Slope()
        self.measured = source.feed.slope is not None
        self.paced = source.feed.paced
        self.failure: Exception | None = None
        self.changed = threading.Condition()
        self.stopped = False
        self.first_arrival: int | None = None
        self.leads: dict[int, int] = {}
        """Per stream the smallest (arrival - timestamp) yet: the live edge."""
        self._arrived: dict[Kind, deque[int]] = {"video": deque(), "audio": deque()}
        self._window: deque[tuple[int, int]] = deque()
        self._thread = threading.Thread(target=self._arrive, name=f"demultiplex {source.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _arrive(self) -> None:
        try:
            while not self.stopped:
                packet = self._next_packet()
                if packet is None:
                    break
                now = self.clock.now()
                self._clock_in(packet, now)
                with self.changed:
                    self._window.append((now, self.bytes))
                    while self._window[0][0] < now - 2 * TICKS_PER_SECOND and len(self._window) > 2:
                        self._window.popleft()
                    kind: Kind = "video" if packet.stream is self.video else "audio"
                    self._queues[kind].append(packet)
                    self._arrived[kind].append(now)
                    self._queued += packet.size
                    self.changed.notify_all()
                    while self._full() and not self.stopped:
                        self.changed.wait(0.5)
        except Exception as error:  # FFmpeg's or, from a file-like object, anybody's: the connection is over
            self.failure = error
        with self.changed:
            self._eof = True
            self.changed.notify_all()
            while not self.stopped:
                self.changed.wait(1.0)
        self.close()

    def _full(self) -> bool:
        if self._queued > _HELD_BYTES:
            return True
        queue = self._queues["video"] or self._queues["audio"]
        if len(queue) < 2:
            return False
        first, last = packet_time(queue[0]), packet_time(queue[-1])
        return first is not None and last is not None and last - first > 8 * TICKS_PER_SECOND

    def _clock_in(self, packet: Packet, now: int) -> None:
        stamp = packet_time(packet)
        if stamp is None:
            return
        if self.first_arrival is None:
            self.first_arrival = now
        lead = now - stamp
        stream = packet.stream.index
        # What is pulled comes in bursts, faster than its time: there the first packet counts.
        self.leads[stream] = min(self.leads.get(stream, lead), lead) if self.paced else self.leads.get(stream, lead)
        if not self.measured and packet.stream is (self.audio[0] if self.audio else self.video):
            self.slope.add(now, stamp)

    def bit_rate(self, now: int) -> int:
        """Bits a second over the last two seconds."""
        with self.changed:
            if len(self._window) < 2 or now - self._window[-1][0] > 2 * TICKS_PER_SECOND:
                return 0
            (since, before), (until, after) = self._window[0], self._window[-1]
            return (after - before) * 8 * TICKS_PER_SECOND // max(until - since, 1)

    def poll(self, kinds: list[Kind], timeout: float) -> tuple[int, list[Picture | Samples]] | None:
        """When a packet of one of ``kinds`` arrived and the frames of it, waiting for it; None at the end of the
        connection.
        """
        with self.changed:
            deadline = time.monotonic() + timeout
            while True:
                have = [kind for kind in kinds if self._queues[kind]]
                if have:
                    break
                if self.stopped or (self._eof and not any(self._queues.values())):
                    return None
                left = deadline - time.monotonic()
                if left <= 0:
                    return 0, []
                self.changed.wait(left)
            # In the order of the input when both are there.
            kind = min(have, key=lambda k: packet_time(self._queues[k][0]) or 0)
            packet, arrival = self._queues[kind].popleft(), self._arrived[kind].popleft()
            self._queued -= packet.size
            self.changed.notify_all()
        self._decode(kind, packet)
        frames = [event for event in self._ready if isinstance(event, (Picture, Samples))]
        self._ready.clear()
        return arrival, frames

    def stop(self) -> None:
        """The decoder has let go; the thread closes the container as soon as libavformat lets it."""
        with self.changed:
            self.stopped = True
            self.changed.notify_all()


class _Placing:
    """Decoding and placing during one connection."""

    def __init__(self, source: LiveSource, media: _Arrivals) -> None:
        self.source = source
        self.media = media
        self.format = source.format
        rate = media.rate
        self.step = 1 if rate and abs(rate - self.format.rate) < Fraction(1, 10) else 0
        self.straightener = Straightener(double=bool(rate and self.format.rate >= rate * Fraction(3, 2)))
        self.conformer = PictureConformer(self.format)
        self.follower = Follower()
        self.tracks = [
            [t for t, carried in enumerate(media.lines) if carried == line] for line in range(len(media.audio))
        ]
        self.lines = [
            SoundLine([self.format.tracks[t].channels for t in tracks], source.gain_db, follow=True)
            for tracks in self.tracks
        ]
        self.candidate: tuple[int, av.VideoFrame, Fraction | None] | None = None
        self.dropped = 0
        self.slot: int | None = None
        self.joined = 0
        """House time from which media are wanted: what was analysed before they were placed is past."""
        self.late_since: int | None = None
        self.updated = 0
        self.level: int | None = None
        self.reservoir = Reservoir()

    def run(self) -> None:
        """Until the connection ends or the source is closed."""
        source, media, buffer = self.source, self.media, self.source.buffer
        while not source.closed.is_set() and not media.stopped:
            if not self.follower.anchored and not self._anchor():
                if media._eof:
                    break
                source.closed.wait(0.02)
                continue
            kinds: list[Kind] = []
            if media.video is not None and buffer.wants_pictures:
                kinds.append("video")
            if media.audio and buffer.wants_sound:
                kinds.append("audio")
            if not kinds:
                buffer.wait_for_room(media.video is not None, bool(media.audio), 0.2)
                continue
            polled = media.poll(kinds, 0.1)
            if polled is None:
                break
            arrival, frames = polled
            for frame in frames:
                if isinstance(frame, Picture):
                    self._picture(frame, arrival)
                else:
                    self._sound(frame, arrival)
        self._finish()

    def _anchor(self) -> bool:
        """Place the media in house time, once it is known how late they come; False until then."""
        media, now = self.media, self.source.clock.now()
        if not media.leads or media.first_arrival is None:
            return False
        if media.paced and now - media.first_arrival < _SETTLE:
            return False
        self.follower.anchor(0, max(media.leads.values()) + self.source.latency)
        self.joined = now
        return True

    def _reanchor(self, time: int, arrival: int) -> None:
        """Media of ``time`` came at ``arrival``: place them, and what follows, afresh."""
        self.follower.anchor(time, arrival + self.source.latency)
        self.late_since = self.slot = self.level = None
        self.reservoir = Reservoir()
        self.source.reanchors += 1
        self.source.message = (
            f"{self.source.name}: the time of {self.source.feed.url} has jumped or its media came too late, so they "
            "were placed anew; check the sender's clock if this happens again"
        )

    def _check(self, kind: Kind, time: int, arrival: int) -> None:
        """Notice media that come too late or far too early, and follow the source's clock."""
        source, now = self.source, self.source.clock.now()
        sound = source.last["audio"]
        if kind == "video" and sound is not None and now - sound < _RECEIVING:
            return  # sound is multiplexed closest to its time, so it tells
        house = self.follower.house(time)
        if house - now >= 0:
            self.late_since = None
        elif self.late_since is None:
            self.late_since = now
        late = self.late_since is not None and now - self.late_since > _LATE
        if late or house - now < -_FAR or (self.media.paced and house - arrival > source.latency + _FAR):
            self._reanchor(time, arrival)
            return
        lead = house - arrival
        if not self.media.paced:
            if (rate := self.reservoir.add(lead, now)) is not None:
                self.follower.follow(rate, time, step=50e-6)
                source.rate = self.follower.rate
            return
        self.level = lead if self.level is None else min(self.level, lead)
        if not self.updated:
            self.updated = now
        elif now - self.updated >= TICKS_PER_SECOND:
            slope = self.media.slope
            if slope.seconds > 60:
                self.follower.follow(slope.rate + correction(self.level, source.latency), time)
            source.rate = self.follower.rate
            self.updated, self.level = now, None

    # -- pictures

    def _picture(self, picture: Picture, arrival: int) -> None:
        sar = self.media.sar()
        self.source.last["video"] = self.source.clock.now()
        self._check("video", picture.time, arrival)
        for at, frame in self.straightener.push(picture.frame, picture.time):
            exact = self.follower.house(at)
            if exact < self.joined:
                continue
            slot = slot_of(exact, self.format.slot_ticks)
            if self.slot is not None and self.step:
                # Timestamps that waver about the middle between two slots must not make a picture repeat and the next
                # drop.
                following = self.slot + 1
                if abs(exact - following * self.format.slot_ticks) < self.format.slot_ticks * 3 // 4:
                    slot = following
            if self.candidate is not None:
                if slot > self.candidate[0]:
                    self._show()
                else:
                    self.dropped += 1
            self.slot = slot
            self.candidate = (slot, frame, sar)

    def _show(self) -> None:
        candidate, self.candidate = self.candidate, None
        if candidate is None:
            return
        slot, frame, sar = candidate
        try:
            conformed = self.conformer.convert(frame, sar)
        except av.FFmpegError:
            self.source.errors += 1
            return
        self.source.buffer.put_picture(slot, conformed, self.dropped)
        self.dropped = 0

    # -- sound

    def _sound(self, samples: Samples, arrival: int) -> None:
        line = self.lines[samples.line]
        self.source.last["audio"] = self.source.clock.now()
        self._check("audio", samples.time, arrival)
        moves = line.moves
        try:
            blocks = line.push(samples.frame, first_sample_of(self.follower.house(samples.time)))
        except (av.FFmpegError, ValueError):
            self.source.errors += 1
            return
        self.source.moves += line.moves - moves
        if self.follower.house(samples.time) >= self.joined:
            self._put(samples.line, blocks)

    def _put(self, line: int, blocks: list[tuple[int, list[Any]]]) -> None:
        for at, sounds in blocks:
            for track, sound in zip(self.tracks[line], sounds, strict=True):
                if sound.shape[1]:
                    self.source.buffer.put_sound(track, at, sound)

    def _finish(self) -> None:
        for at, frame in self.straightener.flush():
            if self.follower.anchored:
                self._show()
                self.candidate = (slot_of(self.follower.house(at), self.format.slot_ticks), frame, self.media.sar())
        self._show()
        for index, line in enumerate(self.lines):
            self._put(index, line.flush())


def _reason(error: Exception) -> str:
    if isinstance(error, av.error.ExitError):
        return "no answer in time"
    return redact(str(getattr(error, "strerror", None) or error) or type(error).__name__)


def _iso(ticks: int | None) -> str | None:
    return None if ticks is None else to_iso(ticks)
