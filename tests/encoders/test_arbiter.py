"""Who is on air, slot by slot. Pure: no time but the number of calls."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders.arbiter import ALERT, FILLER, ITEM, SLATE, STANDING, SURE, TAKE, Arbiter, Candidate, Decision, Limits
from encoders.content import Sight
from encoders.format import ChannelFormat
from headend.clock import from_seconds

FORMAT = ChannelFormat(160, 90, Fraction(25))
LIMITS = Limits(black=from_seconds(4), frozen=from_seconds(5), silent=from_seconds(6))
ALERTING = Candidate("alert", ALERT, LIMITS)
CAM = Candidate("cam", TAKE, LIMITS)
ITEM_A = Candidate("a", ITEM)
FILL = Candidate("fill", FILLER)
SLATE_ = Candidate("slate", SLATE, SURE)
GOOD = Sight()


class Show:
    """Feeds an arbiter and counts slots of faults as a watch does."""

    def __init__(self, *candidates: Candidate) -> None:
        self.arbiter = Arbiter(FORMAT)
        self.candidates = list(candidates)
        self.runs: dict[str, Sight] = {c.key: GOOD for c in candidates}

    def slot(self, **faults: str) -> Decision:
        """One slot; ``cam="missing"`` says what is wrong with whom."""
        for candidate in self.candidates:
            key, fault = candidate.key, faults.get(candidate.key, "")
            old = self.runs.get(key, GOOD)
            run = {
                name: getattr(old, name) + 1 if name == fault else 0
                for name in ("missing", "black", "frozen", "silent")
            }
            self.runs[key] = Sight(**run, gone=fault.removeprefix("gone ") if fault.startswith("gone ") else "")
        return self.arbiter.decide(self.candidates, self.runs)

    def slots(self, count: int, **faults: str) -> list[str]:
        return [self.slot(**faults).key for _ in range(count)]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (["slate"], "slate"),
        (["fill", "slate"], "fill"),
        (["a", "fill", "slate"], "a"),
        (["cam", "a", "fill", "slate"], "cam"),
        (["alert", "cam", "a", "fill", "slate"], "alert"),
    ],
)
def test_the_highest_priority_is_on_air(keys: list[str], expected: str) -> None:
    show = Show(*[c for c in (SLATE_, FILL, ITEM_A, CAM, ALERTING) if c.key in keys])
    assert show.slot() == Decision(expected, held=False, changed=True, why="")
    assert show.slot() == Decision(expected, held=False, changed=False, why="")


def test_no_picture_is_held_for_a_second_then_the_next_comes() -> None:
    show = Show(CAM, ITEM_A, SLATE_)
    show.slot()
    for _ in range(24):
        assert show.slot(cam="missing") == Decision("cam", held=True, changed=False, why="")
    assert show.slot(cam="missing") == Decision("a", held=False, changed=True, why="cam has had no picture for 1 s")


@pytest.mark.parametrize(("fault", "slots"), [("black", 100), ("frozen", 125), ("silent", 150)])
def test_content_faults_last_for_their_limit(fault: str, slots: int) -> None:
    show = Show(CAM, ITEM_A, SLATE_)
    show.slot()
    assert set(show.slots(slots - 1, cam=fault)) == {"cam"}
    decision = show.slot(cam=fault)
    assert (decision.key, decision.changed) == ("a", True)
    assert f"cam has been {fault} for" in decision.why


def test_an_item_may_be_black_still_and_silent_for_ever() -> None:
    show = Show(ITEM_A, FILL, SLATE_)
    for fault in ("black", "frozen", "silent"):
        assert set(show.slots(1000, a=fault)) == {"a"}


def test_what_failed_returns_after_three_good_seconds_in_one_piece() -> None:
    show = Show(CAM, ITEM_A, SLATE_)
    show.slot()
    show.slots(25, cam="missing")
    assert set(show.slots(74)) == {"a"}
    assert show.slot(cam="missing").key == "a"
    assert set(show.slots(74)) == {"a"}
    assert show.slot() == Decision("cam", held=False, changed=True, why="cam has been good again for 3 s")


def test_a_second_of_black_does_not_earn_the_return() -> None:
    show = Show(CAM, ITEM_A, SLATE_)
    show.slot()
    show.slots(100, cam="black")
    for _ in range(20):
        assert set(show.slots(60)) == {"a"}
        assert set(show.slots(30, cam="black")) == {"a"}


def test_a_flapping_source_does_not_flap_on_air() -> None:
    show = Show(CAM, ITEM_A, SLATE_)
    show.slot()
    changes = 0
    for _ in range(50):
        changes += sum(show.slot(cam="missing").changed for _ in range(30))
        changes += sum(show.slot().changed for _ in range(30))
    assert changes == 1


def test_what_has_ended_leaves_at_once_and_the_reason_is_told() -> None:
    show = Show(ITEM_A, FILL, SLATE_)
    show.slot()
    assert show.slot(a="gone has ended") == Decision("fill", held=False, changed=True, why="a has ended")


def test_a_take_waits_for_its_first_picture_and_then_needs_no_probation() -> None:
    show = Show(ITEM_A, SLATE_)
    show.slot()
    show.candidates.insert(0, CAM)
    show.runs["cam"] = Sight(missing=500)
    assert set(show.slots(200, cam="missing")) == {"a"}
    assert show.slot().key == "cam"


def test_a_release_forgets_what_was_wrong() -> None:
    show = Show(CAM, ITEM_A, SLATE_)
    show.slot()
    show.slots(30, cam="missing")
    show.candidates.remove(CAM)
    show.slot()
    show.candidates.insert(0, CAM)
    assert show.slot().key == "cam"


def test_the_last_picture_is_held_while_the_next_item_opens_but_not_for_long() -> None:
    show = Show(ITEM_A, SLATE_)
    show.slot()
    show.candidates[0] = Candidate("b", ITEM, opening=True)
    decisions = [show.slot(b="missing") for _ in range(40)]
    assert decisions[0] == Decision("a", held=True, changed=False, why="")
    assert [d.key for d in decisions] == ["a"] * 25 + ["slate"] * 15
    assert show.slot() == Decision("b", held=False, changed=True, why="")


def test_without_anything_opening_the_slate_comes_at_once() -> None:
    show = Show(ITEM_A, SLATE_)
    show.slot()
    assert show.slot(a="gone has ended").key == "slate"


def test_at_the_start_there_is_nothing_to_hold() -> None:
    show = Show(Candidate("a", ITEM, opening=True), SLATE_)
    assert show.slot(a="missing").key == "slate"
    assert show.slot().key == "a"


def test_equal_priorities_do_not_take_turns() -> None:
    show = Show(ITEM_A, replace(ITEM_A, key="b"), SLATE_)
    assert show.slot(a="missing").key == "b"
    assert set(show.slots(10)) == {"b"}


def test_two_failures_fall_through() -> None:
    show = Show(ALERTING, CAM, ITEM_A, FILL, SLATE_)
    show.slot()
    decision = show.slot(alert="gone x", cam="gone y", a="gone z", fill="missing")
    assert (decision.key, decision.why) == ("slate", "alert x")
    assert show.arbiter.state()["failed"] == {"alert": "x", "cam": "y", "a": "z"}


def test_nothing_to_choose_from_is_refused() -> None:
    with pytest.raises(ValueError, match="not even a slate"):
        Arbiter(FORMAT).decide([], {})


def test_limits_are_checked() -> None:
    with pytest.raises(ValueError, match="the limit black is -1 s"):
        Limits(black=from_seconds(-1))


faults = st.sampled_from(["", "", "", "missing", "black", "frozen", "silent", "gone away"])


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.integers(1, 40),
            st.fixed_dictionaries({"cam": faults, "live": faults, "a": faults, "fill": faults}),
            st.sets(st.sampled_from(["cam", "live", "a", "fill"])),
        ),
        max_size=25,
    )
)
def test_whatever_happens(script: list[tuple[int, dict[str, str], set[str]]]) -> None:
    """Always one of the candidates or a held picture; never something failed; never the slate over something fit."""
    everyone = [CAM, Candidate("live", STANDING, LIMITS), ITEM_A, FILL, SLATE_]
    show = Show(*everyone)
    held = 0
    last = ""
    for count, wrong, there in script:
        show.candidates = [c for c in everyone if c.key in there or c is SLATE_]
        for _ in range(count):
            decision = show.slot(**wrong)
            listed = {c.key: c for c in show.candidates}
            assert decision.key in listed
            assert decision.changed == (decision.key != last)
            assert not show.arbiter.failure(decision.key) or decision.key == "slate"
            held = held + 1 if decision.held else 0
            assert held <= 25, "a picture is held for a second at most"
            better = [
                c
                for c in show.candidates
                if c.priority > listed[decision.key].priority
                and show.runs[c.key].delivered
                and not show.arbiter.failure(c.key)
            ]
            assert not better
            last = decision.key
