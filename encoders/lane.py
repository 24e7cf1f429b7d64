"""Lanes: one thread per rendition of pictures, one for all sound.

A lane takes pictures from a short queue, makes its size of them, hands that on to the lanes of the next
smaller sizes and encodes it. The queues are the ladder's whole store: whoever is slow holds up whoever
feeds it, and memory does not grow. An encoder that fails is replaced by the next that works, from the first
picture that had not come out yet, so that a lane costs the channel at most the pictures it was reordering.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

import av
import numpy as np

from encoders import capability
from encoders.audio import AudioEncoder
from encoders.format import ChannelFormat
from encoders.rendition import AudioRendition, VideoRendition
from encoders.scaling import Cloner, Scaler, Size
from encoders.source import Sound
from encoders.vbv import Verifier
from encoders.video import VideoEncoder
from headend.accessunit import AccessUnit
from headend.clock import TICKS_PER_SECOND, Clock, to_iso

Sink = Callable[[str, AccessUnit], None]
T = TypeVar("T")

_WINDOW: Final = 10
"""Seconds over which bit rate and speed are measured."""
_TRUSTED: Final = 50
"""Units after which an encoder that fails is started once more before another is looked for."""
_RETRY: Final = 1.0
"""Seconds after which an encoder is tried again when none worked."""
_MOST_PENDING: Final = 80
"""Pictures kept for a successor; no encoder here holds back as many."""


class Conduit(Generic[T]):
    """A bounded queue that can be closed: `put` waits for room, `get` for an item, both until it is closed."""

    def __init__(self, depth: int) -> None:
        self._items: deque[T] = deque()
        self._depth = depth
        self._closed = False
        self._changed = threading.Condition()

    def put(self, item: T) -> bool:
        """Hand in an item; False if the conduit was closed."""
        with self._changed:
            while len(self._items) >= self._depth and not self._closed:
                self._changed.wait()
            if self._closed:
                return False
            self._items.append(item)
            self._changed.notify_all()
            return True

    def get(self) -> T | None:
        """Take an item; None when the conduit was closed."""
        with self._changed:
            while not self._items and not self._closed:
                self._changed.wait()
            if self._closed:
                return None
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def close(self) -> None:
        """Wake everybody; what was inside is dropped."""
        with self._changed:
            self._closed = True
            self._items.clear()
            self._changed.notify_all()

    def __len__(self) -> int:
        return len(self._items)


class Flush:
    """A token that runs through all lanes; set when each has sent everything it had."""

    def __init__(self, lanes: int) -> None:
        self._left = lanes
        self._lock = threading.Lock()
        self.done = threading.Event()

    def passed(self) -> None:
        """One lane has sent everything."""
        with self._lock:
            self._left -= 1
            if self._left <= 0:
                self.done.set()


class Outlet:
    """Where a lane's access units leave, counted on the way."""

    def __init__(self, name: str, sink: Sink, verifier: Verifier | None = None) -> None:
        self._name, self._sink, self._verifier = name, sink, verifier
        self._recent: deque[tuple[float, int, int]] = deque()
        self._lock = threading.Lock()
        self.units = 0
        self.run = _TRUSTED
        """Units of the present encoder; the first is trusted, for it was tried before."""
        self.bytes = 0
        self.last: AccessUnit | None = None
        self.sink_errors = 0

    def send(self, unit: AccessUnit) -> None:
        """Count an access unit and give it to the sink. A sink that raises loses the unit, and is counted."""
        with self._lock:
            self.units += 1
            self.run += 1
            self.bytes += len(unit.data)
            self.last = unit
            self._recent.append((time.perf_counter(), unit.dts, len(unit.data)))
            while self._recent[0][1] < unit.dts - _WINDOW * TICKS_PER_SECOND:
                self._recent.popleft()
        if self._verifier is not None:
            self._verifier.add(unit.dts, len(unit.data))
        try:
            self._sink(self._name, unit)
        except Exception:
            self.sink_errors += 1  # a lane outlives whatever reads from it

    def restart(self) -> None:
        """The next unit is of another encoder."""
        self.run = 0
        if self._verifier is not None:
            self._verifier.restart()

    def state(self) -> dict[str, Any]:
        """Units, bytes, units a second of real time, bit/s of stream time, last unit, VBV underflows."""
        with self._lock:
            recent, last = list(self._recent), self.last
        row: dict[str, Any] = {
            "frames": self.units,
            "bytes": self.bytes,
            "fps": 0.0,
            "bit_rate": 0,
            "last_unit": to_iso(last.pts) if last else None,
            "sink_errors": self.sink_errors,
        }
        if len(recent) > 1:
            took, span = recent[-1][0] - recent[0][0], recent[-1][1] - recent[0][1]
            row["fps"] = round((len(recent) - 1) / took, 2) if took else 0.0
            row["bit_rate"] = sum(r[2] for r in recent[:-1]) * 8 * TICKS_PER_SECOND // span
        if self._verifier is not None:
            row["vbv_underflows"] = self._verifier.underflows
        return row


