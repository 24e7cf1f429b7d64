"""The line-up: who may be on air, in which order, and what has to be open."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from encoders.arbiter import ITEM_LIMITS, LIVE_LIMITS
from encoders.format import ChannelFormat
from encoders.lineup import Lineup
from encoders.schedule import Item, Schedule
from encoders.source import Slice
from encoders.stage import Cue, Stage
from headend.clock import from_seconds

FORMAT = ChannelFormat(160, 90, Fraction(25))
F = FORMAT.slot_ticks
T0 = 1_800_000_000 * 27_000_000
S0 = FORMAT.slot_at(T0)
FILLER = Schedule((Item("fill", "fill", duration=from_seconds(7)),), repeat="loop", epoch=T0)


class Wanted(Stage):
    """A stage that notes what is wanted, and opens nothing."""

    def __init__(self, *names: str) -> None:
        super().__init__(FORMAT, make, {name: Nothing(name) for name in names})
        self.cues: Mapping[str, Cue] = {}

    def want(self, cues: Mapping[str, Cue], slot: int) -> None:
        self.cues = cues


class Nothing:
    def __init__(self, name: str) -> None:
        self.name = name

    def open(self, first: int) -> None: ...

    def ready(self, slot: int) -> bool:
        return False

    def pull(self, slot: int, wait: float = 0.0) -> Slice | None:
        return None

    def state(self) -> dict[str, Any]:
        return {}

    def close(self) -> None: ...


def make(item: Item, first: int, offset: int) -> Nothing:
    return Nothing(item.id)


def item(id: str, start: float | None, seconds: float | None, **more: Any) -> Item:
    at = None if start is None else T0 + from_seconds(start)
    return Item(id, more.pop("source", id), start=at, duration=from_seconds(seconds) if seconds else None, **more)


def lineup(stage: Stage, **more: Any) -> Lineup:
    options: dict[str, Any] = {"filler": FILLER, "standby": "running", **more}
    return Lineup(FORMAT, stage, options["filler"], LIVE_LIMITS, ITEM_LIMITS, options["standby"], S0)


def test_the_order_of_priorities() -> None:
    stage = Wanted("cam", "warn", "studio")
    schedule = Schedule((item("a", 0, 60, priority=57),))
    seats = lineup(stage).seats(S0, schedule, "cam", {60: ("studio", S0), 100: ("warn", S0)})
    assert [(s.candidate.priority, s.label.source) for s in seats] == [
        (100, "warn"),
        (60, "studio"),
        (57, "a"),
        (55, "cam"),
        (25, "fill"),
        (1, "slate"),
    ]
    assert [s.label.urgent for s in seats] == [True] + [False] * 5


def test_what_is_opened_and_where_it_begins() -> None:
    stage = Wanted("cam")
    line = lineup(stage)
    schedule = Schedule(
        (item("a", 0, 10), item("b", None, 1), item("c", None, 1), item("d", None, 1), item("e", 30, 5))
    )
    line.seats(S0 + 50, schedule, None, {})
    assert {key: (cue.first, cue.offset) for key, cue in stage.cues.items()} == {"item:a": (S0 + 50, 50 * F)}
    line.seats(S0 + 126, schedule, None, {})
    assert set(stage.cues) == {"item:a", "item:b"}
    assert stage.cues["item:b"].first == S0 + 250
    line.seats(S0 + 249, schedule, None, {})
    assert {key for key in stage.cues if key.startswith("item")} == {"item:a", "item:b", "item:c"}, "two ahead"


def test_filler_is_opened_before_a_gap_and_its_next_item_before_its_end() -> None:
    stage = Wanted()
    schedule = Schedule((item("a", 0, 10), item("b", 60, 10)))
    line = lineup(stage)
    line.seats(S0 + 100, schedule, None, {})
    assert set(stage.cues) == {"item:a"}
    line.seats(S0 + 130, schedule, None, {})
    assert set(stage.cues) == {"item:a", "filler:fill@0", "filler:fill@1"}
    assert stage.cues["filler:fill@0"].offset == 130 * F
    assert stage.cues["filler:fill@1"].first == S0 + 175


def test_an_item_may_name_a_live_source() -> None:
    stage = Wanted("cam")
    seats = lineup(stage).seats(S0, Schedule((item("news", 0, 60, source="cam"),)), None, {})
    assert seats[0].act is stage.standing["cam"]
    assert seats[0].candidate.limits is LIVE_LIMITS
    assert "item:news" not in stage.cues


def test_the_slate_can_be_taken() -> None:
    stage = Wanted()
    line = lineup(stage)
    seats = line.seats(S0, Schedule(), None, {60: ("slate", S0)})
    sights = line.look(seats, S0, 0.0, {})
    assert seats[0].candidate.priority == 60
    assert sights[seats[0].candidate.key].delivered
    assert line.delivered


def test_credentials_are_not_in_labels() -> None:
    stage = Wanted()
    seats = lineup(stage).seats(S0, Schedule((item("a", 0, 60, source="rtsp://admin:secret@camera/1"),)), None, {})
    assert "secret" not in str(seats[0].label) + seats[0].candidate.name


def test_an_item_that_never_shows_anything_is_given_up() -> None:
    stage = Stage(FORMAT, make, {})
    line = lineup(stage, filler=None)
    schedule = Schedule((item("a", 0, 60),))
    gone = {}
    for slot in range(S0, S0 + 140):
        seats = line.seats(slot, schedule, None, {})
        act = seats[0].act
        assert act is not None
        assert act.opened.wait(10)
        gone[slot - S0] = line.look(seats, slot, 0.0, {})["item:a"].gone
    assert gone[125] == ""
    assert gone[126] == "has shown nothing since it should have begun"
    stage.close()
