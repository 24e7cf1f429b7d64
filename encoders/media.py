"""An opened container, read one frame at a time of whichever kind is wanted.

Packets of the other kind wait, compressed, in a queue bounded in bytes and in time. When a badly interleaved input
would overflow it, the kind that is asked for is declared absent so far (a gap), rather than the one that is there
thrown away; what then comes after all is late and counted. Broken packets are skipped and counted.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, Literal, TypeAlias

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from encoders.cadence import ticks
from encoders.format import ChannelFormat
from encoders.sound import match_tracks
from encoders.timeline import Timeline
from headend.clock import TICKS_PER_SECOND

Kind = Literal["video", "audio"]
Packet: TypeAlias = "av.Packet[Any]"

QUEUE_BYTES: Final = 64 << 20
QUEUE_TICKS: Final = 10 * TICKS_PER_SECOND
_PREROLL: Final = TICKS_PER_SECOND // 10
_GIVE_UP: Final = 200
"""Broken reads in a row after which an input is taken to be broken to its end."""


@dataclass(slots=True)
class Picture:
    """A decoded picture, as coded. Times are ticks on the media's unbroken timeline."""

    time: int
    duration: int
    frame: av.VideoFrame


@dataclass(slots=True)
class Samples:
    """A decoded block of sound of the ``line``-th sound in use."""

    time: int
    duration: int
    line: int
    frame: av.AudioFrame


@dataclass(slots=True)
class Gap:
    """Nothing of this kind comes before ``until`` ticks."""

    kind: Kind
    until: int


@dataclass(slots=True)
class End:
    """Nothing of this kind comes any more."""

    kind: Kind


Event = Picture | Samples | Gap | End


