"""The worker of one channel: sources, playout and ladder in, access units in shared memory out.

After a crash it goes on with the slot after the last one in the rings, and encodes what was missed faster than real
time, so that players see nothing of it. Sources and schedule are made from the configuration
(:mod:`headend.rundown`); commands come over the bus, and what happens is told there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from encoders import capability
from encoders.arbiter import ITEM_LIMITS, Limits
from encoders.asrun import AsRun
from encoders.banner import Banner
from encoders.clockface import ClockFace
from encoders.crawl import Crawl
from encoders.delay import Delay
from encoders.fonts import Typeface, find_typeface
from encoders.format import ChannelFormat
from encoders.ladder import Ladder
from encoders.logo import Logo
from encoders.opening import open_standing
from encoders.overlay import Overlay, OverlayStack
from encoders.pace import Pacing
from encoders.playout import Playout
from encoders.problem import ScheduleError, validate
from encoders.rendition import AudioRendition, VideoRendition
from encoders.schedule import Schedule, VersionConflict
from encoders.scheduleform import items_from_json
from encoders.slate import Slate
from encoders.source import Source
from headend import config
from headend.accessunit import AccessUnit, StreamFormat
from headend.bus import Refusal
from headend.clock import TICKS_PER_SECOND, from_iso, to_iso, to_seconds
from headend.desk import Desk
from headend.ring import RingWriter, end_of
from headend.rundown import Rundown
from headend.worker import Context

if TYPE_CHECKING:
    import structlog

_KEPT: Final = 20
"""Seconds of access units that a ring holds at least, for readers that restart."""
_ROWS: Final = 20_000
"""As-run rows in one answer at most."""


def run(context: Context) -> int:
    """Be the channel ``context.id`` until told to stop."""
    channel = Channel(context, context.config.channel(context.id))
    try:
        channel.start()
        while not context.stopping.wait(0.5):
            if not channel.running:
                raise RuntimeError("the engine of playout ended by itself")
    finally:
        channel.stop()
    return 0


class Channel:
    """Everything of one channel, wired."""

    def __init__(self, context: Context, channel: config.Channel) -> None:
        self._context, self._config = context, channel
        self._clock = context.clock
        self._format: ChannelFormat = channel.channel_format()
        folder = context.paths.data / "channels" / channel.id
        folder.mkdir(parents=True, exist_ok=True)
        # What works on this machine is found out once, not at each restart: trying a hardware encoder takes long.
        capability.remember(context.paths.run / "capability.json")
        self._units_lost = 0
        self._rings: dict[str, RingWriter] = {}
        videos, audios = renditions(channel)
        resume = self._resume([*(v.id for v in videos), *(a.id for a in audios)])
        self._ladder = Ladder(self._format, videos, audios, self._sink, resume=resume, clock=self._clock)
        said = {row.id: row.language for row in channel.ladder.audio if row.language is not None}
        for id, fmt in self._ladder.formats().items():
            fmt = replace(fmt, language=said.get(id, fmt.language))
            self._rings[id] = ring_for(context, channel, id, fmt)
        self._main = videos[0].id
        self._rundown = Rundown(channel, folder, context.config.path.parent, self._clock, context.log)
        self._overlays, self._crawl = overlays(channel, self._format, context.log)
        self._text = next((row.text for row in channel.overlays if isinstance(row, config.CrawlOverlay)), "")
        self._desk = Desk(context.paths.desks / f"{channel.id}.json", self._clock, context.log)
        self._log = AsRun(folder / "asrun", self._format, zone=channel.zone)
        start = min((end // self._format.slot_ticks for end in resume.values()), default=None)
        self._playout = Playout(
            self._format,
            self._clock,
            self._ladder,
            make=self._rundown.make,
            schedule=self._rundown.schedule(),
            sources={source.id: self._open(source) for source in channel.sources},
            live=channel.live.source if channel.live is not None and channel.live.at_start else None,
            filler=self._rundown.filler(),
            slate=Slate(
                "slate",
                self._format,
                self._clock,
                {"zho": channel.slate.text.zho, "eng": channel.slate.text.eng},
                channel.slate.image,
                title=channel.name.zho,
            ),
            overlays=(self._overlays,) if self._overlays.overlays else (),
            delay=Delay(self._format, _ticks(channel.delay)) if channel.delay else None,
            asrun=self._log,
            start_slot=start,
            pacing=Pacing(catch_up=_ticks(channel.catch_up)),
            live_limits=limits(channel.fallback),
            item_limits=replace(ITEM_LIMITS, no_picture=_limit(channel.fallback.no_picture)),
            on_event=self._tell,
        )

    def start(self) -> None:
        """Go on air, with what operators had taken before this process's predecessor died."""
        self._desk.restore(self._playout, self._set_crawl)
        self._context.bus.serve(self.answer)
        self._rundown.start()
        self._playout.start()

    @property
    def running(self) -> bool:
        """Whether the engine is alive."""
        return bool(self._playout.state()["running"])

    def stop(self) -> None:
        """Leave the air: everything that was chosen is encoded and sent."""
        self._playout.stop(5)
        self._ladder.flush(2)
        self._ladder.close()
        self._rundown.close()
        for ring in self._rings.values():
            ring.close()

    # -- the path of the signal

    def _sink(self, id: str, unit: AccessUnit) -> None:
        ring = self._rings.get(id)
        if ring is None:
            # The ladder makes nothing before playout runs, and playout starts when the rings are there.
            self._units_lost += 1
            return
        try:
            ring.write(unit)
        except ValueError as problem:
            self._units_lost += 1
            self._context.log.error(str(problem))
            return
        if id == self._main:
            self._context.beat("picture encoded")

    def _resume(self, ids: list[str]) -> dict[str, int]:
        """Where each rendition goes on after a crash; empty at a first start, or when the outage was too long to make
        up for."""
        ends = {id: end for id in ids if (end := end_of(self._context.paths.ring(self._config.id, id))) is not None}
        now = self._clock.now()
        if not ends or now - min(ends.values()) > _ticks(self._config.catch_up):
            # The rings still say from where timestamps may go on.
            return {id: max(end, now) for id, end in ends.items() if end > now}
        self._context.log.warning(
            f"channel {self._config.id} goes on {to_seconds(now - min(ends.values())):.2f} s after its last picture"
        )
        return ends

    def _open(self, source: config.Source) -> Source:
        return open_standing(
            source.id,
            source.url,
            self._format,
            self._clock,
            latency=float(source.latency),
            options={name: str(value) for name, value in source.options.items()},
        )

    def _tell(self, topic: str, payload: dict[str, Any]) -> None:
        row = {"channel": self._config.id, "time": to_iso(self._clock.now()), **payload}
        self._context.bus.publish(f"channel.{self._config.id}.{topic}", row)
        if topic == "schedule":
            self._rundown.keep(self._playout.schedule)
        if topic in ("alarm", "onair"):
            self._context.log.info(topic, **{key: value for key, value in payload.items() if key != "event"})

    # -- commands

    def answer(self, request: dict[str, Any]) -> Any:
        """The result of a command. Raises Refusal with a sentence."""
        do = request.get("do")
        command = self._commands.get(do) if isinstance(do, str) else None
        if command is None:
            raise Refusal(400, "Unknown command", f"channel {self._config.id} cannot do {do!r}")
        try:
            return command(self, request)
        except VersionConflict as problem:
            raise Refusal(412, "Another version is in force", str(problem)) from None
        except ScheduleError as problem:
            errors = [row.to_json() for row in problem.problems]
            raise Refusal(422, "The schedule cannot be used", str(problem), errors=errors) from None
        except (ValueError, KeyError, TypeError) as problem:
            raise Refusal(409, "Not possible now", str(problem)) from None

    def state(self, request: dict[str, Any] | None = None) -> dict[str, Any]:
        """Everything there is to know of the channel."""
        state = self._playout.state()
        counters = state["counters"]
        pace = state["pace"]
        return {
            **state,
            "id": self._config.id,
            "name": {"zho": self._config.name.zho, "eng": self._config.name.eng},
            "counts": {**counters, "frames": counters["sent"], "lateness": pace.get("behind", 0.0)},
            "sources": [{"id": id, **row, "name": row.get("name") or id} for id, row in state["sources"].items()],
            "delay": float(self._config.delay),
            "delay_line": state["delay"],
            "crawl": None if self._crawl is None else self._text,
            "ladder": self._ladder.state(),
            "rings": {id: ring.state() for id, ring in self._rings.items()},
            "units_lost": self._units_lost,
            "overlays": self._overlays.state(),
            "rundown": self._rundown.state(),
            "clock": self._clock.state(),
        }

    def _get_schedule(self, request: dict[str, Any]) -> Any:
        schedule = self._playout.schedule
        problems = validate(schedule, self._clock.now(), self._source_names)
        return {**schedule.to_json(), "warnings": [problem.to_json() for problem in problems]}

    def _put_schedule(self, request: dict[str, Any]) -> Any:
        row = {key: value for key, value in request.items() if key not in ("do", "version") and value is not None}
        # Local times in a schedule sent by the API are those of the channel.
        row.setdefault("zone", self._config.zone)
        schedule = self._rundown.lengths(Schedule.from_json(row))
        if schedule.repeat == "loop" and "epoch" not in row:
            # A rotation that does not say when it began begins now.
            schedule = replace(schedule, epoch=self._format.ticks_of(self._format.slot_at(self._clock.now())))
        self._refuse(validate(schedule, self._clock.now(), self._source_names))
        self._playout.load(schedule, request.get("version"))
        self._rundown.measure(item.source for item in schedule.items)
        return self._get_schedule(request)

    def _patch_schedule(self, request: dict[str, Any]) -> Any:
        schedule = self._playout.schedule
        items = items_from_json(request.get("set") or [], schedule)
        changed = schedule.patch(items, request.get("remove") or [], request.get("version"))
        changed = self._rundown.lengths(changed)
        self._refuse(validate(changed, self._clock.now(), self._source_names))
        # Meanwhile files were probed: what somebody else has changed since then must not be undone.
        self._playout.load(changed, schedule.version)
        self._rundown.measure(item.source for item in items)
        return self._get_schedule(request)

    @property
    def _source_names(self) -> frozenset[str]:
        return frozenset(source.id for source in self._config.sources)

    @staticmethod
    def _refuse(problems: Any) -> None:
        wrong = [problem for problem in problems if problem.level == "error"]
        if wrong:
            raise ScheduleError(wrong)

    def _take(self, request: dict[str, Any]) -> Any:
        done = self._playout.take(str(request["source"]), _instant(request.get("at")))
        self._desk.take(str(request["source"]), request.get("at"))
        return done

    def _release(self, request: dict[str, Any]) -> Any:
        done = self._playout.release(_instant(request.get("at")))
        self._desk.take(None, request.get("at"))
        return done

    def _skip(self, request: dict[str, Any]) -> Any:
        return self._playout.skip(_instant(request.get("at")))

    def _dump(self, request: dict[str, Any]) -> Any:
        return self._playout.dump()

    def _set_crawl(self, request: dict[str, Any]) -> Any:
        if self._crawl is None:
            raise ValueError(
                f"channel {self._config.id} has no crawl, so there is nowhere to show a text; "
                "add an overlay of kind crawl"
            )
        self._crawl.set_text(str(request.get("text", "")))
        self._text = str(request.get("text", ""))
        self._desk.crawl(self._text)
        return {"text": self._text}

    def _asrun(self, request: dict[str, Any]) -> Any:
        end = _instant(request.get("to")) or self._clock.now()
        start = _instant(request.get("from")) or end - 86_400 * TICKS_PER_SECOND
        rows = self._log.rows(start, end)
        return {"rows": [row.to_json() for row in rows[-_ROWS:]], "truncated": len(rows) > _ROWS}

    _commands: Final[dict[str, Callable[[Channel, dict[str, Any]], Any]]] = {
        "state": state,
        "schedule.get": _get_schedule,
        "schedule.put": _put_schedule,
        "schedule.patch": _patch_schedule,
        "skip": _skip,
        "take": _take,
        "release": _release,
        "dump": _dump,
        "crawl": _set_crawl,
        "asrun": _asrun,
    }


