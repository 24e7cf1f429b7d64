"""Joins of sound: no click, no sample more or less."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from encoders.format import AudioTrack, ChannelFormat
from encoders.seam import FADE, Seam

NTSC = ChannelFormat(160, 90, Fraction(30000, 1001), tracks=(AudioTrack(), AudioTrack("eng", 6)))


def tone(slot: int, frequency: float, level: float = 0.5) -> list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    at = np.arange(NTSC.first_sample(slot), NTSC.first_sample(slot + 1)) % 48_000
    wave = (level * np.sin(2 * np.pi * frequency * at / 48_000)).astype(np.float32)
    return [np.tile(wave, (track.channels, 1)) for track in NTSC.tracks]


def test_sound_without_joins_is_untouched() -> None:
    seam, owner = Seam(NTSC), object()
    seam.through(1000, owner, tone(1000, 440))
    for slot in range(1001, 1010):
        given = tone(slot, 440)
        sent = seam.through(slot, owner, given)
        assert all(np.array_equal(a, b) for a, b in zip(sent, given, strict=True))
    assert seam.joins == 1


@pytest.mark.parametrize("second", [None, "other"])
def test_a_join_has_no_step(second: str | None) -> None:
    seam = Seam(NTSC)
    owners = [object(), object()]
    waves = []
    for slot in range(100, 120):
        late = slot >= 110
        given = (None if second is None else tone(slot, 700, 0.8)) if late else tone(slot, 300)
        kept = None if given is None else [g.copy() for g in given]
        sent = seam.through(slot, owners[late and second is not None], given)
        assert [s.shape for s in sent] == [(2, NTSC.samples_in(slot)), (6, NTSC.samples_in(slot))]
        assert given is None or all(np.array_equal(a, b) for a, b in zip(given, kept or [], strict=True)), (
            "not in place"
        )
        waves.append(sent[0][0])
    wave = np.concatenate(waves)
    assert len(wave) == NTSC.first_sample(120) - NTSC.first_sample(100)
    step = np.abs(np.diff(wave))
    natural = 2 * np.pi * 700 / 48_000 * 0.8
    assert step.max() < natural + 2 * 0.8 * np.pi / 2 / FADE
    if second is None:
        join = NTSC.first_sample(110) - NTSC.first_sample(100)
        assert not wave[join + FADE :].any()


def test_what_does_not_fit_is_made_to_fit_and_counted() -> None:
    seam = Seam(NTSC)
    sounds: list[list[Any]] = [
        [],
        [np.zeros((1, 5), np.float32)],
        [np.full((9, 9000), np.nan, np.float32), np.zeros((6, 1), np.float64)],
        [np.zeros(7, np.float32)],
        [np.full((2, NTSC.samples_in(7)), np.inf, np.float32)],
    ]
    for sound in sounds:
        sent = seam.through(7, sound, sound)
        assert [s.shape for s in sent] == [(2, NTSC.samples_in(7)), (6, NTSC.samples_in(7))]
        assert all(np.isfinite(s).all() and s.dtype == np.float32 for s in sent)
    assert seam.misfits == 10