class VideoLane:
    """One rendition of pictures: scales, hands on, encodes, sends. Starts its thread with :meth:`start`.

    Raises capability.NoEncoderError if nothing here encodes it, ValueError if its encoder refuses its options.
    """

    def __init__(
        self,
        rendition: VideoRendition,
        channel: ChannelFormat,
        sink: Sink,
        clock: Clock,
        *,
        source: Size,
        threads: int,
        resume: int | None,
        depth: int,
    ) -> None:
        self.rendition, self._channel, self._clock = rendition, channel, clock
        self.size = Size(rendition.width, rendition.height, rendition.pixel_format(), rendition.sar)
        self.children: list[VideoLane] = []
        self.inbox: Conduit[tuple[int, av.VideoFrame] | Flush] = Conduit(depth)
        self._scaler = Scaler(source, self.size)
        self._cloner = Cloner(self.size)
        self._threads = threads
        self._resume = resume
        self._ticks = channel.slot_ticks * rendition.rate_divisor
        # What a dead predecessor sent last is not known, but it was decoded before what comes now is shown.
        self._after = None if resume is None else resume - self._ticks
        self._outlet = Outlet(rendition.id, sink, Verifier(rendition.peak, rendition.buffer))
        self._pending: dict[int, av.VideoFrame] = {}
        self._last_slot: int | None = None
        self._sent = -1  # greatest slot sent
        self._failed: set[str] = set()
        self._retry_at = 0.0
        self.errors = 0
        self.restarts = 0
        self.lost = 0
        self.message = ""
        name = self._choose()
        try:
            self._encoder: VideoEncoder | None = self._new(name)
        except (av.FFmpegError, ValueError) as error:
            raise ValueError(
                f"rendition {rendition.id}: {name} refuses its settings ({capability.clause(error)}), so it cannot be "
                "made; check its preset, profile, level and options"
            ) from error
        self.encoder_name = name
        self._thread = threading.Thread(target=self._run, name=f"lane-{rendition.id}", daemon=True)

    def start(self) -> None:
        """Begin to take pictures."""
        self._thread.start()

    def join(self, timeout: float) -> None:
        """Wait for the thread to end after its inbox was closed."""
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def encodes(self, slot: int) -> bool:
        """Whether this rendition has a picture at a slot of the channel."""
        due = slot % self.rendition.rate_divisor == 0
        return due and (self._resume is None or self._channel.ticks_of(slot) >= self._resume)

    def wants(self, slot: int) -> bool:
        """Whether it or a smaller rendition needs the picture of a slot."""
        return self.encodes(slot) or any(child.wants(slot) for child in self.children)

    def state(self) -> dict[str, Any]:
        """What it does, and how well."""
        return {
            "encoder": self.encoder_name,
            **self._outlet.state(),
            "queue": len(self.inbox),
            "errors": self.errors,
            "restarts": self.restarts,
            "lost": self.lost,
            "message": self.message,
        }

    def _choose(self) -> str:
        r = self.rendition
        wanted = "auto" if self._failed else r.encoder
        return capability.choose(
            r.codec,
            r.width,
            r.height,
            r.rate(self._channel),
            ten_bit=r.ten_bit,
            encoder=wanted,
            without=frozenset(self._failed),
        )

    def _new(self, name: str) -> VideoEncoder:
        return VideoEncoder(
            self.rendition,
            self._channel,
            name,
            threads=self._threads,
            after=self._after,
            generation=self._clock.now(),
        )

    def _run(self) -> None:
        while (item := self.inbox.get()) is not None:
            try:
                if isinstance(item, Flush):
                    for child in self.children:
                        child.inbox.put(item)
                    self._drain()
                    item.passed()
                else:
                    self._take(*item)
            except Exception as error:
                # Whatever it was, the next picture gets another chance: a lane must not end before the channel.
                self._note(error)
                if isinstance(item, Flush):
                    item.passed()

    def _take(self, slot: int, picture: av.VideoFrame) -> None:
        if not self.wants(slot):
            return
        own = self._scaler.scale(picture)
        for child in self.children:
            if child.wants(slot):
                child.inbox.put((slot, self._cloner.clone(own)))
        if self.encodes(slot):
            self._encode(slot, own)

    def _encode(self, slot: int, picture: av.VideoFrame) -> None:
        if self._last_slot is not None and slot != self._last_slot + self.rendition.rate_divisor:
            self._drain()  # a hole in time: what was before it is complete, what comes begins anew
        self._last_slot = slot
        self._pending[slot] = picture
        while len(self._pending) > _MOST_PENDING:
            del self._pending[min(self._pending)]
        if self._encoder is None:
            self._replace()
            return
        try:
            self._send(self._encoder.encode(slot, picture))
        except Exception as error:
            self._fail(error)

    def _send(self, units: list[AccessUnit]) -> None:
        for unit in units:
            slot = unit.pts // self._channel.slot_ticks
            self._pending.pop(slot, None)
            self._sent = max(self._sent, slot)
            self._after = unit.dts
            self._outlet.send(unit)

    def _drain(self) -> None:
        """Send what the encoder holds; the next picture starts another."""
        encoder, self._encoder = self._encoder, None
        if encoder is None:
            return
        try:
            self._send(encoder.flush())
        except Exception as error:
            self._note(error)
        self.lost += len(self._pending)
        self._pending.clear()

    def _note(self, error: Exception) -> None:
        self.errors += 1
        self.message = f"rendition {self.rendition.id}: {self.encoder_name} failed: {capability.clause(error)}"

    def _fail(self, error: Exception) -> None:
        """An encoder failed on air: another takes over from the first picture that had not come out."""
        self._note(error)
        self._encoder = None
        if self._outlet.run < _TRUSTED:
            self._failed.add(self.encoder_name)
        self.restarts += 1
        self._replace()

    def _replace(self) -> None:
        """Start an encoder and give it what is pending. Pictures are lost, and counted, only while none works."""
        if time.monotonic() < self._retry_at:
            self._give_up()
            return
        for slot in [s for s in self._pending if s <= self._sent]:
            # Later pictures were sent already, and a new GOP cannot reach back behind them.
            del self._pending[slot]
            self.lost += 1
        while True:
            try:
                name = self._choose()
            except capability.NoEncoderError as error:
                self.message = f"rendition {self.rendition.id}: {error}"
                # Nothing is left that has not failed: all deserve another try, but not fifty times a second.
                self._failed.clear()
                self._retry_at = time.monotonic() + _RETRY
                self._give_up()
                return
            self.encoder_name = name
            try:
                self._outlet.restart()
                self._encoder = self._new(name)
                for slot, picture in list(self._pending.items()):
                    self._send(self._encoder.encode(slot, picture))
                return
            except Exception as error:
                self._note(error)
                self._encoder = None
                self._failed.add(name)

    def _give_up(self) -> None:
        self.lost += len(self._pending)
        self._pending.clear()


