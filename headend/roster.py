"""Which workers a configuration needs, and what the supervisor knows of each."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

from headend.config import Config
from headend.process import Process
from headend.worker import worker_name

HANG: Final = 10.0
"""Seconds without a heartbeat after which a worker that is no channel is stuck."""
YOUNG: Final = 60.0
"""Seconds; a worker that lived longer is started again without a pause."""
WORKED: Final = 2.0
"""Seconds; a worker that lived longer had got to its work, and is worth a few more starts without a pause."""
FREE: Final = 6
"""How many."""
PAUSES: Final = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""Seconds before a worker is started again, for its first, second, ... death in a row."""

Status = Literal["starting", "running", "stopping", "pausing"]


@dataclass(slots=True)
class Worker:
    """What the supervisor knows of one worker."""

    kind: str
    id: str
    limit: float
    """Seconds without a heartbeat after which it is stuck."""
    status: Status = "pausing"
    process: Process | None = None
    since: float = 0.0
    """``time.monotonic()`` of its start."""
    started: str | None = None
    deaths: int = 0
    """Early deaths in a row."""
    restarts: int = 0
    hung: int = 0
    due: float = 0.0
    """``time.monotonic()`` at which it is to be started (again)."""
    wanted: bool = True
    kill_at: float | None = None
    message: str = ""
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def name(self) -> str:
        """Name on the bus."""
        return worker_name(self.kind, self.id)

    def pause(self, lived: float) -> float:
        """Seconds to wait before the next start, after a life of so many seconds."""
        self.deaths = 1 if lived >= YOUNG else self.deaths + 1
        counted = max(1, self.deaths - FREE) if lived >= WORKED else self.deaths
        return PAUSES[min(counted, len(PAUSES)) - 1]


def wanted(config: Config) -> Iterator[tuple[str, str, float]]:
    """Kind, id and heartbeat limit of every worker that a configuration needs, in the order of their start."""
    yield "clock", "", HANG
    for channel in config.channels:
        yield "channel", channel.id, float(channel.hang)
    yield "hls", "", HANG
    yield "origin", "", HANG
    yield "api", "", HANG
