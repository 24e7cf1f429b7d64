"""When each slot is due, and what happens when playout is late.

A slot is rendered when it begins, plus a latency that gives sources time to deliver. After a restart playout is
behind: it then renders as fast as it can until it has caught up. Being late must not grow for ever, though: a lag
longer than ``catch_up``, or one that does not shrink for ``late_for``, is ended by a jump forward. The slots jumped
over are never sent; they are counted, and the packager marks the gap.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from encoders.format import ChannelFormat
from headend.clock import Clock, from_seconds, to_iso, to_seconds


@dataclass(frozen=True, slots=True)
class Pacing:
    """How slots are paced. Durations in ticks."""

    realtime: bool = True
    """False: as fast as sources and output allow; every source is waited for. For tests, with a clock that jumps."""
    latency: int = from_seconds(0.2)
    """From the beginning of a slot to its rendering."""
    catch_up: int = from_seconds(10)
    """The longest lag that is made good by rendering faster."""
    late: int = from_seconds(1)
    """A lag that is watched."""
    late_for: int = from_seconds(5)
    """How long a watched lag may go on without shrinking."""
    first_wait: float = 0.7
    """Real seconds that the first slot waits for its source: better a start half a second late than with the slate."""


class Pace:
    """Waits for slots, and decides on jumps."""

    def __init__(self, format: ChannelFormat, clock: Clock, pacing: Pacing) -> None:
        self._format, self._clock, self.pacing = format, clock, pacing
        self._least: int | None = None
        self._since = 0
        self.behind = 0
        """Ticks by which the last slot was late; 0 when it was in time."""
        self.jumps = 0
        self.jumped = 0
        """Slots jumped over."""
        self.late = 0
        """Slots rendered more than a slot too late."""
        self.message = ""
        """Why it jumped last."""

    def wait(self, slot: int, cancel: threading.Event) -> int | None:
        """Wait until a slot is due. Returns the slot to render, a later one after a jump; None if cancelled."""
        due = self._format.ticks_of(slot) + self.pacing.latency
        if not self.pacing.realtime:
            return slot if self._clock.wait_until(due, cancel) else None
        now = self._clock.now()
        self.behind = max(0, now - due)
        if self.behind > self.pacing.catch_up:
            return self._jump(slot, now, f"it was {to_seconds(self.behind):.1f} s behind, more than can be caught up")
        if self.behind <= self.pacing.late:
            self._least = None
        elif self._least is None or self.behind <= self._least - self._format.slot_ticks:
            self._least, self._since = self.behind, now
        elif now - self._since > self.pacing.late_for:
            return self._jump(slot, now, f"it stayed {to_seconds(self.behind):.1f} s behind: this machine is too slow")
        if self.behind > self._format.slot_ticks:
            self.late += 1
        return slot if self._clock.wait_until(due, cancel) else None

    @property
    def catching_up(self) -> bool:
        """Whether the last slot was rendered after the next one was due."""
        return self.pacing.realtime and self.behind > self._format.slot_ticks

    def state(self) -> dict[str, Any]:
        """Lag and jumps."""
        return {
            "behind": to_seconds(self.behind),
            "late": self.late,
            "jumps": self.jumps,
            "jumped": self.jumped,
            "message": self.message or None,
        }

    def _jump(self, slot: int, now: int, why: str) -> int:
        target = max(slot + 1, self._format.slot_at(now - self.pacing.latency))
        self.jumps += 1
        self.jumped += target - slot
        self.behind, self._least = 0, None
        self.message = (
            f"playout jumped over {target - slot} pictures to {to_iso(self._format.ticks_of(target))}, because {why}; "
            "viewers have missed them"
        )
        return target