def renditions(channel: config.Channel) -> tuple[list[VideoRendition], list[AudioRendition]]:
    """The ladder of a channel as the engine wants it, largest picture first."""
    videos = [
        VideoRendition(
            row.id,
            row.width,
            row.height,
            row.bitrate,
            codec=row.codec,
            maxrate=row.peak,
            bufsize=row.buffer,
            preset=row.preset,
            gop_seconds=channel.ladder.gop,
            b_frames=row.b_frames,
            encoder=row.encoder,
            ten_bit=row.ten_bit,
            options={name: str(value) for name, value in row.options.items()},
        )
        for row in channel.ladder.video
    ]
    audios = [
        AudioRendition(
            row.id, row.bitrate, codec=row.codec, channels=row.channels, track=row.track, name=row.name or ""
        )
        for row in channel.ladder.audio
    ]
    return sorted(videos, key=lambda v: v.width * v.height, reverse=True), audios


def ring_for(context: Context, channel: config.Channel, id: str, fmt: StreamFormat) -> RingWriter:
    """The ring of a rendition, large enough for a reader that restarts. Raises OSError if the memory cannot be had."""
    seconds = max(_KEPT, 4 * float(channel.ladder.segment))
    rate = float(fmt.rate) if fmt.kind == "video" else fmt.sample_rate / max(fmt.frame_samples, 1)
    capacity = int(max(fmt.maxrate, fmt.bitrate) * seconds / 8 * 1.25) + (1 << 20 if fmt.kind == "video" else 1 << 16)
    return RingWriter(context.paths.ring(channel.id, id), fmt, capacity=capacity, units=int(rate * seconds * 1.25) + 16)


