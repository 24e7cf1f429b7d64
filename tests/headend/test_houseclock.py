"""The house clock: the control law in simulated time, the mapping between real processes."""

from __future__ import annotations

import math
import os
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headend import houseclock
from headend.clock import TICKS_PER_SECOND, from_seconds
from headend.houseclock import INTERVAL, Authority, Discipline, HouseClock, Line, Mapping

HOUR = 3600


@dataclass
class Run:
    """What a simulated clock did."""

    phases: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    frequencies: list[float] = field(default_factory=list)
    alarms: set[str] = field(default_factory=set)
    discipline: Discipline = field(default_factory=Discipline)


def simulate(
    hours: float,
    system: Callable[[float], float],
    *,
    noise: float = 0.0,
    synchronised: bool = True,
    start: Discipline | None = None,
) -> Run:
    """Discipline a clock against ``system``: seconds that the system's clock is ahead of raw time, at a raw instant."""
    law, house, rate = start or Discipline(), 0.0, 0.0
    run, dice = Run(discipline=law), random.Random(1)
    rate = law.frequency
    for step in range(int(hours * HOUR / INTERVAL)):
        at = step * INTERVAL
        house += rate * 1e-6 * INTERVAL if step else 0.0
        ahead = system(at) - house + dice.gauss(0, noise)
        rate = law.update(ahead, INTERVAL if step else 0.0, synchronised=synchronised)
        run.phases.append(system(at) - house)
        run.rates.append(rate)
        run.frequencies.append(law.frequency)
        run.alarms |= law.alarms
    return run


def assert_limits(run: Run) -> None:
    """The limits of the design: they hold whatever the system's clock does."""
    per_step = 10.0 * INTERVAL / HOUR + 1e-9
    assert max(map(abs, run.frequencies)) <= 100
    assert all(abs(b - a) <= per_step for a, b in zip(run.frequencies, run.frequencies[1:], strict=False))
    assert all(abs(r - f) <= 10 + 1e-9 for r, f in zip(run.rates, run.frequencies, strict=True))


@pytest.mark.parametrize("drift", [0.0, 4.0, -18.0, 25.0])
def test_a_crystal_is_followed_without_swinging(drift: float) -> None:
    run = simulate(12, lambda at: drift * 1e-6 * at, noise=1e-6)
    assert_limits(run)
    assert not run.alarms
    assert run.frequencies[-1] == pytest.approx(drift, abs=0.2)
    assert abs(run.phases[-1]) < 50e-6
    # No overshoot worth the name: the frequency goes to its place and stays.
    assert max(map(abs, run.frequencies)) < abs(drift) + 1.0


def test_a_bad_crystal_alarms_and_is_followed_all_the_same() -> None:
    run = simulate(24, lambda at: 60e-6 * at)
    assert_limits(run)
    assert "frequency" in run.alarms
    assert abs(run.phases[-1]) < 1e-3


def test_a_jump_of_the_system_clock_is_slewed_and_teaches_no_frequency() -> None:
    run = simulate(40, lambda at: 5e-6 * at + (1.0 if at > HOUR else 0.0))
    assert_limits(run)
    assert run.discipline.steps == 1
    assert "phase" in run.alarms
    # One second at 10 ppm is 27.8 hours.
    crossed = next(n for n, phase in enumerate(run.phases) if n * INTERVAL > HOUR + 10 and phase < 1e-3)
    assert 27 < crossed * INTERVAL / HOUR - 1 < 31
    assert max(run.frequencies) < 6.0
    assert abs(run.phases[-1]) < 1e-3


def test_a_smeared_leap_second_is_followed() -> None:
    def smeared(at: float) -> float:
        return min(1.0, max(0.0, (at - 2 * HOUR) / (24 * HOUR)))

    run = simulate(48, smeared)
    assert_limits(run)
    assert run.discipline.steps == 0
    assert not run.alarms
    assert max(map(abs, run.phases)) < 0.03


def test_an_unsynchronised_system_alarms_and_teaches_nothing() -> None:
    run = simulate(3, lambda at: 20e-6 * at, synchronised=False)
    assert run.alarms == {"unsynchronised"}
    assert run.discipline.frequency == 0.0


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-100, 100, allow_nan=False), min_size=1, max_size=200), st.booleans())
def test_limits_hold_for_any_system_clock(walk: list[float], synchronised: bool) -> None:
    law = Discipline()
    frequencies, rates = [], []
    for ahead in walk:
        rates.append(law.update(ahead, INTERVAL, synchronised=synchronised))
        frequencies.append(law.frequency)
        assert all(map(math.isfinite, (rates[-1], frequencies[-1])))
    assert_limits(Run(rates=rates, frequencies=frequencies))


