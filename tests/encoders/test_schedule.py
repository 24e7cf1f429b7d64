"""The plan: what is on air when, as a pure function of the schedule."""

from __future__ import annotations

from datetime import time
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders.schedule import Item, Planned, Schedule, ScheduleError, VersionConflict
from headend.clock import TICKS_PER_SECOND, from_iso

S = TICKS_PER_SECOND
T0 = from_iso("2026-11-21T12:00:00+00:00")
DAY = 86_400 * S


def item(id: str, start: float | None = None, seconds: float | None = None, **more: Any) -> Item:
    at = None if start is None else T0 + round(start * S)
    return Item(id, f"{id}.mp4", start=at, duration=None if seconds is None else round(seconds * S), **more)


def on(schedule: Schedule, seconds: float) -> str | None:
    found = schedule.at(T0 + round(seconds * S))
    return found.item.id if found else None


def test_follow_on_items_follow_and_gaps_are_gaps() -> None:
    schedule = Schedule((item("a", 0, 10), item("b", seconds=5), item("c", 20, 5)))
    assert [on(schedule, t) for t in (-1, 0, 9.99, 10, 14.99, 15, 20, 25)] == [
        None,
        "a",
        "a",
        "b",
        "b",
        None,
        "c",
        None,
    ]
    assert [p.item.id for p in schedule.upcoming(T0, 5)] == ["b", "c"]
    assert schedule.upcoming(T0 + 20 * S) == ()


