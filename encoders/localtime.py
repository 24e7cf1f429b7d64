"""Instants as people write them: in UTC, exactly; and local times on days on which the clocks are changed."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from headend.clock import from_iso, to_datetime


def exact_iso(ticks: int) -> str:
    """ISO 8601 of an instant in UTC, exact to the microsecond, as schedules and logs keep it."""
    return to_datetime(ticks).isoformat().replace("+00:00", "Z")


def local_start(day: date, at: time, zone: str) -> tuple[int, str]:
    """The instant (ticks) of a local time on a day, and a sentence when the clocks were changed then, else "".

    A time that the clocks skip moves on by what they skip; of a time that occurs twice the first is meant (PEP 495).
    """
    tz = ZoneInfo(zone)
    local = datetime.combine(day, at, tz)
    ticks = _ticks(local)
    back = to_datetime(ticks).astimezone(tz)
    if back.replace(tzinfo=None) != local.replace(tzinfo=None):
        return ticks, (
            f"{at.isoformat()} does not exist on {day.isoformat()} in {zone}, because the clocks are put forward; "
            f"it is taken as {back.time().isoformat()}; choose a time outside the skipped hour"
        )
    if local.utcoffset() != local.replace(fold=1).utcoffset():
        return ticks, (
            f"{at.isoformat()} occurs twice on {day.isoformat()} in {zone}, because the clocks are put back; the first "
            "is meant; write the start with its UTC offset when the second is"
        )
    return ticks, ""


def day_length(day: date, zone: str) -> timedelta:
    """How long a calendar day is: 23 or 25 hours when the clocks are changed on it."""
    midnights = [local_start(day + timedelta(days=n), time(0), zone)[0] for n in (0, 1)]
    return timedelta(microseconds=(midnights[1] - midnights[0]) // 27)


def is_zone(name: str) -> bool:
    """Whether a name is that of an IANA zone that this machine knows."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # ZoneInfoNotFoundError is a KeyError; '../x' and 'Asia' are the others.
        return False
    return True


def _ticks(moment: datetime) -> int:
    return from_iso(moment.astimezone(UTC).isoformat())
