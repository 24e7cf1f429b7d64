"""Black, frozen, silent, missing: what a watch sees."""

from __future__ import annotations

import time

import av
import numpy as np
import pytest

from encoders.content import Sight, Thresholds, Watch, samples_of
from encoders.source import Slice, Sound

RNG = np.random.default_rng(1)
NOISE = RNG.integers(30, 220, (90, 160)).astype(np.uint8)


def picture(luma: np.ndarray[tuple[int, ...], np.dtype[np.uint8]] | int, deep: bool = False) -> av.VideoFrame:
    frame = av.VideoFrame(160, 90, "yuv420p10le" if deep else "yuv420p")
    for index, plane in enumerate(frame.planes):
        line = plane.line_size // (2 if deep else 1)
        rows = np.full((plane.height, line), 128, np.uint16 if deep else np.uint8)
        if index == 0:
            rows[:, :160] = luma
        plane.update((rows << 2 if deep else rows).tobytes())
    return frame


def sound(level: float) -> list[Sound]:
    return [np.full((2, 1920), level, np.float32)]


def test_a_living_source_has_no_fault() -> None:
    watch = Watch()
    for shift in range(20):
        assert watch.look(Slice(picture(np.roll(NOISE, shift * 3, 1)), sound(0.1))) == Sight()


@pytest.mark.parametrize("deep", [False, True])
def test_black_even_with_a_logo(deep: bool) -> None:
    black = np.full((90, 160), 16, np.uint8)
    black[5:15, 140:155] = 200
    watch = Watch()
    for _ in range(5):
        sight = watch.look(Slice(picture(black, deep), sound(0.1)))
    assert sight.black == 5
    assert watch.look(Slice(picture(NOISE, deep), sound(0.1))).black == 0


def test_a_dark_scene_is_not_black() -> None:
    dark = (NOISE // 6 + 12).astype(np.uint8)
    assert Watch().look(Slice(picture(dark), sound(0.1))).black == 0


def test_frozen_under_coding_noise_but_not_a_slow_pan() -> None:
    watch = Watch()
    for n in range(10):
        noisy = (NOISE.astype(np.int16) + RNG.integers(-2, 3, NOISE.shape)).astype(np.uint8)
        assert watch.look(Slice(picture(noisy), sound(0.1))).frozen == n
    ramp = np.linspace(30, 120, 160)[None, :].repeat(90, 0)
    watch = Watch()
    runs = [watch.look(Slice(picture((ramp + n).astype(np.uint8)), sound(0.1))).frozen for n in range(50)]
    assert max(runs) < 8, "each picture is near the one before, but far from where it began"


def test_the_same_picture_again_is_frozen_and_stays_black() -> None:
    same = picture(16)
    watch = Watch()
    sights = [watch.look(Slice(same, sound(0.1))) for _ in range(4)]
    assert [s.frozen for s in sights] == [0, 1, 2, 3]
    assert [s.black for s in sights] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("tracks", "silent"),
    [(sound(0.0), True), (sound(0.0009), True), (sound(0.002), False), (None, True), (sound(0.0) + sound(0.5), False)],
)
def test_silent(tracks: list[Sound] | None, silent: bool) -> None:
    assert bool(Watch().look(Slice(picture(NOISE), tracks)).silent) == silent


def test_missing_runs_and_other_runs_wait_meanwhile() -> None:
    watch = Watch()
    same = picture(16)
    watch.look(Slice(same, sound(0)))
    watch.look(None)
    sight = watch.look(None)
    assert (sight.missing, sight.black, sight.delivered) == (2, 1, False)
    sight = watch.look(Slice(same, sound(0)))
    assert (sight.missing, sight.black, sight.delivered) == (0, 2, True)


def test_sound_without_picture() -> None:
    assert Watch().look(Slice(None, sound(0.1))).missing == 1
    assert Watch(sound_suffices=True).look(Slice(None, sound(0.1))).missing == 0
    assert Watch(sound_suffices=True).look(Slice(None, None)).missing == 1


def test_the_end() -> None:
    assert Watch().look(Slice(None, None, ended=True)).gone == "has ended"
    assert Watch().look(None, "could not be opened: x").gone == "could not be opened: x"


@pytest.mark.parametrize("bad", [{"black_level": 300}, {"still_share": 0.0}, {"silence": 3.0}, {"black_share": 2.0}])
def test_thresholds_are_checked(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        Thresholds(**bad)  # type: ignore[arg-type]


def test_it_is_cheap_at_720p() -> None:
    frames = [av.VideoFrame(1280, 720, "yuv420p") for _ in range(2)]
    watch = Watch()
    slices = [Slice(f, sound(0.1)) for f in frames]
    for s in slices:
        watch.look(s)
    best = 1.0
    for _ in range(200):
        began = time.perf_counter()
        watch.look(slices[0])
        watch.look(slices[1])
        best = min(best, (time.perf_counter() - began) / 2)
    assert best < 0.001, f"{best * 1000:.3f} ms"  # measured 0.1 ms; the bound leaves room for a busy machine
    assert samples_of(frames[0]).shape == (90, 160)
