"""Files as sources: every slot once, samples exact, in sync, and a sentence for whatever cannot be played."""

from __future__ import annotations

import os
import random
import subprocess
import threading
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest

from encoders.cadence import predict
from encoders.file import FileSource
from encoders.format import AudioTrack, ChannelFormat
from encoders.source import Slice
from headend.clock import TICKS_PER_SECOND, FakeClock, from_seconds

Make = Callable[..., Path]
Play = Callable[..., list[Slice]]
SECOND = TICKS_PER_SECOND


def sync(flashes: list[int], beeps: list[int], format: ChannelFormat, first: int = 45_000_000_003) -> list[float]:
    """Seconds by which each beep is later than its flash."""
    starts = [format.first_sample(first + slot) - format.first_sample(first) for slot in flashes]
    return [(beep - start) / 48_000 for beep, start in zip(beeps, starts, strict=True)]


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("plain.mp4", {}),
        ("mpeg2.ts", {"video": "mpeg2video", "audio": "mp2"}),
        ("mono.mkv", {"audio_rate": 44_100, "channels": 1}),
        ("surround.mkv", {"audio": "ac3", "channels": 6}),
        ("pcm.mov", {"audio": "pcm_s16le", "audio_rate": 32_000}),
        ("tall.mp4", {"size": (90, 160)}),
    ],
)
def test_equal_rates_play_picture_for_picture_in_sync(
    name: str, spec: dict[str, Any], make_media: Make, channel: ChannelFormat, clock: FakeClock, play: Play,
    flashes: Callable[..., list[int]], beeps: Callable[..., list[int]],
) -> None:  # fmt: skip
    source = FileSource("item", make_media(name, seconds=3, **spec), channel, clock)
    slices = play(source)
    assert len(slices) == 75
    assert all(s.picture is not None and s.sound is not None for s in slices[:74])
    state = source.state()
    assert (state["repeats"], state["drops"], state["errors"], state["moves"]) == (0, 0, 0, 0), state
    bright = flashes(slices) if name != "tall.mp4" else [0, 25, 50]
    assert bright == [0, 25, 50]
    assert all(abs(late) < 0.005 for late in sync(bright, beeps(slices, channel), channel))


@pytest.mark.parametrize("rate", [Fraction(24), Fraction(30_000, 1001), Fraction(50), Fraction(15), Fraction(60)])
def test_other_rates_repeat_and_drop_as_predicted_and_stay_in_sync(
    rate: Fraction, make_media: Make, channel: ChannelFormat, clock: FakeClock, play: Play,
    flashes: Callable[..., list[int]], beeps: Callable[..., list[int]],
) -> None:  # fmt: skip
    source = FileSource("item", make_media("odd.mkv", seconds=3, rate=rate), channel, clock)
    slices = play(source)
    assert len(slices) == 75
    times = [
        from_seconds(Fraction(round(Fraction(n) / rate * 1000), 1000)) for n in range(round(3 * rate))
    ]  # Matroska: ms
    expected = predict(times, channel.slot_ticks, 75)
    assert (source.state()["repeats"], source.state()["drops"]) == (expected.repeats, expected.drops)
    assert [s.repeated for s in slices[1:]] == [
        a == b for a, b in zip(expected.shown, expected.shown[1:], strict=False)
    ]
    assert all(abs(late) <= 0.02 for late in sync(flashes(slices), beeps(slices, channel), channel))


def test_variable_frame_rate_follows_the_rule(
    make_media: Make, channel: ChannelFormat, clock: FakeClock, play: Play
) -> None:
    rng = random.Random(7)
    pts = [Fraction(0)]
    while pts[-1] < 3:
        pts.append(pts[-1] + Fraction(rng.choice([8, 17, 33, 40, 55, 250]), 1000))
    source = FileSource("item", make_media("vfr.mkv", seconds=4, pts=pts), channel, clock, out_point=3 * SECOND)
    slices = play(source)
    expected = predict([from_seconds(t) for t in pts], channel.slot_ticks, 75)
    assert len(slices) == 75
    assert (source.state()["repeats"], source.state()["drops"]) == (expected.repeats, expected.drops)


def test_short_sound_is_followed_by_none_and_long_sound_by_no_picture(
    make_media: Make, channel: ChannelFormat, clock: FakeClock, play: Play
) -> None:
    short = play(FileSource("short", make_media("short.mp4", audio_seconds=1), channel, clock))
    assert len(short) == 50
    assert all(s.picture is not None for s in short)
    assert {i for i, s in enumerate(short) if s.sound is not None} in ({*range(25)}, {*range(26)})
    long = play(FileSource("long", make_media("long.mp4", audio_seconds=3), channel, clock))
    assert len(long) in (75, 76)
    assert [s.picture is not None for s in long] == [True] * 50 + [False] * (len(long) - 50)
    assert all(s.sound is not None for s in long)


