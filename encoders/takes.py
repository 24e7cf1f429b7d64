"""What operators have taken: orders that wait for their slot, and the takes in force.

There is one take per priority; a later one replaces it. Not thread-safe: playout guards it with its lock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from encoders.arbiter import ALERT, SLATE, TAKE
from encoders.format import ChannelFormat
from headend.clock import to_iso

ORDERS: Final = 1000
"""Orders that may wait for their time."""


@dataclass(frozen=True, slots=True)
class Order:
    """A take, or a release when there is no source, at a slot."""

    slot: int
    source: str | None
    priority: int


class Takes:
    """The orders and takes of a channel."""

    def __init__(self, format: ChannelFormat) -> None:
        self._format = format
        self._orders: list[Order] = []
        self.active: dict[int, tuple[str, int]] = {}
        """By priority: the source, and the slot from which it is taken."""

    def order(self, slot: int, source: str | None, priority: int) -> dict[str, Any]:
        """Take a source, or release it (None), at a slot. Of two orders for one slot the later counts.

        Raises ValueError for a priority that takes cannot have, too many orders, or nothing to release.
        """
        if not SLATE < priority <= ALERT:
            raise ValueError(f"a take cannot have the priority {priority}; use 2 to 100, live takes have {TAKE}")
        if len(self._orders) >= ORDERS:
            raise ValueError(f"{ORDERS} takes and releases are waiting already; wait until some have been carried out")
        if source is None and priority not in self.active and not any(o.priority == priority for o in self._orders):
            raise ValueError("no source is taken, so there is nothing to release; what is on air stays")
        self._orders = [o for o in self._orders if (o.slot, o.priority) != (slot, priority)]
        self._orders.append(Order(slot, source, priority))
        self._orders.sort(key=lambda order: order.slot)
        return {"source": source, "priority": priority, "at": to_iso(self._format.ticks_of(slot)), "slot": slot}

    def obey(self, slot: int) -> list[str]:
        """Carry out what is due. Returns the names of released sources."""
        released: list[str] = []
        while self._orders and self._orders[0].slot <= slot:
            order = self._orders.pop(0)
            before = self.active.pop(order.priority, None)
            if order.source is not None:
                self.active[order.priority] = (order.source, slot)
            elif before is not None:
                released.append(before[0])
        return released

    def state(self) -> dict[str, Any]:
        """Takes in force, the highest priority first, and orders that wait."""
        at = self._format.ticks_of
        return {
            "takes": [
                {"source": source, "priority": priority, "since": to_iso(at(since))}
                for priority, (source, since) in sorted(self.active.items(), reverse=True)
            ],
            "orders": [{"source": o.source, "priority": o.priority, "at": to_iso(at(o.slot))} for o in self._orders],
        }
