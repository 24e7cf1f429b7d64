"""What is meant to be on air when: items, and the plan that follows from them.

A schedule is immutable; every change makes another one with a higher version. What is planned is a pure function
of it: the same schedule gives the same answer on every machine and after every restart, so playout resumes in the
middle of a programme by asking what should be on air now.

Items stand in the order of play. An item with a *fixed start* begins at its instant; a *follow-on* item begins
where the item before it ends. A fixed start cuts the item before it, or waits for its end when that item says
``overrun: join-late``; the late item is then joined at the place it would have reached. What nothing covers is a
gap, and belongs to the filler. A schedule repeats in one of three ways:

- ``never``: the items are played once, at their instants;
- ``daily``: fixed starts are local times of day in an IANA zone, and each broadcast day plays the items again. On a
  23-hour day a start that the clocks skip moves on by the skipped hour; on a 25-hour day a start that occurs
  twice means the first;
- ``loop``: a rotation, e.g. of a folder, without fixed starts, anchored at ``epoch``.

What happened otherwise than planned (an item that ended early, a skip) is recorded in the schedule too
(``ended``, ``begun``): the follow-on items move, and a restart that reads it back moves them alike.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, time, timedelta
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from encoders.item import Item, Planned
from encoders.localtime import local_start
from encoders.problem import Problem, ScheduleError, faults, validate
from headend.clock import to_datetime

__all__ = ["Item", "Plan", "Planned", "Problem", "Schedule", "ScheduleError", "VersionConflict", "validate"]

Repeat = Literal["never", "daily", "loop"]
Early = Literal["filler", "pull-up"]

KEPT_DAYS: Final = 3
"""Days for which a daily schedule remembers what went otherwise than planned."""


class VersionConflict(ValueError):
    """A change was meant for another version of the schedule than the one in force."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The appearances of a stretch of schedule, in order of time."""

    planned: tuple[Planned, ...]
    waiting: Mapping[str, tuple[Item, ...]] = field(default_factory=dict)
    """By key of an appearance whose end is not known: the items that start when it ends."""
    unreached: tuple[Item, ...] = ()
    """Items that a fixed start leaves no room for."""
    cut: tuple[tuple[Item, Item, int], ...] = ()
    """(item, what cuts it or is made late by it, ticks of overlap)."""

    def at(self, ticks: int) -> Planned | None:
        """What covers an instant; None in a gap."""
        place = bisect_right(self.planned, ticks, key=lambda p: p.start) - 1
        if place < 0:
            return None
        found = self.planned[place]
        return found if found.end is None or ticks < found.end else None

    def after(self, ticks: int, count: int) -> tuple[Planned, ...]:
        """What starts later than an instant, at most ``count``."""
        place = bisect_right(self.planned, ticks, key=lambda p: p.start)
        return self.planned[place : place + count]