def test_a_fixed_start_cuts_what_is_before_it() -> None:
    schedule = Schedule((item("a", 0, 10), item("b", seconds=10), item("c", seconds=10), item("d", 15, 5)))
    found = schedule.at(T0 + 12 * S)
    assert found is not None
    assert (found.item.id, found.end) == ("b", T0 + 15 * S)
    plan = schedule.plan(T0)
    assert [i.id for i in plan.unreached] == ["c"]
    assert [(a.id, b.id, overlap // S) for a, b, overlap in plan.cut] == [("b", "d", 5)]


def test_join_late_finishes_the_item_and_joins_the_next_in_progress() -> None:
    schedule = Schedule((item("a", 0, 10, overrun="join-late"), item("b", 7, 10), item("c", seconds=1)))
    found = schedule.at(T0 + 10 * S)
    assert found == Planned(schedule.items[1], T0 + 10 * S, T0 + 17 * S, offset=3 * S)
    assert on(schedule, 17.5) == "c"


def test_an_item_that_would_be_joined_after_its_end_is_left_out() -> None:
    schedule = Schedule((item("a", 0, 30, overrun="join-late"), item("b", 7, 10), item("c", seconds=20)))
    assert on(schedule, 29) == "a"
    found = schedule.at(T0 + 30 * S)
    assert found is not None
    assert (found.item.id, found.offset) == ("c", 13 * S)


def test_items_out_of_order_are_played_in_order_of_time() -> None:
    schedule = Schedule((item("late", 100, 5), item("after", seconds=5), item("early", 0, 5)))
    assert [on(schedule, t) for t in (1, 101, 106)] == ["early", "late", "after"]


def test_an_unknown_length_lasts_to_the_next_fixed_start_and_others_wait_for_it() -> None:
    schedule = Schedule((item("a", 0), item("b", seconds=5), item("c", 60, 5)))
    assert on(schedule, 59) == "a"
    assert [i.id for i in schedule.waiting(T0)] == ["b"]
    current = schedule.at(T0)
    assert current is not None
    assert current.open
    after = schedule.ended(current, T0 + 20 * S)
    assert [on(after, t) for t in (19, 20, 24, 26, 60)] == ["a", "b", "b", None, "c"]
    probed = schedule.with_lengths({"a": 30 * S})
    assert [i.id for i in schedule.unprobed()] == ["a"]
    assert not probed.unprobed()
    assert [on(probed, t) for t in (29, 30, 36)] == ["a", "b", None]


def test_length_of_an_item() -> None:
    schedule = Schedule(
        (
            item("points", 0, in_point=2 * S, out_point=5 * S),
            item("tail", in_point=2 * S),
            item("round", loop=True),
        ),
        lengths={"tail": 9 * S},
    )
    assert [schedule.length(i) for i in schedule.items] == [3 * S, 7 * S, None]


def test_what_ended_early_moves_what_follows_and_survives_json() -> None:
    schedule = Schedule((item("a", 0, 10), item("b", seconds=5)))
    current = schedule.at(T0)
    assert current is not None
    moved = schedule.ended(current, T0 + 4 * S)
    assert on(moved, 4) == "b"
    assert on(Schedule.from_json(moved.to_json()), 4) == "b"
    assert on(schedule, 4) == "a", "the old one is as it was"


def test_a_fixed_start_can_be_brought_forward() -> None:
    schedule = Schedule((item("a", 0, 10), item("b", 50, 5), item("c", seconds=5)))
    moved = schedule.brought_forward(schedule.upcoming(T0)[0], T0 + 10 * S)
    assert [on(moved, t) for t in (10, 15, 20)] == ["b", "c", None]


# Loops


def rotation(*seconds: int) -> Schedule:
    return Schedule(tuple(item(f"i{n}", seconds=s) for n, s in enumerate(seconds)), repeat="loop", epoch=T0)


def test_a_loop_has_no_beginning_and_no_end() -> None:
    loop = rotation(10, 20, 30)
    assert [on(loop, t) for t in (0, 10, 29, 30, 59, 60, -1, -31)] == ["i0", "i1", "i1", "i2", "i2", "i0", "i2", "i1"]
    assert [p.item.id for p in loop.upcoming(T0, 4)] == ["i1", "i2", "i0", "i1"]
    assert [p.key for p in loop.upcoming(T0, 3)] == ["i1@0", "i2@0", "i0@1"]


def test_a_loop_leaves_out_what_has_no_length() -> None:
    assert on(Schedule((item("x"), item("a", seconds=10)), repeat="loop", epoch=T0), 5) == "a"
    assert on(Schedule((item("x"),), repeat="loop", epoch=T0), 5) is None
    assert Schedule((), repeat="loop").upcoming(T0) == ()


@given(st.lists(st.integers(1, 10**12), min_size=1, max_size=20), st.integers(-(10**17), 10**17))
def test_every_instant_of_a_loop_is_covered_by_exactly_one_item(lengths: list[int], at: int) -> None:
    items = tuple(Item(f"i{n}", "x", duration=length) for n, length in enumerate(lengths))
    loop = Schedule(items, repeat="loop", epoch=T0)
    found = loop.at(T0 + at)
    assert found is not None
    assert found.end is not None
    assert found.start <= T0 + at < found.end
    after = loop.at(found.end)
    assert after is not None
    assert after.start == found.end
    assert loop.upcoming(T0 + at)[0] == after
    last = loop.at(found.end - 1)
    assert last == found


@given(st.lists(st.integers(2, 10**9), min_size=1, max_size=8), st.integers(0, 10**10), st.integers(1, 10**9))
def test_an_early_end_in_a_loop_starts_the_next_item_there(lengths: list[int], at: int, early: int) -> None:
    items = tuple(Item(f"i{n}", "x", duration=length) for n, length in enumerate(lengths))
    loop = Schedule(items, repeat="loop", epoch=T0)
    current = loop.at(T0 + at)
    assert current is not None
    assert current.end is not None
    cut = max(current.start + 1, current.end - early)
    moved = loop.ended(current, cut).at(cut)
    assert moved is not None
    assert moved.start == cut
    assert moved.item == loop.upcoming(current.start)[0].item


def test_a_loop_that_was_changed_goes_on_where_it_is() -> None:
    loop = rotation(10, 20, 30)
    now = T0 + 1000 * S
    current = loop.at(now)
    assert current is not None
    for changed in (
        loop.patch([item("new", seconds=7)]),
        loop.patch(remove=["i0"]),
        loop.patch([item("i0", seconds=99)], ["i1"] if current.item.id == "i2" else ["i2"]),
    ):
        after = changed.anchored(current).at(now)
        assert after == current
    assert loop.patch(remove=[current.item.id]).anchored(current).epoch == loop.epoch
    assert loop.anchored(None) is loop


# Plans in general


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    items: list[Item] = []
    for number in range(draw(st.integers(1, 12))):
        fixed = number == 0 or draw(st.booleans())
        length = draw(st.one_of(st.none(), st.integers(1, 500)))
        items.append(
            Item(
                f"i{number}",
                "x",
                start=draw(st.integers(1, 1000)) * S if fixed else None,
                duration=None if length is None else length * S,
                overrun=draw(st.sampled_from(["cut", "join-late"])),
            )
        )
    return Schedule(tuple(items))


@given(schedules())
def test_a_plan_never_overlaps_and_loses_no_item(schedule: Schedule) -> None:
    plan = schedule.plan(0)
    for before, after in pairwise(plan.planned):
        assert before.start < after.start or before.start == before.end
        assert before.end is not None
        assert before.end <= after.start
    waiting = [i.id for items in plan.waiting.values() for i in items]
    named = [p.item.id for p in plan.planned] + [i.id for i in plan.unreached] + waiting
    assert set(named) == {i.id for i in schedule.items}


@given(schedules(), st.integers(0, 2000))
def test_at_agrees_with_the_plan_and_with_upcoming(schedule: Schedule, seconds: int) -> None:
    ticks = seconds * S
    covering = [p for p in schedule.plan(0).planned if p.start <= ticks and (p.end is None or ticks < p.end)]
    assert schedule.at(ticks) == (covering[-1] if covering else None)
    assert all(p.start > ticks for p in schedule.upcoming(ticks, 5))


@given(schedules())
def test_json_gives_the_same_plan(schedule: Schedule) -> None:
    again = Schedule.from_json(schedule.to_json())
    assert again.items == schedule.items
    assert again.plan(0) == schedule.plan(0)


# Daily


def daily(*starts: str, zone: str = "Asia/Shanghai", seconds: int = 3600) -> Schedule:
    items = tuple(Item(f"i{n}", "x", daily=time.fromisoformat(s), duration=seconds * S) for n, s in enumerate(starts))
    return Schedule(items, repeat="daily", zone=zone)


def test_a_daily_schedule_plays_each_day_at_local_time() -> None:
    schedule = daily("08:00:00", "20:00:00")
    for day in ("2026-11-21", "2026-12-31", "2027-02-28", "2028-02-29"):
        found = schedule.at(from_iso(f"{day}T08:30:00+08:00"))
        assert found is not None
        assert (found.key, found.start) == (f"i0@{day}", from_iso(f"{day}T08:00:00+08:00"))
        assert schedule.at(from_iso(f"{day}T09:30:00+08:00")) is None
    coming = schedule.upcoming(from_iso("2026-11-21T21:00:00+08:00"), 3)
    assert [p.key for p in coming] == ["i0@2026-11-22", "i1@2026-11-22", "i0@2026-11-23"]


def test_the_last_item_of_a_day_goes_on_after_midnight() -> None:
    schedule = daily("06:00:00", "23:30:00")
    found = schedule.at(from_iso("2026-11-22T00:15:00+08:00"))
    assert found is not None
    assert found.key == "i1@2026-11-21"


def test_a_daily_schedule_without_fixed_starts_begins_at_midnight() -> None:
    schedule = Schedule((item("a", seconds=3600), item("b", seconds=3600)), repeat="daily", zone="Asia/Shanghai")
    found = schedule.at(from_iso("2026-11-22T01:15:00+08:00"))
    assert found is not None
    assert found.key == "b@2026-11-22"


def test_days_of_23_and_25_hours() -> None:
    schedule = daily("01:30:00", "02:30:00", "12:00:00", zone="Europe/Berlin")
    spring = schedule.at(from_iso("2027-03-28T03:45:00+02:00"))
    assert spring is not None
    assert spring.key == "i1@2027-03-28", "a skipped start moves on by the skipped hour"
    assert spring.start == from_iso("2027-03-28T03:30:00+02:00")
    autumn = schedule.at(from_iso("2026-10-25T02:45:00+02:00"))
    assert autumn is not None
    assert autumn.key == "i1@2026-10-25", "the first of two counts"
    assert schedule.at(from_iso("2026-10-25T02:45:00+01:00")) is None
    noons = [schedule.at(from_iso(f"2026-10-{d}T12:00:00+0{h}:00")) for d, h in ((24, 2), (25, 1), (26, 1))]
    starts = [noon.start for noon in noons if noon]
    assert [b - a for a, b in pairwise(starts)] == [25 * 3600 * S, 24 * 3600 * S]


def test_a_daily_schedule_forgets_what_happened_days_ago() -> None:
    schedule = daily("08:00:00")
    for day in range(30):
        current = schedule.at(from_iso("2026-11-01T08:00:00+08:00") + day * DAY)
        assert current is not None
        schedule = schedule.ended(current, current.start + 60 * S)
    assert len(schedule.over) <= 4
    assert len(schedule._plans) <= 9


# Changes


def test_patch_replaces_in_place_adds_in_time_and_removes() -> None:
    schedule = Schedule((item("a", 0, 10), item("b", 100, 10), item("c", seconds=1)))
    changed = schedule.patch([item("b", 100, 20), item("new", 50, 5), item("end", seconds=2)], ["a"], version=1)
    assert [i.id for i in changed.items] == ["new", "b", "c", "end"]
    assert changed.version == 2
    assert changed.items[1].duration == 20 * S


def test_patch_refuses_another_version_and_ids_that_are_not_there() -> None:
    schedule = Schedule((item("a", 0, 10),), version=4)
    with pytest.raises(VersionConflict, match="version 3 of the schedule, but version 4 is in force"):
        schedule.patch(remove=["a"], version=3)
    with pytest.raises(ScheduleError, match="there is no item 'x'"):
        schedule.patch(remove=["x"])


def test_a_changed_source_is_probed_again() -> None:
    schedule = Schedule((item("a", 0),), lengths={"a": 5 * S})
    changed = schedule.patch([Item("a", "other.mp4", start=T0)])
    assert [i.id for i in changed.unprobed()] == ["a"]


def test_an_unusable_schedule_is_refused() -> None:
    with pytest.raises(ScheduleError) as caught:
        Schedule((item("a", 0, 10), item("a", seconds=0), Item("b", "", priority=100)), zone="Mars/Olympus")
    pointers = [problem.pointer for problem in caught.value.problems]
    assert pointers == ["/zone", "/items/1/id", "/items/1/duration", "/items/2/source", "/items/2/priority"]


def test_a_loop_without_epoch_that_is_cut_short_can_be_kept_and_read_back() -> None:
    ten = 10 * 27_000_000
    loop = Schedule((Item("a", "/a.mp4", duration=ten), Item("b", "/b.mp4", duration=ten)), repeat="loop")
    now = 1_800_000_000 * 27_000_000
    planned = loop.at(now)
    assert planned is not None
    cut = now + 4 * 27_000_000
    shorter = loop.ended(planned, cut)
    following = shorter.at(cut)
    assert following is not None
    assert (following.item.id, following.start) == ("b" if planned.item.id == "a" else "a", cut)
    again = Schedule.from_json(shorter.to_json())
    assert again.epoch == shorter.epoch
    assert again.at(cut) == following
