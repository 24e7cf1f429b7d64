"""The ladder: one picture per slot in, every rendition's access units out.

    push(slot, picture, sound) --> 1080 --> 720 --> 540 --> 360     each a thread: scale, hand on, encode
                               \\-> sound                            one thread for all of it

Decoded once and scaled once: each size is made from the next larger of its shape, while the larger one is
still being encoded. Every queue is a few pictures long, so the whole runs in lock-step with its slowest
rendition, and `push` waits when that falls behind. Key pictures stand at slots that the GOP length
divides, on every machine, whenever it was started.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import av

from encoders.format import ChannelFormat
from encoders.lane import AudioLane, Flush, Sink, SoundThread, VideoLane, repaired
from encoders.rendition import AudioRendition, VideoRendition
from encoders.scaling import Cloner, Scaler, Size, plan
from encoders.source import Sound
from encoders.video import threads_for
from headend.accessunit import StreamFormat
from headend.clock import Clock, SystemClock, to_iso


class Ladder:
    """All renditions of one channel.

    ``sink(id, unit)`` is called from the rendition's own thread, in decoding order. ``resume`` gives, for
    renditions whose predecessor died, the tick after the last picture or sample it sent: what is before is
    skipped, and the first picture encoded is an IDR even off the grid. ``depth`` is the length of each queue,
    in slots; ``cores`` how many cores the encoders may count on (default: all that this process may use).

    Raises ValueError, in a sentence, for two renditions of one name, an unknown track, an encoder that
    refuses its settings; capability.NoEncoderError (a ValueError) when nothing here encodes a rendition.
    """

    def __init__(
        self,
        format: ChannelFormat,
        videos: Sequence[VideoRendition],
        audios: Sequence[AudioRendition],
        sink: Sink,
        *,
        resume: Mapping[str, int] | None = None,
        clock: Clock | None = None,
        depth: int = 3,
        cores: int | None = None,
    ) -> None:
        names = [r.id for r in videos] + [r.id for r in audios]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(
                f"two renditions are named {', '.join(sorted(twice))}, so their access units would be mixed up; "
                "give each a name of its own"
            )
        self._channel = format
        clock = clock or SystemClock()
        resume = resume or {}
        self._size = Size(format.width, format.height, format.pixel_format)
        sizes = [Size(r.width, r.height, r.pixel_format(), r.sar) for r in videos]
        parents = plan(self._size, sizes)
        weights = [r.width * r.height / r.rate_divisor for r in videos]
        self._lanes = [
            VideoLane(
                rendition,
                format,
                sink,
                clock,
                source=self._size if parent is None else sizes[parent],
                threads=threads_for(weight / sum(weights), cores),
                resume=resume.get(rendition.id),
                depth=depth,
            )
            for rendition, parent, weight in zip(videos, parents, weights, strict=True)
        ]
        self._roots = [lane for lane, parent in zip(self._lanes, parents, strict=True) if parent is None]
        for lane, parent in zip(self._lanes, parents, strict=True):
            if parent is not None:
                self._lanes[parent].children.append(lane)
        sounds = [AudioLane(r, format, sink, clock, resume=resume.get(r.id)) for r in audios]
        self._sound = SoundThread(sounds, depth) if sounds else None
        self._cloner = Cloner(self._size)
        self._picture: av.VideoFrame | None = None
        self._slot: int | None = None
        self._lock = threading.Lock()
        self._closed = False
        self._pushed = self._late = self._held = self._reshaped = self._mended = 0
        for thread in self._threads():
            thread.start()

    def _threads(self) -> list[VideoLane | SoundThread]:
        return [*self._lanes, *([self._sound] if self._sound else [])]

    def formats(self) -> dict[str, StreamFormat]:
        """Format of every rendition, by name; complete before the first picture."""
        rows = {lane.rendition.id: lane.rendition.stream_format(self._channel) for lane in self._lanes}
        return rows | {lane.rendition.id: lane.format for lane in (self._sound.lanes if self._sound else [])}

    def push(self, slot: int, picture: av.VideoFrame | None, sound: list[Sound] | None) -> bool:
        """Give the media of a slot; waits while the queues are full. Slots must rise.

        No picture: the last is shown again. No sound: silence. Neither array nor picture is changed, and both
        may be used elsewhere. False if the slot was late (counted) or the ladder is closed.
        """
        with self._lock:
            if self._closed:
                return False
            if self._slot is not None and slot <= self._slot:
                self._late += 1
                return False
            self._slot = slot
            self._pushed += 1
            shown = self._shown(picture)
            for lane in self._roots:
                if lane.wants(slot):
                    lane.inbox.put((slot, self._clone(shown)))
            if self._sound is not None:
                tracks, mended = repaired(sound, self._channel, slot)
                self._mended += mended
                self._sound.inbox.put((self._channel.first_sample(slot), tracks))
            return not self._closed

    def _clone(self, picture: av.VideoFrame) -> av.VideoFrame:
        try:
            return self._cloner.clone(picture)
        except av.FFmpegError:
            self._cloner = Cloner(self._size)  # a filter graph that failed once stays broken
            return self._cloner.clone(picture)

    def _shown(self, picture: av.VideoFrame | None) -> av.VideoFrame:
        """The slot's picture in the channel's format."""
        if picture is None:
            self._held += 1
            if self._picture is None:
                self._picture = _black(self._size)
            return self._picture
        size = self._size
        if (picture.width, picture.height, picture.format.name) != (size.width, size.height, size.pixel_format):
            self._reshaped += 1
            given = Size(picture.width & ~1, picture.height & ~1, picture.format.name)
            picture = Scaler(given, size).scale(picture)
        self._picture = picture
        return picture

    def flush(self, timeout: float | None = None) -> bool:
        """Send everything that was pushed, sound filled up to a whole frame; False if that took too long or was closed.

        Pushing may go on afterwards: each rendition then begins a new run with a key picture.
        """
        with self._lock:
            if self._closed:
                return False
            token = Flush(len(self._threads()))
            for lane in self._roots:
                lane.inbox.put(token)
            if self._sound is not None:
                self._sound.inbox.put(token)
            if not self._threads():
                return True
        end = None if timeout is None else time.monotonic() + timeout
        while not token.done.wait(0.1 if end is None else max(0.0, min(0.1, end - time.monotonic()))):
            if self._closed or (end is not None and time.monotonic() >= end):
                return False
        return True

    def close(self) -> None:
        """Stop at once, dropping what was not sent: flush first to keep it. Idempotent; returns within a second."""
        self._closed = True
        for thread in self._threads():
            thread.inbox.close()
        end = time.monotonic() + 1
        for thread in self._threads():
            thread.join(max(0.0, end - time.monotonic()))

    def state(self) -> dict[str, Any]:
        """Slots pushed, late, held, reshaped, mended (sound of another length), and the state of each rendition."""
        rows: dict[str, Any] = {lane.rendition.id: lane.state() for lane in self._lanes}
        rows |= {lane.rendition.id: lane.state() for lane in (self._sound.lanes if self._sound else [])}
        slot = self._slot
        return {
            "last_slot": None if slot is None else to_iso(self._channel.ticks_of(slot)),
            "pushed": self._pushed,
            "late": self._late,
            "held": self._held,
            "reshaped": self._reshaped,
            "mended": self._mended,
            "sound_queue": len(self._sound.inbox) if self._sound else 0,
            "renditions": rows,
        }


def _black(size: Size) -> av.VideoFrame:
    """A black picture, limited range."""
    picture = av.VideoFrame(size.width, size.height, "yuv420p")
    for plane, value in zip(picture.planes, (16, 128, 128), strict=True):
        plane.update(bytes((value,)) * plane.buffer_size)
    return picture if size.pixel_format == "yuv420p" else picture.reformat(format=size.pixel_format)