class AudioLane:
    """One rendition of sound. It has no thread: all sound of a channel is encoded in one.

    Raises capability.NoEncoderError or ValueError as :class:`VideoLane` does.
    """

    def __init__(
        self, rendition: AudioRendition, channel: ChannelFormat, sink: Sink, clock: Clock, *, resume: int | None
    ) -> None:
        self.rendition, self._clock = rendition, clock
        self.track = rendition.track_index(channel)
        self._outlet = Outlet(rendition.id, sink)
        self._resume = resume
        self._next: int | None = None
        self._failed: set[str] = set()
        self._retry_at = 0.0
        self.errors = 0
        self.restarts = 0
        self.lost = 0
        self.message = ""
        name = capability.choose(rendition.codec, encoder=rendition.encoder)
        try:
            self._encoder: AudioEncoder | None = self._new(name)
        except (av.FFmpegError, ValueError) as error:
            raise ValueError(
                f"rendition {rendition.id}: {name} refuses its settings ({capability.clause(error)}), so it cannot be "
                "made; check its bit rate, channels and options"
            ) from error
        self.encoder_name = name
        self.format = rendition.stream_format(channel, self._encoder.extradata)

    def _new(self, name: str) -> AudioEncoder:
        return AudioEncoder(self.rendition, name, resume=self._resume, generation=self._clock.now())

    def take(self, first: int, sound: list[Sound]) -> None:
        """Encode a slot's samples, the first of them number ``first`` since the epoch. Never raises."""
        samples = sound[self.track]
        if self._next is not None and first != self._next:
            self.drain()
        self._next = first + samples.shape[1]
        try:
            if self._encoder is None:
                if time.monotonic() < self._retry_at:
                    self.lost += samples.shape[1]
                    return
                wanted = "auto" if self._failed else self.rendition.encoder
                without = frozenset(self._failed)
                self.encoder_name = capability.choose(self.rendition.codec, encoder=wanted, without=without)
                self._outlet.restart()
                self._encoder = self._new(self.encoder_name)
            self._send(self._encoder.encode(first, samples))
        except Exception as error:
            self._fail(error)
            self.lost += samples.shape[1]

    def drain(self) -> None:
        """Send what the encoder holds; the next samples start another. Never raises."""
        encoder, self._encoder, self._next = self._encoder, None, None
        if encoder is None:
            return
        try:
            self._send(encoder.flush())
        except Exception as error:
            self._fail(error)

    def _send(self, units: list[AccessUnit]) -> None:
        for unit in units:
            self._resume = unit.pts + unit.duration
            self._outlet.send(unit)

    def _fail(self, error: Exception) -> None:
        self.errors += 1
        self.message = f"rendition {self.rendition.id}: {self.encoder_name} failed: {capability.clause(error)}"
        self._encoder = None
        if isinstance(error, capability.NoEncoderError):
            self._failed.clear()
            self._retry_at = time.monotonic() + _RETRY
            return
        self.restarts += 1
        if self._outlet.run < _TRUSTED:
            self._failed.add(self.encoder_name)

    def state(self) -> dict[str, Any]:
        """What it does, and how well. ``lost`` counts samples."""
        return {
            "encoder": self.encoder_name,
            **self._outlet.state(),
            "errors": self.errors,
            "restarts": self.restarts,
            "lost": self.lost,
            "message": self.message,
        }


