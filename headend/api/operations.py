"""The requests of the API, one function each. Their docstrings are the manual: the OpenAPI document is made from them.

A function gets a :class:`Call` and returns what it is declared to answer; everything that goes wrong is a
:class:`~headend.api.problem.Problem`. What the path, the body and the headers must be is declared beside it and
checked before it is called.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

from aiohttp import web
from pydantic import BaseModel

from headend import clock as house
from headend.api import asrun, models, views
from headend.api.desk import Desk
from headend.api.events import Stream, Topics
from headend.api.problem import Problem

Guard = Literal["open", "read", "write"]
"""``open``: anyone. ``read``: free on loopback, else the token. ``write``: always the token."""


@dataclass(slots=True)
class Call:
    """One request, checked."""

    desk: Desk
    stream: Stream
    request: web.Request
    body: Any = None
    query: Any = None

    @property
    def channel(self) -> str:
        """Id of the channel in the path, which exists. Raises :class:`Problem` 404."""
        return self.desk.channel(self.request.match_info["channel"]).id

    async def tell(self, do: str, **rest: Any) -> Any:
        """Ask the channel's worker."""
        return await self.desk.command(f"channel-{self.channel}", {"do": do, **rest})


@dataclass(frozen=True, slots=True)
class Operation:
    """A request: where it is, what it takes, what it answers."""

    method: str
    path: str
    run: Callable[[Call], Awaitable[Any]]
    answer: type[BaseModel] | None
    """None: the function makes its own response, of ``media``."""
    tag: str
    guard: Guard
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    body_optional: bool = False
    on_air: bool = False
    """Changes what viewers get: takes an Idempotency-Key."""
    versioned: bool = False
    """Needs If-Match."""
    media: str = "application/json"
    largest: int = 64 * 1024
    """Bytes of the body."""
    statuses: tuple[int, ...] = ()
    """Problems beside those that follow from the rest."""

    @property
    def name(self) -> str:
        """operationId."""
        head, *rest = self.run.__name__.split("_")
        return head + "".join(word.title() for word in rest)

    @property
    def summary(self) -> str:
        """First line of the docstring."""
        return (self.run.__doc__ or "").strip().partition("\n")[0].rstrip(".")

    @property
    def description(self) -> str:
        """The rest of it."""
        lines = (self.run.__doc__ or "").strip().splitlines()[1:]
        return "\n".join(line.strip() for line in lines).strip()


OPERATIONS: Final[list[Operation]] = []
_R = TypeVar("_R")
_Run = Callable[[Call], Awaitable[_R]]


def operation(
    method: str, path: str, *, answer: type[BaseModel] | None, tag: str, **rest: Any
) -> Callable[[_Run[_R]], _Run[_R]]:
    """Declare the function below as a request."""

    def declare(run: _Run[_R]) -> _Run[_R]:
        guard: Guard = "read" if method == "GET" else "write"
        OPERATIONS.append(Operation(method, path, run, answer, tag, **{"guard": guard, **rest}))
        return run

    return declare


_ONE: Final = "/api/v1/channels/{channel}"


# --- channels


@operation("GET", "/api/v1/channels", answer=models.Channels, tag="channels")
async def list_channels(call: Call) -> models.Channels:
    """All channels, each as it is now."""
    await call.desk.survey()
    return models.Channels(channels=[_channel(call.desk, view.id) for view in call.desk.config.channels])


@operation("GET", _ONE, answer=models.Channel, tag="channels")
async def get_channel(call: Call) -> models.Channel:
    """One channel: what is on air, what is next, how its sources are.

    When its worker does not answer, `reachable` is false and the rest is what it said last.
    """
    channel = call.channel
    await call.desk.report("hls")
    await call.desk.report(f"channel-{channel}")
    return _channel(call.desk, channel)


@operation("GET", _ONE + "/sources", answer=models.Sources, tag="channels")
async def list_sources(call: Call) -> models.Sources:
    """The sources of a channel and how each of them is."""
    view = call.desk.channel(call.channel)
    report = await call.desk.report(f"channel-{view.id}")
    return models.Sources(sources=views.sources(view, report.state))


