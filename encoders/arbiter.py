"""Who is on air: the candidate with the highest priority that is fit for it.

Alert 100, live take 60, standing live 55, scheduled item 50, filler 25, slate 1: the arbiter asks in that order.
A candidate that is on air may be without a picture for a moment (hold-off) before it has failed; one that has
failed comes back only after it has been good for a set time (hysteresis), so that a flapping contribution line
does not flap on air. Nothing here reads a clock, a file or a thread: time is the count of calls, one per slot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from encoders.content import Sight
from encoders.format import ChannelFormat
from headend.clock import from_seconds, to_seconds

ALERT: Final = 100
TAKE: Final = 60
STANDING: Final = 55
ITEM: Final = 50
FILLER: Final = 25
SLATE: Final = 1

FAULTS: Final = {
    "no_picture": "has had no picture",
    "black": "has been black",
    "frozen": "has been frozen",
    "silent": "has been silent",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """How long each fault may last before a source has failed, in ticks; None: for ever.

    Raises ValueError for a negative duration.
    """

    no_picture: int | None = from_seconds(1)
    black: int | None = None
    frozen: int | None = None
    silent: int | None = None
    back_after: int = from_seconds(3)
    """How long a failed source must have been good before it returns to air."""

    def __post_init__(self) -> None:
        for name in (*FAULTS, "back_after"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(
                    f"the limit {name} is {to_seconds(value):g} s, before it begins; give zero or more seconds"
                )


LIVE_LIMITS: Final = Limits(black=from_seconds(10), frozen=from_seconds(20), silent=from_seconds(30))
"""For live inputs: a line that is up but dead is found out."""
ITEM_LIMITS: Final = Limits()
"""For scheduled items, which may mean to be black, still or silent."""
SURE: Final = Limits(no_picture=None)
"""For the slate, which cannot fail."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something that may be on air in a slot."""

    key: str
    priority: int
    limits: Limits = ITEM_LIMITS
    opening: bool = False
    """It is about to deliver for the first time: worth holding the last picture for, rather than show the slate."""
    name: str = ""
    """What sentences call it; the key when empty."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What to send in a slot."""

    key: str
    held: bool
    """It has nothing for this slot: show the last picture again."""
    changed: bool
    why: str
    """Why it changed; empty when it did not, or when the plan alone explains it."""


@dataclass(slots=True)
class _Record:
    failed: str = ""
    good: int = 0
    delivered: bool = False
    back: bool = False
    """It had failed and is good again, but has not been on air since."""


class Arbiter:
    """Chooses, slot by slot. One per channel; the candidate of the lowest priority must always deliver."""

    def __init__(self, format: ChannelFormat) -> None:
        self._format = format
        self._records: dict[str, _Record] = {}
        self._holding = 0
        self.on_air = ""
        """Key of the candidate on air."""

    def decide(self, candidates: Sequence[Candidate], sights: Mapping[str, Sight]) -> Decision:
        """Choose for the next slot.

        ``sights`` has what each candidate that was looked at showed in this slot. One that was not looked at is
        not eligible in it, unless it is on air. Raises ValueError if ``candidates`` is empty.
        """
        if not candidates:
            raise ValueError("there is no candidate, not even a slate, so nothing can be on air; always offer a slate")
        listed = {candidate.key for candidate in candidates}
        self._records = {key: record for key, record in self._records.items() if key in listed}
        for candidate in candidates:
            if (sight := sights.get(candidate.key)) is not None:
                self._judge(candidate, sight)
        ranked = sorted(candidates, key=lambda c: (-c.priority, c.key != self.on_air))
        best = next((c for c in ranked if self._fit(c, sights)), None)
        if best is None or (best is ranked[-1] and best.key != self.on_air):
            waiting = next((c for c in ranked[:-1] if c.opening and not self.failure(c.key)), None)
            patience = None if waiting is None else self._slots(waiting.limits.no_picture)
            if (
                self.on_air
                and self.on_air != ranked[-1].key
                and waiting is not None
                and (patience is None or self._holding < patience)
            ):
                self._holding += 1
                return Decision(self.on_air, held=True, changed=False, why="")
        best = best or ranked[-1]
        return self._put(best, ranked, sights)

    def failure(self, key: str) -> str:
        """Why a candidate is not fit for air; empty if it is, or was never judged."""
        record = self._records.get(key)
        return record.failed if record else ""

    def state(self) -> dict[str, Any]:
        """The key on air, and why each failed candidate is off it."""
        return {"on_air": self.on_air, "failed": {key: r.failed for key, r in list(self._records.items()) if r.failed}}

    def _put(self, best: Candidate, ranked: Sequence[Candidate], sights: Mapping[str, Sight]) -> Decision:
        sight = sights.get(best.key)
        held = sight is None or not sight.delivered
        self._holding = self._holding + 1 if held else 0
        if best.key == self.on_air:
            return Decision(best.key, held, changed=False, why="")
        # The most wanted thing that cannot be shown is the reason for showing this.
        above = [c for c in ranked if c.priority > best.priority and self.failure(c.key)]
        record = self._records.setdefault(best.key, _Record())
        if above:
            why = f"{above[0].name or above[0].key} {self.failure(above[0].key)}"
        elif record.back:
            why = f"{best.name or best.key} has been good again for {to_seconds(best.limits.back_after):g} s"
        else:
            why = ""
        record.back = False
        self.on_air = best.key
        return Decision(best.key, held, changed=True, why=why)

    def _fit(self, candidate: Candidate, sights: Mapping[str, Sight]) -> bool:
        if self.failure(candidate.key):
            return False
        if candidate.key == self.on_air:
            return True
        sight = sights.get(candidate.key)
        return sight is not None and sight.delivered

    def _judge(self, candidate: Candidate, sight: Sight) -> None:
        record = self._records.setdefault(candidate.key, _Record())
        limits = candidate.limits
        runs = {"no_picture": sight.missing, "black": sight.black, "frozen": sight.frozen, "silent": sight.silent}
        if sight.gone:
            record.failed, record.good = sight.gone, 0
            return
        if sight.delivered:
            record.delivered = True
        elif not record.delivered and candidate.key != self.on_air:
            return  # It has never shown anything: it is late, which is not failed.
        for fault, sentence in FAULTS.items():
            limit: int | None = getattr(limits, fault)
            if limit is not None and runs[fault] and runs[fault] >= self._slots(limit):
                record.failed, record.good = f"{sentence} for {to_seconds(limit):g} s", 0
                return
        # A fault below its limit does not take a source off air, but it does not earn its return either: a picture
        # shown twice or a pause in speech counts as good, a longer fault stops the count, one of a second undoes it.
        worst = max(
            (runs[fault] for fault in FAULTS if fault != "no_picture" and getattr(limits, fault) is not None), default=0
        )
        if not sight.delivered or worst >= self._slots(from_seconds(1)):
            record.good = 0
        elif worst <= self._slots(from_seconds(0.2)):
            record.good += 1
        if record.failed and record.good >= max(1, self._slots(limits.back_after)):
            record.failed, record.back = "", True

    def _slots(self, ticks: int | None) -> int:
        return 1 << 62 if ticks is None else max(1, -(-ticks // self._format.slot_ticks))