def test_lines_are_exact_over_years() -> None:
    line = Line(10**15, 1_800_000_000 * 10**9, 12.5)
    year = 365 * 86_400 * 10**9
    assert line.house_at(line.raw + year) == line.house + year + year * 125 // 10**7
    assert line.moved(line.raw + year).house_at(line.raw + 2 * year) == line.house_at(line.raw + 2 * year)
    assert line.house_at(line.raw - year) < line.house


def test_readers_follow_the_mapping_and_a_torn_slot_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "clock"
    writer = Mapping(path, create=True)
    reader = Mapping(path)
    assert reader.read() is None
    lines = [Line(n, 10**18 + n, n / 10, n / 20, 0.001, n % 2 == 0) for n in range(1, 6)]
    for line in lines:
        writer.write(line)
        assert reader.read() == line
    # A writer that dies in the middle of a slot: the line before it stays.
    with path.open("r+b") as file:
        file.seek(64 + (5 % 2) * 128 + 12)
        file.write(b"\xff\xff")
    assert reader.read() == lines[3]
    successor = Mapping(path, create=True)
    successor.write(lines[0])
    assert reader.read() == lines[0]
    for each in (writer, reader, successor):
        each.close()


def test_a_file_that_is_no_clock_is_refused(tmp_path: Path) -> None:
    (tmp_path / "clock").write_bytes(b"x" * 500)
    with pytest.raises(ValueError, match="no house clock"):
        Mapping(tmp_path / "clock")
    clock = HouseClock(tmp_path / "clock")
    assert clock.state()["authority"] is False


class Fake:
    """The two clocks of a machine, and whether the one is disciplined."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.raw = 5 * 10**12
        self.system = 1_800_000_000 * 10**9
        self.synchronised = True
        monkeypatch.setattr(houseclock, "read_clocks", lambda: (self.raw, self.system))
        monkeypatch.setattr(houseclock, "system_synchronised", lambda: self.synchronised)
        monkeypatch.setattr(houseclock, "kernel_frequency", lambda: 7.0)
        monkeypatch.setattr(time, "clock_gettime_ns", lambda which: self.raw)

    def advance(self, seconds: float, *, jump: float = 0.0) -> None:
        self.raw += round(seconds * 1e9)
        self.system += round((seconds + jump) * 1e9)


def test_a_successor_inherits_and_time_never_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fake(monkeypatch)
    authority = Authority(tmp_path / "clock")
    assert not authority.inherited
    # Nothing ran by this clock before, so the kernel's word is taken at once.
    assert authority.discipline.frequency == 7.0
    with pytest.raises(BlockingIOError):
        Authority(tmp_path / "clock")
    clock = HouseClock(tmp_path / "clock")
    before = clock.now()
    assert before == fake.system * 27 // 1000
    authority.close()

    # While there is no authority the system's clock jumps by an hour: house time goes on.
    fake.advance(100, jump=3600)
    late = clock.now()
    assert late - before == pytest.approx(100 * TICKS_PER_SECOND, abs=from_seconds(0.01))
    assert clock.state()["authority"] is False
    successor = Authority(tmp_path / "clock")
    assert successor.inherited
    assert successor.discipline.frequency == 7.0
    assert successor.discipline.alarms == {"phase"}
    fake.advance(INTERVAL)
    assert clock.now() - late == pytest.approx(INTERVAL * TICKS_PER_SECOND, rel=20e-6)
    assert clock.state()["authority"] is True
    fake.synchronised = False
    fake.advance(INTERVAL)
    successor.update()
    assert successor.state()["alarms"] == ["phase", "unsynchronised"]
    successor.close()


def test_time_never_goes_back_even_when_the_mapping_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fake(monkeypatch)
    clock = HouseClock(tmp_path / "clock")
    before = clock.now()
    writer = Mapping(tmp_path / "clock", create=True)
    fake.advance(1)
    writer.write(Line(fake.raw, fake.system - 5 * 10**9, 0.0))
    assert clock.now() >= before
    writer.close()


def test_real_clocks(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "clock")
    clock = HouseClock(tmp_path / "clock")
    try:
        assert abs(clock.now() - time.time_ns() * 27 // 1000) < from_seconds(0.05)
        assert clock.wait_until(clock.now() + from_seconds(0.02))
        cancelled = threading.Event()
        cancelled.set()
        assert not clock.wait_until(clock.now() + from_seconds(60), cancelled)
        # Time zones and daylight saving are no part of it.
        os.environ["TZ"], old = "America/New_York", os.environ.get("TZ")
        time.tzset()
        try:
            assert abs(clock.now() - time.time_ns() * 27 // 1000) < from_seconds(0.05)
        finally:
            os.environ.pop("TZ")
            if old is not None:
                os.environ["TZ"] = old
            time.tzset()
        assert isinstance(houseclock.system_synchronised(), bool)
        assert abs(houseclock.kernel_frequency()) < 500
    finally:
        authority.close()