@dataclass(frozen=True, slots=True, eq=False)
class Schedule:
    """Items and how they repeat. Immutable; methods that change something return another schedule.

    Raises ScheduleError for duplicate ids, an unknown zone, a zero or negative duration, or starts that do not
    suit the way of repeating.
    """

    items: tuple[Item, ...] = ()
    version: int = 1
    repeat: Repeat = "never"
    zone: str = "UTC"
    """IANA zone of local times."""
    epoch: int = 0
    """Ticks at which a loop's first turn begins, and at which a first item that follows nothing does."""
    early: Early | None = None
    """What follows an item that ends early; None: ``pull-up`` in a loop, else ``filler``."""
    lengths: Mapping[str, int] = field(default_factory=dict)
    """Length of the media of items (by id) that do not say how long they are, as probed."""
    begun: Mapping[str, int] = field(default_factory=dict)
    """Real starts of appearances (by key) that began otherwise than planned."""
    over: Mapping[str, int] = field(default_factory=dict)
    """Real ends of appearances (by key) that ended otherwise than planned."""
    _plans: dict[str, Plan] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if errors := [problem for problem in faults(self) if problem.level == "error"]:
            raise ScheduleError(errors)

    # What is on, and what is next

    def at(self, ticks: int) -> Planned | None:
        """What should be on air at an instant; None in a gap."""
        return self.plan(ticks).at(ticks)

    def upcoming(self, ticks: int, count: int = 1) -> tuple[Planned, ...]:
        """The next appearances that start later than an instant, at most ``count``."""
        found: list[Planned] = []
        if self.repeat == "loop":
            while len(found) < count and (current := self._turn(found[-1].start if found else ticks, 1)):
                found.append(current)
            return tuple(found)
        found += self.plan(ticks).after(ticks, count)
        day = ticks
        while self.repeat == "daily" and len(found) < count and day < ticks + (count + 2) * 86_400 * 27_000_000:
            # The middle day of each window is the one that is planned right.
            day += 86_400 * 27_000_000
            last = found[-1].start if found else ticks
            found += self.plan(day).after(last, count - len(found))
        return tuple(found)

    def waiting(self, ticks: int) -> tuple[Item, ...]:
        """Items that come on air when what is on air at ``ticks`` ends, its end not being known beforehand."""
        plan = self.plan(ticks)
        current = plan.at(ticks)
        return plan.waiting.get(current.key, ()) if current is not None else ()

    def length(self, item: Item) -> int | None:
        """How long an item is on air when nothing cuts it; None: until it ends or is cut."""
        if item.duration is not None:
            return item.duration
        if item.loop:
            return None
        if item.out_point is not None:
            return item.out_point - item.in_point
        media = self.lengths.get(item.id)
        return None if media is None else max(0, media - item.in_point)

    def unprobed(self) -> tuple[Item, ...]:
        """Items whose length only the media can tell: probe them and call :meth:`with_lengths`."""
        return tuple(i for i in self.items if not i.loop and i.id not in self.lengths and self.length(i) is None)

    @property
    def pulls_up(self) -> bool:
        """Whether what follows comes early when an item ends early."""
        return (self.early or ("pull-up" if self.repeat == "loop" else "filler")) == "pull-up"

    # Its JSON form

    @classmethod
    def from_json(cls, row: Any) -> Schedule:
        """See :mod:`encoders.scheduleform`. Raises ScheduleError, whose ``problems`` name everything that is wrong."""
        from encoders.scheduleform import from_json

        return from_json(row)

    def to_json(self) -> dict[str, Any]:
        """See :mod:`encoders.scheduleform`."""
        from encoders.scheduleform import to_json

        return to_json(self)

    # What changes it

    def with_lengths(self, lengths: Mapping[str, int]) -> Schedule:
        """The same schedule, knowing the lengths (ticks, by item id) of more media."""
        return self._but(lengths={**self.lengths, **lengths})

    def ended(self, planned: Planned, ticks: int) -> Schedule:
        """The same schedule, one appearance having ended at ``ticks``: what follows on moves up."""
        if self.repeat == "loop":
            epoch = self.epoch - ((planned.end or ticks) - ticks)
            if epoch < 0 and (turn := sum(self.length(item) or 0 for item in self.items)):
                # The same rotation, begun some turns later: house time has no instants before the Unix epoch.
                epoch %= turn
            return self._but(epoch=epoch)
        return self._but(over={**self._recent(self.over, ticks), planned.key: ticks})

    def brought_forward(self, planned: Planned, ticks: int) -> Schedule:
        """The same schedule, one appearance beginning at ``ticks`` instead of its fixed start."""
        return self._but(begun={**self._recent(self.begun, ticks), planned.key: ticks})

    def anchored(self, planned: Planned | None) -> Schedule:
        """The same loop, turned so that what is on air goes on where it is, whatever was added or removed around it.

        Other schedules, and a loop in which that item is no more, stay as they are.
        """
        lengths = [(item, self.length(item) or 0) for item in self.items]
        place = next((n for n, (item, _) in enumerate(lengths) if planned and item.id == planned.item.id), None)
        if self.repeat != "loop" or planned is None or place is None or not planned.occurrence.lstrip("-").isdigit():
            return self
        before = sum(length for _, length in lengths[:place])
        # The number of the turn stays too: it is part of the appearance's key.
        turns = int(planned.occurrence) * sum(length for _, length in lengths)
        return self._but(epoch=planned.start - before - turns)

    def patch(self, set: Iterable[Item] = (), remove: Iterable[str] = (), version: int | None = None) -> Schedule:
        """Another version: items of ``set`` replace those with the same id, in place, or are added; the ids of
        ``remove`` go. A new item with a fixed start is put where it belongs in time, another one at the end.

        Raises VersionConflict if ``version`` is given and not this one's, ScheduleError if the result is unusable
        or an id to remove is not there.
        """
        self.check_version(version)
        gone = tuple(remove)
        items = {item.id: item for item in self.items}
        if missing := [id for id in gone if id not in items]:
            raise ScheduleError(
                [
                    Problem(f"/remove/{gone.index(id)}", f"there is no item {id!r}, so it cannot be removed", "error")
                    for id in missing
                ]
            )
        for id in gone:
            del items[id]
        rows = list(items.values())
        for item in set:
            if item.id in items:
                rows[next(n for n, row in enumerate(rows) if row.id == item.id)] = item
            else:
                rows.insert(_place(rows, item), item)
            items[item.id] = item
        stale = {item.id for item in set}
        lengths = {id: ticks for id, ticks in self.lengths.items() if id in items and id not in stale}
        return self._but(items=tuple(rows), version=self.version + 1, lengths=lengths)

    def check_version(self, version: int | None) -> None:
        """Raises VersionConflict if ``version`` is given and is not this one's."""
        if version is not None and version != self.version:
            raise VersionConflict(
                f"the change is meant for version {version} of the schedule, but version {self.version} is in force, "
                "so nothing was changed; read the schedule again and repeat the change"
            )

    # How it is planned

    def _but(self, **changes: Any) -> Schedule:
        return replace(self, **changes, _plans={})

    def _recent(self, instants: Mapping[str, int], ticks: int) -> dict[str, int]:
        """Without what is so long ago that no plan looks at it: a daily schedule lives for years."""
        if self.repeat != "daily":
            return dict(instants)
        return {key: t for key, t in instants.items() if ticks - t < KEPT_DAYS * 86_400 * 27_000_000}

    def plan(self, ticks: int) -> Plan:
        """The plan that covers an instant: all, or a daily one's day and its neighbours, or a loop's one item."""
        if self.repeat == "loop":
            found = self._turn(ticks, 0)
            return Plan((found,) if found else ())
        day = to_datetime(ticks).astimezone(ZoneInfo(self.zone)).date() if self.repeat == "daily" else None
        name = "" if day is None else day.isoformat()
        plan = self._plans.get(name)
        if plan is None:
            if len(self._plans) > 8:
                self._plans.clear()
            plan = self._plans[name] = lay_out(self, day)
        return plan

    def _turn(self, ticks: int, ahead: int) -> Planned | None:
        """The item of the rotation that covers an instant, or the one so many later."""
        items = [(item, length) for item in self.items if (length := self.length(item))]
        if not items:
            return None
        total = sum(length for _, length in items)
        turn, rest = divmod(ticks - self.epoch, total)
        place = 0
        while rest >= items[place][1]:
            rest -= items[place][1]
            place += 1
        start = ticks - rest
        for _ in range(ahead):
            start += items[place][1]
            place += 1
            if place == len(items):
                place, turn = 0, turn + 1
        item, length = items[place]
        return Planned(item, start, start + length, occurrence=str(turn))


