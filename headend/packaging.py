"""The worker that makes HLS of all channels: it reads the rings and writes segments and playlists into the window.

One process serves all channels; each channel's packager stands alone, so that trouble with one costs the others
nothing.
"""

from __future__ import annotations

import time
from typing import Any, Final

from headend.config import Channel
from headend.ring import RingReader
from headend.worker import Context
from packagers.hls.packager import Packager, RenditionInput

_NAP: Final = 0.04
"""Seconds between two looks into the rings: one picture."""
_AGAIN: Final = 1.0
"""Seconds until a channel whose rings are not there yet is tried again."""


def run(context: Context) -> int:
    """Package until told to stop."""
    works = [Packaging(context, channel) for channel in context.config.channels]
    context.bus.serve(lambda request: {"channels": {work.id: work.state() for work in works}})
    while not context.stopping.is_set():
        for work in works:
            work.step()
        context.beat("rings read")
        context.stopping.wait(_NAP)
    return 0


class Packaging:
    """The packager of one channel, made as soon as its rings are there, and made anew when it fails."""

    def __init__(self, context: Context, channel: Channel) -> None:
        self.id = channel.id
        self._context, self._channel = context, channel
        self._packager: Packager | None = None
        self._readers: list[RingReader] = []
        self._next = 0.0
        self._failures = 0
        self._message = "waits for the channel's first picture"

    def step(self) -> None:
        """Read what has come and issue what is complete. Never raises."""
        if self._packager is None:
            if time.monotonic() < self._next:
                return
            self._next = time.monotonic() + _AGAIN
            self._make()
            return
        try:
            events = self._packager.step()
        except Exception as problem:
            self._failures += 1
            self._message = f"the packager of {self.id} failed and is made anew: {type(problem).__name__}: {problem}"
            self._context.log.exception(self._message)
            self._drop()
            self._next = time.monotonic() + _AGAIN
            return
        for event in events:
            row = {"kind": event.kind, "number": event.number, "message": event.message, **event.detail}
            self._context.bus.publish(f"hls.{self.id}.{event.kind}", row)
            if event.kind != "segment":
                self._context.log.warning(event.message, channel=self.id, kind=event.kind)

    def state(self) -> dict[str, Any]:
        """The packager's state, or why there is none."""
        row = {} if self._packager is None else self._packager.state()
        return {"message": self._message, **row, "failures": self._failures}

    def _make(self) -> None:
        ladder = self._channel.ladder
        ids = [*(row.id for row in ladder.video), *(row.id for row in ladder.audio)]
        paths = self._context.paths
        try:
            # From the oldest picture held: the packager knows from its journal what it has issued already.
            for id in ids:
                self._readers.append(RingReader(paths.ring(self.id, id), "earliest"))
            self._packager = Packager(
                self.id,
                [RenditionInput(id, reader) for id, reader in zip(ids, self._readers, strict=True)],
                segment_ticks=self._channel.ladder.segment_ticks,
                window_dir=paths.hls / self.id,
                journal_path=paths.journals / f"{self.id}.hls",
                clock=self._context.clock,
                containers=self._channel.hls.containers,
                window_seconds=float(self._channel.hls.window),
            )
            if self._packager.needed_from is not None:
                for reader in self._readers:
                    reader.seek_time(self._packager.needed_from)
        except FileNotFoundError:
            self._drop()
        except Exception as problem:  # whatever it is, the other channels must not pay for it
            known = isinstance(problem, OSError | ValueError)
            message = str(problem) if known else f"{self.id} cannot be packaged: {type(problem).__name__}: {problem}"
            if self._message != message:
                self._message = message
                self._context.log.error(self._message, channel=self.id, exc_info=not known)
            self._failures += 1
            self._drop()
        else:
            self._message = ""

    def _drop(self) -> None:
        for reader in self._readers:
            reader.close()
        self._readers = []
        self._packager = None
