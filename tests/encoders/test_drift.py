"""Clocks of sources: measured through jitter, followed without a seam."""

from __future__ import annotations

import random

import numpy as np
import pytest

from encoders.drift import LIMIT, Follower, Reservoir, Slope, Stretcher, correction
from headend.clock import TICKS_PER_SECOND as SECOND


@pytest.mark.parametrize("ppm", [-120, -5, 0, 30, 100])
def test_slope_is_measured_through_jitter_and_late_packets(ppm: int) -> None:
    rng = random.Random(ppm)
    slope = Slope()
    for n in range(300 * 25):
        late = rng.expovariate(1 / 0.004) + (0.5 if rng.random() < 0.1 else 0)
        slope.add(round((n / 25 + late) * SECOND) + 10**16, round(n / 25 * SECOND * (1 + ppm * 1e-6)))
    assert slope.rate * 1e6 == pytest.approx(ppm, abs=3)
    slope.reset()
    assert slope.rate == 0


def test_follower_never_steps() -> None:
    follower = Follower()
    with pytest.raises(ValueError, match="anchored"):
        follower.house(0)
    follower.anchor(0, 1000 * SECOND)
    last = follower.house(0)
    for second in range(1, 600):
        follower.follow(100e-6, second * SECOND)
        now = follower.house(second * SECOND)
        assert abs(now - last - SECOND) <= SECOND * 301e-6
        last = now
    assert follower.rate == pytest.approx(100e-6)
    follower.follow(1, 600 * SECOND, step=1)
    assert follower.rate == Follower.MOST


@pytest.mark.parametrize("hertz", [100, 1000, 12_000])
@pytest.mark.parametrize("rate", [0.0, 100e-6, -300e-6])
def test_stretcher_is_inaudible(hertz: int, rate: float) -> None:
    wave = np.sin(2 * np.pi * hertz * np.arange(96_000) / 48_000).astype(np.float32)[None]
    stretcher = Stretcher(1)
    parts = [stretcher.play(wave[:, at : at + 1024], rate) for at in range(0, 96_000, 1024)] + [stretcher.flush()]
    out = np.concatenate(parts, axis=1)[0]
    assert abs(len(out) - 96_000 * (1 + rate)) <= 1
    ideal = np.sin(2 * np.pi * hertz * np.arange(len(out)) / (1 + rate) / 48_000)
    error = np.abs(out[100:-100] - ideal[100:-100]).max()
    assert 20 * np.log10(error) < -75


@pytest.mark.parametrize("ppm", [0, 200, -500])
@pytest.mark.parametrize("begins", [0.05, 0.65, 1.4])
def test_what_is_in_hand_is_kept_and_a_bundling_multiplexer_is_not_fought(ppm: int, begins: float) -> None:
    latency, follower, rate = SECOND, Follower(), ppm * 1e-6
    follower.anchor(0, 0)
    for second in range(1, 3 * 3600):
        # Media of source time t come at t / (1 + rate), and must be in hand before their place in house time.
        source = second * SECOND
        level = follower.house(source) - round(source / (1 + rate)) + round(begins * SECOND)
        follower.follow(rate + correction(level, latency), source)
        if second > 300 and begins == 0.65:
            assert follower.rate == pytest.approx(rate, abs=1e-9)
    assert 0.45 * SECOND < level < 1.1 * SECOND


@pytest.mark.parametrize("ppm", [0, 80, -80])
@pytest.mark.parametrize("burst", [1, 6])
def test_a_source_that_is_fetched_in_bursts_is_followed_by_what_is_in_hand(ppm: int, burst: int) -> None:
    rng = random.Random(ppm + burst)
    follower, reservoir, rate = Follower(), Reservoir(), ppm * 1e-6
    follower.anchor(0, SECOND)
    leads = []
    for begin in range(0, 3 * 3600, burst):
        # A segment comes when its last second has been made, a little late.
        arrival = round((begin + burst + rng.uniform(0, 0.1)) / (1 + rate) * SECOND)
        for source in range(begin, begin + burst):
            lead = follower.house(source * SECOND) - arrival
            if (wanted := reservoir.add(lead, arrival)) is not None:
                follower.follow(wanted, source * SECOND, step=50e-6)
        leads.append(lead)
    assert follower.rate == pytest.approx(rate, abs=30e-6)
    # Unfollowed it would have run away by 0.86 s.
    assert abs(leads[-1] - leads[0]) < 0.25 * SECOND


def test_stretcher_is_limited() -> None:
    out = Stretcher(1).play(np.zeros((1, 48_000), np.float32), 0.5)
    assert out.shape[1] <= 48_000 * (1 + LIMIT) + 1
