"""The JSON form of a schedule: reading it with an answer for every mistake, and writing it.

::

    {"version": 3, "repeat": "never" | "daily" | "loop", "zone": "Asia/Shanghai", "epoch": INSTANT,
     "early": "filler" | "pull-up",
     "items": [{"id": "news", "title": "News", "source": "/media/news.mp4", "start": INSTANT, "in": 2.5, "out": 62.5,
                "duration": "00:01:00", "loop": false, "gain": -1.5, "priority": 50, "overrun": "cut", "extra": {}}]}

INSTANT is ISO 8601 with a UTC offset, or without one a local time in ``zone`` (of the schedule, or of the item). In a
daily schedule a start is a time of day, ``20:00:00``. Durations are seconds or ``[HH:]MM:SS[.fff]``.
``"loop": true`` beside the items is short for ``"repeat": "loop"``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, time
from fractions import Fraction
from typing import Any, Final, TypeVar

from encoders.item import Item
from encoders.localtime import exact_iso, is_zone, local_start
from encoders.problem import Problem, ScheduleError
from encoders.schedule import Schedule
from headend.clock import from_iso, from_seconds

T = TypeVar("T")

_TIMES: Final = ("start", "zone", "in", "out", "duration")
_ITEM_KEYS: Final = frozenset(("id", "source", "title", *_TIMES, "loop", "gain", "priority", "overrun", "extra"))
_KEYS: Final = frozenset(("items", "version", "repeat", "loop", "zone", "epoch", "early", "lengths", "begun", "over"))
_LONGEST: Final = 10_000 * 86_400
"""Seconds: a duration longer than 27 years is a mistake, and would overflow what counts ticks elsewhere."""


def from_json(row: Any) -> Schedule:
    """A schedule from its JSON form. Raises ScheduleError, whose ``problems`` name everything that is wrong."""
    reader = _Reader()
    top = reader.table(row, "", _KEYS)
    repeat = reader.choice(top, "repeat", "", ("never", "daily", "loop"), "never")
    if reader.value(top, "loop", "", bool, "true or false", False):
        if top.get("repeat", "loop") != "loop":
            reader.wrong("/loop", f"the schedule is to loop and to repeat {repeat} at once; keep one of them")
        repeat = "loop"
    zone = reader.value(top, "zone", "", str, "an IANA name", "UTC")
    if not is_zone(zone):
        reader.wrong("/zone", f"the zone {zone!r} is not known; use an IANA name such as Asia/Shanghai")
        zone = "UTC"
    rows = reader.value(top, "items", "", list, "a list of items", [])
    items = [reader.item(item, f"/items/{number}", zone) for number, item in enumerate(rows)]
    draft: dict[str, Any] = {
        "items": tuple(items),
        "version": reader.value(top, "version", "", int, "a whole number", 1),
        "repeat": repeat,
        "zone": zone,
        "epoch": reader.read(top, "epoch", "", lambda value: _instant(value, zone), 0),
        "early": reader.choice(top, "early", "", ("filler", "pull-up"), None),
        "lengths": reader.instants(top, "lengths", _duration),
        "begun": reader.instants(top, "begun", lambda value: _instant(value, zone)),
        "over": reader.instants(top, "over", lambda value: _instant(value, zone)),
    }
    if reader.problems:
        # What is wrong with the whole is looked for as well, so that one round of corrections is enough.
        try:
            Schedule(**draft)
        except ScheduleError as error:
            seen = {problem.pointer for problem in reader.problems}
            reader.problems += [problem for problem in error.problems if problem.pointer not in seen]
        raise ScheduleError(reader.problems)
    return Schedule(**draft)


def items_from_json(rows: Any, schedule: Schedule, pointer: str = "/set") -> list[Item]:
    """Items of a change to a schedule. Raises ScheduleError."""
    reader = _Reader()
    if not isinstance(rows, list):
        raise ScheduleError([Problem(pointer, f"a list of items is wanted here, not {_kind(rows)}", "error")])
    items = [reader.item(row, f"{pointer}/{n}", schedule.zone) for n, row in enumerate(rows)]
    if reader.problems:
        raise ScheduleError(reader.problems)
    return items


def to_json(schedule: Schedule) -> dict[str, Any]:
    """The JSON form. ``from_json`` of it gives an equal schedule, instants rounded down to the microsecond."""
    row: dict[str, Any] = {
        "version": schedule.version,
        "repeat": schedule.repeat,
        "zone": schedule.zone,
        "items": [item_to_json(item) for item in schedule.items],
    }
    if schedule.epoch:
        row["epoch"] = exact_iso(schedule.epoch)
    if schedule.early:
        row["early"] = schedule.early
    if schedule.lengths:
        row["lengths"] = {id: _seconds(ticks) for id, ticks in schedule.lengths.items()}
    for name in ("begun", "over"):
        if instants := getattr(schedule, name):
            row[name] = {key: exact_iso(ticks) for key, ticks in instants.items()}
    return row


def item_to_json(item: Item) -> dict[str, Any]:
    """The JSON form of an item; what has its default value is left out."""
    row: dict[str, Any] = {"id": item.id, "source": item.source}
    plain = Item("", "")
    if item.start is not None:
        row["start"] = exact_iso(item.start)
    elif item.daily is not None:
        row["start"] = item.daily.isoformat()
    for name, key in (("in_point", "in"), ("out_point", "out"), ("duration", "duration")):
        if (ticks := getattr(item, name)) != getattr(plain, name):
            row[key] = _seconds(ticks)
    for name in ("title", "loop", "gain", "priority", "overrun"):
        if (value := getattr(item, name)) != getattr(plain, name):
            row[name] = value
    if item.extra:
        row["extra"] = dict(item.extra)
    return row


class _Reader:
    """Reads JSON and collects what is wrong with it, instead of stopping at the first mistake."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def wrong(self, pointer: str, detail: str) -> None:
        self.problems.append(Problem(pointer, detail, "error"))

    def table(self, row: Any, pointer: str, keys: frozenset[str]) -> Mapping[str, Any]:
        if not isinstance(row, dict):
            self.wrong(pointer, f"a JSON object is wanted here, not {_kind(row)}")
            return {}
        for key in row:
            if key not in keys:
                name = str(key).replace("~", "~0").replace("/", "~1")
                self.wrong(f"{pointer}/{name}", f"the key {key!r} is not known; use one of {', '.join(sorted(keys))}")
        return row

    def value(self, row: Mapping[str, Any], key: str, at: str, kind: type[T], wanted: str, default: T) -> T:
        value = row.get(key)
        if value is None:
            return default
        # bool is an int in Python, but not in JSON.
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            self.wrong(f"{at}/{key}", f"{key} must be {wanted}, not {_kind(value)}")
            return default
        return value

    def choice(self, row: Mapping[str, Any], key: str, at: str, choices: tuple[str, ...], default: str | None) -> Any:
        value = row.get(key)
        if value is None:
            return default
        if value not in choices:
            self.wrong(f"{at}/{key}", f"{key} is {value!r}; it must be one of {', '.join(choices)}")
            return default
        return value

    def read(self, row: Mapping[str, Any], key: str, at: str, parse: Callable[[Any], T], default: T) -> T:
        value = row.get(key)
        if value is None:
            return default
        try:
            return parse(value)
        except ValueError as error:
            self.wrong(f"{at}/{key}", str(error))
            return default

    def instants(self, row: Mapping[str, Any], key: str, parse: Callable[[Any], int]) -> dict[str, int]:
        table = self.value(row, key, "", dict, "an object", {})
        found = {name: self.read(table, name, f"/{key}", parse, -1) for name in table}
        return {name: ticks for name, ticks in found.items() if ticks >= 0}

    def item(self, row: Any, at: str, zone: str) -> Item:
        table = self.table(row, at, _ITEM_KEYS)
        zone = self.value(table, "zone", at, str, "an IANA name", zone)
        if not is_zone(zone):
            self.wrong(f"{at}/zone", f"the zone {zone!r} is not known; use an IANA name such as Asia/Shanghai")
            zone = "UTC"
        id = self.value(table, "id", at, str, "a text", "")
        source = self.value(table, "source", at, str, "a text", "")
        if isinstance(row, dict):
            for key, value in (("id", id), ("source", source)):
                if not value and not any(problem.pointer == f"{at}/{key}" for problem in self.problems):
                    self.wrong(f"{at}/{key}", f"an item needs the key {key!r}, and it must not be empty")
        gain = table.get("gain")
        number = gain if isinstance(gain, (int, float)) and not isinstance(gain, bool) else None
        if gain is not None and (number is None or not -60 <= number <= 60):  # NaN fails the comparison too
            self.wrong(f"{at}/gain", "gain must be a number of dB from -60 to 60")
            number = None
        item = Item(
            id=id,
            source=source,
            title=self.value(table, "title", at, str, "a text", ""),
            in_point=self.read(table, "in", at, _duration, 0),
            out_point=self.read(table, "out", at, _optional, None),
            duration=self.read(table, "duration", at, _optional, None),
            loop=self.value(table, "loop", at, bool, "true or false", False),
            gain=float(number or 0),
            priority=self.value(table, "priority", at, int, "a whole number", 50),
            overrun=self.choice(table, "overrun", at, ("cut", "join-late"), "cut"),
            extra=self.value(table, "extra", at, dict, "an object", {}),
        )
        start = self.read(table, "start", at, lambda value: _start(value, zone), None)
        if isinstance(start, time):
            return replace(item, daily=start)
        return replace(item, start=start)