def test_one_kind_alone(make_media: Make, channel: ChannelFormat, clock: FakeClock, play: Play) -> None:
    silent = play(FileSource("silent", make_media("silent.mp4", audio=None), channel, clock))
    assert len(silent) == 50
    assert all(s.picture is not None and s.sound is None for s in silent)
    blind = play(FileSource("blind", make_media("blind.m4a", video=None), channel, clock))
    assert 50 <= len(blind) <= 51
    assert all(s.picture is None and s.sound is not None for s in blind)


@pytest.mark.parametrize("name", ["gop.mp4", "gop.ts", "gop.mkv"])
def test_in_and_out_points_are_frame_and_sample_accurate(
    name: str, make_media: Make, channel: ChannelFormat, clock: FakeClock, play: Play,
    flashes: Callable[..., list[int]], beeps: Callable[..., list[int]],
) -> None:  # fmt: skip
    path = make_media(name, seconds=6, gop=75, audio="mp2" if name.endswith("ts") else "aac")
    source = FileSource(
        "item", path, channel, clock, in_point=from_seconds(Fraction("3.6")), out_point=from_seconds(Fraction("5.2"))
    )
    slices = play(source)
    assert len(slices) == 40
    assert flashes(slices) == [10, 35]
    assert all(abs(late) < 0.005 for late in sync([10, 35], beeps(slices, channel), channel))
    assert source.state()["errors"] == 0


def test_loop_is_seamless_and_duration_limits_it(
    make_media: Make, channel: ChannelFormat, clock: FakeClock, play: Play,
    flashes: Callable[..., list[int]], beeps: Callable[..., list[int]],
) -> None:  # fmt: skip
    source = FileSource(
        "item", make_media("loop.mp4", seconds=1), channel, clock, loop=True, duration=from_seconds(Fraction("4.4"))
    )
    slices = play(source)
    assert len(slices) == 110
    assert all(s.picture is not None and s.sound is not None for s in slices)
    assert flashes(slices) == [0, 25, 50, 75, 100]
    assert all(abs(late) < 0.005 for late in sync(flashes(slices), beeps(slices, channel), channel))
    assert source.state()["repeats"] == 0


def test_gain_is_applied(make_media: Make, channel: ChannelFormat, clock: FakeClock, play: Play) -> None:
    path = make_media("gain.mov", audio="pcm_s16le", seconds=1)
    plain = play(FileSource("plain", path, channel, clock))
    quiet = play(FileSource("quiet", path, channel, clock, gain_db=-6.0206))
    assert plain[0].sound is not None
    assert quiet[0].sound is not None
    np.testing.assert_allclose(quiet[0].sound[0], plain[0].sound[0] / 2, atol=1e-5)


def test_languages_find_their_tracks(make_media: Make, clock: FakeClock, play: Play) -> None:
    tracks = (AudioTrack("eng", 2), AudioTrack("zho", 2), AudioTrack("bod", 1))
    format = ChannelFormat(160, 90, Fraction(25), tracks)
    path = make_media("two.mkv", languages=("chi", "eng"), seconds=1)  # the sounds differ in frequency
    first = play(FileSource("item", path, format, clock))[0]
    assert first.sound is not None
    english, chinese, tibetan = first.sound
    assert not np.allclose(english, chinese)
    np.testing.assert_allclose(tibetan[0], chinese.sum(axis=0) * np.sqrt(0.5), atol=1e-5)  # falls back to the first


def test_other_channel_rates_own_the_samples_of_their_slots(make_media: Make, clock: FakeClock, play: Play) -> None:
    format = ChannelFormat(160, 90, Fraction(30_000, 1001))
    slices = play(FileSource("item", make_media("ntsc.mkv", seconds=2), format, clock))
    assert len(slices) == 60
    assert {s.sound[0].shape[1] for s in slices if s.sound} == {1601, 1602}


def test_slots_may_be_skipped(
    make_media: Make, channel: ChannelFormat, clock: FakeClock, flashes: Callable[..., list[int]]
) -> None:
    source = FileSource("item", make_media("skip.mp4", seconds=4), channel, clock)
    source.open(1000)
    assert source.pull(1000, wait=20) is not None
    late = source.pull(1050, wait=20)
    assert late is not None
    assert late.dropped == 49
    assert flashes([late]) == [0]
    assert source.state()["drops"] == 49
    source.close()


