"""Takes and orders."""

from __future__ import annotations

from fractions import Fraction

import pytest

from encoders.format import ChannelFormat
from encoders.takes import ORDERS, Takes

FORMAT = ChannelFormat(160, 90, Fraction(25))


def test_orders_are_carried_out_at_their_slot() -> None:
    takes = Takes(FORMAT)
    takes.order(10, "cam", 60)
    takes.order(20, None, 60)
    takes.order(5, "warn", 100)
    assert takes.obey(4) == []
    assert takes.active == {}
    takes.obey(5)
    takes.obey(10)
    assert takes.active == {100: ("warn", 5), 60: ("cam", 10)}
    assert [row["priority"] for row in takes.state()["takes"]] == [100, 60]
    assert takes.obey(20) == ["cam"]
    assert takes.active == {100: ("warn", 5)}


def test_a_jump_carries_out_everything_that_was_due() -> None:
    takes = Takes(FORMAT)
    takes.order(10, "cam", 60)
    takes.order(11, "other", 60)
    takes.order(12, None, 60)
    takes.order(13, "cam", 60)
    assert takes.obey(1000) == ["other"]
    assert takes.active == {60: ("cam", 1000)}


def test_the_later_of_two_orders_for_one_slot_counts() -> None:
    takes = Takes(FORMAT)
    takes.order(10, "cam", 60)
    takes.order(10, "other", 60)
    takes.obey(10)
    assert takes.active[60][0] == "other"


def test_what_cannot_be_ordered() -> None:
    takes = Takes(FORMAT)
    with pytest.raises(ValueError, match="nothing to release"):
        takes.order(5, None, 60)
    for priority in (1, 101, -5):
        with pytest.raises(ValueError, match="use 2 to 100"):
            takes.order(5, "cam", priority)
    for slot in range(ORDERS):
        takes.order(slot, "cam", 60)
    with pytest.raises(ValueError, match="1000 takes and releases are waiting"):
        takes.order(5, "cam", 60)
