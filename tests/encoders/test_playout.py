"""The engine on a clock that jumps: every slot once, whatever happens to sources, overlays, disk and schedule."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from encoders.arbiter import LIVE_LIMITS, Limits
from encoders.asrun import AsRun
from encoders.delay import Delay
from encoders.format import ChannelFormat
from encoders.pace import Pacing
from encoders.playout import Playout
from encoders.schedule import Item, Schedule, VersionConflict
from encoders.source import Slice, Sound
from headend.clock import FakeClock, from_seconds

FORMAT = ChannelFormat(160, 90, Fraction(25))
F = FORMAT.slot_ticks
T0 = 1_800_000_000 * 27_000_000
S0 = FORMAT.slot_at(T0)
SECOND = from_seconds(1)


def picture(luma: int, number: int = 0) -> av.VideoFrame:
    """A picture whose brightness says whose it is, with a dot that moves."""
    frame = av.VideoFrame(160, 90, "yuv420p")
    for index, plane in enumerate(frame.planes):
        data = np.full((plane.buffer_size // plane.line_size, plane.line_size), 128 if index else luma, np.uint8)
        if index == 0:
            data[4::8, 4 + 8 * (number % 20)] = luma + 10 if luma < 128 else luma - 10
        plane.update(data.tobytes())
    return frame


def luma_of(frame: av.VideoFrame) -> int:
    return int(bytes(frame.planes[0])[0])


class Fake:
    """A source that does what the test says, slot by slot."""

    def __init__(
        self,
        name: str,
        luma: int,
        length: int | None = None,
        lost: Callable[[int], bool] = lambda slot: False,
        raises: Callable[[int], bool] = lambda slot: False,
        mute: bool = False,
        blind: bool = False,
        frozen: Callable[[int], bool] = lambda slot: False,
        broken: bool = False,
    ) -> None:
        self.name, self.luma, self.length, self.lost, self.raises = name, luma, length, lost, raises
        self.mute, self.blind, self.frozen, self.broken = mute, blind, frozen, broken
        self.first: int | None = None
        self.closed = False
        self.pulled: list[int] = []

    def open(self, first: int) -> None:
        if self.broken:
            raise OSError("moov atom not found")
        self.first = first

    def ready(self, slot: int) -> bool:
        return self.first is not None

    def pull(self, slot: int, wait: float = 0.0) -> Slice | None:
        assert not self.closed
        assert self.first is not None
        assert not self.pulled or slot > self.pulled[-1], "slots must rise"
        self.pulled.append(slot)
        if len(self.pulled) > 100:
            del self.pulled[:-2]
        if self.raises(slot):
            raise RuntimeError("decoder fell over")
        if self.lost(slot) or slot < self.first:
            return None
        if self.length is not None and slot >= self.first + self.length:
            return Slice(None, None, ended=True)
        samples = FORMAT.samples_in(slot)
        sound = None if self.mute else [np.full((2, samples), self.luma / 1000, np.float32)]
        shown = None if self.blind else picture(self.luma, 0 if self.frozen(slot) else slot)
        return Slice(shown, sound)

    def state(self) -> dict[str, Any]:
        return {"name": self.name, "connected": self.first is not None}

    def close(self) -> None:
        self.closed = True


class Recorder:
    """An output that remembers, stops the run at a slot, and runs commands before given slots are pushed."""

    def __init__(self, until: int) -> None:
        self.until = until
        self.slots: list[int] = []
        self.lumas: list[int] = []
        self.sounds: list[list[Sound]] = []
        self.done = threading.Event()
        self.at: dict[int, Callable[[], Any]] = {}

    def push(self, slot: int, picture: av.VideoFrame, sound: list[Sound]) -> None:
        assert len(sound) == 1
        assert sound[0].shape == (2, FORMAT.samples_in(slot))
        self.slots.append(slot)
        self.lumas.append(luma_of(picture))
        self.sounds.append(sound)
        if slot in self.at:
            self.at.pop(slot)()
        if slot >= self.until:
            self.done.set()
            threading.Event().wait(0.001)


class Rig:
    """A playout with fakes around it."""

    def __init__(self, slots: int, **options: Any) -> None:
        self.made: dict[str, list[Fake]] = {}
        self.fakes: dict[str, Callable[[], Fake]] = options.pop("fakes", {})
        self.cues: list[tuple[str, int, int]] = []
        self.out = Recorder(S0 + slots - 1)
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.clock = options.pop("clock", None) or FakeClock(T0)
        options.setdefault("pacing", Pacing(realtime=False))
        options.setdefault("start_slot", S0)
        self.playout = Playout(
            FORMAT,
            self.clock,
            self.out,
            make=self.make,
            on_event=lambda topic, payload: self.events.append((topic, payload)),
            **options,
        )
        self.slots = slots

    def make(self, item: Item, first: int, offset: int) -> Fake:
        self.cues.append((item.id, first, offset))
        if item.source not in self.fakes:
            raise FileNotFoundError(f"there is no file {item.source}")
        fake = self.fakes[item.source]()
        self.made.setdefault(item.source, []).append(fake)
        return fake

    def run(self) -> Rig:
        self.playout.start()
        assert self.out.done.wait(50), self.playout.state()
        assert self.playout.stop()
        shown = self.out.slots
        assert shown[: self.slots] == list(range(S0, S0 + self.slots)), "every slot exactly once"
        assert all(fake.closed for fakes in self.made.values() for fake in fakes), "all sources are closed"
        return self

    def runs(self) -> list[tuple[int, int]]:
        """(luma, slots) of each stretch that was shown."""
        found: list[tuple[int, int]] = []
        for luma in self.out.lumas[: self.slots]:
            if found and found[-1][0] == luma:
                found[-1] = (luma, found[-1][1] + 1)
            else:
                found.append((luma, 1))
        return found

    def why(self) -> list[str]:
        return [payload["why"] for topic, payload in self.events if topic == "onair"]


def item(id: str, start: float | None = None, seconds: float | None = None, **more: Any) -> Item:
    return Item(
        id,
        more.pop("source", id),
        start=None if start is None else T0 + from_seconds(start),
        duration=None if seconds is None else from_seconds(seconds),
        **more,
    )


def fakes(**lumas: int) -> dict[str, Callable[[], Fake]]:
    return {name: (lambda name=name, luma=luma: Fake(name, luma)) for name, luma in lumas.items()}  # type: ignore[misc]


FILLER = Schedule((Item("fill", "fill", duration=from_seconds(60)),), repeat="loop")


def test_items_join_at_their_slots_and_the_gap_is_filled() -> None:
    schedule = Schedule((item("a", 0, 2), item("b", seconds=1), item("c", 5, 1)))
    rig = Rig(160, schedule=schedule, filler=FILLER, fakes=fakes(a=50, b=60, c=70, fill=200)).run()
    assert rig.runs() == [(50, 50), (60, 25), (200, 50), (70, 25), (200, 10)]
    assert rig.playout.state()["counters"]["holds"] == 0


def test_a_restart_resumes_in_the_middle_of_an_item() -> None:
    rig = Rig(10, schedule=Schedule((item("a", -7, 60),)), fakes=fakes(a=50)).run()
    assert rig.cues == [("a", S0, from_seconds(7))]
    assert rig.why() == ["it is joined in progress"]


def test_an_item_is_opened_before_its_start() -> None:
    rig = Rig(30, schedule=Schedule((item("a", 0, 1), item("b", seconds=1))), fakes=fakes(a=50, b=60)).run()
    assert rig.cues == [("a", S0, 0), ("b", S0 + 25, 0)]


def test_nothing_at_all_shows_a_dark_picture_with_silence() -> None:
    rig = Rig(20).run()
    assert rig.runs() == [(16, 20)]
    assert not any(np.any(sound[0]) for sound in rig.out.sounds)


def test_an_item_that_cannot_be_opened_is_filled_and_the_log_says_why(tmp_path: Path) -> None:
    log = AsRun(tmp_path, FORMAT)
    schedule = Schedule((item("a", 0, 1), item("b", seconds=1), item("c", seconds=1)))
    fake = fakes(a=50, c=70, fill=200)
    rig = Rig(75, schedule=schedule, filler=FILLER, fakes=fake, asrun=log).run()
    assert [luma for luma, _ in rig.runs()] == [50, 200, 70]
    rows = log.rows(T0, T0 + 10 * SECOND)
    assert [row.item for row in rows] == ["a", "fill", "c"]
    assert rows[1].why == "'b' (b) could not be opened: there is no file b"
    assert sum(row.frames for row in rows) == len(rig.out.slots)


def test_an_item_that_raises_in_open_counts_as_failed() -> None:
    rig = Rig(20, schedule=Schedule((item("a", 0, 5),)), fakes={"a": lambda: Fake("a", 50, broken=True)}).run()
    assert rig.runs() == [(16, 20)]
    assert "moov atom not found" in str(rig.playout.state()["messages"])


@pytest.mark.parametrize(("early", "expected"), [("filler", [50, 200, 60]), ("pull-up", [50, 60, 200])])
def test_an_item_that_ends_early(early: Any, expected: list[int]) -> None:
    schedule = Schedule((item("a", 0, 4), item("b", seconds=2)), early=early)
    fake = {"a": lambda: Fake("a", 50, length=50), **fakes(b=60, fill=200)}
    rig = Rig(150, schedule=schedule, filler=FILLER, fakes=fake).run()
    assert [luma for luma, _ in rig.runs()] == expected
    assert rig.playout.state()["counters"]["holds"] <= 2
    assert any("has ended" in why for why in rig.why())


def test_what_follows_an_item_of_unknown_length_starts_when_it_ends() -> None:
    schedule = Schedule((item("a", 0), item("b", seconds=1), item("c", 4, 1)))
    fake = {"a": lambda: Fake("a", 50, length=40), **fakes(b=60, c=70, fill=200)}
    rig = Rig(120, schedule=schedule, filler=FILLER, fakes=fake).run()
    assert rig.runs() == [(50, 40), (60, 25), (200, 35), (70, 20)]


def test_a_folder_of_broken_files_is_not_raced_through() -> None:
    loop = Schedule(tuple(item(f"x{n}", seconds=10) for n in range(50)), repeat="loop")
    rig = Rig(200, schedule=loop, filler=FILLER, fakes=fakes(fill=200)).run()
    assert rig.runs()[-1][0] == 200
    assert len(rig.cues) < 20


def test_a_loop_is_anchored_at_its_epoch() -> None:
    loop = Schedule((item("a", seconds=1), item("b", seconds=2)), repeat="loop", epoch=T0 - 25010 * F)
    rig = Rig(150, schedule=loop, fakes=fakes(a=50, b=60)).run()
    place = 25010 % 75
    expected = [50 if (place + n) % 75 < 25 else 60 for n in range(150)]
    assert rig.out.lumas[:150] == expected


def test_take_and_release_at_given_times() -> None:
    live = Fake("cam", 120)
    rig = Rig(100, schedule=Schedule((item("a", 0, 60),)), sources={"cam": live}, fakes=fakes(a=50))
    assert rig.playout.take("cam", T0 + SECOND)["slot"] == S0 + 25
    rig.playout.release(T0 + 2 * SECOND + 1)
    rig.run()
    assert rig.runs() == [(50, 25), (120, 26), (50, 49)]
    assert rig.why() == ["it is joined in progress", "cam was taken", "cam was released"] or rig.why()[1:] == [
        "cam was taken",
        "cam was released",
    ]
    assert rig.cues == [("a", S0, 0)], "the schedule ran on underneath"


def test_a_take_at_once_is_on_air_in_the_next_slot() -> None:
    rig = Rig(40, schedule=Schedule((item("a", 0, 60),)), sources={"cam": Fake("cam", 120)}, fakes=fakes(a=50))
    rig.out.at[S0 + 9] = lambda: rig.playout.take("cam")
    rig.run()
    assert rig.runs()[0] in ((50, 10), (50, 11))


def test_a_lost_live_source_is_held_then_falls_back_and_returns_when_good() -> None:
    live = Fake("cam", 120, lost=lambda slot: S0 + 50 <= slot < S0 + 150 or slot == S0 + 20)
    rig = Rig(300, schedule=Schedule((item("a", 0, 60),)), sources={"cam": live}, live="cam", fakes=fakes(a=50)).run()
    # One second of hold-off, back after three good seconds.
    assert rig.runs() == [(120, 50 + 24), (50, 150 + 74 - 74), (120, 300 - 224)]
    assert rig.playout.state()["counters"]["holds"] == 25
    assert rig.why()[1:] == ["cam has had no picture for 1 s", "cam has been good again for 3 s"]


def test_a_frozen_live_source_falls_back() -> None:
    live = Fake("cam", 120, frozen=lambda slot: slot >= S0 + 20)
    limits = Limits(frozen=from_seconds(2))
    rig = Rig(
        120,
        schedule=Schedule((item("a", 0, 60),)),
        sources={"cam": live},
        live="cam",
        live_limits=limits,
        fakes=fakes(a=50),
    ).run()
    assert [luma for luma, _ in rig.runs()] == [120, 50]
    assert rig.why()[1] == "cam has been frozen for 2 s"


def test_cold_standby_opens_the_schedule_only_in_trouble() -> None:
    live = Fake("cam", 120, lost=lambda slot: slot >= S0 + 100)
    rig = Rig(
        170,
        schedule=Schedule((item("a", 0, 60),)),
        sources={"cam": live},
        live="cam",
        standby="cold",
        fakes=fakes(a=50),
    ).run()
    assert rig.runs() == [(120, 124), (50, 46)]
    # The one opened at the start was closed when the live source was good.
    assert [cue for cue in rig.cues if cue[1] > S0] == [("a", S0 + 101, 101 * F)]


def test_a_source_that_raises_is_set_aside() -> None:
    live = Fake("cam", 120, raises=lambda slot: slot >= S0 + 10)
    rig = Rig(60, schedule=Schedule((item("a", 0, 60),)), sources={"cam": live}, live="cam", fakes=fakes(a=50)).run()
    assert [luma for luma, _ in rig.runs()] == [120, 50]
    state = rig.playout.state()
    assert state["counters"]["source_errors"] == 1
    assert state["counters"]["errors"] == 0


def test_a_picture_of_another_format_is_left_out() -> None:
    class Odd(Fake):
        def pull(self, slot: int, wait: float = 0.0) -> Slice | None:
            return Slice(av.VideoFrame(80, 46, "yuv420p"), [np.zeros((2, 7), np.float32)])

    rig = Rig(30, schedule=Schedule((item("a", 0, 60),)), fakes={"a": lambda: Odd("a", 1)}).run()
    assert rig.runs() == [(16, 30)]
    assert rig.playout.state()["counters"]["misfits"] >= 30


def test_sound_of_the_wrong_length_is_made_to_fit() -> None:
    class Odd(Fake):
        def pull(self, slot: int, wait: float = 0.0) -> Slice | None:
            return Slice(picture(77, slot), [np.full((1, 7), np.nan, np.float32)])

    rig = Rig(30, schedule=Schedule((item("a", 0, 60),)), fakes={"a": lambda: Odd("a", 1)}).run()
    assert rig.runs() == [(77, 30)]
    assert all(np.isfinite(sound[0]).all() for sound in rig.out.sounds)
    assert rig.playout.state()["counters"]["misfits"] >= 30


def test_sound_without_picture_is_heard_over_the_slate() -> None:
    fake = {"a": lambda: Fake("a", 50), "b": lambda: Fake("b", 60, blind=True)}
    rig = Rig(100, schedule=Schedule((item("a", 0, 1), item("b", seconds=3))), fakes=fake).run()
    assert rig.runs() == [(50, 25), (16, 75)]
    assert float(rig.out.sounds[60][0].max()) == pytest.approx(0.06)


def test_there_is_no_click_at_joins_and_holds() -> None:
    fake = {"a": lambda: Fake("a", 50, lost=lambda slot: slot in (S0 + 10, S0 + 11)), "b": lambda: Fake("b", 200)}
    rig = Rig(50, schedule=Schedule((item("a", 0, 1), item("b", seconds=3))), fakes=fake).run()
    wave = np.concatenate([sound[0][0] for sound in rig.out.sounds[:50]])
    assert len(wave) == FORMAT.first_sample(S0 + 50) - FORMAT.first_sample(S0)
    assert float(np.abs(np.diff(wave)).max()) < 0.15 * np.pi / 2 / 240 * 1.1
    assert wave[12 * 1920 - 1] == 0
    assert wave[-1] == pytest.approx(0.2)


def test_skip_goes_on_to_the_next_item_at_a_slot() -> None:
    schedule = Schedule((item("a", 0, 60), item("b", seconds=60)))
    rig = Rig(60, schedule=schedule, fakes=fakes(a=50, b=60))
    assert rig.playout.skip(T0 + SECOND) == {"at": "2027-01-15T08:00:01.000Z", "skipped": "a", "next": "b"}
    rig.run()
    assert rig.runs() == [(50, 25), (60, 35)]
    assert rig.why()[-1] == "'a' was skipped"


def test_skip_brings_a_fixed_start_forward() -> None:
    schedule = Schedule((item("a", 0, 60), item("b", 100, 60)))
    rig = Rig(60, schedule=schedule, fakes=fakes(a=50, b=60))
    rig.playout.skip(T0 + SECOND)
    rig.run()
    assert rig.runs() == [(50, 25), (60, 35)]


def test_skip_in_a_loop_moves_the_rotation() -> None:
    loop = Schedule((item("a", seconds=60), item("b", seconds=60)), repeat="loop", epoch=T0)
    rig = Rig(60, schedule=loop, fakes=fakes(a=50, b=60))
    rig.playout.skip(T0 + SECOND)
    rig.run()
    assert rig.runs() == [(50, 25), (60, 35)]


def test_commands_say_what_is_wrong_with_them() -> None:
    playout = Rig(1, sources={"cam": Fake("cam", 120)}).playout
    with pytest.raises(ValueError, match=r"there is no source 'kam'.*the sources are: cam"):
        playout.take("kam")
    with pytest.raises(ValueError, match="is in the past"):
        playout.take("cam", T0 - SECOND)
    with pytest.raises(ValueError, match="no source is taken"):
        playout.release()
    with pytest.raises(ValueError, match="nothing is scheduled"):
        playout.skip()
    with pytest.raises(ValueError, match="no broadcast delay"):
        playout.dump()
    with pytest.raises(ValueError, match="priority 500"):
        playout.take("cam", priority=500)
    with pytest.raises(VersionConflict, match="version 9"):
        playout.load(Schedule(), version=9)
    with pytest.raises(ValueError, match="there is no source"):
        Rig(1, live="cam")


def test_a_new_schedule_keeps_what_is_on_air_and_drops_what_is_gone() -> None:
    rig = Rig(100, schedule=Schedule((item("a", 0, 60),)), fakes=fakes(a=50, b=60))

    def change() -> None:
        assert rig.playout.patch([item("b", 2, 60)], version=1).version == 2

    rig.out.at[S0 + 20] = change
    rig.out.at[S0 + 70] = lambda: rig.playout.load(Schedule())
    rig.run()
    assert [luma for luma, _ in rig.runs()] == [50, 60, 16]
    assert rig.runs()[0] == (50, 50)
    assert [cue[0] for cue in rig.cues] == ["a", "b"], "what is on air was not opened again"


def test_the_delay_and_its_dump_button(tmp_path: Path) -> None:
    log = AsRun(tmp_path, FORMAT)
    delay = Delay(FORMAT, from_seconds(2))
    rig = Rig(200, schedule=Schedule((item("a", 0, 60),)), fakes=fakes(a=50), delay=delay, asrun=log)
    rig.out.at[S0 + 99] = lambda: rig.playout.dump()
    rig.run()
    assert rig.runs() == [(16, 50), (50, 50), (16, 50), (50, 50)]
    assert delay.dumped == 50
    rows = log.rows(T0, T0 + 60 * SECOND)
    assert [row.source for row in rows] == ["slate", "a", "slate", "a"]
    assert rows[2].why == "dump 1 removed what was delayed"


def test_an_alert_passes_the_delay() -> None:
    rig = Rig(
        200,
        schedule=Schedule((item("a", 0, 60),)),
        fakes=fakes(a=50),
        delay=Delay(FORMAT, SECOND),
        sources={"warn": Fake("warn", 230)},
    )
    rig.playout.take("warn", T0 + 2 * SECOND, priority=100)
    rig.playout.release(T0 + 3 * SECOND, priority=100)
    rig.run()
    assert rig.runs() == [(16, 25), (50, 25), (230, 25), (16, 25), (50, 100)]


def test_overlays_in_order_and_a_broken_one_is_set_aside() -> None:
    class Brighter:
        def draw(self, slot: int, picture_: av.VideoFrame) -> av.VideoFrame:
            return picture(luma_of(picture_) + 1)

    class Broken:
        def draw(self, slot: int, picture_: av.VideoFrame) -> av.VideoFrame:
            raise RuntimeError("no glyph")

    rig = Rig(30, overlays=[Brighter(), Broken(), Brighter()]).run()
    assert rig.runs() == [(18, 30)]
    assert rig.playout.state()["counters"]["overlay_errors"] == 1


def test_an_output_that_raises_does_not_stop_playout() -> None:
    rig = Rig(30)
    push = rig.out.push

    def failing(slot: int, picture_: av.VideoFrame, sound: list[Sound]) -> None:
        push(slot, picture_, sound)
        if slot == S0 + 5:
            raise RuntimeError("encoder fell over")

    rig.out.push = failing  # type: ignore[method-assign,assignment]
    rig.run()
    assert rig.playout.state()["counters"]["output_errors"] == 1


def test_a_lag_that_can_be_caught_up_is_and_a_longer_one_is_jumped_over() -> None:
    late = FakeClock(T0 + 3 * SECOND)
    rig = Rig(
        100, clock=late, pacing=Pacing(latency=0), schedule=Schedule((item("a", 0, 60),)), fakes=fakes(a=50)
    ).run()
    assert rig.runs() == [(50, 100)]
    assert rig.playout.state()["counters"]["late"] > 60

    clock = FakeClock(T0 + 60 * SECOND)
    out = Recorder(S0 + 60 * 25)
    events: list[tuple[str, dict[str, Any]]] = []
    playout = Playout(
        FORMAT, clock, out, make=rig.make, start_slot=S0, pacing=Pacing(latency=0), on_event=lambda *e: events.append(e)
    )
    playout.start()
    assert out.done.wait(10)
    assert playout.stop()
    assert out.slots[0] == S0 + 60 * 25
    assert playout.state()["counters"]["jumped"] == 60 * 25
    assert any(topic == "alarm" and "jumped over 1500 pictures" in payload["message"] for topic, payload in events)


def test_state_is_json_and_complete() -> None:
    import json

    rig = Rig(
        30,
        schedule=Schedule((item("a", 0, 60), item("b", seconds=1))),
        sources={"cam": Fake("cam", 120)},
        fakes=fakes(a=50),
    )
    rig.playout.take("cam", T0 + 50 * SECOND)
    rig.run()
    state = json.loads(json.dumps(rig.playout.state()))
    assert state["on_air"]["item"] == "a"
    assert state["on_air"]["ends"] == "2027-01-15T08:01:00.000Z"
    assert state["next"]["item"] == "b"
    assert state["mode"] == "schedule"
    assert state["orders"][0]["source"] == "cam"
    assert set(state["sources"]) >= {"cam"}
    assert state["last_frame"].startswith("2027-01-15T08:00:01")


def test_closing_a_source_that_hangs_delays_no_slot() -> None:
    gate = threading.Event()

    class Stubborn(Fake):
        def close(self) -> None:
            gate.wait(20)
            super().close()

    rig = Rig(
        50,
        schedule=Schedule((item("a", 0, 1), item("b", seconds=60))),
        fakes={"a": lambda: Stubborn("a", 50), **fakes(b=60)},
    )
    began = time.monotonic()
    rig.playout.start()
    assert rig.out.done.wait(10)
    assert time.monotonic() - began < 5
    gate.set()
    assert rig.playout.stop()
    assert rig.runs() == [(50, 25), (60, 25)]


def test_two_hundred_joins_takes_and_losses(tmp_path: Path) -> None:
    """A mini-soak: rotation of odd items, a flapping live source, takes, skips, a delay, the as-run log."""
    kinds: dict[str, Callable[[], Fake]] = {
        "short": lambda: Fake("short", 50, length=13),
        "mute": lambda: Fake("mute", 60, mute=True),
        "blind": lambda: Fake("blind", 70, blind=True),
        "lossy": lambda: Fake("lossy", 80, lost=lambda slot: slot % 3 == 0),
        "raising": lambda: Fake("raising", 90, raises=lambda slot: slot % 50 == 7),
        "broken": lambda: Fake("broken", 95, broken=True),
        "good": lambda: Fake("good", 100),
        "fill": lambda: Fake("fill", 200),
    }
    loop = Schedule(
        tuple(Item(name, name, duration=from_seconds(0.8)) for name in (*kinds, "missing")),
        repeat="loop",
        epoch=T0,
        early="filler",
    )
    log = AsRun(tmp_path, FORMAT)
    live = Fake("cam", 120, lost=lambda slot: slot % 400 > 300)
    slots = 6000
    rig = Rig(
        slots,
        schedule=loop,
        filler=FILLER,
        fakes=kinds,
        sources={"cam": live},
        asrun=log,
        live_limits=replace_back(LIVE_LIMITS),
    )
    for n in range(0, slots, 160):
        rig.playout.take("cam", T0 + n * F)
        rig.playout.release(T0 + (n + 60) * F)
    threads: list[int] = []
    for n in range(100, slots, 100):
        rig.out.at[S0 + n] = lambda: threads.append(threading.active_count())
    rig.run()
    state = rig.playout.state()
    rows = log.rows(T0, T0 + 2 * slots * F)
    assert state["counters"]["joins"] >= 200
    assert state["counters"]["errors"] == 0
    assert max(threads[5:]) - min(threads[5:]) <= 1, threads
    assert sum(sound[0].shape[1] for sound in rig.out.sounds[:slots]) == FORMAT.first_sample(
        S0 + slots
    ) - FORMAT.first_sample(S0)
    assert sum(row.frames for row in rows) == len(rig.out.slots)
    assert all(a.end == b.start for a, b in pairwise(rows)), "the log has no hole"
    assert state["asrun"]["waiting"] == 0


def replace_back(limits: Limits) -> Limits:
    from dataclasses import replace

    return replace(limits, back_after=from_seconds(0.2))


def test_skip_twice_passes_over_two_items() -> None:
    schedule = Schedule((item("a", 0, 60), item("b", seconds=60), item("c", seconds=60)))
    rig = Rig(60, schedule=schedule, fakes=fakes(a=50, b=60, c=70))
    assert rig.playout.skip(T0 + SECOND)["next"] == "b"
    assert rig.playout.skip(T0 + SECOND)["next"] == "c"
    rig.run()
    assert rig.runs() == [(50, 25), (70, 35)]


def test_an_item_of_a_loop_is_skipped_when_it_is_on_air() -> None:
    loop = Schedule((item("a", seconds=60), item("b", seconds=60)), repeat="loop", epoch=T0)
    playout = Rig(60, schedule=loop).playout
    playout.skip(T0 + SECOND)
    with pytest.raises(ValueError, match="'b' has not begun yet"):
        playout.skip(T0 + SECOND)


def test_a_file_that_comes_into_the_folder_does_not_disturb_what_is_on_air() -> None:
    loop = Schedule((item("a", seconds=60), item("b", seconds=60)), repeat="loop", epoch=T0 - 500 * SECOND)
    rig = Rig(60, schedule=loop, fakes=fakes(a=50, b=60))
    rig.out.at[S0 + 20] = lambda: rig.playout.patch([item("c", seconds=33)])
    rig.out.at[S0 + 40] = lambda: rig.playout.load(
        Schedule((item("b", seconds=60), item("a", seconds=60)), repeat="loop")
    )
    rig.run()
    assert rig.runs() == [(50, 60)]
    assert [cue[0] for cue in rig.cues] == ["a"]


def test_finished_rows_are_told(tmp_path: Path) -> None:
    schedule = Schedule((item("a", 0, 1), item("b", seconds=1)))
    rig = Rig(60, schedule=schedule, fakes=fakes(a=50, b=60), asrun=AsRun(tmp_path, FORMAT)).run()
    assert [payload["item"] for topic, payload in rig.events if topic == "asrun"] == ["a", "b", ""]


def test_nonsense_from_a_source_is_not_heard() -> None:
    class Odd(Fake):
        def pull(self, slot: int, wait: float = 0.0) -> Slice | None:
            return Slice(picture(77, slot), ["no", 3])  # type: ignore[list-item]

    rig = Rig(30, schedule=Schedule((item("a", 0, 60),)), fakes={"a": lambda: Odd("a", 1)}).run()
    assert not any(np.any(sound[0]) for sound in rig.out.sounds)
    assert rig.runs()[-1][0] in (16, 77)


def test_a_source_that_hangs_while_it_is_opened_costs_its_time_once() -> None:
    gate = threading.Event()

    class Hanging(Fake):
        def open(self, first: int) -> None:
            gate.wait(20)
            super().open(first)

    rig = Rig(
        100,
        schedule=Schedule((item("a", 0, 60),)),
        fakes={"a": lambda: Hanging("a", 50)},
        pacing=Pacing(first_wait=0.1, latency=0),
    )
    began = time.monotonic()
    rig.playout.start()
    assert rig.out.done.wait(20)
    assert time.monotonic() - began < 3
    gate.set()
    assert rig.playout.stop()
    assert rig.out.slots[:100] == list(range(S0, S0 + 100))


def test_running_standby_pulls_one_fallback_and_no_more() -> None:
    rig = Rig(
        60,
        schedule=Schedule((item("a", 0, 2), item("b", 100, 60))),
        sources={"cam": Fake("cam", 120)},
        live="cam",
        filler=FILLER,
        fakes=fakes(a=50, fill=200),
    ).run()
    assert rig.runs() == [(120, 60)]
    assert rig.made["a"][0].pulled[:50] == list(range(S0, S0 + 50))
    assert rig.made["fill"][0].pulled[0] == S0 + 50, "filler runs along only when the schedule has nothing"
