"""Playout: one thread that decides, slot after slot, what goes out, and sends it.

The output pulls: for each slot of the channel the engine asks the candidates (takes, the standing live source, the
scheduled item, filler, slate) in order of priority for the media of that very slot, lets the arbiter choose, and
pushes one picture and the slot's samples to the ladder. Whatever happens to sources, overlays, disk or schedule, every
slot is filled exactly once: with what is on air, else with the last picture and silence, else with the slate. Only
when the machine itself was stopped for too long are slots jumped over, and that is counted and told.

The way of a slot::

    stage (sources) -> arbiter -> delay -> overlays -> seam (sound) -> output, as-run log

Commands come from other threads; they are checked at once, in sentences, and take effect at a slot.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol

import av
import numpy as np

from encoders.arbiter import ITEM_LIMITS, LIVE_LIMITS, TAKE, Arbiter, Limits
from encoders.asrun import AsRun
from encoders.content import Sight, Thresholds
from encoders.delay import Delay
from encoders.emission import Emission, OnAir
from encoders.format import ChannelFormat
from encoders.herald import Herald, OnEvent
from encoders.lastresort import LastResort
from encoders.lineup import LINGER, Filler, Lineup, Seat, Standby, slate_label
from encoders.pace import Pace, Pacing
from encoders.redact import redact
from encoders.schedule import Item, Planned, Schedule
from encoders.seam import Seam
from encoders.source import Sound, Source
from encoders.stage import Make, Stage
from encoders.takes import Takes
from headend.clock import Clock, from_seconds, to_iso

LEAD: Final = from_seconds(0.5)
"""A skip takes effect so much later, so that the next item is open by then."""
PATIENCE: Final = 30.0
"""Real seconds that an accelerated run waits for a source."""


class Output(Protocol):
    """What playout sends to: the ladder."""

    def push(self, slot: int, picture: av.VideoFrame, sound: list[Sound]) -> object:
        """Take the media of a slot. Slots rise; the same picture may come again, and must not be changed."""
        ...


class Graphics(Protocol):
    """What is drawn over every picture: an overlay, or a stack of them."""

    def draw(self, slot: int, picture: av.VideoFrame) -> av.VideoFrame:
        """The picture with it; the one given when there is nothing to draw, never that one changed."""
        ...


class Playout:
    """A channel's playout. ``start`` it once, give it commands, ``stop`` it.

    ``make`` makes the source of an item (see :data:`encoders.stage.Make`); it and ``close`` of sources are called off
    the engine's thread. ``sources`` are live inputs by name, opened at the start; items and takes use them by name.
    ``filler`` fills gaps, ``slate`` shows when nothing else can (a plain dark picture if it is not given or fails).
    ``start_slot`` may lie in the past: the missed slots are rendered faster than real time. ``standby`` says
    whether what lies under the source on air runs along (an instant fallback, one more decoding) or is opened when
    the source on air falters. ``on_event(topic, payload)`` is called from the engine's thread and must not block;
    topics are ``onair``, ``source``, ``schedule``, ``asrun`` and ``alarm``.

    Raises ValueError if ``live`` is not among ``sources``.
    """

    def __init__(
        self,
        format: ChannelFormat,
        clock: Clock,
        output: Output,
        *,
        make: Make,
        schedule: Schedule | None = None,
        sources: Mapping[str, Source] | None = None,
        live: str | None = None,
        filler: Filler | None = None,
        slate: Source | None = None,
        overlays: Sequence[Graphics] = (),
        delay: Delay | None = None,
        asrun: AsRun | None = None,
        start_slot: int | None = None,
        pacing: Pacing | None = None,
        live_limits: Limits = LIVE_LIMITS,
        item_limits: Limits = ITEM_LIMITS,
        thresholds: Thresholds | None = None,
        standby: Standby = "running",
        on_event: OnEvent | None = None,
    ) -> None:
        self._format, self._clock, self._output = format, clock, output
        self._herald = Herald(on_event)
        self._stage = Stage(format, make, sources or {}, thresholds)
        self._resort = LastResort(format, slate, self._herald)
        self._overlays = tuple(overlays)
        self._aside: dict[int, int] = {}  # overlay number -> slot from which it is asked again
        self._delay, self._asrun = delay, asrun
        if asrun is not None and asrun.on_row is None:
            asrun.on_row = lambda row: self._herald.tell("asrun", row.to_json())
        self._pace = Pace(format, clock, pacing or Pacing())
        self._arbiter = Arbiter(format)
        self._seam = Seam(format)
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        # Under the lock
        self._schedule = schedule or Schedule()
        self._live = None if live is None else self._known(live)
        self._takes = Takes(format)
        self._slot = format.slot_at(clock.now()) if start_slot is None else start_slot
        self._sent: OnAir | None = None
        self._since = 0
        self._last_sent: int | None = None
        # The engine's own
        self._first = self._slot
        self._lineup = Lineup(format, self._stage, filler, live_limits, item_limits, standby, self._first)
        self._label: OnAir | None = None
        self._picture = self._resort.black
        self._had_picture = False
        self._gone = ""
        self._unseen = 0
        self._move_after = 0
        self._failed: dict[str, str] = {}
        self._counts = dict.fromkeys(
            ("sent", "repeats", "holds", "drops", "joins", "output_errors", "overlay_errors"),
            0,
        )

    # Life

    def start(self) -> None:
        """Start the engine's thread. Raises RuntimeError if it was started before."""
        if self._thread is not None:
            raise RuntimeError("this playout was started before; make another one")
        self._thread = threading.Thread(target=self._run, name="playout", daemon=True)
        self._thread.start()

    def stop(self, timeout: float = 10.0) -> bool:
        """Stop and release everything. False if the engine was still busy after ``timeout`` seconds."""
        self._stop.set()
        if self._thread is None:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    # Commands

    @property
    def schedule(self) -> Schedule:
        """The schedule in force."""
        with self._lock:
            return self._schedule

    def load(self, schedule: Schedule, version: int | None = None) -> Schedule:
        """Put another schedule in force from the next slot on. Its version is one above the old one's.

        What is on air stays if the new schedule has it there too. Raises VersionConflict if ``version`` is not that
        of the schedule in force.
        """
        with self._lock:
            self._schedule.check_version(version)
            version = max(schedule.version, self._schedule.version + 1)
            self._schedule = replace(schedule, version=version, _plans={}).anchored(self._current())
            self._herald.remark("the schedule was changed", self._slot)
            changed = self._schedule
        self._tell_schedule("load")
        return changed

    def patch(self, set: Sequence[Item] = (), remove: Sequence[str] = (), version: int | None = None) -> Schedule:
        """Change items of the schedule in force. Raises VersionConflict or ScheduleError."""
        with self._lock:
            self._schedule = self._schedule.patch(set, remove, version).anchored(self._current())
            self._herald.remark("the schedule was changed", self._slot)
            changed = self._schedule
        self._tell_schedule("patch")
        return changed

    def take(self, source: str, at: int | None = None, priority: int = TAKE) -> dict[str, Any]:
        """Put a source (or ``slate``) on air at once or at an instant (ticks), until it is released.

        It comes on air when it has a picture, and what lies underneath shows when it fails. A take of priority 100 is
        an alert: it passes the broadcast delay. Raises ValueError for an unknown source, an instant in the past, or
        too many orders.
        """
        with self._lock:
            return self._takes.order(self._slot if at is None else self._slot_of(at), self._known(source), priority)

    def release(self, at: int | None = None, priority: int = TAKE) -> dict[str, Any]:
        """End the take of a priority at once or at an instant. Raises ValueError if there is none."""
        with self._lock:
            return self._takes.order(self._slot if at is None else self._slot_of(at), None, priority)

    def stand(self, source: str | None) -> None:
        """Make a source the standing live source of the channel, above the schedule; None: the schedule alone."""
        with self._lock:
            self._live = None if source is None else self._known(source)
            self._herald.remark("the standing live source was changed", self._slot)

    def skip(self, at: int | None = None) -> dict[str, Any]:
        """End the scheduled item and begin the next one, half a second from now (it is opened first) or at an instant.

        Raises ValueError if nothing is scheduled, the instant is in the past, or lies in a later item of a loop.
        """
        with self._lock:
            ahead = LEAD if self._pace.pacing.realtime else 0
            slot = self._slot_of(at) if at is not None else self._slot + -(-ahead // self._format.slot_ticks)
            ticks = self._format.ticks_of(slot)
            schedule = self._schedule
            current = schedule.at(ticks)
            if current is not None:
                # Pressed twice in a row: the item that has not begun yet is passed over altogether.
                begun = current.start <= self._format.ticks_of(self._slot)
                if not begun and schedule.repeat == "loop":
                    raise ValueError(f"{current.item.id!r} has not begun yet; skip it when it is on air")
                schedule = schedule.ended(current, ticks if begun else current.start)
            following = schedule.at(ticks)
            if following is None and (coming := schedule.upcoming(ticks)):
                schedule = schedule.brought_forward(coming[0], ticks)
                following = schedule.at(ticks)
            if current is None and following is None:
                raise ValueError("nothing is scheduled and nothing follows, so nothing can be skipped; add items first")
            self._schedule = schedule
            self._herald.remark(f"{current.item.id!r} was skipped" if current else "the gap was skipped", slot)
        self._tell_schedule("skip")
        return {
            "at": to_iso(ticks),
            "skipped": current.item.id if current else None,
            "next": following.item.id if following else None,
        }

    def dump(self) -> dict[str, Any]:
        """Remove from air what the broadcast delay holds. Raises ValueError if the channel has no delay."""
        if self._delay is None:
            raise ValueError("this channel has no broadcast delay, so there is nothing to dump; configure one")
        removed = self._delay.dump()
        row = {"removed": [label.to_json() for label in removed], "delay": self._delay.state()}
        self._herald.tell("alarm", {"message": "what the broadcast delay held was removed from air", **row})
        return row

    def state(self) -> dict[str, Any]:
        """Everything there is to know; JSON-able."""
        with self._lock:
            slot, sent, schedule = self._slot, self._sent, self._schedule
            row = {
                "on_air": None if sent is None else {**sent.to_json(), "since": to_iso(self._since)},
                "mode": _mode(sent),
                **self._takes.state(),
                "live": self._live,
                "schedule": {"version": schedule.version, "repeat": schedule.repeat, "items": len(schedule.items)},
                "last_frame": None if self._last_sent is None else to_iso(self._format.ticks_of(self._last_sent)),
                "slot": self._last_sent,
            }
        ticks = self._format.ticks_of(slot)
        coming = schedule.upcoming(ticks, 1)
        waiting = schedule.waiting(ticks)
        if waiting:
            row["next"] = {"item": waiting[0].id, "title": waiting[0].title, "starts": None}
        elif coming:
            item = coming[0].item
            row["next"] = {"item": item.id, "title": item.title, "starts": to_iso(coming[0].start)}
        else:
            row["next"] = None
        stage = self._stage.state()
        return {
            **row,
            "running": self._thread is not None and self._thread.is_alive(),
            "counters": {
                **self._counts,
                "errors": self._herald.errors,
                "event_errors": self._herald.event_errors,
                "jumps": self._pace.jumps,
                "jumped": self._pace.jumped,
                "late": self._pace.late,
                "source_errors": stage["exceptions"],
                "misfits": stage["misfits"] + self._seam.misfits,
            },
            "pace": self._pace.state(),
            "sources": stage.pop("sources"),
            "stage": stage,
            "failed": dict(self._failed),
            "delay": None if self._delay is None else self._delay.state(),
            "asrun": None if self._asrun is None else self._asrun.state(),
            "messages": self._herald.messages,
        }

    def _current(self) -> Planned | None:
        """What is scheduled now, if the schedule is a loop."""
        schedule = self._schedule
        return schedule.at(self._format.ticks_of(self._slot)) if schedule.repeat == "loop" else None

    def _known(self, source: str) -> str:
        if source != "slate" and source not in self._stage.standing:
            names = ", ".join(sorted(self._stage.standing)) or "none is configured"
            raise ValueError(
                f"there is no source {redact(source)!r}, so it cannot be taken and what is on air stays; "
                f"the sources are: {names}"
            )
        return source

    def _slot_of(self, at: int) -> int:
        slot = -(-at // self._format.slot_ticks)
        if slot < self._slot:
            raise ValueError(
                f"{to_iso(at)} is in the past (it is {to_iso(self._format.ticks_of(self._slot))}), "
                "so nothing was done; give a later time, or none for at once"
            )
        return slot

    # The engine

    def _run(self) -> None:
        try:
            self._stage.open(self._slot)
            self._resort.open(self._slot)
            if self._asrun is not None:
                self._herald.guard(lambda: self._asrun.open(self._slot) if self._asrun is not None else None)
            slot = self._slot
            while not self._stop.is_set():
                jumps = self._pace.jumps
                due = self._pace.wait(slot, self._stop)
                if due is None:
                    break
                if self._pace.jumps != jumps:
                    self._herald.alarm(self._pace.message)
                slot = due
                try:
                    emission = self._choose(slot)
                except Exception as error:
                    self._herald.oops(error)
                    emission = Emission(slot, self._picture, None, self._labelled(), held=True)
                self._send(emission)
                slot += 1
                with self._lock:
                    self._slot = slot
        except BaseException as error:
            self._herald.oops(error)
            raise
        finally:
            self._stage.close()
            self._resort.close()
            self._herald.guard(lambda: self._asrun.close() if self._asrun is not None else None)

    def _choose(self, slot: int) -> Emission:
        """What goes out in a slot, before delay and overlays."""
        self._obey(slot)
        wait = self._patience(slot)
        for _ in range(3):
            # When an item turns out to be over, what follows gets its chance in the same slot.
            with self._lock:
                schedule, live, takes = self._schedule, self._live, dict(self._takes.active)
            seats = self._lineup.seats(slot, schedule, live, takes)
            sights = self._lineup.look(seats, slot, wait, self._failed)
            if not self._move_on(seats, sights, slot):
                break
        decision = self._arbiter.decide([seat.candidate for seat in seats], sights)
        self._tell_failures(seats)
        seat = next((seat for seat in seats if seat.candidate.key == decision.key), None)
        if decision.changed and seat is not None:
            self._label = replace(
                seat.label,
                why=decision.why or self._herald.reason(slot, LINGER // self._format.slot_ticks) or seat.label.why,
            )
            self._had_picture = False
            self._counts["joins"] += 1
        label = self._labelled()
        slice = None if decision.held or seat is None else seat.slice
        if seat is not None and seat.act is None and not decision.held:
            _, slice = self._resort.pull(slot)
        if slice is None:
            return Emission(slot, self._picture, None, label, held=True)
        repeated = slice.repeated
        if slice.picture is not None:
            self._picture, self._had_picture = slice.picture, True
        elif not self._had_picture:
            # Sound alone: the picture of whatever was on air before would be a lie.
            self._picture, _ = self._resort.pull(slot)
        else:
            repeated = True
        return Emission(slot, self._picture, slice.sound, label, repeated, False, slice.dropped)

    def _obey(self, slot: int) -> None:
        """Carry out takes and releases whose time has come."""
        with self._lock:
            for source in self._takes.obey(slot):
                self._herald.remark(f"{source} was released", slot)

    def _patience(self, slot: int) -> float:
        """Real seconds that sources may take for a slot."""
        if not self._pace.pacing.realtime:
            return PATIENCE
        if not self._lineup.delivered and slot < self._first + self._format.rate:
            return self._pace.pacing.first_wait
        return 0.25 if self._pace.catching_up else 0.0

    def _move_on(self, seats: list[Seat], sights: Mapping[str, Sight], slot: int) -> bool:
        """When the scheduled item is over before its time, let what follows come early; True if it does."""
        seat = next((seat for seat in seats if seat.candidate.key.startswith("item:")), None)
        if seat is None or seat.planned is None or seat.act is None or seat.act.cue is None:
            return False
        sight = sights.get(seat.candidate.key)
        if sight is None or not sight.gone:
            if sight is not None and sight.delivered:
                self._unseen = 0
            return False
        planned, ticks = seat.planned, self._format.ticks_of(slot)
        if self._gone != planned.key:
            self._gone = planned.key
            if not seat.act.delivered:
                self._unseen += 1
                self._herald.alarm(f"{seat.candidate.name} {sight.gone}")
        # A folder of broken files must not be raced through: after three in a row it goes on slowly.
        if self._unseen >= 3 and slot < self._move_after:
            return False
        with self._lock:
            schedule = self._schedule
            if planned.open:
                moves = bool(schedule.waiting(ticks))
            else:
                moves = schedule.pulls_up and (planned.end or ticks) - ticks > from_seconds(0.5)
            if not moves:
                return False
            self._schedule = schedule.ended(planned, ticks)
            self._herald.remark(f"{seat.candidate.name} {sight.gone}", slot)
        self._move_after = slot + from_seconds(10) // self._format.slot_ticks
        self._tell_schedule("moved")
        return True

    def _labelled(self) -> OnAir:
        """The label of what is on air; the slate's before anything was."""
        self._label = self._label or slate_label("nothing could be shown yet")
        return self._label

    def _joined(self, emission: Emission) -> list[Sound]:
        """The slot's sound without a click, silence if what came is no sound at all."""
        try:
            return self._seam.through(emission.slot, emission.label, emission.sound)
        except Exception as error:
            self._herald.oops(error)
            samples = self._format.samples_in(emission.slot)
            return [np.zeros((track.channels, samples), np.float32) for track in self._format.tracks]

    def _covered(self, slot: int, why: str) -> Emission:
        picture, slice = self._resort.pull(slot)
        return Emission(slot, picture, slice.sound, slate_label(why), slice.repeated)

    def _send(self, emission: Emission) -> None:
        """Send a slot, exactly once, and note it. Raises nothing."""
        slot = emission.slot
        if self._delay is not None:
            try:
                emission = self._delay.through(emission, self._covered)
            except Exception as error:
                self._herald.oops(error)
        picture = self._overlaid(slot, emission.picture)
        sound = self._joined(emission)
        try:
            self._output.push(slot, picture, sound)
        except Exception as error:
            self._counts["output_errors"] += 1
            self._herald.oops(error)
        changed = emission.label is not self._sent
        counts = self._counts
        counts["sent"] += 1
        counts["holds"] += emission.held
        counts["repeats"] += emission.repeated and not emission.held
        counts["drops"] += emission.dropped
        with self._lock:
            self._last_sent = slot
            if changed:
                self._sent, self._since = emission.label, self._format.ticks_of(slot)
        if self._asrun is not None:
            asrun = self._asrun
            self._herald.guard(lambda: asrun.sent(emission, picture))
        if changed:
            self._herald.tell(
                "onair", {**emission.label.to_json(), "since": to_iso(self._format.ticks_of(slot)), "slot": slot}
            )

    def _overlaid(self, slot: int, picture: av.VideoFrame) -> av.VideoFrame:
        for number, overlay in enumerate(self._overlays):
            if slot < self._aside.get(number, slot):
                continue
            try:
                drawn = overlay.draw(slot, picture)
                if (drawn.width, drawn.height, drawn.format.name) != (
                    picture.width,
                    picture.height,
                    picture.format.name,
                ):
                    raise ValueError(f"it made a picture of {drawn.width}x{drawn.height} {drawn.format.name}")
                picture = drawn
            except Exception as error:
                self._counts["overlay_errors"] += 1
                self._aside[number] = slot + from_seconds(10) // self._format.slot_ticks
                name = type(overlay).__name__
                self._herald.alarm(f"the overlay {name} failed and is left out for 10 s: {redact(str(error))}")
        return picture

    # Telling

    def _tell_schedule(self, what: str) -> None:
        schedule = self.schedule
        self._herald.tell("schedule", {"what": what, "version": schedule.version, "items": len(schedule.items)})

    def _tell_failures(self, seats: list[Seat]) -> None:
        names = {seat.candidate.key: seat.candidate.name for seat in seats}
        failed = {key: why for key in names if (why := self._arbiter.failure(key))}
        if failed != self._failed:
            for key in failed.keys() - self._failed.keys():
                self._herald.tell("source", {"key": key, "name": names[key], "failed": failed[key]})
            for key in self._failed.keys() - failed.keys():
                if key in names:
                    self._herald.tell("source", {"key": key, "name": names[key], "failed": None})
            self._failed = failed


def _mode(label: OnAir | None) -> str:
    """One word for what is on air."""
    if label is None:
        return "starting"
    if label.urgent:
        return "alert"
    kind = label.key.partition(":")[0]
    return {"take": "take", "live": "live", "item": "schedule", "filler": "filler"}.get(kind, "slate")