def overlays(
    channel: config.Channel, format: ChannelFormat, log: structlog.stdlib.BoundLogger
) -> tuple[OverlayStack, Crawl | None]:
    """What is drawn over every picture, and the crawl whose text the API sets.

    What cannot be drawn is logged in a sentence and left out: a logo that is missing must not keep a channel off air.
    """
    stack = OverlayStack(format)
    crawl: Crawl | None = None
    for number, row in enumerate(channel.overlays):
        try:
            drawn = _overlay(channel, format, f"{row.kind}-{number + 1}", row)
        except (ValueError, OSError, RuntimeError) as problem:
            log.error(f"channel {channel.id} goes without its overlay {number + 1} ({row.kind}): {problem}")
            continue
        stack.overlays.append(drawn)
        if isinstance(drawn, Crawl):
            crawl = drawn
    return stack, crawl


def _overlay(channel: config.Channel, format: ChannelFormat, name: str, row: config.Overlay) -> Overlay:
    """One overlay. Raises ValueError, OSError or RuntimeError, in a sentence."""
    match row:
        case config.LogoOverlay():
            return Logo(
                name,
                row.image,
                format,
                corner=row.corner,
                margin=row.margin,
                height=row.height,
                opacity=row.opacity,
                fade=float(row.fade),
                shown=row.visible,
            )
        case config.ClockOverlay():
            return ClockFace(
                name,
                format,
                zone=channel.zone,
                pattern=row.format,
                corner=row.corner,
                margin=row.margin,
                height=row.size,
                typeface=_typeface(row.font),
                shown=row.visible,
            )
        case config.CrawlOverlay():
            return Crawl(
                name,
                format,
                row.text if row.visible else "",
                speed=row.speed * 1920,
                edge=row.position,
                height=row.size,
                typeface=_typeface(row.font),
            )
        case config.BannerOverlay():
            banner = Banner(name, format, edge=row.position, height=row.size, typeface=_typeface(row.font))
            if row.visible:
                banner.set_text("", row.text)
            return banner


def limits(fallback: config.Fallback) -> Limits:
    """When a live source has failed."""
    return Limits(
        no_picture=_limit(fallback.no_picture),
        black=_limit(fallback.black),
        frozen=_limit(fallback.frozen),
        silent=_limit(fallback.silent),
        back_after=_ticks(fallback.return_after),
    )


def _typeface(font: Any) -> Typeface | None:
    return None if font is None else find_typeface(font)


def _limit(seconds: Fraction) -> int | None:
    return _ticks(seconds) or None


def _ticks(seconds: Fraction) -> int:
    return int(seconds * TICKS_PER_SECOND)


def _instant(text: Any) -> int | None:
    return None if text is None else from_iso(str(text))