# --- on air


@operation("POST", _ONE + "/take", answer=models.Done, tag="on air", body=models.Take, on_air=True)
async def take(call: Call) -> models.Done:
    """Put a source on air, at once or at a given time.

    It stays until it is released. If it fails meanwhile, the schedule shows underneath until it is good again.
    """
    return models.Done(detail=_detail(await call.tell("take", source=call.body.source, at=call.body.at)))


@operation(
    "POST", _ONE + "/release", answer=models.Done, tag="on air", body=models.Release, body_optional=True, on_air=True
)
async def release(call: Call) -> models.Done:
    """Give the air back to the schedule, at once or at a given time."""
    return models.Done(detail=_detail(await call.tell("release", at=call.body.at)))


@operation(
    "POST", _ONE + "/skip", answer=models.Done, tag="on air", body=models.Nothing, body_optional=True, on_air=True
)
async def skip(call: Call) -> models.Done:
    """End the item that is on air and go on with the next."""
    return models.Done(detail=_detail(await call.tell("skip")))


@operation(
    "POST", _ONE + "/dump", answer=models.Done, tag="on air", body=models.Nothing, body_optional=True, on_air=True
)
async def dump(call: Call) -> models.Done:
    """Throw away what waits in the broadcast delay.

    Viewers never see it; the channel goes on with what is being made now and the delay builds up again.
    """
    return models.Done(detail=_detail(await call.tell("dump")))


@operation("PUT", _ONE + "/crawl", answer=models.Done, tag="on air", body=models.Crawl, on_air=True)
async def set_crawl(call: Call) -> models.Done:
    """Set the text that runs through the picture; an empty text takes it off."""
    return models.Done(detail=_detail(await call.tell("crawl", text=call.body.text)))


# --- schedule


@operation("GET", _ONE + "/schedule", answer=models.Schedule, tag="schedule")
async def get_schedule(call: Call) -> models.Schedule:
    """The schedule and its version, which is also the `ETag`."""
    return _schedule(await call.tell("schedule.get"))


@operation(
    "PUT", _ONE + "/schedule", answer=models.Schedule, tag="schedule", body=models.SchedulePut, versioned=True,
    on_air=True, largest=8 * 1024 * 1024,
)  # fmt: skip
async def put_schedule(call: Call) -> models.Schedule:
    """Put a whole schedule in place of the present one.

    `If-Match` names the version that it was made from, so that nobody's change is overwritten unseen; `*` is any
    version.
    What is on air goes on if the new schedule has it at the same place.
    """
    return await _change(call, "schedule.put")


@operation(
    "PATCH", _ONE + "/schedule", answer=models.Schedule, tag="schedule", body=models.SchedulePatch, versioned=True,
    on_air=True, largest=8 * 1024 * 1024,
)  # fmt: skip
async def patch_schedule(call: Call) -> models.Schedule:
    """Add, replace and remove items of the schedule."""
    return await _change(call, "schedule.patch")


# --- as-run


@operation(
    "GET",
    _ONE + "/asrun",
    answer=models.AsRun,
    tag="as-run",
    query=models.AsRunQuery,
    media="application/json, text/csv",
)
async def get_as_run(call: Call) -> models.AsRun | web.Response:
    """What was really sent, from the output's own record, as JSON or as a CSV file."""
    return await asrun.answer(call.desk, call.channel, call.query)


# --- the head end


@operation("GET", "/api/v1/workers", answer=models.Workers, tag="head end")
async def list_workers(call: Call) -> models.Workers:
    """The processes of the head end, as the supervisor records them."""
    return models.Workers(workers=[views.worker(row) for row in await call.desk.records()])


@operation("GET", "/api/v1/state", answer=models.State, tag="head end")
async def get_state(call: Call) -> models.State:
    """The head end as a whole."""
    desk = call.desk
    await desk.survey()
    channels = [_channel(desk, view.id) for view in desk.config.channels]
    reasons = views.unready(desk, channels)
    return models.State(
        version=desk.config.version,
        now=house.to_iso(desk.clock.now()),
        started=house.to_iso(desk.started),
        ready=not reasons,
        reasons=reasons,
        clock=desk.last("clock").state,
        channels={row.id: row.mode for row in channels},
        api={"unanswered": desk.timeouts, **call.stream.state()},
    )


