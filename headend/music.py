"""Soft music under the demo's announcements: pads and plucked notes over four chords, made of sines.

Nothing is recorded, so nothing needs a licence.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from encoders.format import SAMPLE_RATE

Music = NDArray[np.float32]
"""Stereo, 48 kHz, shape (2, n)."""

PROGRESSIONS: Final = {
    "bright": ((0, 4, 7, 11), (9, 12, 16, 19), (5, 9, 12, 16), (7, 11, 14, 17)),
    "calm": ((0, 7, 12, 16), (5, 12, 16, 21), (9, 16, 19, 24), (7, 14, 19, 23)),
    # The five notes of a gong scale (宫商角徵羽).
    "gong": ((0, 7, 14, 16), (2, 9, 14, 19), (-3, 4, 9, 16), (-5, 2, 7, 14)),
}
"""Chords in semitones above the root."""


def compose(seconds: float, mood: str, root: float = 220.0, beat: float = 0.5, seed: int = 1) -> Music:
    """Music of a length, peaking below 0.5. ``root`` in Hz, ``beat`` in seconds."""
    chance = np.random.default_rng(seed)
    length = round(seconds * SAMPLE_RATE)
    music = np.zeros((2, length + 4 * SAMPLE_RATE), dtype=np.float32)
    bar = 8 * beat
    for number in range(int(seconds / bar) + 1):
        chord = PROGRESSIONS[mood][number % 4]
        start = number * bar
        for voice, tone in enumerate(chord):
            _add(music, _pad(root * 2 ** (tone / 12), bar + 1.2), start, 0.3 + 0.13 * voice, 0.10)
        for step in range(8):
            if step and chance.random() < 0.25:
                continue
            tone = chord[int(chance.integers(0, 4))] + 12 * int(chance.integers(1, 3))
            _add(music, _pluck(root * 2 ** (tone / 12)), start + step * beat, float(chance.uniform(0.2, 0.8)), 0.09)
    music = music[:, :length]
    edge = min(SAMPLE_RATE, length // 2)
    music[:, :edge] *= np.linspace(0, 1, edge, dtype=np.float32)
    music[:, length - edge :] *= np.linspace(1, 0, edge, dtype=np.float32)
    peak = float(np.abs(music).max(initial=0.0))
    return music * np.float32(0.45 / peak) if peak > 0.45 else music


def _add(music: Music, note: NDArray[np.float32], start: float, pan: float, gain: float) -> None:
    at = round(start * SAMPLE_RATE)
    note = note[: max(music.shape[1] - at, 0)]
    for row, part in enumerate((np.cos(pan * np.pi / 2), np.sin(pan * np.pi / 2))):
        music[row, at : at + note.size] += note * np.float32(part * gain)


def _pad(hertz: float, seconds: float) -> NDArray[np.float32]:
    t = np.arange(round(seconds * SAMPLE_RATE), dtype=np.float32) / SAMPLE_RATE
    tone = sum(
        np.sin(2 * np.pi * hertz * detune * part * t) / part**1.6 for part in (1, 2, 3) for detune in (0.998, 1.002)
    )
    rise = np.clip(t / 0.9, 0, 1) * np.clip((seconds - t) / 1.2, 0, 1)
    return np.asarray(tone * rise, dtype=np.float32)


def _pluck(hertz: float) -> NDArray[np.float32]:
    t = np.arange(2 * SAMPLE_RATE, dtype=np.float32) / SAMPLE_RATE
    tone = np.sin(2 * np.pi * hertz * t) * np.exp(-3.2 * t) + 0.4 * np.sin(4 * np.pi * hertz * t) * np.exp(-6 * t)
    return np.asarray(tone * np.clip(t / 0.004, 0, 1), dtype=np.float32)
