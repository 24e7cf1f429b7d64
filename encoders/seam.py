"""Sound without clicks where one thing on air gives way to another.

A join is found out in the very slot in which it happens, when the last samples of the old sound have already been
sent, so there is nothing left to fade out with. The seam therefore plays the last 5 ms backwards under the new
sound: the mirror image begins with the value that was sent last, so the wave has no step, and is faded out while
the new sound is faded in. No sample is added, none is lost.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from encoders.format import SAMPLE_RATE, ChannelFormat
from encoders.source import Sound

FADE: Final = SAMPLE_RATE * 5 // 1000
"""Samples of a cross-fade: 5 ms."""


class Seam:
    """Joins sounds of a channel, slot by slot, and makes each exactly as long as its slot."""

    def __init__(self, format: ChannelFormat) -> None:
        self._format = format
        self._tails = [np.zeros((track.channels, FADE), np.float32) for track in format.tracks]
        rising = (0.5 - 0.5 * np.cos(np.pi * (np.arange(FADE) + 0.5) / FADE)).astype(np.float32)
        self._rising, self._falling = rising, (1 - rising).astype(np.float32)
        self._last: object = None
        self.joins = 0
        """Cross-fades made."""
        self.misfits = 0
        """Sounds that were not as the format says, and were cut, filled up or silenced."""

    def through(self, slot: int, owner: object, sound: list[Sound] | None) -> list[Sound]:
        """The slot's sound, joined to what was sent before.

        ``owner`` is whatever ``sound`` comes from: when it changes, or sound turns into silence (None) or back,
        there is a cross-fade. Returns one array per track, shape (channels, samples of the slot).
        """
        samples = self._format.samples_in(slot)
        fitted = [self._fit(sound, number, samples) for number in range(len(self._format.tracks))]
        now = (id(owner), sound is None)
        join, self._last = now != self._last, now
        if join:
            self.joins += 1
        joined: list[Sound] = []
        for number, track in enumerate(fitted):
            new = track
            if join:
                length = min(FADE, samples)
                new = track.copy()
                new[:, :length] *= self._rising[:length]
                new[:, :length] += self._tails[number][:, ::-1][:, :length] * self._falling[:length]
            self._tails[number] = np.concatenate([self._tails[number], new[:, -FADE:]], axis=1)[:, -FADE:]
            joined.append(new)
        return joined

    def _fit(self, sound: list[Sound] | None, number: int, samples: int) -> Sound:
        """The track as the format has it, whatever a source delivered."""
        channels = self._format.tracks[number].channels
        if sound is None:
            return np.zeros((channels, samples), np.float32)
        if number < len(sound):
            track = sound[number]
            if track.shape == (channels, samples) and track.dtype == np.float32 and np.isfinite(track.sum()):
                return track
        self.misfits += 1
        fitted = np.zeros((channels, samples), np.float32)
        if number < len(sound) and sound[number].ndim == 2:
            piece = np.nan_to_num(sound[number][:channels, :samples], nan=0.0, posinf=0.0, neginf=0.0)
            fitted[: piece.shape[0], : piece.shape[1]] = piece
        return fitted
