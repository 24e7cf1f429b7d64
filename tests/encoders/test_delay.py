"""The broadcast delay and its button."""

from __future__ import annotations

from fractions import Fraction

import av
import pytest

from encoders.delay import Delay
from encoders.emission import Emission, OnAir
from encoders.format import ChannelFormat
from headend.clock import from_seconds

FORMAT = ChannelFormat(160, 90, Fraction(25))
PICTURE = av.VideoFrame(160, 90, "yuv420p")
A = OnAir("item:a", "a")
ALERT = OnAir("take:warn", "warn", urgent=True)


def cover(slot: int, why: str) -> Emission:
    return Emission(slot, PICTURE, None, OnAir("slate", "slate", why=why))


def feed(delay: Delay, slots: range, label: OnAir = A) -> list[Emission]:
    return [delay.through(Emission(slot, PICTURE, None, label), cover) for slot in slots]


def names(sent: list[Emission]) -> list[str]:
    return [emission.label.source for emission in sent]


def test_everything_is_late_by_the_delay() -> None:
    delay = Delay(FORMAT, from_seconds(0.4))
    sent = feed(delay, range(100, 130))
    assert names(sent) == ["slate"] * 10 + ["a"] * 20
    assert [emission.slot for emission in sent] == list(range(100, 130))
    assert len({id(emission.label) for emission in sent}) == 2, "one stay, one label"
    assert delay.state()["full"]


def test_dump_removes_what_waits_and_the_delay_fills_again() -> None:
    delay = Delay(FORMAT, from_seconds(0.4))
    feed(delay, range(100, 120))
    assert delay.dump() == [A]
    sent = feed(delay, range(120, 150))
    assert names(sent) == ["slate"] * 10 + ["a"] * 20
    assert sent[0].label.why == "dump 1 removed what was delayed"
    assert delay.dumped == 10


def test_a_second_dump_works_while_the_first_is_covered() -> None:
    delay = Delay(FORMAT, from_seconds(0.4))
    feed(delay, range(100, 120))
    delay.dump()
    feed(delay, range(120, 125))
    delay.dump()
    assert names(feed(delay, range(125, 150))) == ["slate"] * 10 + ["a"] * 15
    assert delay.dumped == 15


def test_an_alert_does_not_wait() -> None:
    delay = Delay(FORMAT, from_seconds(0.4))
    feed(delay, range(100, 120))
    assert names(feed(delay, range(120, 125), ALERT)) == ["warn"] * 5
    sent = feed(delay, range(125, 150))
    assert names(sent) == ["slate"] * 10 + ["a"] * 15
    assert delay.lost == 10
    assert "after an alert" in sent[0].label.why


def test_a_jump_forward_drops_what_is_too_old() -> None:
    delay = Delay(FORMAT, from_seconds(0.4))
    feed(delay, range(100, 120))
    assert names(feed(delay, range(1000, 1020))) == ["slate"] * 10 + ["a"] * 10
    assert delay.lost == 10
    assert delay.state()["waiting"] == 10


def test_memory_is_bounded_with_the_arithmetic() -> None:
    uhd = ChannelFormat(3840, 2160, Fraction(50), ten_bit=True)
    with pytest.raises(
        ValueError, match=r"needs 350 pictures of 24,883,200 bytes .3840x2160 yuv420p10le.*at most 0.9 s"
    ):
        Delay(uhd, from_seconds(7))
    with pytest.raises(ValueError, match="shorter than one picture"):
        Delay(FORMAT, 5)
    assert Delay(FORMAT, from_seconds(7)).bytes == 175 * (160 * 90 * 3 // 2 + 2 * 4 * 1920)