@pytest.mark.parametrize("damage", ["noise", "hole", "cut"])
def test_damage_costs_what_is_damaged(
    damage: str,
    make_media: Make,
    channel: ChannelFormat,
    clock: FakeClock,
    play: Play,
    flashes: Callable[..., list[int]],
) -> None:
    path = make_media("whole.ts", seconds=6, audio="mp2", gop=12)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2 // 188 * 188
    if damage == "noise":
        data[middle : middle + 20_000] = random.Random(1).randbytes(20_000)
    elif damage == "hole":
        del data[middle : middle + 10_007]
    else:
        del data[middle:]
    path.write_bytes(data)
    source = FileSource("item", path, channel, clock)
    slices = play(source)
    state = source.state()
    if damage == "cut":
        assert 60 <= len(slices) <= 90
        assert flashes(slices)[:2] == [0, 25]
    else:
        assert len(slices) == 150
        assert {0, 25, 125} <= set(flashes(slices)), "what is after the damage keeps its place"
        assert state["errors"] > 0
        assert "damaged" in state["message"]


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("missing", "does not exist"),
        ("folder", "is a folder"),
        ("empty", "is empty"),
        ("text", "is a text"),
        ("index", "its index (moov) is missing or incomplete"),
        ("random", "neither pictures nor sound"),
        ("encrypted", "is encrypted"),
        ("scrambled", "is encrypted"),
    ],
)
def test_what_cannot_be_played_ends_at_once_and_says_why(
    kind: str, says: str, tmp_path: Path, make_media: Make, channel: ChannelFormat, clock: FakeClock, play: Play
) -> None:
    path = tmp_path / "bad.mp4"
    if kind == "folder":
        path.mkdir()
    elif kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("第一行\nsecond line\n" * 500, encoding="utf-8")
    elif kind == "index":
        path.write_bytes(make_media("whole.mp4").read_bytes()[:-2000])
    elif kind == "random":
        path.write_bytes(random.Random(2).randbytes(100_000))
    elif kind == "encrypted":
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(make_media("clear.mp4")), "-c", "copy"]
        secret = ["-encryption_scheme", "cenc-aes-ctr", "-encryption_key", "0" * 32, "-encryption_kid", "1" * 32]
        subprocess.run([*command, *secret, str(path)], check=True)
    elif kind == "scrambled":
        data = bytearray(make_media("clear.ts", audio="mp2").read_bytes())
        for at in range(0, len(data), 188):
            if (data[at + 1] & 0x1F) << 8 | data[at + 2] >= 0x100:
                data[at + 3] |= 0x80
                data[at + 4 : at + 188] = random.Random(at).randbytes(184)
        path.write_bytes(data)
    source = FileSource("item", path, channel, clock)
    slices = play(source)
    message = source.state()["message"]
    assert says in message, message
    assert "item" in message
    assert str(path) in message
    assert slices == []
    assert not source.ready(0)


def test_in_point_after_the_end_is_said(make_media: Make, channel: ChannelFormat, clock: FakeClock, play: Play) -> None:
    source = FileSource("item", make_media("a.mp4"), channel, clock, in_point=60 * SECOND)
    assert play(source) == []
    assert "in-point is at or after the end" in source.state()["message"]
    with pytest.raises(ValueError, match="not after the in-point"):
        FileSource("item", "a.mp4", channel, clock, in_point=2, out_point=1)


def test_badly_interleaved_files_neither_hang_nor_grow(
    make_media: Make, tmp_path: Path, channel: ChannelFormat, clock: FakeClock, play: Play
) -> None:
    # All pictures first, then all sound: sound that comes too late is counted, nothing waits for ever.
    whole = make_media("whole.mkv", seconds=14, gop=25, audio="mp2")
    exe = imageio_ffmpeg.get_ffmpeg_exe()
    path = tmp_path / "apart.ts"
    subprocess.run([exe, "-v", "error", "-i", str(whole), "-c", "copy", "-f", "mpegts", str(path)], check=True)
    data = path.read_bytes()
    packets = [data[i : i + 188] for i in range(0, len(data), 188)]
    sound = [p for p in packets if (p[1] & 0x1F) << 8 | p[2] == 0x101]
    path.write_bytes(b"".join([p for p in packets if (p[1] & 0x1F) << 8 | p[2] != 0x101]) + b"".join(sound))
    slices = play(FileSource("item", path, channel, clock))
    assert len(slices) >= 345
    assert sum(s.picture is not None for s in slices) >= 345


def test_opening_and_closing_leaves_nothing_behind(make_media: Make, channel: ChannelFormat, clock: FakeClock) -> None:
    path = make_media("tiny.mp4", seconds=0.4)

    def cycle(times: int) -> tuple[int, int]:
        for _ in range(times):
            source = FileSource("item", path, channel, clock)
            source.open(100)
            assert source.pull(100, wait=20) is not None
            source.close()
            source.close()
        return len(os.listdir("/proc/self/fd")), threading.active_count()

    before = cycle(5)
    assert cycle(45) == before


def test_close_returns_at_once_when_nothing_is_pulled(
    make_media: Make, channel: ChannelFormat, clock: FakeClock
) -> None:
    source = FileSource("item", make_media("a.mp4", seconds=4), channel, clock)
    assert not source.ready(100)
    source.open(100)
    assert source.pull(100, wait=20) is not None
    source.close()
    assert not any("item" in thread.name for thread in threading.enumerate())
    assert source.pull(101) is None