def lay_out(schedule: Schedule, day: date | None) -> Plan:
    """The plan of a schedule that does not loop: all of it, or of a daily one the day before ``day`` to the day after.

    Two items that start at the same instant are both kept in order; the earlier has no room and is unreached.
    """
    blocks = sorted(_blocks(schedule, day), key=lambda block: block[0])
    planned: list[Planned] = []
    waiting: dict[str, tuple[Item, ...]] = {}
    unreached: list[Item] = []
    cut: list[tuple[Item, Item, int]] = []
    for start, occurrence, items in blocks:
        at, offset = start, 0
        while planned and planned[-1].start >= start:
            unreached.append(planned.pop().item)
        if planned and (planned[-1].end is None or planned[-1].end > start):
            last = planned[-1]
            if last.end is not None:
                cut.append((last.item, items[0], last.end - start))
            if last.end is not None and last.item.overrun == "join-late":
                at, offset = last.end, last.end - start
            else:
                planned[-1] = replace(last, end=start)
        cursor: int | None = at
        for number, item in enumerate(items):
            if cursor is None:
                waiting[planned[-1].key] = tuple(items[number:])
                break
            length = schedule.length(item)
            if length is not None and offset >= length:
                unreached.append(item)
                offset -= length
                continue
            end = None if length is None else cursor + length - offset
            appearance = Planned(item, cursor, end, length is None, offset, occurrence)
            real = schedule.over.get(appearance.key)
            if real is not None:
                appearance = replace(appearance, end=max(real, cursor), open=False)
            planned.append(appearance)
            cursor, offset = appearance.end, 0
    return Plan(tuple(planned), waiting, tuple(unreached), tuple(cut))


def _blocks(schedule: Schedule, day: date | None) -> list[tuple[int, str, list[Item]]]:
    """Each fixed start with the items that follow on: (start, occurrence, items)."""
    days = [None] if day is None else [day + timedelta(days=n) for n in (-1, 0, 1)]
    blocks: list[tuple[int, str, list[Item]]] = []
    for date_ in days:
        occurrence = "" if date_ is None else date_.isoformat()
        first = True
        for item in schedule.items:
            key = f"{item.id}@{occurrence}" if occurrence else item.id
            if key in schedule.begun:
                start = schedule.begun[key]
            elif item.start is not None:
                start = item.start
            elif item.daily is not None and date_ is not None:
                start = local_start(date_, item.daily, schedule.zone)[0]
            elif not first or (blocks and date_ is not None and any(i.daily is not None for i in schedule.items)):
                blocks[-1][2].append(item)
                first = False
                continue
            elif date_ is not None:
                start = local_start(date_, time(0), schedule.zone)[0]
            else:
                start = schedule.epoch
            blocks.append((start, occurrence, [item]))
            first = False
    return blocks


def _place(rows: Sequence[Item], item: Item) -> int:
    """Where a new item goes: before the first with a later fixed start, else last."""
    for number, row in enumerate(rows):
        if item.start is not None and row.start is not None and row.start > item.start:
            return number
        if item.daily is not None and row.daily is not None and row.daily > item.daily:
            return number
    return len(rows)