class Media:
    """A container with the streams that a channel uses: one of pictures, and for each track of it one of sound.

    Takes over ``container`` and closes it.
    """

    def __init__(self, container: InputContainer, format: ChannelFormat) -> None:
        self.container = container
        self.slot_ticks = format.slot_ticks
        self.timeline = Timeline()
        self.errors = 0
        """Packets or frames that could not be read or decoded."""
        self.bytes = 0
        """Bytes of media read."""
        self.video = _best_video(container)
        sounds = _sounds(container, self.video)
        wanted = match_tracks(format.tracks, [stream.language for stream in sounds])
        used = sorted({index for index in wanted if index is not None})
        self.audio: list[AudioStream] = [sounds[index] for index in used]
        self.lines = [None if index is None else used.index(index) for index in wanted]
        """For each track of the channel, which of ``audio`` it carries."""
        self.encrypted = False
        """A packet was met whose container says that it is encrypted; reading ends there."""
        self._container_sar = self.video.sample_aspect_ratio if self.video else None
        self._coded_sar = self.video.codec_context.sample_aspect_ratio if self.video else None
        if self.video is not None:
            self.video.thread_type = "AUTO"
        for stream in container.streams:
            if stream is not self.video and stream not in self.audio and hasattr(stream, "discard"):
                with contextlib.suppress(AttributeError, ValueError):
                    stream.discard = av.stream.Discard.all
        self._packets: Iterator[Packet] | None = None
        self._queues: dict[Kind, deque[Packet]] = {"video": deque(), "audio": deque()}
        self._queued = 0
        self._eof = False
        self._ended: dict[Kind, bool] = {"video": self.video is None, "audio": not self.audio}
        self._ready: deque[Event] = deque()

    @property
    def begin(self) -> int:
        """Where an in-point of zero is, in ticks of the container: the first frame in use, in phase with the pictures.

        In phase, because a picture is shown on the slot grid: sound that began 10 ms before the first picture would
        else put every picture 10 ms early.
        """
        starts = {
            stream: ticks(stream.start_time, stream.time_base)
            for stream in (self.video, *self.audio)
            if stream is not None and stream.start_time is not None and stream.time_base is not None
        }
        if not starts:
            return (self.container.start_time or 0) * 27
        first = min(starts.values())
        if self.video is None or self.video not in starts:
            return first
        pictures = starts[self.video]
        return pictures - (pictures - first) // self.slot_ticks * self.slot_ticks

    @property
    def rate(self) -> Fraction | None:
        """Pictures a second as the input declares it."""
        if self.video is None:
            return None
        return self.video.average_rate or self.video.guessed_rate or None

    def sar(self) -> Fraction | None:
        """Sample aspect ratio of the picture decoded last.

        The container's word counts where it contradicts the coded one; else the coded one, which may change.
        """
        if self.video is None:
            return None
        if self._container_sar and self._coded_sar and self._container_sar != self._coded_sar:
            return self._container_sar
        return self.video.codec_context.sample_aspect_ratio or self._container_sar

    def seek(self, time: int) -> None:
        """Go to the last key picture at or before ``time`` (container's ticks). Raises av.FFmpegError if it cannot be
        done.

        Formats without an index land near it, so the landing is checked and tried again from further before.
        """
        # A little before, because decoders of sound need a frame or two to come to their full level.
        for back in (_PREROLL, 2 * TICKS_PER_SECOND, 8 * TICKS_PER_SECOND, 30 * TICKS_PER_SECOND):
            if time - back <= self.begin:
                break
            self._reset(time - back)
            if self._landed(time):
                return
        try:
            self._reset(self.begin - TICKS_PER_SECOND)
        except av.FFmpegError:
            self._reset(self.begin)

    def _reset(self, time: int) -> None:
        self.container.seek(time // 27, backward=True)
        self._packets = None
        for queue in self._queues.values():
            queue.clear()
        self._queued = 0
        self._eof = False
        self._ended = {"video": self.video is None, "audio": not self.audio}
        self._ready.clear()
        self.timeline.restart()

    def _landed(self, time: int) -> bool:
        if self.video is None:
            return True
        while not self._eof:
            self._fetch()
            queue = self._queues["video"]
            if queue:
                packet = queue[-1]
                if packet.is_keyframe and packet.pts is not None and self.video.time_base is not None:
                    while len(queue) > 1:
                        queue.popleft()
                    return ticks(packet.pts, self.video.time_base) <= time
                if len(queue) > 2000:
                    return False
        return False

    def read(self, kind: Kind | None = None) -> Event:
        """The next event of ``kind``, or of any kind in the order of the input. After :class:`End` it is repeated.

        Raises av.FFmpegError (an OSError for most networks) when the input fails and cannot be read on.
        """
        while True:
            if self._ready and kind is None:
                return self._ready.popleft()
            for index, event in enumerate(self._ready):
                if _kind(event) == kind:
                    del self._ready[index]
                    return event
            if kind is not None and self._ended[kind]:
                return End(kind)
            if kind is None and all(self._ended.values()):
                return End("video")
            self._step(kind)

    def _step(self, kind: Kind | None) -> None:
        queues: list[Kind] = [kind] if kind is not None else ["video", "audio"]
        for wanted in queues:
            if self._queues[wanted]:
                packet = self._queues[wanted].popleft()
                self._queued -= packet.size
                self._decode(wanted, packet)
                return
        if self._eof:
            for wanted in queues:
                if not self._ended[wanted]:
                    self._drain(wanted)
            return
        if kind is not None:
            other: Kind = "audio" if kind == "video" else "video"
            queue = self._queues[other]
            if queue and (until := self._overflow(other)) is not None:
                self._ready.append(Gap(kind, until))
                self._decode(other, queue.popleft())
                return
        self._fetch()

    def _overflow(self, kind: Kind) -> int | None:
        """Where the queue of ``kind`` begins, when it is longer than may be."""
        queue = self._queues[kind]
        first, last = packet_time(queue[0]), packet_time(queue[-1])
        if first is None or last is None:
            return None
        if last - first < QUEUE_TICKS and self._queued < QUEUE_BYTES:
            return None
        stream = queue[0].stream.index
        return self.timeline.peek(stream, first) + TICKS_PER_SECOND

    def _fetch(self) -> None:
        """Move one packet from the container to its queue."""
        packet = self._next_packet()
        if packet is None:
            self._eof = True
            return
        self._queues["video" if packet.stream is self.video else "audio"].append(packet)
        self._queued += packet.size

    def _next_packet(self) -> Packet | None:
        """The next packet of the streams in use; None at the end. Broken ones are skipped and counted."""
        failures = 0
        while True:
            if self._packets is None:
                streams = [stream for stream in (self.video, *self.audio) if stream is not None]
                if not streams:
                    return None
                self._packets = self.container.demux(*streams)
            try:
                packet = next(self._packets)
            except StopIteration:
                return None
            except av.InvalidDataError:
                self._packets = None
                self.errors += 1
                failures += 1
                if failures > _GIVE_UP:
                    return None
                continue
            if packet.size == 0 and packet.pts is None and packet.dts is None:
                continue  # the flush packets at the end: draining is done when a queue has run empty
            self.bytes += packet.size
            return packet

    def _decode(self, kind: Kind, packet: Packet) -> None:
        if packet.is_corrupt:
            self.errors += 1
        if packet.has_sidedata("encryption_info"):
            self.encrypted = self._eof = True
            return
        try:
            frames = packet.decode()
        except av.EOFError:
            return
        except av.FFmpegError:
            self.errors += 1
            return
        self._take(packet.stream, frames)

    def _drain(self, kind: Kind) -> None:
        self._ended[kind] = True
        streams = [self.video] if kind == "video" else self.audio
        for stream in streams:
            if stream is None:
                continue
            with contextlib.suppress(av.FFmpegError):
                self._take(stream, stream.decode(None))
        self._ready.append(End(kind))

    def _take(self, stream: VideoStream | AudioStream, frames: list[av.VideoFrame] | list[av.AudioFrame]) -> None:
        for frame in frames:
            base = frame.time_base or stream.time_base
            stamp = frame.pts if frame.pts is not None else frame.dts
            time = ticks(stamp, base) if stamp is not None and base is not None else None
            if isinstance(frame, av.VideoFrame):
                self.errors += frame.is_corrupt
                duration = self._picture_duration(frame, base)
                time = self.timeline.place(stream.index, time, duration)
                self._ready.append(Picture(time, duration, frame))
            elif frame.samples:
                duration = frame.samples * TICKS_PER_SECOND // max(frame.sample_rate, 1)
                time = self.timeline.place(stream.index, time, duration)
                line = next(line for line, used in enumerate(self.audio) if used is stream)
                self._ready.append(Samples(time, duration, line, frame))

    def _picture_duration(self, frame: av.VideoFrame, base: Fraction | None) -> int:
        if frame.duration and base is not None:
            return min(ticks(frame.duration, base), QUEUE_TICKS)
        rate = self.rate
        return int(TICKS_PER_SECOND / rate) if rate else TICKS_PER_SECOND // 25

    def close(self) -> None:
        """Close the container and its decoders."""
        self._packets = None
        for queue in self._queues.values():
            queue.clear()
        self._ready.clear()
        self.container.close()


def _kind(event: Event) -> Kind:
    if isinstance(event, Picture):
        return "video"
    return "audio" if isinstance(event, Samples) else event.kind


def packet_time(packet: Packet) -> int | None:
    """When a packet is due for decoding, in ticks of its container; None when it does not say."""
    stamp = packet.dts if packet.dts is not None else packet.pts
    return ticks(stamp, packet.time_base) if stamp is not None and packet.time_base else None


def _best_video(container: InputContainer) -> VideoStream | None:
    """The stream of moving pictures; the cover of a record is none."""
    cover = Disposition.attached_pic | Disposition.timed_thumbnails
    moving = [s for s in container.streams.video if not s.disposition & cover and s.codec_context is not None]
    best = container.streams.best("video")
    if best in moving:
        moving.sort(key=lambda stream: stream is not best)
    return moving[0] if moving else None


def _sounds(container: InputContainer, video: VideoStream | None) -> list[AudioStream]:
    """Streams of sound that can be decoded, the best first, then in the order of the container."""
    sounds = [s for s in container.streams.audio if s.codec_context is not None and _together(s, video)]
    best = container.streams.best("audio", related=video) if video is not None else container.streams.best("audio")
    return sorted(sounds, key=lambda stream: stream is not best)


def _together(sound: AudioStream, video: VideoStream | None) -> bool:
    """Whether a sound can belong to the pictures: in a multiplex of several services each has a time of its own."""
    if video is None or video.start_time is None or video.time_base is None:
        return True
    if sound.start_time is None or sound.time_base is None:
        return True
    return abs(ticks(sound.start_time, sound.time_base) - ticks(video.start_time, video.time_base)) <= QUEUE_TICKS
