"""What playout tells: events to whoever listens, messages for its state, and the reasons for changes on air.

Telling must never harm the signal: a listener that raises is counted, an exception that nobody expected becomes a
sentence, and what happens in every slot is told once.
"""

from __future__ import annotations

import threading
import traceback
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from encoders.redact import redact

REASONS: Final = 1000
"""Reasons kept for changes that are still to come."""

OnEvent = Callable[[str, dict[str, Any]], None]
"""``on_event(topic, payload)``; must not block."""


class Herald:
    """Tells. Any thread may use it."""

    def __init__(self, on_event: OnEvent | None = None) -> None:
        self._on_event = on_event
        self._lock = threading.Lock()
        self._messages: deque[str] = deque(maxlen=20)
        self._reasons: dict[int, str] = {}
        self.errors = 0
        """Exceptions that nobody expected."""
        self.event_errors = 0
        """Events whose listener raised."""

    @property
    def messages(self) -> list[str]:
        """The last messages, the newest last."""
        with self._lock:
            return list(self._messages)

    def tell(self, topic: str, payload: dict[str, Any]) -> None:
        """Send an event. Raises nothing."""
        if self._on_event is None:
            return
        try:
            self._on_event(topic, payload)
        except Exception:
            self.event_errors += 1

    def alarm(self, message: str) -> None:
        """Keep a message and send it as an alarm, unless it is the same as the last one."""
        with self._lock:
            if self._messages and self._messages[-1] == message:
                return
            self._messages.append(message)
        self.tell("alarm", {"message": message})

    def oops(self, error: BaseException) -> None:
        """Count an exception that nobody expected, and say where it was."""
        self.errors += 1
        frame = traceback.extract_tb(error.__traceback__)[-1:]
        where = f" in {frame[0].name}, line {frame[0].lineno}" if frame else ""
        self.alarm(f"{type(error).__name__}{where}: {redact(str(error))}")

    def guard(self, action: Callable[[], object]) -> None:
        """Do something that may raise what nobody expects."""
        try:
            action()
        except Exception as error:
            self.oops(error)

    def remark(self, why: str, slot: int) -> None:
        """Keep what will explain the change that follows at that slot or soon after."""
        with self._lock:
            if len(self._reasons) < REASONS:
                self._reasons[slot] = why

    def reason(self, slot: int, memory: int) -> str:
        """What explains a change at a slot, if it was remarked at most ``memory`` slots ago; else empty."""
        with self._lock:
            past = sorted(about for about in self._reasons if about <= slot)
            texts = [self._reasons.pop(about) for about in past]
        return texts[-1] if past and past[-1] >= slot - memory else ""
