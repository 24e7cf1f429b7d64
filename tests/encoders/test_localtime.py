"""Local times on days on which the clocks are changed."""

from __future__ import annotations

from datetime import date, time, timedelta

import pytest

from encoders.localtime import day_length, is_zone, local_start
from headend.clock import from_iso


@pytest.mark.parametrize(
    ("day", "at", "zone", "instant", "words"),
    [
        (date(2026, 11, 21), time(20), "Asia/Shanghai", "2026-11-21T20:00:00+08:00", ""),
        (date(2027, 3, 28), time(2, 30), "Europe/Berlin", "2027-03-28T03:30:00+02:00", "does not exist"),
        (date(2026, 10, 25), time(2, 30), "Europe/Berlin", "2026-10-25T02:30:00+02:00", "occurs twice"),
        (date(2026, 10, 25), time(3), "Europe/Berlin", "2026-10-25T03:00:00+01:00", ""),
        # Half an hour is put back on Lord Howe Island.
        (date(2026, 4, 5), time(1, 45), "Australia/Lord_Howe", "2026-04-05T01:45:00+11:00", "occurs twice"),
        # Samoa left out a whole day.
        (date(2011, 12, 30), time(12), "Pacific/Apia", "2011-12-31T12:00:00+14:00", "does not exist"),
    ],
)
def test_local_start(day: date, at: time, zone: str, instant: str, words: str) -> None:
    ticks, sentence = local_start(day, at, zone)
    assert ticks == from_iso(instant)
    assert words in sentence
    assert bool(words) == bool(sentence)


def test_day_length() -> None:
    assert day_length(date(2026, 10, 25), "Europe/Berlin") == timedelta(hours=25)
    assert day_length(date(2027, 3, 28), "Europe/Berlin") == timedelta(hours=23)
    assert day_length(date(2027, 3, 28), "Asia/Shanghai") == timedelta(hours=24)


@pytest.mark.parametrize("name", ["", "Mars/Olympus", "../../etc/passwd", "/etc/passwd", "Asia", "a\0b"])
def test_what_is_no_zone(name: str) -> None:
    assert not is_zone(name)
    assert is_zone("Asia/Shanghai")
