"""A media file as a source: its in-point at the first slot, every slot after it exactly once, to its out-point or for
ever.

A reader thread demultiplexes, decodes, conforms and fills a :class:`~encoders.buffer.SliceBuffer`. The pictures are
the master of the length: sound that is longer by less than a tenth of a second is cut, sound that is shorter is
completed with silence. One round through the file is a whole number of slots, so that loops neither gap nor drift.
Damage in the middle costs what is damaged: the rest keeps its place by its timestamps.
"""

from __future__ import annotations

import threading
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av

from encoders.buffer import SliceBuffer
from encoders.cadence import slot_of
from encoders.conform import PictureConformer, Straightener
from encoders.diagnosis import diagnose
from encoders.format import ChannelFormat
from encoders.media import End, Event, Gap, Media, Picture, Samples
from encoders.redact import redact
from encoders.sound import SoundLine, first_sample_of
from encoders.source import Slice
from headend.clock import TICKS_PER_SECOND, Clock, to_iso

TAIL: Final = TICKS_PER_SECOND // 10
"""Sound that outlasts the pictures by less than this is the codec's padding."""


class FileSource:
    """Plays a file from ``in_point`` to ``out_point``, both in ticks from its first frame.

    ``duration`` limits the whole, repetitions included, in ticks; ``loop`` starts again at the in-point. ``gain_db``
    is applied to the sound. Nothing is raised for a file that cannot be played: the slices say that it has ended,
    ``state()`` says why. Raises ValueError if the out-point is not after the in-point.
    """

    kind = "file"

    def __init__(
        self,
        name: str,
        path: str | Path,
        format: ChannelFormat,
        clock: Clock,
        *,
        in_point: int = 0,
        out_point: int | None = None,
        duration: int | None = None,
        loop: bool = False,
        gain_db: float = 0.0,
        ahead: float = 1.0,
    ) -> None:
        if in_point < 0 or (out_point is not None and out_point <= in_point):
            raise ValueError(
                f"{name}: the out-point {out_point} is not after the in-point {in_point}, so there is nothing to play; "
                "give points in ticks from the start of the file, the out-point after the in-point"
            )
        self.name = name
        self.path = str(path)
        self.format = format
        self._clock = clock
        self._in = in_point
        self._out = out_point
        self._duration = duration
        self._loop = loop
        self._gain = gain_db
        self._buffer = SliceBuffer(format, ahead=ahead)
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        self._first = 0
        self._media: Media | None = None
        self._message = ""
        self._opened = False
        self._errors = self._rounds = self._bit_rate = self._jumps = self._moves = 0
        self._last: dict[str, int | None] = {"video": None, "audio": None}

    def open(self, first: int) -> None:
        """Begin so that the in-point is shown at slot ``first``. Returns at once."""
        if self._thread is not None:
            return
        self._first = first
        self._buffer.start(first)
        self._thread = threading.Thread(target=self._run, name=f"file {self.name}", daemon=True)
        self._thread.start()

    def ready(self, slot: int) -> bool:
        """Whether ``pull(slot)`` would yield media now."""
        return self._buffer.ready(slot)

    def pull(self, slot: int, wait: float = 0.0) -> Slice | None:
        """The media of a slot; None while it is not decoded yet."""
        return self._buffer.pull(slot, wait)

    def state(self) -> dict[str, Any]:
        """See :class:`encoders.source.Source`; also ``rounds``, ``jumps`` and ``moves`` (timestamps that broke)."""
        alive = self._thread is not None and self._thread.is_alive()
        return {
            "name": self.name,
            "url": redact(self.path),
            "kind": self.kind,
            "connected": self._opened,
            "receiving": self._opened and alive,
            "last_picture": _iso(self._last["video"]),
            "last_sound": _iso(self._last["audio"]),
            "bit_rate": self._bit_rate,
            "errors": self._errors,
            "reconnects": 0,
            "repeats": self._buffer.repeats,
            "drops": self._buffer.drops,
            "late": self._buffer.late,
            "rounds": self._rounds,
            "jumps": self._jumps,
            "moves": self._moves,
            "message": self._message,
        }

    def close(self) -> None:
        """Stop the reader. Returns within a second even if the disk hangs: the thread then ends when the disk
        answers.
        """
        self._closed.set()
        self._buffer.close()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(0.9)

    # -- the reader thread

    def _run(self) -> None:
        slot = self._first
        try:
            slot = self._play()
        except Exception as error:  # a broken file may break anything; the channel must learn of it as an end
            self._message = f"{self.name}: {diagnose(self.path, error)}" if not self._opened else self._broke(error)
            slot = max(self._buffer.position, self._first)
        finally:
            self._buffer.end(slot)
            if self._media is not None:
                self._media.close()

    def _start(self) -> Media:
        """The file at its in-point."""
        if self._media is None or not self._in:
            # Repeated from its start, a file is opened anew: after a seek there, a decoder of sound lacks the state
            # that the samples before the first one would have given it, and fades in.
            if self._media is not None:
                self._media.close()
            # A file name may look like an address; the prefix says that it is none.
            self._media = Media(
                av.open(f"file:{self.path}", metadata_errors="replace", timeout=(30.0, 30.0)), self.format
            )
        if self._in:
            self._media.seek(self._media.begin + self._in)
        return self._media

    def _broke(self, error: Exception) -> str:
        return (
            f"{self.name}: reading {self.path} failed ({getattr(error, 'strerror', None) or error}), so it ends early; "
            "check the disk and the file"
        )

    def _play(self) -> int:
        """All rounds; returns the slot after the last."""
        media = self._start()
        if media.video is None and not media.audio:
            self._message = f"{self.name}: {diagnose(self.path, encrypted=media.encrypted)}"
            return self._first
        self._bit_rate = media.container.bit_rate
        slot = self._first
        limit = None if self._duration is None else self._first + slot_of(self._duration, self.format.slot_ticks)
        self._opened = True
        while not self._closed.is_set() and (limit is None or slot < limit):
            if self._rounds:
                media = self._start()
            length = None if self._out is None else slot_of(self._out - self._in, self.format.slot_ticks)
            if limit is not None:
                length = limit - slot if length is None else min(length, limit - slot)
            turn = _Round(self, media, slot, media.begin + self._in, length)
            count = turn.play()
            self._count(media, turn)
            if not count:
                if not self._rounds:
                    self._message = f"{self.name}: {self._nothing(media)}"
                break
            slot += count
            self._rounds += 1
            if not self._loop:
                if length is not None and count < length and not self._closed.is_set():
                    short = (length - count) * self.format.slot_ticks / TICKS_PER_SECOND
                    self._message = (
                        f"{self.name}: the file {self.path} ended {short:.2f} s before its out-point, so the item was "
                        "shorter than planned; check the out-point, or whether the file was cut off"
                    )
                break
        return slot

    def _nothing(self, media: Media) -> str:
        if self._in and not media.encrypted:
            return (
                f"the in-point is at or after the end of {self.path}, so nothing of it can be shown; move the in-point"
            )
        return diagnose(self.path, encrypted=media.encrypted)

    def _count(self, media: Media, turn: _Round) -> None:
        self._errors += media.errors + turn.errors
        media.errors = 0
        self._jumps += media.timeline.jumps
        media.timeline.jumps = 0
        if self._errors and not self._message:
            self._message = (
                f"{self.name}: {self._errors} packets or pictures of {self.path} are damaged and were left out or "
                "concealed; "
                "replace the file by an undamaged copy"
            )


