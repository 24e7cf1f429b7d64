"""The sources of what is on air soon: made, opened, pulled and closed, without ever stopping playout.

Opening a file on a sleepy network disk and closing a decoder can take seconds, and either can hang for ever. The
stage does both on two threads of its own (*stagehands*); a stagehand that is stuck is left alone and replaced, and
both are counted. Pulling is done by the engine, through :meth:`Stage.pull`, which lets no exception out.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from encoders.content import Thresholds, Watch
from encoders.format import ChannelFormat
from encoders.redact import redact
from encoders.schedule import Item
from encoders.source import Slice, Source

Make = Callable[[Item, int, int], Source]
"""``make(item, first_slot, offset_ticks)``: a source, not yet opened, that shows at ``first_slot`` what is
``offset_ticks`` after the item's in-point. May raise; the sentence of the exception goes to the as-run log."""

STUCK: Final = 10.0
"""Seconds after which a stagehand that has not come back from a source is replaced."""
MOST_STUCK: Final = 16
"""Stagehands given up at most: from then on jobs wait, because threads must not grow without end."""


class Stagehand:
    """One thread that does jobs in order, with a substitute when a job never returns."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._began: float | None = None
        self._thread: threading.Thread | None = None
        self._waiting = 0
        self._closed = False
        self.stuck = 0
        """Threads given up because a source never returned."""

    def do(self, job: Callable[[], None]) -> None:
        """Have a job done. Returns at once. Exceptions are the job's own business."""
        with self._lock:
            if self._closed:
                # Something that was stuck comes back after the end: it still has to be closed.
                threading.Thread(target=job, name=self._name, daemon=True).start()
                return
            self._waiting += 1
            self._jobs.put(job)
            if self._thread is None:
                self._start()

    def watch(self) -> None:
        """Replace the thread if it is stuck. To be called now and then."""
        with self._lock:
            if self._began is None or time.monotonic() - self._began < STUCK or self.stuck >= MOST_STUCK:
                return
            self.stuck += 1
            self._began = None
            self._waiting -= 1
            self._start()

    @property
    def backlog(self) -> int:
        """Jobs not done yet."""
        return self._waiting

    def close(self, timeout: float = 2.0) -> None:
        """Finish the jobs that are waiting, then stop."""
        with self._lock:
            thread = self._thread
            self._closed = True
            self._jobs.put(None)
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        me = threading.current_thread()
        while (job := self._jobs.get()) is not None:
            with self._lock:
                self._began = time.monotonic()
            try:
                job()
            finally:
                with self._lock:
                    mine = self._thread is me
                    if mine:
                        self._began = None
                        self._waiting -= 1
            if not mine:
                return  # A substitute has taken over while this thread was stuck.


@dataclass(frozen=True, slots=True)
class Cue:
    """What is wanted on the stage: an appearance of an item from a slot on."""

    key: str
    item: Item
    first: int
    """Slot at which the item begins, or is joined."""
    offset: int
    """Ticks into the item at that slot."""


@dataclass(slots=True, eq=False)
class Act:
    """A source on the stage, and what is known about it."""

    key: str
    name: str
    """What sentences call it."""
    watch: Watch
    cue: Cue | None = None
    """None: a standing source, not made for an item."""
    source: Source | None = None
    opened: threading.Event = field(default_factory=threading.Event)
    """Set when it was opened, or has failed to."""
    failed: str = ""
    """Why it could not be made or opened."""
    delivered: bool = False
    """It has yielded a slice."""
    slot: int = -1
    """The slot of ``slice``."""
    slice: Slice | None = None
    aside_until: int = -1
    """Not asked before this slot, because it raised."""
    raised: int = 0
    impatient: bool = False
    """It let a pull time out and has delivered nothing since: it is not waited for again."""
    struck: bool = False
    """It has left the stage; what is still opening is closed as soon as it is open."""


