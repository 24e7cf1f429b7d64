"""Sentences about schedules that can be played but may not be meant."""

from __future__ import annotations

from datetime import time

from encoders.problem import validate
from encoders.schedule import Item, Schedule
from headend.clock import TICKS_PER_SECOND, from_iso

S = TICKS_PER_SECOND
T0 = from_iso("2026-11-21T12:00:00+00:00")


def item(id: str, start: int | None, seconds: int | None, source: str = "cam", **more: object) -> Item:
    at = None if start is None else T0 + start * S
    return Item(id, source, start=at, duration=None if seconds is None else seconds * S, **more)  # type: ignore[arg-type]


def said(schedule: Schedule, now: int = T0) -> dict[str, str]:
    return {problem.pointer: problem.detail for problem in validate(schedule, now, sources=["cam"])}


def test_a_good_schedule_has_no_problem() -> None:
    assert said(Schedule((item("a", 0, 10), item("b", None, 10)))) == {}
    assert (
        said(Schedule((Item("a", "cam", daily=time(0), duration=86_400 * S),), repeat="daily", zone="Asia/Shanghai"))
        == {}
    )


def test_overlap_gap_past_and_unknown_source() -> None:
    found = said(
        Schedule(
            (
                item("old", -100, 5),
                item("a", 0, 70),
                item("b", 60, 10),
                item("c", 100, 5, "kam"),
                item("d", 200, None, "/x/d.mp4"),
            )
        )
    )
    assert found["/items/0/start"].startswith("item 'old' ended at 2026-11-21T11:58:25Z, which is in the past")
    assert "overlaps the start of 'b' by 0:00:10, so 'a' is cut" in found["/items/1"]
    assert "nothing is planned for 0:00:30 between 'b' and 'c'" in found["/items/3"]
    assert "wants the source 'kam', which is not configured" in found["/items/3/source"]
    assert not any(pointer.startswith("/items/4/source") for pointer in found)


def test_items_that_are_never_reached_and_joined_late() -> None:
    found = said(Schedule((item("a", 0, 50, overrun="join-late"), item("b", None, 9), item("c", 20, 60))))
    assert "so 'c' is joined late" in found["/items/0"]
    assert "'b' is never on air" in found["/items/1"]


def test_unknown_lengths() -> None:
    assert "give it a duration" in said(Schedule((item("a", 0, None, overrun="join-late"),)))["/items/0/overrun"]
    assert "is left out" in said(Schedule((item("a", None, None),), repeat="loop"))["/items/0/duration"]


def test_days_of_changed_clocks() -> None:
    schedule = Schedule(
        (Item("a", "cam", daily=time(2, 30), duration=86_400 * S),), repeat="daily", zone="Europe/Berlin"
    )
    found = said(schedule, from_iso("2027-03-27T12:00:00Z"))
    assert "02:30:00 does not exist on 2027-03-28" in found["/items/0/start"]
    assert "2027-03-28 has 23 hours in Europe/Berlin" in found["/zone"]
    found = said(schedule, from_iso("2026-10-24T12:00:00Z"))
    assert "occurs twice on 2026-10-25" in found["/items/0/start"]
    assert "2026-10-25 has 25 hours in Europe/Berlin" in found["/zone"]


def test_problems_are_rfc_9457_shaped() -> None:
    row = validate(Schedule((item("a", 0, 5, "kam"),)), T0, sources=["cam"])[0].to_json()
    assert set(row) == {"pointer", "detail", "level"}
    assert row["level"] == "warning"
