"""The line-up: everything that may be on air in a slot, ranked, with its source open in time.

For each slot the line-up asks schedule, takes and filler what they want to show, has the stage open what is needed now
or soon, pulls from the top down until something can be shown, and hands what it saw to the arbiter. What
lies under the source on air runs along (``standby`` running: the fallback is instant, at the price of one more
decoding) or is opened only when the source on air falters (``cold``).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal, Protocol

from encoders.arbiter import ALERT, FILLER, SLATE, STANDING, SURE, Candidate, Limits
from encoders.content import Sight
from encoders.emission import OnAir
from encoders.format import ChannelFormat
from encoders.redact import redact
from encoders.schedule import Planned, Schedule
from encoders.source import Slice
from encoders.stage import Act, Cue, Stage
from headend.clock import from_seconds

PREROLL: Final = from_seconds(5)
"""How long before its start an item is opened."""
NOTHING_SHOWN: Final = from_seconds(5)
"""An item that has shown nothing so long after its start is given up."""
LINGER: Final = from_seconds(3)
"""A fallback stays open so long after it was last needed."""

Standby = Literal["running", "cold"]


class Filler(Protocol):
    """What says which item fills a gap: a Schedule that loops."""

    def at(self, ticks: int) -> Planned | None:
        """The item that fills an instant."""
        ...


@dataclass(slots=True)
class Seat:
    """A candidate of the slot, with what it takes to show it."""

    candidate: Candidate
    act: Act | None
    """None: the slate, or filler that is not on the stage yet."""
    label: OnAir
    planned: Planned | None = None
    slice: Slice | None = None


class Lineup:
    """Ranks what may be on air. Engine thread only."""

    def __init__(
        self,
        format: ChannelFormat,
        stage: Stage,
        filler: Filler | None,
        live_limits: Limits,
        item_limits: Limits,
        standby: Standby,
        first: int,
    ) -> None:
        self._format, self._stage, self._filler = format, stage, filler
        self._live_limits, self._item_limits = live_limits, item_limits
        self._standby: Standby = standby
        self._first = first
        self._linger = LINGER // format.slot_ticks
        self._best = 0  # priority of the best candidate that could be shown in the last slot
        self._filler_until = self._items_until = -1
        self.delivered = False
        """Something but the slate could be shown since the start."""

    def seats(
        self, slot: int, schedule: Schedule, live: str | None, takes: Mapping[int, tuple[str, int]]
    ) -> list[Seat]:
        """The candidates of a slot, the most wanted first, their sources on the stage."""
        ticks = self._format.ticks_of(slot)
        current = schedule.at(ticks)
        stuffing = None if self._filler is None else self._filler.at(ticks)
        self._stage.want(self._cues(slot, schedule, current, stuffing), slot)

        seats: list[Seat] = []
        for priority, (source, since) in takes.items():
            why = "an alert is shown" if priority >= ALERT else f"{source} was taken"
            seats.append(self._live_seat(f"take:{priority}:{source}:{since}", source, priority, why))
        if live is not None:
            seats.append(self._live_seat(f"live:{live}", live, STANDING, f"{live} is the live source of the channel"))
        if current is not None:
            why = "its time has come" if current.item.fixed else "it follows on"
            why = "it is joined in progress" if slot == self._first and ticks > current.start else why
            seats.append(self._item_seat("item", current, current.item.priority, why))
        why = "nothing is planned" if current is None else "nothing else can be shown"
        if stuffing is not None:
            seats.append(self._item_seat("filler", stuffing, FILLER, why))
        seats.append(Seat(Candidate("slate", SLATE, SURE, name="the slate"), None, slate_label(why)))
        seats.sort(key=lambda seat: -seat.candidate.priority)
        return seats

    def look(self, seats: list[Seat], slot: int, wait: float, failed: Mapping[str, str]) -> dict[str, Sight]:
        """Pull from the seats down to one that can be shown, and from one more that is to run along.

        ``wait``: real seconds that all of it may take; ``failed``: why candidates are off air, by key. Returns what was
        seen, by key.
        """
        sights: dict[str, Sight] = {}
        shown: list[int] = []
        deadline = time.monotonic() + wait
        enough = 2 if self._standby == "running" else 1
        for seat in seats:
            key = seat.candidate.key
            if seat.act is not None:
                if len(shown) >= enough:
                    break
                sights[key] = self._look_at(seat, seat.act, slot, deadline if wait else 0.0)
            elif seat.candidate.limits is SURE:
                sights[key] = Sight()
            if key in sights and sights[key].delivered and not failed.get(key) and key != "slate":
                shown.append(seat.candidate.priority)
        self.delivered = self.delivered or bool(shown)
        self._best = shown[0] if shown else 0
        if self._best <= FILLER:
            self._filler_until = slot + self._linger
        if self._best <= max((seat.candidate.priority for seat in seats if seat.planned is not None), default=0):
            self._items_until = slot + self._linger
        return sights

    def _look_at(self, seat: Seat, act: Act, slot: int, deadline: float) -> Sight:
        if deadline and not act.opened.is_set() and not act.impatient:
            # Once only: what hangs must not cost its time in every slot.
            act.impatient = not act.opened.wait(max(0.0, deadline - time.monotonic()))
        left = max(0.0, deadline - time.monotonic()) if deadline else 0.0
        seat.slice = self._stage.pull(act, slot, left)
        sight = act.watch.sight
        if act.failed:
            return replace(sight, gone=act.failed)
        if act.cue is not None and not act.delivered and not sight.gone:
            late = (slot - act.cue.first) * self._format.slot_ticks
            if late > NOTHING_SHOWN:
                return replace(sight, gone="has shown nothing since it should have begun")
        return sight

    def _cues(self, slot: int, schedule: Schedule, current: Planned | None, stuffing: Planned | None) -> dict[str, Cue]:
        """What has to be on the stage in a slot."""
        ticks = self._format.ticks_of(slot)
        cues: dict[str, Cue] = {}

        def cue(kind: str, planned: Planned) -> None:
            key = f"{kind}:{planned.key}"
            if planned.item.source in self._stage.standing or key in cues:
                return
            first = -(-planned.start // self._format.slot_ticks)
            late = max(0, slot - first)
            offset = planned.offset + (self._format.ticks_of(slot) - planned.start if late else 0)
            cues[key] = Cue(key, planned.item, first + late, offset)

        # A few only: a list of one-second items must not open a hundred files.
        soon = [planned for planned in schedule.upcoming(ticks, 2) if planned.start < ticks + PREROLL]
        for planned in soon if current is None else [current, *soon]:
            if self._standby == "running" or slot <= self._items_until or self._best <= planned.item.priority:
                cue("item", planned)
        gap = current is None or schedule.at(ticks + PREROLL) is None
        if stuffing is not None and self._filler is not None and (gap or slot <= self._filler_until):
            for filling in (stuffing, self._filler.at(ticks + PREROLL)):
                if filling is not None:
                    cue("filler", filling)
        return cues

    def _live_seat(self, key: str, source: str, priority: int, why: str) -> Seat:
        label = OnAir(key, source, priority=priority, why=why, urgent=priority >= ALERT)
        if source == "slate":
            return Seat(Candidate(key, priority, SURE, name="the slate"), None, label)
        return Seat(Candidate(key, priority, self._live_limits, name=source), self._stage.standing[source], label)

    def _item_seat(self, kind: str, planned: Planned, priority: int, why: str) -> Seat:
        item = planned.item
        key = f"{kind}:{planned.key}"
        source = redact(item.source)
        label = OnAir(key, source, item.title, item.id, priority, planned.start, planned.end, why)
        standing = self._stage.standing.get(item.source)
        act = standing or self._stage.act(key)
        limits = self._live_limits if standing is not None else self._item_limits
        opening = standing is None and (act is None or not (act.delivered or act.failed))
        name = f"{item.title or item.id!r} ({source})"
        return Seat(Candidate(key, priority, limits, opening, name), act, label, planned)


def slate_label(why: str) -> OnAir:
    """The label of the slate."""
    return OnAir("slate", "slate", priority=SLATE, why=why)
