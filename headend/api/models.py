"""What goes over the wire: the bodies that requests take and the answers they get.

Bodies refuse fields they do not know. Answers state what every head end says; a worker's own, longer account of itself
is passed on whole in ``detail``. Instants are ISO 8601 with an offset (house time in ticks does not fit a JSON number).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from headend.clock import from_iso


def _instant(text: str) -> str:
    try:
        from_iso(text)
    except ValueError:
        raise ValueError(
            f"{text!r} is no instant with its offset from UTC; write it like 2026-11-21T20:00:00+08:00"
        ) from None
    return text


Instant = Annotated[
    str,
    Field(max_length=40, json_schema_extra={"format": "date-time", "examples": ["2026-11-21T20:00:00+08:00"]}),
    AfterValidator(_instant),
]
"""An instant that a client sends: ISO 8601 with an offset."""
Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
"""An instant that the head end states, in UTC with milliseconds."""
Duration = Annotated[str, Field(max_length=32)] | Annotated[float, Field(ge=0)]
"""Seconds, or ``[HH:]MM:SS[.fff]``."""
Mode = Literal["alert", "take", "live", "schedule", "filler", "slate", "starting", "unknown"]


class Body(BaseModel):
    """What a client sends."""

    model_config = ConfigDict(extra="forbid", str_max_length=65_536)


class Answer(BaseModel):
    """What the head end says."""

    model_config = ConfigDict(extra="forbid")


# --- bodies


class Take(Body):
    """Put a source on air."""

    source: str = Field(min_length=1, max_length=128, description="Name of a source of this channel.")
    at: Instant | None = Field(None, description="When; null is at once.")


class Release(Body):
    """Give the air back to the schedule."""

    at: Instant | None = Field(None, description="When; null is at once.")


class Nothing(Body):
    """A command without particulars: an empty object, or no body at all."""


class Crawl(Body):
    """The text that runs along the bottom of the picture."""

    text: str = Field(max_length=2000, description="What to show; empty takes the crawl off.")


class Item(Body):
    """One entry of a schedule. Durations are seconds or `[HH:]MM:SS[.fff]`; docs/schedule.md explains each field."""

    id: str = Field(min_length=1, max_length=128)
    source: str = Field(min_length=1, max_length=2048, description="Path or address of the media, or name of a source.")
    title: str | None = Field(None, max_length=512)
    start: str | None = Field(
        None,
        max_length=40,
        description="Fixed start: an instant, or a time of day in a daily schedule. Without: follow-on.",
    )
    zone: str | None = Field(None, max_length=64, description="IANA zone of a `start` without offset.")
    in_: Duration | None = Field(None, alias="in", description="In point.")
    out: Duration | None = Field(None, description="Out point.")
    duration: Duration | None = None
    loop: bool | None = None
    gain: float | None = Field(None, ge=-60, le=60, description="dB, beside the loudness gain.")
    priority: int | None = Field(None, ge=1, le=100)
    overrun: Literal["cut", "join-late"] | None = None
    extra: dict[str, Any] | None = Field(None, description="Your own fields, kept and given back.")


class SchedulePut(Body):
    """A whole schedule in place of the present one."""

    items: list[Item] = Field(max_length=20_000, description="In the order of play.")
    repeat: Literal["never", "daily", "loop"] | None = None
    zone: str | None = Field(None, max_length=64, description="IANA zone of local times.")
    epoch: str | None = Field(None, max_length=40, description="Where a rotation is anchored: an instant.")
    early: Literal["filler", "pull-up"] | None = Field(None, description="What happens when an item ends early.")


class SchedulePatch(Body):
    """Some items of the schedule."""

    set: list[Item] = Field(
        default_factory=list,
        max_length=20_000,
        description="Items to add, or to put in place of those with the same id.",
    )
    remove: list[str] = Field(default_factory=list, max_length=20_000, description="Ids of items to take out.")


class AsRunQuery(Body):
    """Which as-run rows."""

    from_: Instant | None = Field(
        None, alias="from", description="Rows that end after this; default 24 hours before `to`."
    )
    to: Instant | None = Field(None, description="Rows that start before this; default now.")
    limit: int = Field(1000, ge=1, le=10_000, description="At most so many, the newest ones.")
    format: Literal["json", "csv"] = Field(
        "json", description="csv is a file for a spreadsheet, UTF-8 with a byte order mark."
    )


class EventsQuery(Body):
    """Which events."""

    topics: str | None = Field(
        None,
        max_length=1000,
        description="Comma-separated topics; `channel.news` is everything below it, `*` is anything. Default all.",
    )


# --- answers


class ProblemDetails(BaseModel):
    """An error (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="`urn:headend:problem:` and the sort of trouble.")
    title: str
    status: int
    detail: str = Field(description="What is wrong, what follows from it, and how to mend it.")


