"""One sound encoder: samples in, access units on the house grid out.

Frame n of a codec with frames of F samples covers samples [F*n, F*(n+1)) since the epoch, whenever the
encoder was started: PTS is that of the samples which come out of a decoder for the access unit. An encoder
delays what it is given (AAC by 1024 samples, MP2 by 481), so it is fed from a place that puts its *output*
on the grid, and two frames early, so that the first frame sent already has its neighbour's overlap.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.codec.context import Flags
from numpy.typing import NDArray

from encoders.format import SAMPLE_RATE
from encoders.rendition import AudioRendition
from encoders.source import Sound
from headend.accessunit import AccessUnit
from headend.clock import TICKS_PER_SECOND

_LAYOUTS: Final = {1: "mono", 2: "stereo", 6: "5.1"}
_WARM_UP: Final = 2
"""Frames encoded and thrown away before the first that is sent."""

_HALF: Final = 0.5**0.5
_MIXES: Final[dict[tuple[int, int], NDArray[np.float32]]] = {
    (1, 2): np.array([[_HALF], [_HALF]], np.float32),
    (1, 6): np.array([[0], [0], [1], [0], [0], [0]], np.float32),
    (2, 1): np.array([[0.5, 0.5]], np.float32),
    (2, 6): np.array([[1, 0], [0, 1], [0, 0], [0, 0], [0, 0], [0, 0]], np.float32),
    (6, 2): np.array([[1, 0, _HALF, 0, _HALF, 0], [0, 1, _HALF, 0, 0, _HALF]], np.float32),
    (6, 1): np.array([[0.5, 0.5, _HALF, 0, 0.5 * _HALF, 0.5 * _HALF]], np.float32),
}
"""From and to channels in the order L R C LFE Ls Rs: ITU-R BS.775-3, annex 4, table 2."""


def ticks_of_sample(sample: int) -> int:
    """Tick of a sample since the epoch, floored: exact on every grid of :data:`encoders.rendition.FRAME_SAMPLES`."""
    return sample * TICKS_PER_SECOND // SAMPLE_RATE


def sample_at(ticks: int) -> int:
    """The first sample at or after an instant."""
    return -(-ticks * SAMPLE_RATE // TICKS_PER_SECOND)


def first_frame(ticks: int, frame_samples: int) -> int:
    """Index since the epoch of the first grid frame that starts at or after an instant."""
    return -(-sample_at(ticks) // frame_samples)


def mixed(sound: Sound, channels: int) -> Sound:
    """The sound up- or down-mixed to a number of channels; the same object when there is nothing to do."""
    if sound.shape[0] == channels:
        return sound
    mix: Sound = np.clip(_MIXES[sound.shape[0], channels] @ sound, -1, 1, dtype=np.float32)
    return mix


def open_encoder(name: str, rendition: AudioRendition) -> AudioCodecContext:
    """An opened encoder. Raises av.FFmpegError or ValueError when it will not have these settings."""
    context = av.CodecContext.create(name, "w")
    assert isinstance(context, AudioCodecContext)
    context.sample_rate = SAMPLE_RATE
    context.layout = _LAYOUTS[rendition.channels]
    formats = [f.name for f in context.codec.audio_formats or []]
    context.format = next((f for f in ("fltp", "flt", "s16p", "s16") if f in formats), formats[0] if formats else "s16")
    context.bit_rate = rendition.bitrate
    context.time_base = Fraction(1, SAMPLE_RATE)
    context.flags |= int(Flags.global_header)  # AudioSpecificConfig and OpusHead beside the frames, not in ADTS
    options = dict(rendition.options)
    if rendition.codec == "he-aac":
        options.setdefault("profile", "aac_he")
    context.options = options
    context.open()
    return context


def _frame(samples: Sound, sample_format: str, channels: int, pts: int) -> av.AudioFrame:
    """An FFmpeg frame of float samples in whatever format its encoder wants."""
    if not sample_format.endswith("p"):
        samples = samples.T.reshape(1, -1)
    data: NDArray[np.float32] | NDArray[np.int16] = np.ascontiguousarray(samples, np.float32)
    if sample_format.startswith("s16"):
        data = np.rint(np.clip(data, -1, 1) * 32767).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(data, sample_format, _LAYOUTS[channels])
    frame.sample_rate = SAMPLE_RATE
    frame.time_base = Fraction(1, SAMPLE_RATE)
    frame.pts = pts
    return frame


class AudioEncoder:
    """One run of one sound encoder. For one thread.

    Raises av.FFmpegError or ValueError, at start and later, when the encoder fails.
    """

    def __init__(self, rendition: AudioRendition, name: str, *, resume: int | None = None, generation: int = 0) -> None:
        """``resume``: no access unit before this tick."""
        self.name = name
        self.generation = generation
        self._channels = rendition.channels
        self._frame = rendition.frame_samples
        self._resume = resume
        self._context = open_encoder(name, rendition)
        size = self._context.frame_size
        if size and size != self._frame:
            raise ValueError(
                f"{name} makes frames of {size} samples where {rendition.codec} on the house grid has {self._frame}, "
                "so its timestamps would not agree with another machine's; use another encoder"
            )
        self.extradata = self._context.extradata or b""
        self._delay = _delay(name, rendition)
        self._start: int | None = None  # sample since the epoch that the encoder was given first
        self._end = 0  # sample after the last one that was fed in
        self._fed = 0  # samples the encoder has been given
        self._first = 0  # index of the first frame to be sent
        self._rest = np.zeros((rendition.channels, 0), np.float32)

    def encode(self, first: int, sound: Sound) -> list[AccessUnit]:
        """Give samples, shape (channels, n), the first of them number ``first`` since the epoch.

        Samples must follow one another; after a jump, start a new one.
        """
        sound = mixed(sound, self._channels)
        if self._start is None:
            first, sound = self._begin(first, sound)
        elif first != self._end:
            raise ValueError(f"sample {first} does not follow sample {self._end - 1}; start a new encoder")
        self._end = first + sound.shape[1]
        if not sound.shape[1]:
            return []
        self._rest = np.concatenate((self._rest, sound), axis=1) if self._rest.size else sound
        return self._feed()

    def flush(self) -> list[AccessUnit]:
        """The rest: every sample given comes out, the last frame filled up with silence. Not usable afterwards."""
        if self._start is None:
            return []
        end = self._end
        short = -self._rest.shape[1] % self._frame
        # One frame more than the samples fill, since the encoder holds its delay back.
        self._rest = np.concatenate((self._rest, np.zeros((self._channels, short + self._frame), np.float32)), axis=1)
        units = self._feed() + self._units(self._context.encode(None))
        return [unit for unit in units if unit.pts < ticks_of_sample(end)]

    def _begin(self, first: int, sound: Sound) -> tuple[int, Sound]:
        """Choose where to begin so that output falls on the grid; silence stands for what was before."""
        index = -(-first // self._frame)
        if self._resume is not None:
            index = max(index, first_frame(self._resume, self._frame))
        start = (index - _WARM_UP) * self._frame + self._delay % self._frame
        if first + sound.shape[1] <= start:
            return first, sound[:, :0]  # all of it before the beginning: not begun yet
        self._start, self._first = start, index
        if start < first:
            silence = np.zeros((self._channels, first - start), np.float32)
            return start, np.concatenate((silence, sound), axis=1)
        return start, sound[:, start - first :]

    def _feed(self) -> list[AccessUnit]:
        packets = []
        at = 0
        while self._rest.shape[1] - at >= self._frame:
            frame = _frame(self._rest[:, at : at + self._frame], self._context.format.name, self._channels, self._fed)
            packets += self._context.encode(frame)
            at += self._frame
            self._fed += self._frame
        self._rest = self._rest[:, at:]
        return self._units(packets)

    def _units(self, packets: list[av.Packet[av.AudioStream]]) -> list[AccessUnit]:
        units = []
        duration = ticks_of_sample(self._frame)
        for packet in packets:
            if packet.pts is None or self._start is None:
                raise ValueError(f"{self.name} gave a frame without a time")
            index, off = divmod(self._start + packet.pts, self._frame)
            if off:
                raise ValueError(f"{self.name} put a frame {off} samples off the house grid")
            if index >= self._first:
                pts = ticks_of_sample(index * self._frame)
                units.append(AccessUnit(pts, pts, duration, True, bytes(packet), self.generation))
        return units


_delays: dict[tuple[str, str, int, int], int] = {}


def _delay(name: str, rendition: AudioRendition) -> int:
    """Samples by which an encoder's output is late, found out by asking one with the same settings."""
    key = (name, rendition.codec, rendition.channels, rendition.bitrate)
    if key not in _delays:
        context = open_encoder(name, rendition)
        silence = np.zeros((rendition.channels, rendition.frame_samples), np.float32)
        packets: list[av.Packet[av.AudioStream]] = []
        for k in range(16):
            packets += context.encode(
                _frame(silence, context.format.name, rendition.channels, k * rendition.frame_samples)
            )
            if packets:
                break
        if not packets or packets[0].pts is None:
            raise ValueError(f"{name} gave no sound for 16 frames of silence, so it cannot be used")
        _delays[key] = -packets[0].pts
    return _delays[key]
