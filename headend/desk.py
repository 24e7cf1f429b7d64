"""What operators have set by hand, kept so that the death of the channel's process does not undo it.

Takes, releases and the text of the crawl are written to a file in ``run`` as they are given, and given again to the
successor. After the machine itself was restarted nobody knows any more what the operator wanted: the schedule is on
air then.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import structlog

from encoders.playout import Playout
from headend.clock import Clock, from_iso
from headend.paths import write_whole

_KEPT: Final = 100
"""Orders for later that are kept at most."""


class Desk:
    """The orders that hold for one channel, in a file. Any thread may use it."""

    def __init__(self, path: Path, clock: Clock, log: structlog.stdlib.BoundLogger) -> None:
        self._path, self._clock, self._log = path, clock, log
        self._lock = threading.Lock()
        self._orders: list[dict[str, Any]] = []
        self._crawl: str | None = None
        try:
            row = json.loads(path.read_bytes())
            self._orders = [{"source": order["source"], "at": order["at"]} for order in row["orders"]]
            self._crawl = row["crawl"]
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError) as problem:
            self._log.error(f"{path} cannot be read ({problem}), so what operators had taken is not on air any more")

    def restore(self, playout: Playout, set_crawl: Callable[[dict[str, Any]], Any]) -> None:
        """Give the orders to a playout that has not been started."""
        with self._lock:
            orders, crawl = list(self._orders), self._crawl
        for order in orders:
            at = None if order["at"] is None or from_iso(order["at"]) <= self._clock.now() else from_iso(order["at"])
            try:
                if order["source"] is None:
                    playout.release(at)
                else:
                    playout.take(order["source"], at)
            except ValueError as problem:
                # The configuration may have changed; a release with nothing taken is none.
                self._log.warning(str(problem))
        if crawl is not None:
            try:
                set_crawl({"text": crawl})
            except ValueError as problem:
                self._log.warning(str(problem))

    def take(self, source: str | None, at: str | None) -> None:
        """Remember a take, or a release (None)."""
        with self._lock:
            now = self._clock.now()
            late = [o for o in self._orders if o["at"] is not None and from_iso(o["at"]) > now]
            past = [o for o in self._orders if o not in late]
            # Of what has been carried out already the last order alone still holds.
            if at is None:
                past = [] if source is None else [{"source": source, "at": None}]
            else:
                late.append({"source": source, "at": at})
            self._orders = past[-1:] + sorted(late, key=lambda o: from_iso(o["at"]))[:_KEPT]
            self._write()

    def crawl(self, text: str) -> None:
        """Remember the text of the crawl."""
        with self._lock:
            self._crawl = text
            self._write()

    def _write(self) -> None:
        try:
            write_whole(self._path, json.dumps({"orders": self._orders, "crawl": self._crawl}).encode())
        except OSError as problem:
            self._log.error(
                f"{self._path} could not be written ({problem.strerror}), so a restart of the channel would undo this "
                "order; make room in the run directory"
            )