class SoundThread:
    """The thread in which all sound renditions of a channel are encoded."""

    def __init__(self, lanes: list[AudioLane], depth: int) -> None:
        self.lanes = lanes
        self.inbox: Conduit[tuple[int, list[Sound]] | Flush] = Conduit(depth)
        self._thread = threading.Thread(target=self._run, name="lane-sound", daemon=True)

    def start(self) -> None:
        """Begin to take samples."""
        self._thread.start()

    def join(self, timeout: float) -> None:
        """Wait for the thread to end after its inbox was closed."""
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        while (item := self.inbox.get()) is not None:
            for lane in self.lanes:
                if isinstance(item, Flush):
                    lane.drain()
                else:
                    lane.take(*item)
            if isinstance(item, Flush):
                item.passed()


def repaired(sound: list[Sound] | None, channel: ChannelFormat, slot: int) -> tuple[list[Sound], bool]:
    """A slot's sound with exactly its tracks, channels and samples; whether anything had to be mended.

    No sound at all is silence, and not a defect: it is how a source without sound looks.
    """
    count = channel.samples_in(slot)
    tracks: list[Sound] = []
    mended = False
    for index, track in enumerate(channel.tracks):
        given = None if sound is None or index >= len(sound) else sound[index]
        if given is not None and given.shape == (track.channels, count):
            tracks.append(given)
            continue
        mended |= sound is not None
        whole = np.zeros((track.channels, count), np.float32)
        if given is not None and given.ndim == 2:
            rows, columns = min(given.shape[0], track.channels), min(given.shape[1], count)
            whole[:rows, :columns] = given[:rows, :columns]
        tracks.append(whole)
    return tracks, mended
