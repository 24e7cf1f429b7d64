"""Declared and measured bit rates."""

from __future__ import annotations

from fractions import Fraction

from headend.accessunit import StreamFormat
from headend.clock import TICKS_PER_SECOND
from packagers.hls.bandwidth import Bandwidth, cap

T = 6 * TICKS_PER_SECOND
VIDEO = StreamFormat("video", "h264", bitrate=2_000_000, maxrate=2_200_000, rate=Fraction(25))
SOUND = StreamFormat("audio", "aac", bitrate=64_000, maxrate=64_000, sample_rate=48_000, frame_samples=1024)


def megabits(rate: int, seconds: int = 6) -> int:
    return rate * seconds // 8


def test_caps_hold_the_encoders_and_the_containers_part() -> None:
    cmaf, ts = cap([VIDEO], "cmaf", T, peak=True), cap([VIDEO, SOUND], "ts", T, peak=True)
    assert 2_200_000 < cmaf < 2_220_000
    assert 2_264_000 * 188 / 184 < ts < 2_264_000 * 1.06
    assert cap([VIDEO], "cmaf", T, peak=False) < cmaf


def test_nothing_changes_below_the_cap() -> None:
    meter = Bandwidth.of([VIDEO], "cmaf", T)
    before = (meter.peak, meter.average)
    for _ in range(200):
        assert not meter.add(megabits(1_900_000), T)
    assert (meter.peak, meter.average) == before
    assert meter.measured_peak == 1_900_000
    assert abs(meter.measured_average - 1_900_000) < 10


def test_a_peak_above_raises_the_declaration_and_it_never_falls() -> None:
    """The specification allows 125 %; here nothing measured is above what is declared."""
    meter = Bandwidth.of([VIDEO], "cmaf", T)
    assert meter.add(megabits(3_000_000), T)
    assert 3_000_000 <= meter.peak <= 3_200_000
    high = meter.peak
    for _ in range(2000):
        meter.add(megabits(500_000), T)
    assert meter.peak == high


def test_the_average_follows_ten_minutes_not_one_segment() -> None:
    meter = Bandwidth.of([VIDEO], "cmaf", T)
    meter.add(megabits(2_150_000), T)
    first = meter.average
    for _ in range(99):
        meter.add(megabits(2_150_000), T)
    assert meter.average > first
    assert meter.average >= meter.measured_average


def test_the_hour_is_bounded() -> None:
    meter = Bandwidth.of([VIDEO], "cmaf", T)
    for _ in range(3000):
        meter.add(1000, T)
    assert len(meter._hour) <= 601


def test_what_was_learned_is_remembered_only_for_the_same_caps() -> None:
    meter = Bandwidth.of([VIDEO], "cmaf", T)
    meter.add(megabits(3_000_000), T)
    assert Bandwidth.of([VIDEO], "cmaf", T, meter.to_json()).peak == meter.peak
    other = StreamFormat("video", "h264", bitrate=1_000_000, maxrate=1_100_000, rate=Fraction(25))
    assert Bandwidth.of([other], "cmaf", T, meter.to_json()).peak < 1_200_000


def test_nothing_is_learned_from_nothing() -> None:
    meter = Bandwidth.of([SOUND], "cmaf", T)
    assert not meter.add(0, T)
    assert not meter.add(100, 0)
    assert meter.state()["measured_average"] == 0
