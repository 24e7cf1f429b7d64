"""An entry of a schedule, and its appearance in the plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import time
from typing import Any, Literal

from encoders.redact import redact
from headend.clock import to_iso, to_seconds

Overrun = Literal["cut", "join-late"]


@dataclass(frozen=True, slots=True)
class Item:
    """One entry of a schedule. All times are ticks of 27 MHz."""

    id: str
    source: str
    """Name of a configured source, or a path or URL."""
    title: str = ""
    start: int | None = None
    """Fixed start since the Unix epoch; None: follows on, or ``daily`` says when."""
    daily: time | None = None
    """Fixed start as a local time of day; only in a daily schedule."""
    in_point: int = 0
    """Where to begin, from the beginning of the media."""
    out_point: int | None = None
    """Where to end, from the beginning of the media."""
    duration: int | None = None
    """How long it is on air; None: from in to out, or to the end of the media."""
    loop: bool = False
    """The media starts again when it ends before the duration is over."""
    gain: float = 0.0
    """dB, added to what brings the media to the target loudness."""
    priority: int = 50
    overrun: Overrun = "cut"
    """What happens when this item is still on air at the next fixed start."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """What the schedule's author keeps with it; playout does not look."""

    @property
    def fixed(self) -> bool:
        """Whether it has a start of its own."""
        return self.start is not None or self.daily is not None


@dataclass(frozen=True, slots=True)
class Planned:
    """One appearance of an item in the plan."""

    item: Item
    start: int
    """Ticks since the epoch at which it comes on air."""
    end: int | None
    """Ticks at which it leaves at the latest; None: nothing planned ends it."""
    open: bool = False
    """How long the media is, is not known: it may end before ``end``."""
    offset: int = 0
    """How far into the item it begins; more than 0 when it is joined late."""
    occurrence: str = ""
    """Which repetition: the local date of a daily schedule, the number of the turn of a loop."""

    @property
    def key(self) -> str:
        """Unique among all appearances."""
        return f"{self.item.id}@{self.occurrence}" if self.occurrence else self.item.id

    def to_json(self) -> dict[str, Any]:
        """A JSON object for a page that shows the plan; instants in ISO 8601."""
        return {
            "key": self.key,
            "item": self.item.id,
            "title": self.item.title,
            "source": redact(self.item.source),
            "start": to_iso(self.start),
            "end": None if self.end is None else to_iso(self.end),
            "offset": to_seconds(self.offset),
        }
