"""Idempotency-Key: a command that is sent again is answered again, not done again.

A client that lost the answer to "take the studio" cannot know whether it happened; with a key it simply repeats the
request (draft-ietf-httpapi-idempotency-key-header). Answers are kept in memory, newest ``capacity`` of them: a
repetition comes within seconds, and one that comes after a restart of the API worker is a new command.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from headend.api.problem import Problem

LONGEST_KEY: Final = 255


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered, enough to say it again."""

    status: int
    headers: dict[str, str]
    body: bytes


class Answers:
    """First answers by key. Not thread-safe: it belongs to one event loop."""

    def __init__(self, capacity: int = 1024) -> None:
        self._capacity = capacity
        self._kept: OrderedDict[tuple[str, str], tuple[bytes, asyncio.Future[Answer]]] = OrderedDict()
        self._running: set[asyncio.Future[None]] = set()
        self.replayed = 0
        """Answers that were given again."""
        self.forgotten = 0
        """Answers dropped to make room."""

    async def once(
        self, key: str, scope: str, body: bytes, act: Callable[[], Awaitable[Answer]]
    ) -> tuple[Answer, bool]:
        """The answer to a command, and whether it is a repetition. ``scope`` is its method and path.

        A repetition that comes while the first is still being carried out waits for it. Failures of the head end
        (5xx) are not kept: repeating is the mend for them. Raises :class:`Problem` 422 when the key came with
        another body.
        """
        if not 0 < len(key) <= LONGEST_KEY or not key.isprintable():
            raise Problem(
                400, "idempotency-key", f"an Idempotency-Key has 1 to {LONGEST_KEY} printable characters; send a UUID"
            )
        seal = hashlib.sha256(body).digest()
        if (found := self._kept.get((scope, key))) is not None:
            if found[0] != seal:
                raise Problem(
                    422,
                    "idempotency-key",
                    "this Idempotency-Key was sent before with another body, so it is not clear which of the two is "
                    "meant and nothing was done; send a new key with a new command",
                )
            self.replayed += 1
            return await asyncio.shield(found[1]), True
        self._make_room()
        pending: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._kept[scope, key] = (seal, pending)
        # The command goes on when its client hangs up: the repetition must find its answer.
        task = asyncio.ensure_future(self._carry_out((scope, key), pending, act))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(pending), False

    async def _carry_out(
        self, place: tuple[str, str], pending: asyncio.Future[Answer], act: Callable[[], Awaitable[Answer]]
    ) -> None:
        try:
            answer = await act()
        except BaseException as error:
            self._kept.pop(place, None)
            if not pending.cancelled():
                pending.set_exception(error if isinstance(error, Exception) else asyncio.CancelledError())
                pending.exception()  # the waiting request raises it; without one it must not be reported as lost
            if not isinstance(error, Exception):
                raise
            return
        if answer.status >= 500:
            self._kept.pop(place, None)
        if not pending.done():
            pending.set_result(answer)

    def _make_room(self) -> None:
        while len(self._kept) >= self._capacity:
            place = next((p for p, (_, future) in self._kept.items() if future.done()), None)
            if place is None:
                raise Problem(
                    503, "busy", f"{self._capacity} commands are being carried out at once; try again in a second"
                )
            del self._kept[place]
            self.forgotten += 1
