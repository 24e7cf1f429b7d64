"""What playout sends in one slot, and the label that says what it is.

The engine labels a slice when it chooses it; the label travels with the media through the delay to the
output, so that the as-run log and the status page speak of what was really sent, not of what was planned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import av

from encoders.source import Sound
from headend.clock import to_iso


@dataclass(frozen=True, slots=True, eq=False)
class OnAir:
    """One uninterrupted stay of something on air. Compared by identity: the same item taken twice is two stays."""

    key: str
    """Name of the candidate, unique among those of one slot."""
    source: str
    """Name, path or URL of the source, credentials removed by whoever made the schedule."""
    title: str = ""
    item: str = ""
    """Id of the schedule item; empty for a take, filler or slate."""
    priority: int = 50
    planned_start: int | None = None
    """Ticks; None: it was not planned."""
    planned_end: int | None = None
    why: str = ""
    """Why it came on air, a sentence for the as-run log."""
    urgent: bool = False
    """An alert: it does not wait in the broadcast delay."""

    def to_json(self) -> dict[str, Any]:
        """A JSON object; instants in ISO 8601."""
        return {
            "item": self.item or None,
            "source": self.source,
            "title": self.title,
            "priority": self.priority,
            "planned_start": None if self.planned_start is None else to_iso(self.planned_start),
            "ends": None if self.planned_end is None else to_iso(self.planned_end),
            "why": self.why,
        }


@dataclass(slots=True, eq=False)
class Emission:
    """The media of one slot with its label. Neither ``picture`` nor ``sound`` may be changed in place."""

    slot: int
    picture: av.VideoFrame
    sound: list[Sound] | None
    """None: silence."""
    label: OnAir
    repeated: bool = False
    """The source showed this picture in an earlier slot too (frame-rate conversion, or a late source)."""
    held: bool = False
    """The source had nothing for this slot: the last picture stands in."""
    dropped: int = 0
    """Source pictures left out since the slot before."""
