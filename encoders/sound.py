"""Sound of any kind becomes the sound of a channel: 48 kHz planar float32, one array for each track.

Resampling is libswresample's; mixing is a matrix of ours, because the coefficients are those of ITU-R BS.775-4
(table 2, annex 4) without a normalisation that would make a 5.1 programme quieter than the stereo one beside it.
The gain of an item is part of the matrix, so it costs nothing. What comes out is placed on the sample grid by the
source's timestamps: small jitter is ignored, a lasting offset is followed, a gap becomes silence.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import Final

import av
import numpy as np
from av.audio.resampler import AudioResampler
from numpy.typing import NDArray

from encoders.drift import LIMIT, Stretcher
from encoders.format import SAMPLE_RATE, AudioTrack
from encoders.source import Sound

TICKS_PER_2_SAMPLES: Final = 1125
"""27 000 000 / 48 000 is 562.5."""

_MINUS_3_DB: Final = math.sqrt(0.5)

_STEREO: Final[dict[str, tuple[float, float]]] = {
    "FL": (1, 0),
    "FR": (0, 1),
    "FC": (_MINUS_3_DB, _MINUS_3_DB),
    "LFE": (0, 0),  # BS.775: the low-frequency channel is left out of a downmix
    "BL": (_MINUS_3_DB, 0),
    "BR": (0, _MINUS_3_DB),
    "SL": (_MINUS_3_DB, 0),
    "SR": (0, _MINUS_3_DB),
    "BC": (0.5, 0.5),
    "FLC": (1, 0),
    "FRC": (0, 1),
    "DL": (1, 0),
    "DR": (0, 1),
}
_SURROUND: Final = {"FL": 0, "FR": 1, "FC": 2, "LFE": 3, "BL": 4, "BR": 5, "SL": 4, "SR": 5, "DL": 0, "DR": 1}
_UNNAMED: Final = {1: ["FC"], 2: ["FL", "FR"], 6: ["FL", "FR", "FC", "LFE", "SL", "SR"]}

_ISO639 = {
    "chi": "zho", "ger": "deu", "fre": "fra", "dut": "nld", "cze": "ces", "gre": "ell", "per": "fas", "rum": "ron",
    "slo": "slk", "tib": "bod", "wel": "cym", "alb": "sqi", "arm": "hye", "baq": "eus", "bur": "mya", "geo": "kat",
    "ice": "isl", "mac": "mkd", "mao": "mri", "may": "msa", "zh": "zho", "cmn": "zho", "en": "eng", "de": "deu",
    "fr": "fra", "es": "spa", "ru": "rus", "ja": "jpn", "ko": "kor", "bo": "bod", "ug": "uig", "mn": "mon",
}  # fmt: skip


def language(code: str | None) -> str:
    """The ISO 639-2/T code of a bibliographic, two-letter or missing one (``chi`` and ``zh`` are ``zho``)."""
    code = (code or "und").lower()
    return _ISO639.get(code, code)


def match_tracks(tracks: Sequence[AudioTrack], languages: Sequence[str | None]) -> list[int | None]:
    """For each track of a channel, which of a source's sounds it carries: the one in its language, else the first.

    None for every track when there is no sound at all.
    """
    have = [language(code) for code in languages]
    return [
        have.index(language(track.language)) if language(track.language) in have else (0 if have else None)
        for track in tracks
    ]


def first_sample_of(ticks: int) -> int:
    """The sample nearest to an instant, halves up."""
    return (4 * ticks + TICKS_PER_2_SAMPLES) // (2 * TICKS_PER_2_SAMPLES)


def mixing(names: Sequence[str], channels: int) -> NDArray[np.float32] | None:
    """The matrix (out, in) from channels with FFmpeg's ``names`` to 1, 2 or 6 channels; None where nothing changes.

    To stereo and mono as ITU-R BS.775-4 downmixes; from mono to stereo at -3 dB each, so that loudness is kept; from
    stereo to 5.1 the front pair alone. Raises ValueError for another number of channels.
    """
    if channels not in (1, 2, 6):
        raise ValueError(f"a track of {channels} channels cannot be mixed; use 1, 2 or 6")
    names = list(names)
    if not any(name in _STEREO for name in names):
        names = _UNNAMED.get(len(names), (["FL", "FR"] + [""] * len(names))[: len(names)])
    matrix = np.zeros((channels, len(names)), np.float32)
    if channels == 6:
        for column, name in enumerate(names):
            if name in _SURROUND:
                row = _SURROUND[name]
                shared = row in (4, 5) and {"BL", "SL"} <= set(names)  # 7.1: side and back share Ls and Rs
                matrix[row, column] = _MINUS_3_DB if shared else 1
            elif name == "BC":
                matrix[4:6, column] = _MINUS_3_DB
        if "LFE" not in names and len(names) == 1:
            matrix[:] = 0
            matrix[2 if names == ["FC"] else 0, 0] = 1
    else:
        for column, name in enumerate(names):
            left, right = _STEREO.get(name, (0, 0))
            if channels == 2:
                matrix[:, column] = left, right
            else:
                # Mono of stereo: the sum at -3 dB (BS.775); the centre comes back to unity.
                matrix[0, column] = (left + right) * _MINUS_3_DB
    if matrix.shape[0] == matrix.shape[1] and np.array_equal(matrix, np.eye(channels, dtype=np.float32)):
        return None
    return matrix


class SoundConformer:
    """Decoded audio frames of one stream become float32 arrays at 48 kHz, one for each wanted number of channels.

    Rate, layout and sample format may change at any frame: what the resampler still holds is flushed first.
    """

    def __init__(self, channels: Sequence[int], gain_db: float = 0.0) -> None:
        self._channels = tuple(channels)
        self._gain = 10 ** (gain_db / 20)
        self._shape: tuple[str, str, int] | None = None
        self._resampler: AudioResampler | None = None
        self._matrices: list[NDArray[np.float32] | None] = []

    def convert(self, frame: av.AudioFrame) -> list[list[Sound]]:
        """Blocks that a frame completes, each a list of one array for each wanted number of channels."""
        shape = (frame.format.name, ",".join(c.name for c in frame.layout.channels), frame.sample_rate)
        blocks: list[list[Sound]] = []
        if shape != self._shape:
            blocks = self.flush()
            self._start(frame, shape)
        if self._resampler is None:
            return [*blocks, self._mix(_planar(frame))]
        frame.pts = None
        return blocks + [self._mix(_planar(out)) for out in self._resampler.resample(frame) if out.samples]

    def flush(self) -> list[list[Sound]]:
        """What the resampler still holds; the next frame starts afresh."""
        resampler, self._resampler, self._shape = self._resampler, None, None
        if resampler is None:
            return []
        return [self._mix(_planar(out)) for out in resampler.resample(None) if out.samples]

    def _start(self, frame: av.AudioFrame, shape: tuple[str, str, int]) -> None:
        self._shape = shape
        names = [channel.name for channel in frame.layout.channels]
        self._matrices = []
        for channels in self._channels:
            matrix = mixing(names, channels)
            if self._gain != 1.0:
                matrix = (np.eye(channels, dtype=np.float32) if matrix is None else matrix) * np.float32(self._gain)
            self._matrices.append(matrix)
        # PyAV (18.1) looks for the end of the planes beyond an array of eight, and reads what is not there: a planar
        # frame of 7.1 crashes the process in to_ndarray(). Such frames are interleaved first.
        many = len(names) >= 8
        direct = {"flt"} if many else {"flt", "fltp"}
        if frame.sample_rate != SAMPLE_RATE or frame.format.name not in direct:
            self._resampler = AudioResampler(
                format="flt" if many else "fltp", layout=frame.layout.name, rate=SAMPLE_RATE
            )

    def _mix(self, samples: Sound) -> list[Sound]:
        made: dict[int, Sound] = {}
        for channels, matrix in zip(self._channels, self._matrices, strict=True):
            if channels not in made:
                made[channels] = samples if matrix is None else matrix @ samples
        return [made[channels] for channels in self._channels]


def _planar(frame: av.AudioFrame) -> Sound:
    array = frame.to_ndarray()
    if not frame.format.is_planar:
        array = array.reshape(-1, len(frame.layout.channels)).T
    return np.ascontiguousarray(array, dtype=np.float32)


class SoundBuffer:
    """Samples of one track on the grid of the house clock, put in as they come, taken out slot by slot."""

    def __init__(self, channels: int) -> None:
        self.channels = channels
        self.end = 0
        """The sample after the last that was put in."""
        self._chunks: deque[tuple[int, Sound]] = deque()

    def __len__(self) -> int:
        """Samples held."""
        return sum(chunk.shape[1] for _, chunk in self._chunks)

    def put(self, at: int, sound: Sound) -> int:
        """Add samples from sample ``at`` on; returns how many were left out because others stand there already."""
        skip = min(max(self.end - at, 0), sound.shape[1]) if self._chunks else 0
        if skip < sound.shape[1]:
            self._chunks.append((at + skip, sound[:, skip:]))
            self.end = at + sound.shape[1]
        return skip

    def cut(self, end: int) -> None:
        """Forget the samples from ``end`` on."""
        while self._chunks and self._chunks[-1][0] >= end:
            self._chunks.pop()
        if self._chunks:
            at, chunk = self._chunks[-1]
            self._chunks[-1] = (at, chunk[:, : end - at])
        self.end = min(self.end, end)

    def take(self, first: int, last: int) -> Sound | None:
        """Samples ``[first, last)``, silence where there are none; None when there is none at all. Earlier ones are
        forgotten.
        """
        while self._chunks and self._chunks[0][0] + self._chunks[0][1].shape[1] <= first:
            self._chunks.popleft()
        if not self._chunks or self._chunks[0][0] >= last:
            return None
        at, chunk = self._chunks[0]
        if at <= first and at + chunk.shape[1] >= last:
            return chunk[:, first - at : last - at]
        out = np.zeros((self.channels, last - first), np.float32)
        for at, chunk in self._chunks:
            if at >= last:
                break
            begin, end = max(at, first), min(at + chunk.shape[1], last)
            out[:, begin - first : end - first] = chunk[:, begin - at : end - at]
        return out

    def clear(self) -> None:
        """Forget everything."""
        self._chunks.clear()


class SoundLine:
    """One sound of a source on its way to the sample grid: converted, and placed by its timestamps.

    Timestamps that jitter within 2 ms are ignored; an offset that lasts, or is larger than 40 ms, moves what follows.
    ``follow``: smaller offsets are not moved but followed by stretching the sound, which is how a live source with
    a clock of its own stays in time; only 60 ms and more are moved.
    """

    JITTER: Final = 2 * SAMPLE_RATE // 1000
    GAP: Final = 40 * SAMPLE_RATE // 1000
    PATIENCE: Final = 16
    """Frames for which an offset larger than the jitter must last."""

    def __init__(self, channels: Sequence[int], gain_db: float = 0.0, *, follow: bool = False) -> None:
        self._conformer = SoundConformer(channels, gain_db)
        self._channels = tuple(channels)
        self._follow = follow
        self._stretchers: list[Stretcher] = []
        self._error = 0.0
        self.rate = 0.0
        """By how much the sound is being stretched."""
        self._expected: float | None = None
        self._next = 0
        self._off = 0
        self.moves = 0
        """How often what follows was moved: gaps, overlaps and lasting offsets."""

    def push(self, frame: av.AudioFrame, at: int) -> list[tuple[int, list[Sound]]]:
        """Blocks ``(first sample, one array for each wanted number of channels)``; ``at`` is where the frame says it
        belongs.
        """
        length = frame.samples * SAMPLE_RATE / max(frame.sample_rate, 1)
        blocks: list[tuple[int, list[Sound]]] = []
        if self._expected is None:
            self._next, self._expected = at, float(at)
        else:
            off = at - self._expected
            if self._follow:
                self._error += (off - self._error) / 64
                self.rate = min(max(self._error / (4 * SAMPLE_RATE), -LIMIT), LIMIT)
                move = abs(off) > self.GAP * 3 // 2
            else:
                self._off = self._off + 1 if abs(off) > self.JITTER else 0
                move = abs(off) > self.GAP or self._off > self.PATIENCE
            if move:
                blocks = self._place(self._conformer.flush()) + self._rest()
                self._next, self._expected, self._off, self._error = at, float(at), 0, 0.0
                self.moves += 1
        length *= 1 + self.rate
        self._expected += length
        return blocks + self._place(self._conformer.convert(frame))

    def flush(self) -> list[tuple[int, list[Sound]]]:
        """The resampler's tail; the next frame is placed afresh."""
        blocks = self._place(self._conformer.flush()) + self._rest()
        self._expected = None
        return blocks

    def _rest(self) -> list[tuple[int, list[Sound]]]:
        """What the stretchers hold back."""
        block = [stretcher.flush() for stretcher in self._stretchers]
        self._stretchers = []
        return [(self._next, block)] if block else []

    def _place(self, blocks: list[list[Sound]]) -> list[tuple[int, list[Sound]]]:
        placed = []
        for block in blocks:
            if self._follow:
                if not self._stretchers:
                    self._stretchers = [Stretcher(channels) for channels in self._channels]
                block = [s.play(sound, self.rate) for s, sound in zip(self._stretchers, block, strict=True)]
            placed.append((self._next, block))
            self._next += block[0].shape[1]
        return placed