class Stage:
    """The acts of a channel: standing sources (live inputs) and those made for items.

    Engine thread only, except for ``state``.
    """

    def __init__(
        self,
        format: ChannelFormat,
        make: Make,
        standing: Mapping[str, Source],
        thresholds: Thresholds | None = None,
        back_off: int = 10 * 27_000_000,
    ) -> None:
        self._format = format
        self._make = make
        self._thresholds = thresholds
        self._back_off = max(1, back_off // format.slot_ticks)
        self._acts: dict[str, Act] = {}
        self._retry: dict[str, tuple[int, int]] = {}  # key -> (slot of the next attempt, attempts made)
        self._opener = Stagehand("playout-opener")
        self._closer = Stagehand("playout-closer")
        self._lock = threading.Lock()
        self._messages: deque[str] = deque(maxlen=20)
        self.standing = {
            name: Act(name, name, Watch(thresholds), source=source) for name, source in sorted(standing.items())
        }
        self.made = 0
        self.exceptions = 0
        self.misfits = 0
        """Pictures that were not in the channel's format, and were left out."""

    def open(self, first: int) -> None:
        """Open the standing sources."""
        for act in self.standing.values():
            self._open_standing(act, first)

    def act(self, key: str) -> Act | None:
        """The act of a key; None if it is not on the stage."""
        return self._acts.get(key)

    def want(self, cues: Mapping[str, Cue], slot: int) -> None:
        """Have these acts, and no others, on the stage. What is missing is made, what is not wanted is closed.

        An act whose item or start was changed before it came on is made anew; one that failed is tried again after
        a while that grows.
        """
        self._opener.watch()
        self._closer.watch()
        for key, act in list(self._acts.items()):
            cue = cues.get(key)
            stale = cue is None or act.cue is None or cue.item != act.cue.item
            moved = not stale and cue is not None and act.cue is not None and slot < act.cue.first != cue.first
            if stale or moved:
                self._strike(act)
            elif act.failed:
                again, attempts = self._retry.get(key, (0, 0))
                if not again:
                    self._retry[key] = (slot + min(self._back_off * 2**attempts, self._back_off * 6), attempts)
                elif slot >= again:
                    self._retry[key] = (0, attempts + 1)
                    self._strike(act)
        self._retry = {key: value for key, value in self._retry.items() if key in cues}
        for act in self.standing.values():
            if act.failed and act.opened.is_set():
                if act.aside_until < 0:
                    act.aside_until = slot + self._back_off
                elif slot >= act.aside_until:
                    act.failed, act.aside_until = "", -1
                    act.opened.clear()
                    self._open_standing(act, slot)
        for key, cue in cues.items():
            if key not in self._acts:
                self._prepare(cue)

    def wait(self, key: str, seconds: float) -> None:
        """Wait until an act has been opened or has failed."""
        if (act := self._acts.get(key)) is not None:
            act.opened.wait(seconds)

    def pull(self, act: Act, slot: int, wait: float = 0.0) -> Slice | None:
        """The slice of a slot; None when there is none. Asks the source once per slot, never raises."""
        if act.slot == slot:
            return act.slice
        act.slot, act.slice = slot, None
        if act.opened.is_set() and not act.failed and act.source is not None and slot >= act.aside_until:
            try:
                act.slice = act.source.pull(slot, 0.0 if act.impatient else wait)
            except Exception as error:
                self._set_aside(act, slot, error)
            else:
                act.impatient = act.slice is None and (wait > 0 or act.impatient)
        if act.slice is not None and (picture := act.slice.picture) is not None:
            format = self._format
            found = (picture.width, picture.height, picture.format.name)
            if found != (format.width, format.height, format.pixel_format):
                self.misfits += 1
                self._say(f"{act.name} yields {found[0]}x{found[1]} {found[2]}, not the channel's format: left out")
                act.slice = None
        if act.slice is not None and not act.slice.ended:
            act.delivered = True
            self._retry.pop(act.key, None)
        elif act.slice is not None and act.cue is not None and not act.delivered and not act.failed:
            # A source that could not be opened may say so by ending before it has begun.
            act.failed = _message(act.source) or "had nothing to show"
            self._say(f"{act.name} {act.failed}")
        act.watch.look(act.slice, act.failed)
        return act.slice

    def close(self) -> None:
        """Strike everything and stop the stagehands."""
        for act in list(self._acts.values()):
            self._strike(act)
        for act in self.standing.values():
            self._close(act)
        self._opener.close()
        self._closer.close()

    def state(self) -> dict[str, Any]:
        """States of the sources and what became of them."""
        with self._lock:
            acts = [*self.standing.values(), *self._acts.values()]
            messages = list(self._messages)
        return {
            "sources": {act.key: self._state_of(act) for act in acts},
            "made": self.made,
            "exceptions": self.exceptions,
            "misfits": self.misfits,
            "opening": self._opener.backlog,
            "closing": self._closer.backlog,
            "stuck": self._opener.stuck + self._closer.stuck,
            "messages": messages,
        }

    def _state_of(self, act: Act) -> dict[str, Any]:
        try:
            row = dict(act.source.state()) if act.source is not None else {}
        except Exception as error:
            row = {"message": _sentence(error)}
        sight = act.watch.sight
        seen = {"missing": sight.missing, "black": sight.black, "frozen": sight.frozen, "silent": sight.silent}
        return {**row, "opened": act.opened.is_set(), "failed": act.failed or None, "raised": act.raised, "slots": seen}

    def _open_standing(self, act: Act, first: int) -> None:
        self._opener.do(lambda: self._open(act, first))

    def _prepare(self, cue: Cue) -> None:
        name = f"{cue.item.title or cue.item.id!r} ({redact(cue.item.source)})"
        act = Act(cue.key, name, Watch(self._thresholds, sound_suffices=True), cue)
        with self._lock:
            self._acts[cue.key] = act
        self._opener.do(lambda: self._make_act(act, cue))

    def _make_act(self, act: Act, cue: Cue) -> None:
        if act.struck:
            act.opened.set()
            return
        # When closing does not keep up (accelerated runs), opening waits: open files must not grow.
        patience = time.monotonic() + STUCK / 2
        while self._closer.backlog > 4 and time.monotonic() < patience:
            time.sleep(0.002)
        try:
            act.source = self._make(cue.item, cue.first, cue.offset)
            self.made += 1
        except Exception as error:
            act.failed = f"could not be opened: {_sentence(error)}"
            self._say(f"{act.name} {act.failed}")
            act.opened.set()
            return
        self._open(act, cue.first)

    def _open(self, act: Act, first: int) -> None:
        try:
            if act.source is not None:
                act.source.open(first)
        except Exception as error:
            act.failed = f"could not be opened: {_sentence(error)}"
            self._say(f"{act.name} {act.failed}")
        with self._lock:
            act.opened.set()
            struck = act.struck
        if struck:
            self._close(act)

    def _strike(self, act: Act) -> None:
        with self._lock:
            self._acts.pop(act.key, None)
            act.struck = True
            opened = act.opened.is_set()
        if opened:
            self._close(act)

    def _close(self, act: Act) -> None:
        source = act.source
        if source is None:
            return

        def job() -> None:
            try:
                source.close()
            except Exception as error:
                self.exceptions += 1
                self._say(f"{act.name} could not be closed: {_sentence(error)}")

        self._closer.do(job)

    def _set_aside(self, act: Act, slot: int, error: Exception) -> None:
        self.exceptions += 1
        act.raised += 1
        act.aside_until = slot + min(self._back_off * 2 ** min(act.raised - 1, 8), self._back_off * 6)
        self._say(f"{act.name} raised {_sentence(error)}; it is set aside and asked again later")

    def _say(self, message: str) -> None:
        with self._lock:
            if not self._messages or self._messages[-1] != message:
                self._messages.append(message)


def _message(source: Source | None) -> str:
    """What a source says about itself; empty when all is well."""
    try:
        return str(source.state().get("message") or "") if source is not None else ""
    except Exception as error:
        return _sentence(error)


def _sentence(error: Exception) -> str:
    return redact(str(error)) or type(error).__name__
