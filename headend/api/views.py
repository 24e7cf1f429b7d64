"""From what workers say of themselves to what the API says of them.

A worker's account grows with the worker; the API's form of it does not. So everything is read here with care: a value
that is missing, or of another type, is unknown, and never an error for who asked.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Literal, cast, get_args

from headend.api import models
from headend.api.desk import ChannelView, Desk, Report

Lamp = Literal["good", "waiting", "bad", "idle"]


def channel(desk: Desk, view: ChannelView, report: Report, hls: Report) -> models.Channel:
    """A channel as its worker and the packager describe it."""
    state = report.state
    on_air = _dict(state.get("on_air"))
    last_frame = _text(state.get("last_frame"))
    packaged = _dict(_dict(hls.state.get("channels")).get(view.id))
    return models.Channel(
        id=view.id,
        name=models.Words(zho=view.name.get("zho", view.id), eng=view.name.get("eng", view.id)),
        hls=f"/hls/{view.id}/index.m3u8",
        reachable=report.reachable,
        mode=mode(state),
        on_air=_on_air(on_air) if on_air else None,
        next=_next(_dict(state.get("next"))) if state.get("next") else None,
        last_frame=last_frame,
        last_frame_age=desk.age(last_frame),
        delay=_number(state.get("delay")) or 0.0,
        crawl=crawl if isinstance(crawl := state.get("crawl"), str) else None,
        counts=counts(state),
        sources=sources(view, state),
        renditions=_renditions(view, state, packaged),
        gaps=int(_number(_dict(packaged.get("counts")).get("gap_segments")) or 0),
        detail=state,
    )


def mode(state: dict[str, Any]) -> models.Mode:
    """What kind of thing is on air: as the worker says, or by the priority that put it there."""
    on_air = _dict(state.get("on_air"))
    said = state.get("mode") or on_air.get("mode")
    if said in get_args(models.Mode):
        return cast(models.Mode, said)
    priority = _number(on_air.get("priority"))
    if priority is None:
        return "unknown"
    return next((name for least, name in _PRIORITIES if priority >= least), "slate")


_PRIORITIES: Final[tuple[tuple[int, models.Mode], ...]] = (
    (100, "alert"),
    (60, "live"),
    (50, "schedule"),
    (25, "filler"),
)


def counts(state: dict[str, Any]) -> models.Counts:
    """The output's counters."""
    given = _dict(state.get("counts"))
    whole = {name: int(_number(given.get(key)) or 0) for name, key in _COUNTS.items()}
    return models.Counts(**whole, lateness=_number(given.get("lateness")) or 0.0)


_COUNTS: Final = {"frames": "frames", "repeats": "repeats", "holds": "holds", "drops": "drops", "jumps": "jumped"}


def sources(view: ChannelView, state: dict[str, Any]) -> list[models.Source]:
    """The configured sources of a channel; those that its items opened for a while stay in ``detail``."""
    rows = state.get("sources")
    said = {str(row.get("id")): row for row in (rows if isinstance(rows, list) else ()) if isinstance(row, dict)}
    on_air = _dict(state.get("on_air")).get("source")
    return [
        _source({**row, "idle": True}, on_air)
        if row["name"] not in said
        else _source({**row, **said[row["name"]], "name": row["name"]}, on_air)
        for row in view.sources
    ]


def worker(row: dict[str, Any]) -> models.Worker:
    """The supervisor's record of a process."""
    return models.Worker(
        name=_text(row.get("name")) or "?",
        kind=_text(row.get("kind")),
        pid=int(_number(row.get("pid")) or 0) or None,
        state=_text(row.get("state")),
        started=_text(row.get("started")),
        restarts=int(_number(row.get("restarts")) or 0),
        last_beat=_text(row.get("last_beat")),
        message=_text(row.get("message")),
        detail=row,
    )


def unready(desk: Desk, channels: Iterable[models.Channel]) -> list[str]:
    """Why viewers of some channel get no picture, a sentence for each; empty when all is well."""
    reasons = []
    limit = desk.config.fresh_frame
    for row in channels:
        if not row.reachable:
            reasons.append(f"channel {row.id}: its worker does not answer")
        elif row.last_frame_age is None:
            reasons.append(f"channel {row.id}: it has sent no picture yet")
        elif row.last_frame_age - row.delay > limit:
            reasons.append(
                f"channel {row.id}: its last picture is {row.last_frame_age:.1f} s old, more than {limit:g} s"
            )
        ends = [desk.age(rendition.last_segment) for rendition in row.renditions]
        if not ends or any(age is None for age in ends):
            reasons.append(f"channel {row.id}: not every rendition has a playlist yet")
        elif (oldest := max(age for age in ends if age is not None)) - row.delay > 3 * desk.config.segment:
            reasons.append(f"channel {row.id}: its playlist ends {oldest:.0f} s ago, so players run dry")
    return reasons


def _source(row: dict[str, Any], on_air: object) -> models.Source:
    name = _text(row.get("name")) or "?"
    connected, receiving = row.get("connected") is True, row.get("receiving") is True
    lamp: Lamp = "good" if receiving else "waiting" if connected else "idle" if row.get("idle") is True else "bad"
    return models.Source(
        name=name,
        kind=_text(row.get("kind")),
        url=_text(row.get("url")),
        lamp=lamp,
        on_air=name == on_air,
        connected=connected,
        receiving=receiving,
        last_picture=_text(row.get("last_picture")),
        last_sound=_text(row.get("last_sound")),
        bit_rate=_number(row.get("bit_rate")),
        errors=int(_number(row.get("errors")) or 0),
        reconnects=int(_number(row.get("reconnects")) or 0),
        message=_first(row, "message", "failed"),
        detail=row,
    )


def _on_air(row: dict[str, Any]) -> models.OnAir:
    return models.OnAir(
        source=_text(row.get("source")),
        item=_text(row.get("item")),
        title=_text(row.get("title")),
        since=_first(row, "since", "start", "planned_start"),
        until=_first(row, "until", "ends", "end"),
        reason=_first(row, "reason", "why"),
    )


def _next(row: dict[str, Any]) -> models.Next:
    return models.Next(
        item=_first(row, "item", "id"),
        title=_text(row.get("title")),
        source=_text(row.get("source")),
        start=_first(row, "start", "starts", "planned_start"),
    )


def _renditions(view: ChannelView, state: dict[str, Any], packaged: dict[str, Any]) -> list[models.Rendition]:
    segments = _dict(packaged.get("renditions"))
    rows = []
    for configured in view.renditions:
        name = str(configured.get("name"))
        rows.append(
            models.Rendition(
                name=name,
                codec=_text(configured.get("codec")),
                width=int(_number(configured.get("width")) or 0) or None,
                height=int(_number(configured.get("height")) or 0) or None,
                bit_rate=_number(configured.get("bit_rate")),
                last_segment=_first(_dict(segments.get(name)), "last_segment_end")
                or _first(packaged, "last_segment_end"),
            )
        )
    return rows


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _first(row: dict[str, Any], *names: str) -> str | None:
    return next((text for name in names if (text := _text(row.get(name)))), None)


def _number(value: object) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
