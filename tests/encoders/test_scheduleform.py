"""Reading and writing schedules as JSON: every mistake gets a pointer and a sentence, none another exception."""

from __future__ import annotations

import json
from datetime import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders.schedule import Schedule, ScheduleError
from encoders.scheduleform import from_json, items_from_json, to_json
from headend.clock import TICKS_PER_SECOND, from_iso

S = TICKS_PER_SECOND
START = "2026-11-21T20:00:00+08:00"


def problems(row: Any) -> dict[str, str]:
    with pytest.raises(ScheduleError) as caught:
        from_json(row)
    return {problem.pointer: problem.detail for problem in caught.value.problems}


def one(**more: Any) -> dict[str, Any]:
    return {"items": [{"id": "a", "source": "a.mp4", "start": START, **more}]}


def test_a_full_item() -> None:
    schedule = from_json(
        one(
            **{
                "title": "新闻",
                "in": 2.5,
                "out": "00:01:02.500",
                "duration": "1:30",
                "loop": True,
                "gain": -1.5,
                "priority": 40,
            }
        )
        | {"version": 7, "zone": "Asia/Shanghai", "early": "pull-up"}
    )
    item = schedule.items[0]
    assert (item.start, item.in_point, item.out_point, item.duration) == (
        from_iso(START),
        S * 5 // 2,
        S * 125 // 2,
        90 * S,
    )
    assert (item.title, item.loop, item.gain, item.priority) == ("新闻", True, -1.5, 40)
    assert (schedule.version, schedule.pulls_up) == (7, True)
    again = from_json(json.loads(json.dumps(to_json(schedule))))
    assert (again.items, again.version, again.zone, again.early) == (schedule.items, 7, "Asia/Shanghai", "pull-up")


def test_local_times_are_in_the_zone() -> None:
    schedule = from_json(one(start="2026-11-21T20:00:00") | {"zone": "Asia/Shanghai"})
    assert schedule.items[0].start == from_iso(START)
    schedule = from_json(one(start="2026-11-21T20:00:00", zone="America/New_York"))
    assert schedule.items[0].start == from_iso("2026-11-21T20:00:00-05:00")


def test_local_times_on_the_days_of_changed_clocks() -> None:
    found = problems(one(start="2027-03-28T02:30:00") | {"zone": "Europe/Berlin"})
    assert found["/items/0/start"].startswith("the local time 02:30:00 does not exist on 2027-03-28 in Europe/Berlin")
    found = problems(one(start="2026-10-25T02:30:00") | {"zone": "Europe/Berlin"})
    assert "occurs twice on 2026-10-25" in found["/items/0/start"]
    assert from_json(one(start="2026-10-25T02:30:00+01:00") | {"zone": "Europe/Berlin"}).items[0].start


def test_daily_and_loop() -> None:
    schedule = from_json({"repeat": "daily", "zone": "Asia/Shanghai", **one(start="20:00:00")})
    assert schedule.items[0].daily == time(20)
    assert to_json(schedule)["items"][0]["start"] == "20:00:00"
    assert from_json({"loop": True, "items": [{"id": "a", "source": "a", "duration": 5}]}).repeat == "loop"
    assert "/items/0/start" in problems(one(start="20:00:00"))
    assert "/items/0/start" in problems({"repeat": "daily", **one()})
    assert "/loop" in problems({"loop": True, "repeat": "daily", "items": []})


@pytest.mark.parametrize(
    ("row", "pointer", "words"),
    [
        ([], "", "a JSON object is wanted here, not a list"),
        ({"itmes": []}, "/itmes", "the key 'itmes' is not known"),
        ({"items": {}}, "/items", "items must be a list of items, not an object"),
        ({"items": [3]}, "/items/0", "a JSON object is wanted here, not a number"),
        ({"items": [{"id": "a"}]}, "/items/0/source", "needs the key 'source'"),
        ({"zone": "Mars/Olympus"}, "/zone", "use an IANA name"),
        ({"zone": "../etc/passwd"}, "/zone", "use an IANA name"),
        ({"version": True}, "/version", "version must be a whole number"),
        ({"repeat": "yearly"}, "/repeat", "it must be one of never, daily, loop"),
        (one(start="yesterday"), "/items/0/start", "is not a"),
        (one(start="1969-01-01T00:00:00Z"), "/items/0/start", "before 1970"),
        (one(start=5), "/items/0/start", "an instant is a text"),
        (one(duration=-1), "/items/0/duration", "zero or more seconds"),
        (one(duration=0), "/items/0/duration", "never seen"),
        (one(duration="1:xx"), "/items/0/duration", "is not a duration"),
        (one(duration=1e300), "/items/0/duration", "zero or more seconds"),
        (one(duration=float("nan")), "/items/0/duration", "is not a duration"),
        (one(gain=float("nan")), "/items/0/gain", "dB"),
        (one(priority=100), "/items/0/priority", "belongs to the slate and 100 to alerts"),
        (one(overrun="wait"), "/items/0/overrun", "cut, join-late"),
        (one(out=1, **{"in": 2}), "/items/0/out", "not after its in-point"),
        ({"items": [{"id": "a", "source": "a"}]}, "/items/0/start", "follows nothing"),
        ({"items": [*one()["items"], *one()["items"]]}, "/items/1/id", "is there twice"),
    ],
)
def test_mistakes_get_a_pointer_and_a_sentence(row: Any, pointer: str, words: str) -> None:
    assert words in problems(row)[pointer]


def test_all_mistakes_are_told_at_once() -> None:
    found = problems(
        {"zone": 5, "items": [{"id": "a", "source": "a", "start": START, "gain": "loud"}, {"id": "a", "source": "b"}]}
    )
    assert set(found) == {"/zone", "/items/0/gain", "/items/1/id"}


def test_items_of_a_change() -> None:
    schedule = Schedule(repeat="daily", zone="Asia/Shanghai")
    assert items_from_json([{"id": "a", "source": "a", "start": "08:00:00"}], schedule)[0].daily == time(8)
    with pytest.raises(ScheduleError) as caught:
        items_from_json([{"id": "a"}], schedule)
    assert caught.value.problems[0].pointer == "/set/0/source"
    with pytest.raises(ScheduleError):
        items_from_json("a", schedule)


texts = st.text(max_size=12) | st.sampled_from([START, "20:00:00", "2026-03-29T02:30:00", "1:2:3", "Europe/Berlin"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
keys = st.sampled_from(["id", "source", "start", "in", "out", "duration", "gain", "priority", "zone", "loop", "extra"])
rows = st.fixed_dictionaries(
    {},
    optional={
        "items": st.lists(st.dictionaries(keys, values, max_size=6) | values, max_size=3) | values,
        "zone": values,
        "repeat": st.sampled_from(["never", "daily", "loop"]) | values,
        "version": values,
        "epoch": values,
        "lengths": values,
        "over": values,
        "begun": values,
        "loop": values,
    },
)


@given(rows | values)
def test_no_json_whatever_raises_anything_but_a_schedule_error(row: Any) -> None:
    try:
        schedule = from_json(row)
    except ScheduleError as error:
        problems = error.problems
    else:
        schedule.at(from_iso(START))
        assert from_json(json.loads(json.dumps(to_json(schedule)))).items == schedule.items
        return
    assert problems
    assert all(problem.detail for problem in problems)
