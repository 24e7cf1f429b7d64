"""Loudness: the reference tone of EBU Tech 3341 measures what it must, gains stop at the peak, figures are kept."""

from __future__ import annotations

import os
import threading
import wave
from pathlib import Path

import numpy as np
import pytest

from encoders.loudness import PEAK, Loudness, LoudnessStore, gain, measure


def tone(path: Path, dbfs: float, seconds: float = 20, channels: int = 2, hertz: float = 1000) -> Path:
    samples = 10 ** (dbfs / 20) * np.sin(2 * np.pi * hertz * np.arange(int(seconds * 48_000)) / 48_000)
    with wave.open(str(path), "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(2)
        out.setframerate(48_000)
        out.writeframes(np.repeat((samples * 32767).astype("<i2"), channels).tobytes())
    return path


@pytest.mark.parametrize(("dbfs", "lufs"), [(-23, -23), (-33, -33)])
def test_reference_tones_of_tech_3341(dbfs: float, lufs: float, tmp_path: Path) -> None:
    measured = measure(tone(tmp_path / "tone.wav", dbfs))
    assert measured is not None
    assert measured.integrated == pytest.approx(lufs, abs=0.1)
    assert measured.true_peak == pytest.approx(dbfs, abs=0.3)
    assert gain(measured, "ebu-r128") == pytest.approx(-23 - lufs, abs=0.1)
    assert gain(measured, "gyt-282") == gain(measured, "chinese") == pytest.approx(-24 - lufs, abs=0.1)


def test_mono_measures_as_loud_as_it_will_sound_in_stereo(tmp_path: Path) -> None:
    mono = measure(tone(tmp_path / "mono.wav", -20, channels=1))
    assert mono is not None
    assert mono.integrated == pytest.approx(-23, abs=0.1)  # one channel: 3 dB less than two


def test_gain_stops_at_the_true_peak_and_never_exceeds_sense() -> None:
    assert gain(Loudness(-33.0, -6.0), "ebu-r128") == PEAK + 6
    assert gain(Loudness(-20.0, 1.0), "ebu-r128") == -3.0
    assert gain(Loudness(-68.0, -60.0), "ebu-r128") == 20
    assert gain(Loudness(None, None), "ebu-r128") == 0
    with pytest.raises(ValueError, match="no loudness profile"):
        gain(Loudness(-20.0, -1.0), "loud")


def test_silence_short_and_soundless_files_are_left_alone(tmp_path: Path) -> None:
    for path in (tone(tmp_path / "silence.wav", -200, 5), tone(tmp_path / "short.wav", -10, 0.2)):
        measured = measure(path)
        assert measured is not None
        assert measured.integrated is None
        assert gain(measured, "ebu-r128") == 0
    with pytest.raises(OSError, match="No such file"):
        measure(tmp_path / "missing.wav")


def test_measuring_can_be_given_up(tmp_path: Path) -> None:
    cancel = threading.Event()
    cancel.set()
    path = tone(tmp_path / "long.wav", -20, 300)
    result = measure(path, cancel=cancel)
    assert result is None or result.integrated is not None  # unless the machine was faster than a tenth of a second


def test_store_measures_each_file_once_until_it_changes(tmp_path: Path) -> None:
    path, calls = tone(tmp_path / "a.wav", -20, 1), []

    def meter(*args: object, **options: object) -> Loudness:
        calls.append(args)
        return Loudness(-20.0, -19.0)

    store = LoudnessStore(tmp_path / "data" / "loudness.json")
    assert store.measure(path, meter=meter) == store.measure(path, meter=meter) == Loudness(-20.0, -19.0)
    assert len(calls) == 1
    assert LoudnessStore(store.path).get(path) == Loudness(-20.0, -19.0)
    assert LoudnessStore(store.path).get(path, channels=6) is None
    os.utime(path, (1, 1))
    assert store.get(path) is None
    store.measure(path, meter=meter)
    assert len(calls) == 2
    assert [p.name for p in store.path.parent.iterdir()] == ["loudness.json"], "no temporary file is left"


@pytest.mark.parametrize("broken", ["", "{", "[]", '{"a": {"key": 1}}'])
def test_a_broken_store_is_begun_anew(broken: str, tmp_path: Path) -> None:
    (tmp_path / "loudness.json").write_text(broken)
    path = tone(tmp_path / "a.wav", -20, 1)
    store = LoudnessStore(tmp_path / "loudness.json")
    assert store.get(path) is None
    store.put(path, Loudness(-1.0, -1.0))
    assert store.get(path) == Loudness(-1.0, -1.0)