@operation(
    "GET",
    "/api/v1/events",
    answer=None,
    tag="head end",
    query=models.EventsQuery,
    media="text/event-stream",
    statuses=(503,),
)
async def get_events(call: Call) -> web.StreamResponse:
    """Everything that changes, as server-sent events.

    Each event is `{"topic", "at", "data"}`. Topics: `channel.ID.onair`, `channel.ID.source`, `channel.ID.schedule`,
    `channel.ID.asrun`, `hls.ID.segment`, `worker.NAME`. With `Last-Event-ID` the stream goes on where it broke off; a
    first event with the topic `lost` says that this was not possible, so read the state again.
    """
    return await call.stream.serve(call.request, Topics(call.query.topics))


@operation("GET", "/api/v1/token", answer=models.Health, tag="head end", guard="write")
async def check_token(_: Call) -> models.Health:
    """Whether the token sent is the right one: 200, or 401."""
    return models.Health()


@operation("GET", "/healthz", answer=models.Health, tag="head end", guard="open")
async def healthz(_: Call) -> models.Health:
    """Whether the API worker answers."""
    return models.Health()


@operation("GET", "/readyz", answer=models.Readiness, tag="head end", guard="open", statuses=(503,))
async def readyz(call: Call) -> web.Response:
    """Whether viewers get a picture on every channel: 200 if so, else 503 with the reasons."""
    await call.desk.survey()
    reasons = views.unready(call.desk, [_channel(call.desk, view.id) for view in call.desk.config.channels])
    answer = models.Readiness(ready=not reasons, reasons=reasons)
    return web.json_response(text=answer.model_dump_json(), status=503 if reasons else 200)


# --- helpers


def _channel(desk: Desk, channel_id: str) -> models.Channel:
    return views.channel(desk, desk.channel(channel_id), desk.last(f"channel-{channel_id}"), desk.last("hls"))


def _detail(result: Any) -> dict[str, Any]:
    return result if isinstance(result, dict) else {} if result is None else {"result": result}


def _schedule(result: Any) -> models.Schedule:
    if not isinstance(result, dict) or not isinstance(result.get("version"), int):
        raise Problem(502, "worker-answer", "the channel's worker gave no schedule with a version; look at its log")
    inner = {"version", "items", "warnings"}
    return models.Schedule(
        version=result["version"],
        items=[row for row in result.get("items") or [] if isinstance(row, dict)],
        settings={key: value for key, value in result.items() if key not in inner},
        warnings=list(result.get("warnings") or []),
    )


async def _change(call: Call, do: str) -> models.Schedule:
    body = call.body.model_dump(mode="json", by_alias=True, exclude_unset=True)
    current = _schedule(await call.tell("schedule.get")).version
    version = _match(call.request.headers.getall("If-Match", []), current)
    result = await call.tell(do, **body, version=version)
    # The worker may answer with the schedule or with its version alone.
    whole = result if isinstance(result, dict) and "items" in result else await call.tell("schedule.get")
    return _schedule(whole)


def _match(headers: list[str], current: int) -> int:
    """The version that a change was made from (RFC 9110, 13.1.1). Raises :class:`Problem` 428 or 412."""
    wanted = [tag.strip() for header in headers for tag in header.split(",") if tag.strip()]
    if not wanted:
        raise Problem(
            428,
            "version-missing",
            "a change to a schedule needs If-Match with the version it was made from, so that nobody's work is "
            "overwritten unseen; read the schedule, and send its ETag",
        )
    if "*" in wanted or f'"{current}"' in wanted:
        return current
    raise Problem(
        412,
        "version",
        f"the schedule is at version {current} and the change was made from {', '.join(wanted)}, so it was not made; "
        "read the schedule again and repeat the change on it",
        headers={"ETag": f'"{current}"'},
        version=current,
    )