def _start(value: Any, zone: str) -> int | time | None:
    if isinstance(value, str) and "T" not in value.upper() and "-" not in value:
        try:
            at = time.fromisoformat(value)
        except ValueError:
            raise ValueError(f"the start {value!r} is not a time of day; write it like 20:00:00") from None
        if at.tzinfo is not None:
            raise ValueError(f"the start {value!r} has a UTC offset, which changes with the seasons; use the key zone")
        return at
    return _instant(value, zone)


def _instant(value: Any, zone: str) -> int:
    if not isinstance(value, str):
        raise ValueError(f"an instant is a text such as 2026-11-21T20:00:00+08:00, not {_kind(value)}")
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError(f"{value!r} is not an instant; write it like 2026-11-21T20:00:00+08:00") from None
    if moment.year < 1970:
        raise ValueError(f"{value!r} lies before 1970, where house time begins; use a later year")
    if moment.tzinfo is not None:
        return from_iso(value)
    ticks, sentence = local_start(moment.date(), moment.time().replace(fold=0), zone)
    if sentence:
        # For one instant there is a better answer than a convention: ask.
        raise ValueError(
            f"the local time {sentence.split(',')[0]}; write it with its UTC offset, or choose a time outside that hour"
        )
    return ticks


def _duration(value: Any) -> int:
    try:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise ValueError
        if isinstance(value, str):
            parts = value.split(":")
            if not 1 <= len(parts) <= 3 or not all(part.strip("0123456789.") == "" and part for part in parts):
                raise ValueError
            seconds = Fraction(0)
            for part in parts:
                seconds = seconds * 60 + Fraction(part)
        else:
            seconds = Fraction(value)
    except (ValueError, OverflowError, ZeroDivisionError):
        raise ValueError(f"{value!r} is not a duration; write seconds, or HH:MM:SS.fff") from None
    if not 0 <= seconds <= _LONGEST:
        raise ValueError(f"a duration of {value!r} cannot be; write zero or more seconds, up to {_LONGEST}")
    return from_seconds(seconds)


def _optional(value: Any) -> int | None:
    return _duration(value)


def _seconds(ticks: int) -> float:
    # Nine decimals tell ticks of 37 ns apart, so reading it back gives the same tick.
    return round(ticks / 27_000_000, 9)


def _kind(value: Any) -> str:
    kinds = {
        dict: "an object",
        list: "a list",
        str: "a text",
        bool: "true or false",
        int: "a number",
        float: "a number",
    }
    return "null" if value is None else kinds.get(type(value), type(value).__name__)
