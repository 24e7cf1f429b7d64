"""What is wrong with a schedule, in sentences that say what follows from it and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal
from zoneinfo import ZoneInfo

from encoders.localtime import day_length, exact_iso, is_zone, local_start
from headend.clock import to_datetime

if TYPE_CHECKING:
    from encoders.schedule import Schedule


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with a schedule, in the shape of the ``errors`` of RFC 9457 (section 3, example)."""

    pointer: str
    """JSON pointer (RFC 6901) to what is wrong."""
    detail: str
    """A sentence: what, why, what follows, what to do."""
    level: Literal["error", "warning"] = "warning"
    """An error makes the schedule unusable; with a warning the channel plays it, as the sentence says."""

    def to_json(self) -> dict[str, str]:
        """A JSON object."""
        return {"pointer": self.pointer, "detail": self.detail, "level": self.level}


class ScheduleError(ValueError):
    """A schedule that cannot be used. ``problems`` says everything that is wrong with it."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(problem.detail for problem in problems))
        self.problems = tuple(problems)


def validate(
    schedule: Schedule, now: int, sources: Iterable[str] | None = None, horizon: int = 2 * 86_400 * 27_000_000
) -> list[Problem]:
    """Everything about a schedule that a person should know before it is on air, in sentences.

    ``sources``: names that items may use (a source with a ``/`` or ``:`` in it, or a ``.``, is a path or URL and not
    checked here); None: do not check. ``horizon``: how far ahead, in ticks, days of changed clocks are looked for.
    """
    problems = faults(schedule)
    pointers = {item.id: f"/items/{number}" for number, item in enumerate(schedule.items)}
    known = None if sources is None else set(sources)
    for item in schedule.items:
        place = pointers[item.id]
        if known is not None and item.source not in known and not any(mark in item.source for mark in "/:."):
            problems.append(
                Problem(
                    f"{place}/source",
                    f"item {item.id!r} wants the source {item.source!r}, which is not configured, so filler is shown; "
                    f"use one of {', '.join(sorted(known)) or 'the sources you configure'}, or a path or URL",
                )
            )
        if schedule.length(item) is None:
            if item.overrun == "join-late":
                problems.append(
                    Problem(
                        f"{place}/overrun",
                        f"item {item.id!r} is to be finished before the next fixed start, but nobody knows how long it "
                        "is, so the fixed start will cut it; give it a duration",
                    )
                )
            if schedule.repeat == "loop":
                problems.append(
                    Problem(
                        f"{place}/duration",
                        f"item {item.id!r} of the loop has no known duration, so it is left out; give it a duration "
                        "or an out-point, or make the media readable",
                    )
                )
    if schedule.repeat == "loop":
        return problems
    if not schedule.items:
        return problems
    plan = schedule.plan(now)
    for cut_item, by, overlap in plan.cut:
        late = cut_item.overrun == "join-late"
        text = (
            f"item {cut_item.id!r} overlaps the start of {by.id!r} by {_span(overlap)}, "
            + (f"so {by.id!r} is joined late" if late else f"so {cut_item.id!r} is cut")
            + "; shorten the one or move the other"
        )
        if not any(problem.detail == text for problem in problems):
            problems.append(Problem(pointers[cut_item.id], text))
    for id in dict.fromkeys(item.id for item in plan.unreached):
        problems.append(
            Problem(
                pointers[id],
                f"item {id!r} is never on air, because a fixed start comes before it; move one of them",
            )
        )
    for before, after in zip(plan.planned, plan.planned[1:], strict=False):
        if before.end is not None and before.end < after.start and after.start > now:
            text = (
                f"nothing is planned for {_span(after.start - before.end)} between {before.item.id!r} and "
                f"{after.item.id!r}, so filler is shown; extend the one or start the other earlier"
            )
            if not any(problem.detail == text for problem in problems):
                problems.append(Problem(pointers[after.item.id], text))
    if schedule.repeat == "never":
        for appearance in plan.planned:
            if appearance.end is not None and appearance.end <= now:
                problems.append(
                    Problem(
                        f"{pointers[appearance.item.id]}/start",
                        f"item {appearance.item.id!r} ended at {exact_iso(appearance.end)}, which is in the past, so "
                        "it is not shown; give it a later start or remove it",
                    )
                )
        return problems
    first = to_datetime(now).astimezone(ZoneInfo(schedule.zone)).date()
    for ahead in range(-(-horizon // (86_400 * 27_000_000)) + 1):
        day = first + timedelta(days=ahead)
        for item in schedule.items:
            if item.daily is not None and (sentence := local_start(day, item.daily, schedule.zone)[1]):
                problems.append(Problem(f"{pointers[item.id]}/start", f"the start of item {item.id!r}: {sentence}"))
        hours = day_length(day, schedule.zone)
        if hours != timedelta(hours=24):
            problems.append(
                Problem(
                    "/zone",
                    f"{day.isoformat()} has {hours.total_seconds() / 3600:g} hours in {schedule.zone}, so what is "
                    "planned around the change of the clocks is cut, or filler is shown; check that day",
                )
            )
    return problems


def faults(schedule: Schedule) -> list[Problem]:
    """What makes a schedule unusable."""
    problems: list[Problem] = []

    def wrong(pointer: str, detail: str) -> None:
        problems.append(Problem(pointer, detail, "error"))

    if not is_zone(schedule.zone):
        wrong("/zone", f"the zone {schedule.zone!r} is not known; use an IANA name such as Asia/Shanghai")
    seen: dict[str, int] = {}
    for number, item in enumerate(schedule.items):
        place, name = f"/items/{number}", f"item {item.id!r}"
        if not item.id:
            wrong(f"{place}/id", f"item {number} has no id, so nothing can refer to it; give it one")
        elif item.id in seen:
            wrong(
                f"{place}/id", f"{name} is there twice (also at /items/{seen[item.id]}); ids must differ, so rename one"
            )
        seen.setdefault(item.id, number)
        if not item.source:
            wrong(f"{place}/source", f"{name} has no source, so there is nothing to show; name a source, path or URL")
        if item.duration is not None and item.duration <= 0:
            wrong(
                f"{place}/duration",
                f"{name} has a duration of {_span(item.duration)}, so it is never seen; give it a longer one",
            )
        if item.in_point < 0:
            wrong(f"{place}/in", f"the in-point of {name} lies before the media begins; give zero or more seconds")
        if item.out_point is not None and item.out_point <= item.in_point:
            wrong(
                f"{place}/out",
                f"the out-point of {name} is not after its in-point, so nothing is left; move one of them",
            )
        if not 1 < item.priority < 100:
            wrong(
                f"{place}/priority",
                f"{name} has the priority {item.priority}; 1 belongs to the slate and 100 to alerts, so use 2 to 99",
            )
        if not -60 <= item.gain <= 60:
            wrong(
                f"{place}/gain", f"{name} has a gain of {item.gain} dB, which is no loudness correction; use -60 to 60"
            )
        if item.daily is not None and schedule.repeat != "daily":
            wrong(
                f"{place}/start",
                f"{name} starts at a time of day, but the schedule does not repeat daily; write the date too",
            )
        if item.start is not None and schedule.repeat != "never":
            wrong(
                f"{place}/start",
                f"{name} starts at an instant, but the schedule repeats ({schedule.repeat}); "
                + ("write a time of day such as 20:00:00" if schedule.repeat == "daily" else "leave the start out"),
            )
    if schedule.repeat == "never" and schedule.items and not schedule.items[0].fixed and not schedule.epoch:
        wrong("/items/0/start", f"item {schedule.items[0].id!r} is the first, so it follows nothing; give it a start")
    return problems


def _span(ticks: int) -> str:
    """A duration as a person writes it."""
    seconds, rest = divmod(abs(ticks), 27_000_000)
    text = f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    text += f".{rest // 27_000:03}" if rest else ""
    return f"-{text}" if ticks < 0 else text
