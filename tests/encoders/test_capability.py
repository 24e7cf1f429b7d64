"""Encoders are tried, not listed; what does not work is refused in a sentence, and quickly."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import pytest

from encoders import capability
from encoders.capability import NoEncoderError, choose, try_audio, try_video
from headend.accessunit import AccessUnit

HARDWARE = sorted({n for names in capability.VIDEO.values() for n in names if capability.is_hardware(n)})


@pytest.fixture(autouse=True)
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test tries anew."""
    monkeypatch.setattr(capability, "_results", {})
    monkeypatch.setattr(capability, "_memory", None)


@pytest.mark.parametrize(("name", "codec"), [("libx264", "h264"), ("libx265", "hevc"), ("libsvtav1", "av1")])
@pytest.mark.parametrize("ten_bit", [False, True])
def test_software_works(name: str, codec: str, ten_bit: bool) -> None:
    if codec == "h264" and ten_bit:
        assert "10-bit" in try_video(name, codec, ten_bit=True).reason
        return
    result = try_video(name, codec, ten_bit=ten_bit)
    assert result.works, result.reason
    assert result.psnr > 25


@pytest.mark.parametrize(("name", "codec"), [(n, c) for c, names in capability.AUDIO.items() for n in names])
def test_sound_works_or_says_why(name: str, codec: str) -> None:
    result = try_audio(name, codec)
    try:
        av.Codec(name, "w")
    except av.codec.codec.UnknownCodecError:
        assert not result.works
        assert "built without" in result.reason
    else:
        assert result.works, result.reason


@pytest.mark.parametrize("name", HARDWARE)
def test_hardware_answers_cleanly_whether_it_is_there_or_not(name: str) -> None:
    begun = time.monotonic()
    result = try_video(name, name.split("_")[0], 1280, 720)
    assert result.works == (result.reason == "")
    assert time.monotonic() - begun < capability.TIME_LIMIT + 2


def test_a_broken_driver_is_found_in_its_own_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even with the check for devices out of the way, the trial process says what FFmpeg says."""
    if try_video("h264_nvenc", "h264").works:
        pytest.skip("this machine has a working NVENC")
    capability._results.clear()
    monkeypatch.setattr(capability, "_missing", lambda name: "")
    result = try_video("h264_nvenc", "h264", 640, 360)
    assert not result.works
    assert result.reason not in ("", "its trial died")


def test_a_driver_that_hangs_costs_the_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capability, "_missing", lambda name: "")
    monkeypatch.setattr(capability, "TIME_LIMIT", 0.2)
    real = subprocess.run

    def hang(command: list[str], **options: object) -> subprocess.CompletedProcess[bytes]:
        return real([sys.executable, "-c", "import time; time.sleep(30)"], **options)  # type: ignore[call-overload,no-any-return]

    monkeypatch.setattr(capability.subprocess, "run", hang)
    result = try_video("hevc_qsv", "hevc")
    assert not result.works
    assert "0.2 s" in result.reason


def test_a_driver_that_kills_its_process_is_survived(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capability, "_missing", lambda name: "")
    real = subprocess.run

    def die(command: list[str], **options: object) -> subprocess.CompletedProcess[bytes]:
        return real([sys.executable, "-c", "import os; os.abort()"], **options)  # type: ignore[call-overload,no-any-return]

    monkeypatch.setattr(capability.subprocess, "run", die)
    assert try_video("hevc_qsv", "hevc").reason == "its trial died"


def test_garbage_is_not_taken_for_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """An encoder that codes something else than it was given does not work."""
    real = capability.moving_picture
    calls = iter(range(1000))

    def other(number: int, width: int, height: int, ten_bit: bool = False) -> av.VideoFrame:
        # What is given differs from what is compared with.
        return real(number if next(calls) >= 12 else 40 + number, width, height, ten_bit)

    monkeypatch.setattr(capability, "moving_picture", other)
    result = capability.trial("libx264", "h264", 160, 90, Fraction(25), False)
    assert not result.works
    assert "PSNR" in result.reason


def test_lost_pictures_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Forgetful(capability.VideoEncoder):
        def flush(self) -> list[AccessUnit]:
            return super().flush()[:-1]

    monkeypatch.setattr(capability, "VideoEncoder", Forgetful)
    result = capability.trial("libx264", "h264", 160, 90, Fraction(25), False)
    assert "of 12 pictures it gave 11" in result.reason


def test_choice_and_refusals() -> None:
    assert choose("h264", 1920, 1080) in capability.VIDEO["h264"]
    assert choose("h264", encoder="libx264") == "libx264"
    with pytest.raises(NoEncoderError, match=r"h264 at 320x180 .*no_such: .*built without it.*choose another codec"):
        choose("h264", encoder="no_such")
    with pytest.raises(NoEncoderError, match="there is no codec 'vp8'"):
        choose("vp8")
    with pytest.raises(NoEncoderError, match="libx264: it failed on air"):
        choose("h264", without=frozenset(capability.VIDEO["h264"]))


def test_results_are_recalled(monkeypatch: pytest.MonkeyPatch) -> None:
    first = try_video("libx264", "h264")
    monkeypatch.setattr(capability, "trial", lambda *a: pytest.fail("tried again"))
    assert try_video("libx264", "h264") is first
    assert try_video("libx264", "h264", 3840, 2160) is first  # software is tried small


def test_results_outlive_the_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What one process found, the next recalls without trying; a damaged file is no harm."""
    kept = tmp_path / "capability.json"
    capability.remember(kept)
    found = [try_video("libx264", "h264", rate=Fraction(30000, 1001)), try_audio("mp2", "mp2")]
    capability._results.clear()
    capability.remember(kept)
    monkeypatch.setattr(capability, "trial", lambda *a: pytest.fail("tried again"))
    monkeypatch.setattr(capability, "_try_audio", lambda *a: pytest.fail("tried again"))
    assert [try_video("libx264", "h264", rate=Fraction(30000, 1001)), try_audio("mp2", "mp2")] == found
    assert [p.name for p in tmp_path.iterdir()] == ["capability.json"]


@pytest.mark.parametrize("text", ["", "{", "[[1]]", '[["a","b",1,2,"x",false,{}]]', "[3]", "null"])
def test_a_damaged_memory_is_no_harm(text: str, tmp_path: Path) -> None:
    kept = tmp_path / "capability.json"
    kept.write_text(text)
    capability.remember(kept)
    assert try_audio("mp2", "mp2").works
    capability.remember(tmp_path / "no" / "such" / "folder")
    assert try_audio("ac3", "ac3").works


def test_the_trial_process_answers_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert capability.main(["libx264", "h264", "160x90", "25", "0"]) == 0
    assert json.loads(capsys.readouterr().out)["works"] is True
