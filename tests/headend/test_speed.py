"""Speeds are of one core, and what fits follows from them."""

from __future__ import annotations

import math

import pytest

from headend import speed
from headend.speed import LADDERS, Speed, channels_that_fit, cores_needed, measure_one, pictures


def fast(fps: float, codec: str = "h264", encoder: str = "libx264") -> list[Speed]:
    return [Speed(encoder, codec, "superfast", 1920, 1080, fps)]


PIPELINE = {lines: 0.01 * lines**2 / 1080**2 for lines in (2160, 1080, 720, 576, 360, 234)}
HD = next(ladder for ladder in LADDERS if ladder.name.startswith("1080p25"))


def test_an_encoder_is_measured() -> None:
    result = measure_one("libx264", "h264", "ultrafast", 160, 90, 8)
    assert result.fps > 25
    assert result.samples == pytest.approx(result.fps * 160 * 90)


def test_the_pipeline_is_measured() -> None:
    costs = speed.measure_pipeline(2)
    assert 0 < costs[234] < costs[1080] < costs[2160] < 1


def test_pictures_move_and_have_grain() -> None:
    first, second = (p.to_ndarray()[:90].astype(int) for p in pictures(2, 160, 90))
    assert abs(first - second).mean() > 1
    assert first.std() > 10


def test_cores_are_counted_by_samples() -> None:
    """At 100 pictures of 1080 lines a second, 25p costs a quarter core, the smaller sizes by their share."""
    share = sum(s.width * s.height for s in HD.steps) / (1920 * 1080)
    assert cores_needed(HD, fast(100), PIPELINE) == pytest.approx((0.25 * share + 0.25) * speed.OVERHEAD)


def test_more_cores_carry_more_channels() -> None:
    counts = [channels_that_fit(HD, fast(100), PIPELINE, cores) for cores in (1, 2, 4, 64)]
    assert counts == sorted(counts)
    assert counts[1] >= 1
    assert counts[3] == int(64 * speed.HEADROOM / cores_needed(HD, fast(100), PIPELINE))


def test_a_card_costs_no_core() -> None:
    card = cores_needed(HD, fast(100, encoder="h264_nvenc"), PIPELINE)
    assert card == pytest.approx(0.25 * speed.OVERHEAD)


def test_a_ladder_with_a_codec_that_is_not_there_does_not_fit() -> None:
    uhd = LADDERS[0]
    assert math.isinf(cores_needed(uhd, fast(10_000), PIPELINE))
    assert channels_that_fit(uhd, fast(10_000), PIPELINE, 64) == 0


def test_ladders_are_ordered_by_what_they_cost() -> None:
    speeds = fast(100) + fast(50, "hevc", "libx265")
    costs = [cores_needed(ladder, speeds, PIPELINE) for ladder in LADDERS]
    assert costs == sorted(costs, reverse=True)
