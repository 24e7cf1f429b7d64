"""The clock on the picture shows the time of the slot, through days of 23 and 25 hours."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from encoders.canvas import picture_of, planes_of
from encoders.clockface import ClockFace, local_time, zone_of
from encoders.format import ChannelFormat
from headend.clock import from_iso

FORMAT = ChannelFormat(320, 180, Fraction(25))


def face(**options: object) -> ClockFace:
    return ClockFace("clock", FORMAT, fade=0, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("instant", "zone", "shown"),
    [
        ("2026-11-21T20:00:00+08:00", "Asia/Shanghai", "20:00:00"),
        ("2026-12-31T16:00:00+00:00", "Asia/Shanghai", "00:00:00"),
        ("2026-10-25T00:59:59+00:00", "Europe/Berlin", "02:59:59"),
        ("2026-10-25T01:00:00+00:00", "Europe/Berlin", "02:00:00"),
        ("2026-03-29T01:00:00+00:00", "Europe/Berlin", "03:00:00"),
        ("2028-02-29T04:00:00+00:00", "Asia/Urumqi", "10:00:00"),
    ],
)
def test_the_time_of_the_slot_in_the_zone(instant: str, zone: str, shown: str) -> None:
    assert face(zone=zone).text(FORMAT.slot_at(from_iso(instant))) == shown


def test_it_is_the_slots_time_not_now() -> None:
    slot = FORMAT.slot_at(from_iso("2026-11-21T12:00:00+00:00"))
    assert [face().text(slot + n) for n in (0, 24, 25)] == ["20:00:00", "20:00:00", "20:00:01"]


def test_weekdays_do_not_hang_on_the_locale() -> None:
    ticks, zone = from_iso("2026-11-21T12:00:00+00:00"), zone_of("Asia/Shanghai")
    assert local_time(ticks, zone, "%Y年%m月%d日 %A %H:%M") == "2026年11月21日 星期六 20:00"
    assert local_time(ticks, zone, "%A", "eng") == "Saturday"


def test_two_machines_draw_the_same_and_a_second_changes_it() -> None:
    slot = FORMAT.slot_at(from_iso("2026-11-21T12:00:00+00:00"))
    ground = picture_of(Image.new("RGB", (320, 180), (60, 60, 60)), FORMAT)
    one, two = face(), face()
    two.draw(slot - 500, ground)  # it was started earlier
    first, second, later = (
        planes_of(f.draw(s, ground))[0].copy() for f, s in ((one, slot), (two, slot), (one, slot + 25))
    )
    assert np.array_equal(first, second)
    assert not np.array_equal(first, later)
    assert first.max() > 180


def test_what_cannot_be_shown_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the time zone 'Asia/Peking2' is not known.*IANA"):
        face(zone="Asia/Peking2")
    with pytest.raises(ValueError, match="cannot draw"):
        face(pattern="%H😀%M")