class OnAir(Answer):
    """What the last picture came from."""

    source: str | None = Field(description="Name of the source.")
    item: str | None = Field(description="Id of the schedule's item, if it is one.")
    title: str | None
    since: Moment | None
    until: Moment | None = Field(description="When it ends as planned; null when nothing says so.")
    reason: str | None = Field(description="Why it came on air.")


class Next(Answer):
    """What the schedule puts on air next."""

    item: str | None
    title: str | None
    source: str | None
    start: Moment | None


class Source(Answer):
    """How a source is."""

    name: str
    kind: str | None
    url: str | None = Field(description="Without credentials.")
    lamp: Literal["good", "waiting", "bad", "idle"] = Field(
        description="`good`: media arrives. `idle`: not opened now."
    )
    on_air: bool
    connected: bool
    receiving: bool
    last_picture: Moment | None
    last_sound: Moment | None
    bit_rate: float | None = Field(description="bit/s")
    errors: int
    reconnects: int
    message: str | None
    detail: dict[str, Any] = Field(description="Everything the source says of itself.")


class Rendition(Answer):
    """One encoded form of a channel."""

    name: str
    codec: str | None
    width: int | None
    height: int | None
    bit_rate: float | None = Field(description="bit/s, as configured.")
    last_segment: Moment | None = Field(description="End of the last whole segment.")


class Counts(Answer):
    """What the output counted since its worker started."""

    frames: int
    repeats: int = Field(description="Pictures shown again because the source runs slower than the channel.")
    holds: int = Field(description="Pictures held because nothing else was ready.")
    drops: int = Field(description="Source pictures left out.")
    jumps: int = Field(description="Slots that were not made in time and left out.")
    lateness: float = Field(description="Seconds by which the last picture was late.")


class Words(Answer):
    """A text in both languages."""

    zho: str
    eng: str


class Channel(Answer):
    """A channel as it is now."""

    id: str
    name: Words
    hls: str = Field(description="Path of the multivariant playlist.")
    reachable: bool = Field(description="Whether its worker answered; false: the rest is what it said last.")
    mode: Mode
    on_air: OnAir | None
    next: Next | None
    last_frame: Moment | None
    last_frame_age: float | None = Field(description="Seconds.")
    delay: float = Field(description="Broadcast delay, seconds.")
    crawl: str | None = Field(description="Text of the crawl; null when the channel has no such overlay.")
    counts: Counts
    sources: list[Source]
    renditions: list[Rendition]
    gaps: int = Field(description="Segments marked EXT-X-GAP since the packager started.")
    detail: dict[str, Any] = Field(description="Everything the channel's worker says of itself.")


class Channels(Answer):
    """All channels."""

    channels: list[Channel]


class Sources(Answer):
    """The sources of one channel."""

    sources: list[Source]


class Schedule(Answer):
    """A schedule and its version, which is also the ETag."""

    version: int
    items: list[dict[str, Any]]
    settings: dict[str, Any] = Field(description="`repeat`, `zone` and what else holds for the whole.")
    warnings: list[Any] = Field(default_factory=list, description="Overlaps, gaps and other things to look at.")


class Done(Answer):
    """A command was carried out."""

    done: bool = True
    detail: dict[str, Any] = Field(default_factory=dict, description="What the channel says of it.")


class AsRun(Answer):
    """What was really sent, oldest first."""

    rows: list[dict[str, Any]]
    truncated: bool = Field(description="Older rows of the range were left out because of `limit`.")


class Worker(Answer):
    """A process of the head end."""

    name: str
    kind: str | None
    pid: int | None
    state: str | None
    started: Moment | None
    restarts: int
    last_beat: Moment | None
    message: str | None
    detail: dict[str, Any]


class Workers(Answer):
    """All processes of the head end."""

    workers: list[Worker]


class State(Answer):
    """The head end as a whole."""

    version: str
    now: Moment = Field(description="House time.")
    started: Moment = Field(description="When this API worker started.")
    ready: bool
    reasons: list[str] = Field(description="Why it is not ready.")
    clock: dict[str, Any]
    channels: dict[str, Mode]
    api: dict[str, Any]


class Readiness(Answer):
    """Whether viewers get a picture on every channel."""

    ready: bool
    reasons: list[str]


class Health(Answer):
    """This process answers."""

    status: Literal["ok"] = "ok"
