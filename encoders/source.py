"""What a source is: the one interface between everything that yields media and playout.

A source works in its own threads, conforms what it reads to the channel's format, and answers
playout from a short queue. It never raises into the channel: it yields a slice or it is not ready.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import av
import numpy as np
from numpy.typing import NDArray

Sound = NDArray[np.float32]
"""Samples of one track, shape (channels, n), 48 kHz."""


@dataclass(slots=True)
class Slice:
    """The media of one slot. ``picture`` and ``sound`` are in the channel's format; neither may be changed in place."""

    picture: av.VideoFrame | None
    """None: the source has no picture for this slot (a sound-only source, or video that ended early)."""
    sound: list[Sound] | None
    """One array per track of the channel, each exactly the slot's samples; None: no sound for this slot."""
    repeated: bool = False
    """The picture was shown in an earlier slot too."""
    dropped: int = 0
    """Source pictures left out between the last slice and this one."""
    ended: bool = False
    """The media has ended before this slot: nothing more will come."""


class Source(Protocol):
    """Anything that yields media."""

    name: str

    def open(self, first: int) -> None:
        """Begin so that the in-point is shown at slot ``first``. Returns at once."""
        ...

    def ready(self, slot: int) -> bool:
        """Whether ``pull(slot)`` would yield media now."""
        ...

    def pull(self, slot: int, wait: float = 0.0) -> Slice | None:
        """The media of a slot; None when there is none (yet).

        Slots are asked for in rising order, and may be skipped. ``wait`` is how many seconds of real
        time the call may block; accelerated runs wait as long as it takes.
        """
        ...

    def state(self) -> dict[str, Any]:
        """``name, url (redacted), kind, connected, receiving, last_picture, last_sound`` (ISO 8601 or None),
        ``bit_rate,
        errors, reconnects, repeats, drops, message``."""
        ...

    def close(self) -> None:
        """Stop threads and release everything. Idempotent; returns within a second."""
        ...
