"""The stage: sources made, opened, pulled and closed without stopping playout."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest

from encoders import stage as module
from encoders.format import ChannelFormat
from encoders.schedule import Item
from encoders.source import Slice
from encoders.stage import Cue, Stage, Stagehand
from headend.clock import from_seconds

FORMAT = ChannelFormat(160, 90, Fraction(25))


class Fake:
    def __init__(self, name: str, **behaviour: Any) -> None:
        self.name = name
        self.behaviour = behaviour
        self.opened: int | None = None
        self.closed = 0
        self.waits: list[float] = []

    def open(self, first: int) -> None:
        if self.behaviour.get("shut"):
            raise OSError("port 5000 is in use")
        self.opened = first

    def ready(self, slot: int) -> bool:
        return True

    def pull(self, slot: int, wait: float = 0.0) -> Slice | None:
        self.waits.append(wait)
        if self.behaviour.get("raises"):
            raise RuntimeError("rtsp://admin:secret@camera broke")
        if self.behaviour.get("nothing"):
            return None
        if self.behaviour.get("ended"):
            return Slice(None, None, ended=True)
        return Slice(av.VideoFrame(160, 90, "yuv420p"), [np.zeros((2, 1920), np.float32)])

    def state(self) -> dict[str, Any]:
        if self.behaviour.get("mute_state"):
            raise RuntimeError("no state")
        return {"name": self.name, "message": self.behaviour.get("message", "")}

    def close(self) -> None:
        self.closed += 1


class Rig:
    def __init__(self, **behaviour: Any) -> None:
        self.made: list[Fake] = []
        self.behaviour = behaviour
        self.gate: Callable[[], None] = lambda: None
        self.cam = Fake("cam", **behaviour)
        self.stage = Stage(FORMAT, self.make, {"cam": self.cam}, back_off=from_seconds(10))

    def make(self, item: Item, first: int, offset: int) -> Fake:
        self.gate()
        if self.behaviour.get("refuse"):
            raise FileNotFoundError("there is no file x")
        self.made.append(Fake(item.id, **self.behaviour))
        return self.made[-1]


def cue(key: str = "a", first: int = 100, **more: Any) -> Cue:
    return Cue(key, Item(key, f"{key}.mp4", **more), first, 0)


def void(_: object) -> None:
    """For a lambda that returns nothing."""


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_what_is_wanted_is_opened_once_and_what_is_not_is_closed() -> None:
    rig = Rig()
    for slot in range(90, 110):
        rig.stage.want({"a": cue(first=max(slot, 100))}, slot)
    rig.stage.wait("a", 10)
    assert [fake.opened for fake in rig.made] == [100]
    rig.stage.want({}, 110)
    until(lambda: rig.made[0].closed == 1)
    assert rig.stage.act("a") is None
    rig.stage.close()


def test_a_start_that_moved_before_it_came_is_opened_anew() -> None:
    rig = Rig()
    rig.stage.want({"a": cue(first=100)}, 90)
    rig.stage.wait("a", 10)
    rig.stage.want({"a": cue(first=95)}, 91)
    rig.stage.wait("a", 10)
    until(lambda: rig.made[0].closed == 1)
    assert [fake.opened for fake in rig.made] == [100, 95]
    rig.stage.want({"a": cue(first=95, gain=3.0)}, 96)
    rig.stage.wait("a", 10)
    assert len(rig.made) == 3, "another item under the same id"
    rig.stage.close()


def test_a_slot_is_asked_for_once() -> None:
    rig = Rig()
    rig.stage.open(0)
    act = rig.stage.standing["cam"]
    assert act.opened.wait(10)
    first = rig.stage.pull(act, 5)
    assert rig.stage.pull(act, 5) is first
    assert len(rig.cam.waits) == 1
    rig.stage.close()
    until(lambda: rig.cam.closed == 1)


def test_what_lets_a_wait_run_out_is_not_waited_for_again() -> None:
    rig = Rig(nothing=True)
    rig.stage.open(0)
    act = rig.stage.standing["cam"]
    assert act.opened.wait(10)
    for slot in range(5):
        rig.stage.pull(act, slot, 30.0)
    assert rig.cam.waits == [30.0, 0.0, 0.0, 0.0, 0.0]
    rig.cam.behaviour.clear()
    rig.stage.pull(act, 5, 30.0)
    rig.stage.pull(act, 6, 30.0)
    assert rig.cam.waits[5:] == [0.0, 30.0]
    rig.stage.close()


def test_what_raises_is_set_aside_and_asked_again_later() -> None:
    rig = Rig(raises=True)
    rig.stage.open(0)
    act = rig.stage.standing["cam"]
    assert act.opened.wait(10)
    for slot in range(1000):
        rig.stage.pull(act, slot)
    assert len(rig.cam.waits) == 3, "at 0 s, after 10 s, 20 s more"
    state = rig.stage.state()
    assert state["exceptions"] == 3
    assert "secret" not in str(state["messages"])
    rig.cam.behaviour.clear()
    assert rig.stage.pull(act, 10_000) is not None
    rig.stage.close()


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        ({"refuse": True}, "could not be opened: there is no file x"),
        ({"ended": True, "message": "x.mp4 is no media"}, "x.mp4 is no media"),
        ({"ended": True}, "had nothing to show"),
        ({"ended": True, "mute_state": True}, "no state"),
    ],
)
def test_what_fails_says_why_and_is_tried_again(behaviour: dict[str, Any], words: str) -> None:
    rig = Rig(**behaviour)
    attempts = 0
    for slot in range(100, 1400):
        rig.stage.want({"a": cue(first=slot)}, slot)
        act = rig.stage.act("a")
        assert act is not None
        assert act.opened.wait(10)
        rig.stage.pull(act, slot)
        assert act.failed == words
        attempts = max(attempts, len(rig.stage.state()["messages"]))
    state = rig.stage.state()
    # Tried at 0, 10, 30 s; the next attempt is 40 s later.
    assert state["made"] == (0 if "refuse" in behaviour else 3)
    rig.stage.close()


def test_what_is_struck_while_it_opens_is_closed_when_it_is_open() -> None:
    rig = Rig()
    gate = threading.Event()
    rig.gate = lambda: void(gate.wait(10))
    rig.stage.want({"a": cue()}, 90)
    rig.stage.want({}, 91)
    gate.set()
    until(lambda: not rig.stage.state()["opening"])
    until(lambda: all(fake.closed == 1 for fake in rig.made))
    rig.stage.close()


def test_a_stagehand_that_is_stuck_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STUCK", 0.05)
    rig = Rig()
    gate = threading.Event()
    rig.gate = lambda: void(gate.wait(20))
    rig.stage.want({"a": cue()}, 90)
    until(lambda: rig.stage._opener._began is not None)
    rig.gate = lambda: None
    time.sleep(0.06)
    rig.stage.want({"a": cue(), "b": cue("b")}, 91)
    act = rig.stage.act("b")
    assert act is not None
    assert act.opened.wait(10), "another thread opens it"
    assert rig.stage.state()["stuck"] == 1
    gate.set()
    rig.stage.close()
    until(lambda: all(fake.closed == 1 for fake in rig.made))


def test_stagehands_given_up_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STUCK", 0.0)
    hand = Stagehand("test")
    gate = threading.Event()
    for _ in range(50):
        hand.do(lambda: void(gate.wait(20)))
    for _ in range(200):
        hand.watch()
        time.sleep(0.001)
    assert hand.stuck == module.MOST_STUCK
    gate.set()
    hand.close()
    until(lambda: hand.backlog == 0)


def test_a_picture_of_another_format_is_left_out() -> None:
    rig = Rig()
    rig.stage.open(0)
    act = rig.stage.standing["cam"]
    assert act.opened.wait(10)
    act.source = Fake("odd")
    act.source.pull = lambda slot, wait=0.0: Slice(av.VideoFrame(80, 46, "yuv420p"), None)  # type: ignore[method-assign]
    assert rig.stage.pull(act, 1) is None
    assert rig.stage.misfits == 1
    rig.stage.close()


def test_a_standing_source_that_could_not_be_opened_is_opened_later() -> None:
    rig = Rig(shut=True)
    rig.stage.open(0)
    act = rig.stage.standing["cam"]
    until(lambda: bool(act.failed))
    assert rig.stage.pull(act, 1) is None
    assert act.failed == "could not be opened: port 5000 is in use"
    rig.cam.behaviour.clear()
    for slot in range(2, 300):
        rig.stage.want({}, slot)
    assert act.opened.wait(10)
    assert rig.stage.pull(act, 300) is not None
    assert rig.cam.opened == 252
    rig.stage.close()
