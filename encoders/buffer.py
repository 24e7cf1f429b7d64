"""Between a source's reader thread and playout: conformed pictures and sound, waiting for their slots.

The reader fills it ahead, bounded in pictures and in time, and sleeps when it is full; playout takes a slice per
slot. The rule which picture a slot shows is that of :mod:`encoders.cadence`. Slots here are the channel's, counted
since the epoch.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Final

import av
import numpy as np

from encoders.format import SAMPLE_RATE, ChannelFormat
from encoders.sound import SoundBuffer
from encoders.source import Slice, Sound

_MEMORY: Final = 64 << 20
"""Bytes of pictures held ahead; a 2160p source then holds five, a 1080p source twenty."""


@dataclass(slots=True)
class _Entry:
    slot: int
    picture: av.VideoFrame | None
    dropped: int
    shown: bool = False


class SliceBuffer:
    """Conformed media of one source by slot.

    ``live``: what has not come when its slot is asked for is not waited for; a picture is repeated for at most ``hold``
    slots after its source fell silent.
    """

    def __init__(self, format: ChannelFormat, *, ahead: float = 1.0, live: bool = False) -> None:
        self.format = format
        self.live = live
        self.hold = max(int(format.rate / 5), 2)
        picture_bytes = format.width * format.height * 3 // 2 * (2 if format.ten_bit else 1)
        self._ahead_slots = max(int(ahead * format.rate), 2)
        self._ahead_samples = int(ahead * SAMPLE_RATE)
        self._most_pictures = max(min(self._ahead_slots, _MEMORY // picture_bytes), 4)
        self._changed = threading.Condition()
        self._pictures: deque[_Entry] = deque()
        self._current: _Entry | None = None
        self._sounds = [SoundBuffer(track.channels) for track in format.tracks]
        self._position: int | None = None
        self._pictures_known = self._sound_known = 0
        self._end: int | None = None
        self._closed = False
        self._skipped = 0
        self.repeats = self.drops = self.late = 0
        """Pictures shown again; pictures never shown; pictures and blocks of sound that came after their slot."""

    # -- the reader's side

    def start(self, first: int) -> None:
        """The first slot that will be asked for. Forgets what is held."""
        with self._changed:
            self._position = first
            self._pictures.clear()
            self._current = None
            for sound in self._sounds:
                sound.clear()
                sound.end = self.format.first_sample(first)
            self._pictures_known = first
            self._sound_known = self.format.first_sample(first)
            self._end = None
            self._changed.notify_all()

    @property
    def position(self) -> int:
        """The slot that playout asks for next (or waits for)."""
        return self._position or 0

    def put_picture(self, slot: int, picture: av.VideoFrame | None, dropped: int = 0) -> bool:
        """Show ``picture`` from ``slot`` on; None: there is no picture from there on. False if it came too late to be
        on time.
        """
        with self._changed:
            self.drops += dropped
            self._pictures.append(_Entry(slot, picture, dropped))
            self._pictures_known = max(self._pictures_known, slot)
            late = slot < self.position
            self.late += late
            self._changed.notify_all()
            return not late

    def drop(self, count: int = 1) -> None:
        """Count pictures that the reader left out for good."""
        with self._changed:
            self.drops += count
            self._skipped += count

    def put_sound(self, track: int, at: int, sound: Sound) -> bool:
        """Samples of a track from sample ``at`` of the epoch on. False if all of it came too late."""
        with self._changed:
            late = at + sound.shape[1] <= self.format.first_sample(self.position)
            self.late += late
            self._sounds[track].put(at, sound)
            self._changed.notify_all()
            return not late

    def sound_end(self, track: int) -> int:
        """The sample after the last one put on a track."""
        return self._sounds[track].end

    def cut_sound(self, end: int) -> None:
        """No sound that has been put sounds from sample ``end`` on."""
        with self._changed:
            for sound in self._sounds:
                sound.cut(end)

    def known(self, *, pictures: int | None = None, sound: int | None = None) -> None:
        """Say that no more pictures come for slots before ``pictures``, no more sound for samples before ``sound``."""
        with self._changed:
            if pictures is not None:
                self._pictures_known = max(self._pictures_known, pictures)
            if sound is not None:
                self._sound_known = max(self._sound_known, sound)
            self._changed.notify_all()

    def end(self, slot: int) -> None:
        """The media ends before ``slot``."""
        with self._changed:
            self._end = slot
            self._changed.notify_all()

    @property
    def wants_pictures(self) -> bool:
        """Fewer pictures are held than may be."""
        last = self._pictures[-1].slot if self._pictures else self._pictures_known
        return len(self._pictures) < self._most_pictures and last - self.position < self._ahead_slots

    @property
    def wants_sound(self) -> bool:
        """Less sound is held than may be."""
        end = min((sound.end for sound in self._sounds), default=0)
        return max(end, self._sound_known) - self.format.first_sample(self.position) < self._ahead_samples

    def wait_for_room(self, pictures: bool, sound: bool, timeout: float) -> bool:
        """Sleep until one of the kinds asked about is wanted; False when closed or after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while not self._closed:
                if (pictures and self.wants_pictures) or (sound and self.wants_sound):
                    return True
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(left)
            return False

    def close(self) -> None:
        """Wake everybody up and release the media."""
        with self._changed:
            self._closed = True
            self._pictures.clear()
            self._current = None
            for sound in self._sounds:
                sound.clear()
            self._changed.notify_all()

    # -- playout's side

    def ready(self, slot: int) -> bool:
        """Whether media for ``slot`` could be pulled now."""
        with self._changed:
            if self._position is None or self._closed or (self._end is not None and slot >= self._end):
                return False
            if not self.live:
                return self._decided(slot)
            return self._live_picture(slot, peek=True) is not None or self._has_sound(slot)

    def pull(self, slot: int, wait: float) -> Slice | None:
        """The slice of ``slot``; None when it is not known within ``wait`` seconds, or there is none (live)."""
        deadline = time.monotonic() + wait
        with self._changed:
            if self._position is None:
                return None
            if slot > self._position:
                self._position = slot
                self._changed.notify_all()
            self._advance(slot)
            while not (self._decided(slot) or self._closed):
                left = deadline - time.monotonic()
                if left <= 0 or (self._end is not None and slot >= self._end):
                    break
                self._changed.wait(left)
                self._advance(slot)
            if self._closed:
                return None
            if self._end is not None and slot >= self._end:
                return Slice(None, None, ended=True)
            if not self.live and not self._decided(slot):
                return None
            made = self._slice(slot)
            self._position = max(self._position, slot + 1)
            self._changed.notify_all()
            return None if self.live and made.picture is None and made.sound is None else made

    def _advance(self, slot: int) -> None:
        """Make the last picture that belongs to ``slot`` or before it the current one."""
        while self._pictures and self._pictures[0].slot <= slot:
            if self._current is not None and self._current.picture is not None and not self._current.shown:
                self.drops += 1
                self._skipped += 1
            self._current = self._pictures.popleft()
            self._skipped += self._current.dropped
            self._changed.notify_all()

    def _decided(self, slot: int) -> bool:
        if self._end is not None and slot >= self._end:
            return True
        picture = self._pictures_known > slot or any(entry.slot > slot for entry in self._pictures)
        last = self.format.first_sample(slot + 1)
        return picture and (self._sound_known >= last or all(sound.end >= last for sound in self._sounds))

    def _has_sound(self, slot: int) -> bool:
        first = self.format.first_sample(slot)
        return any(sound.end > first and len(sound) for sound in self._sounds)

    def _live_picture(self, slot: int, peek: bool = False) -> _Entry | None:
        current = self._current
        if peek:
            for entry in self._pictures:
                if entry.slot > slot:
                    break
                current = entry
        if current is None or current.picture is None:
            return None
        coming = any(entry.slot > slot for entry in self._pictures)
        limit = self._ahead_slots if coming else self.hold
        return current if slot - current.slot <= limit else None

    def _slice(self, slot: int) -> Slice:
        first, last = self.format.first_sample(slot), self.format.first_sample(slot + 1)
        taken = [sound.take(first, last) for sound in self._sounds]
        sound: list[Sound] | None = None
        if any(block is not None for block in taken):
            sound = [
                np.zeros((buffer.channels, last - first), np.float32) if block is None else block
                for block, buffer in zip(taken, self._sounds, strict=True)
            ]
        entry = self._live_picture(slot) if self.live else self._current
        picture = entry.picture if entry is not None else None
        repeated = False
        if entry is not None and picture is not None:
            repeated, entry.shown = entry.shown, True
            self.repeats += repeated
        dropped, self._skipped = self._skipped, 0
        return Slice(picture, sound, repeated=repeated, dropped=dropped)