class _Round:
    """One way through a file, from the in-point to the out-point or the end."""

    def __init__(self, source: FileSource, media: Media, base: int, begin: int, length: int | None) -> None:
        self.source = source
        self.media = media
        self.buffer = source._buffer
        self.format = source.format
        self.base = base
        self.begin = begin
        self.length = length
        self.errors = 0
        rate = media.rate
        self.straightener = Straightener(double=bool(rate and self.format.rate >= rate * Fraction(3, 2)))
        self.conformer = PictureConformer(self.format)
        self.lines: list[SoundLine] = []
        self.tracks: list[list[int]] = []
        for line in range(len(media.audio)):
            tracks = [track for track, carried in enumerate(media.lines) if carried == line]
            self.tracks.append(tracks)
            self.lines.append(SoundLine([self.format.tracks[t].channels for t in tracks], source._gain))
        self.candidate: tuple[int, int, av.VideoFrame, Fraction | None] | None = None
        self.dropped = 0
        self.any_picture = False
        self.video_open = media.video is not None
        self.audio_open = bool(media.audio)
        self.video_head = self.audio_head = 0
        """How far each kind has come, in ticks from the in-point."""
        self.video_end = self.audio_end = 0

    def play(self) -> int:
        """Put everything into the buffer; returns how many slots it was."""
        buffer, closed = self.buffer, self.source._closed
        if not self.video_open and not self.source._rounds:
            buffer.known(pictures=1 << 62)
        while (self.video_open or self.audio_open) and not closed.is_set():
            if not buffer.wait_for_room(self.video_open, self.audio_open, 1.0):
                continue
            video = self.video_open and buffer.wants_pictures
            audio = self.audio_open and buffer.wants_sound
            if video and (not audio or self.video_head <= self.audio_head):
                self._handle(self.media.read("video"))
            elif audio:
                self._handle(self.media.read("audio"))
        return self._finish()

    def _handle(self, event: Event) -> None:
        if isinstance(event, Picture):
            self.video_head = event.time + event.duration - self.begin
            sar = self.media.sar()
            for time, frame in self.straightener.push(event.frame, event.time - self.begin):
                self._picture(time, frame, sar)
            if self.video_open:
                self.video_end = max(self.video_end, self.video_head)
        elif isinstance(event, Samples):
            self._sound(event)
        elif isinstance(event, Gap):
            until = event.until - self.begin
            if event.kind == "video":
                self.video_head = max(self.video_head, until)
                self.buffer.known(pictures=self.base + slot_of(until, self.format.slot_ticks))
            else:
                self.audio_head = max(self.audio_head, until)
                self.buffer.known(sound=self._sample(until))
        elif isinstance(event, End) and event.kind == "video":
            self._end_video()
        else:
            self._end_audio()

    def _sample(self, time: int) -> int:
        return self.format.first_sample(self.base) + first_sample_of(time)

    # -- pictures

    def _picture(self, time: int, frame: av.VideoFrame, sar: Fraction | None) -> None:
        slot = max(slot_of(time, self.format.slot_ticks), 0)
        if self.length is not None and slot >= self.length:
            if self.video_open:
                self.video_open = False
                self.video_end = self.length * self.format.slot_ticks
                self._show(self.length)
            return
        if not self.video_open:
            return
        if self.candidate is not None:
            held, held_time, _, _ = self.candidate
            if slot > held and self.base + slot > self.buffer.position:
                self._show(slot)
            elif held_time >= 0:
                self.dropped += 1
        self.candidate = (slot, time, frame, sar)

    def _show(self, until: int) -> None:
        """Conform the picture that stands until slot ``until`` and put it into the buffer."""
        candidate, self.candidate = self.candidate, None
        if candidate is not None:
            slot, _, frame, sar = candidate
            if not self.any_picture and slot:
                if slot * self.format.slot_ticks <= TICKS_PER_SECOND:
                    slot = 0
                else:
                    self.buffer.put_picture(self.base, None)
            try:
                conformed = self.conformer.convert(frame, sar)
            except av.FFmpegError:
                self.errors += 1
            else:
                self.buffer.put_picture(self.base + slot, conformed, self.dropped)
                self.dropped = 0
                self.any_picture = True
                self.source._last["video"] = self.source._clock.now()
        self.buffer.known(
            pictures=self.base + until, sound=None if self.audio_open else self.format.first_sample(self.base + until)
        )

    def _end_video(self) -> None:
        for time, frame in self.straightener.flush():
            self._picture(time, frame, self.media.sar())
        if not self.video_open:
            return
        self.video_open = False
        end = slot_of(self.video_end, self.format.slot_ticks)
        if self.length is not None:
            end = min(end, self.length)
        if self.candidate is not None and self.candidate[0] >= end and self.any_picture:
            self.candidate = None  # it belongs to the slot after the last
        self._show(end)
        if self.dropped:
            self.buffer.drop(self.dropped)
            self.dropped = 0
        if self.audio_open:
            self.buffer.put_picture(self.base + end, None)

    # -- sound

    def _sound(self, event: Samples) -> None:
        past = event.time - self.begin - (self.length or 0) * self.format.slot_ticks
        if self.length is not None and past >= 0:
            end = self.format.first_sample(self.base + self.length)
            full = all(self.buffer.sound_end(track) >= end for tracks in self.tracks for track in tracks)
            if full or past >= TICKS_PER_SECOND:
                self._end_audio()
                return
        self._push(event)

    def _push(self, event: Samples) -> None:
        line = self.lines[event.line]
        moves = line.moves
        try:
            blocks = line.push(event.frame, self._sample(event.time - self.begin))
        except (av.FFmpegError, ValueError):
            self.errors += 1
            return
        self.source._moves += line.moves - moves
        self._put(event.line, blocks)
        self.audio_head = self.audio_end = max(self.audio_head, event.time + event.duration - self.begin)
        # Of several sounds one may be absent for a while; it is not waited for longer than half a second.
        self.buffer.known(sound=self._sample(self.audio_head - TICKS_PER_SECOND // 2))
        if not self.video_open:
            self.buffer.known(pictures=self.base + (self.audio_head - TAIL) // self.format.slot_ticks)

    def _put(self, line: int, blocks: list[tuple[int, list[Any]]]) -> None:
        floor = self.format.first_sample(self.base)
        for at, sounds in blocks:
            skip = max(floor - at, 0)
            if skip >= sounds[0].shape[1]:
                continue
            for track, sound in zip(self.tracks[line], sounds, strict=True):
                self.buffer.put_sound(track, at + skip, sound[:, skip:])
            self.source._last["audio"] = self.source._clock.now()

    def _end_audio(self) -> None:
        if not self.audio_open:
            return
        self.audio_open = False
        for index, line in enumerate(self.lines):
            self._put(index, line.flush())
        if self.video_open:
            self.buffer.known(
                sound=self.format.first_sample(self.base + max(slot_of(self.video_head, self.format.slot_ticks) - 1, 0))
            )

    def _finish(self) -> int:
        """How many slots the round was; says so to the buffer."""
        slot_ticks = self.format.slot_ticks
        count = slot_of(self.video_end, slot_ticks) if self.any_picture else 0
        if self.audio_end > self.video_end + TAIL or not self.any_picture:
            count = max(count, -(-self.audio_end // slot_ticks))
        if self.length is not None:
            count = min(count, self.length)
        end = self.format.first_sample(self.base + count)
        self.buffer.cut_sound(end)
        self.buffer.known(pictures=self.base + count, sound=end)
        return count


def _iso(ticks: int | None) -> str | None:
    return None if ticks is None else to_iso(ticks)
