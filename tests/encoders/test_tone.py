"""Line-up tone: level, frequency, the gaps, and no click."""

from __future__ import annotations

import numpy as np
import pytest

from encoders.tone import GAP, PERIOD, Tone, in_gap


def test_level_and_frequency() -> None:
    sound = Tone(2).samples(10**12, PERIOD)[1].astype(np.float64)
    assert 20 * np.log10(np.abs(sound).max()) == pytest.approx(-18.0, abs=0.01)
    spectrum = np.abs(np.fft.rfft(sound))
    assert np.argmax(spectrum) / 3 == pytest.approx(1000.0)
    assert np.sort(spectrum)[-2] < 1e-3 * spectrum.max()


def test_left_is_interrupted_and_right_is_not() -> None:
    start = 7 * PERIOD
    left, right = Tone(2).samples(start, PERIOD)
    assert np.abs(left[200 : GAP - 200]).max() == 0
    assert np.abs(left[GAP:]).max() > 0.12
    for at in range(0, PERIOD - 480, 480):
        assert np.abs(right[at : at + 480]).max() > 0.12
    assert [in_gap(start + n) for n in (0, GAP - 1, GAP, PERIOD - 1, PERIOD)] == [True, True, False, False, True]


def test_in_six_channels_each_has_gaps_of_its_own_number() -> None:
    counts = []
    for channel in Tone(6).samples(0, PERIOD):
        # In blocks of 12.5 ms (a period of 80 Hz), a block is silent or not.
        silent = np.abs(channel.reshape(-1, 600)).max(axis=1) < 1e-6
        counts.append(int(np.sum(silent & ~np.roll(silent, 1))))
    assert counts == [1, 0, 2, 3, 4, 5]


def test_it_goes_on_without_a_click() -> None:
    tone = Tone(2)
    parts = np.concatenate([tone.samples(at, 1920) for at in range(0, 2 * PERIOD, 1920)], axis=1)
    # The steepest a 1 kHz sine of this level gets from one sample to the next.
    steepest = 10 ** (-18 / 20) * 2 * np.pi * 1000 / 48000
    assert np.abs(np.diff(parts, axis=1)).max() <= steepest * 1.01
    assert np.array_equal(parts[:, :PERIOD], parts[:, PERIOD:])


def test_samples_cannot_be_changed_by_who_gets_them() -> None:
    with pytest.raises(ValueError, match="read-only"):
        Tone(1).samples(0, 10)[:] = 0
