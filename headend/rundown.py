"""From the configuration of a channel to what playout plays: its schedule, its filler, and the source of each item.

The schedule in force is kept in ``DATA/channels/ID/schedule.json``: what operators changed survives every process.
When the configuration (or the content of its folder) says something else than it did when that file was made, the
configuration wins, for an operator who edits it expects to see the edit on air.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict
from urllib.parse import unquote, urlsplit

import structlog

from encoders.file import FileSource
from encoders.format import ChannelFormat
from encoders.loudness import LoudnessStore, gain
from encoders.opening import STILLS, open_source
from encoders.schedule import Item, Schedule, ScheduleError
from encoders.source import Source
from encoders.still import Still
from headend import config
from headend.clock import TICKS_PER_SECOND, Clock, from_seconds
from headend.media import MediaFile, examine, scan_media


class _Heard(TypedDict):
    """Which sound of a file is measured, and mixed to how many channels."""

    channels: int
    track: str


class Rundown:
    """What one channel plays.

    ``make`` is what playout calls for each item (see :data:`encoders.stage.Make`). ``folder`` is the channel's own in
    the data directory, ``beside`` where the configuration lies, which relative paths of items start from.
    """

    def __init__(
        self,
        channel: config.Channel,
        folder: Path,
        beside: Path,
        clock: Clock,
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        self._channel, self._clock, self._log = channel, clock, log
        self._beside = beside
        self._format: ChannelFormat = channel.channel_format()
        self._file = folder / "schedule.json"
        self._profile = channel.loudness.profile
        self._loudness = LoudnessStore(folder / "loudness.json")
        self._names = {source.id for source in channel.sources}
        # One gain for all sound of an item: what the first track makes of it, which most viewers hear.
        first = self._format.tracks[0]
        self._heard: _Heard = {"channels": first.channels, "track": first.language}
        self._stop = threading.Event()
        self._turn = threading.Event()
        self._keep: Schedule | None = None
        self._lock = threading.Lock()
        self._wanted: list[Path] = []
        self._thread: threading.Thread | None = None
        self.unkept = 0
        """Changes of the schedule that could not be written to disk."""
        self.message = ""

    def schedule(self) -> Schedule:
        """The schedule to begin with. Never raises: what is wrong is logged, and the channel has filler and slate."""
        origin, schedule = self._configured()
        kept = self._kept(origin)
        chosen = kept if kept is not None else schedule
        self._origin = origin
        self.measure(item.source for item in chosen.items)
        return chosen

    def filler(self) -> Schedule | None:
        """What fills gaps, as a rotation; None if nothing is configured or none of it can be played."""
        found = [row for path in self._channel.filler for row in self._scan(path)]
        if not found:
            return None
        self.measure(str(row.path) for row in found)
        return _rotation(found, self._now())

    def make(self, item: Item, first: int, offset: int) -> Source:
        """The source of an item, not opened, that shows at slot ``first`` what is ``offset`` ticks after its in-point.

        Raises ValueError if its address cannot be one.
        """
        name = item.title or item.id
        path = self._local(item.source)
        if path is None:
            return open_source(name, item.source, self._format, self._clock, gain_db=item.gain)
        if path.suffix.lower() in STILLS:
            return Still(name, path, self._format, self._clock)
        left = None if item.duration is None else max(item.duration - offset, self._format.slot_ticks)
        return FileSource(
            name,
            path,
            self._format,
            self._clock,
            # A loop is joined at its beginning: where in the loop a viewer comes in tells him nothing.
            in_point=item.in_point if item.loop else item.in_point + offset,
            out_point=item.out_point,
            duration=left,
            loop=item.loop,
            gain_db=self._gain(path) + item.gain,
        )

    def lengths(self, schedule: Schedule) -> Schedule:
        """The schedule with the lengths of media that it did not know. Probes files: not for the engine's thread."""
        known: dict[str, int] = {}
        for item in schedule.unprobed():
            path = self._local(item.source)
            for row in () if path is None else self._scan(path):
                if row.duration is not None:
                    known[item.id] = from_seconds(row.duration)
        return schedule.with_lengths(known) if known else schedule

    def measure(self, sources: Iterable[str]) -> None:
        """Have the loudness of files measured, one after another, in the background; those known already cost
        nothing."""
        with self._lock:
            waiting = set(self._wanted)
            for source in dict.fromkeys(sources):
                path = self._local(source)
                if path is not None and path not in waiting and path.is_file():
                    self._wanted.append(path)
        self._turn.set()

    def keep(self, schedule: Schedule) -> None:
        """Have a schedule written to disk soon. Never blocks."""
        with self._lock:
            self._keep = schedule
        self._turn.set()

    def start(self) -> None:
        """Begin to measure and to keep."""
        self._thread = threading.Thread(target=self._run, name="rundown", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write what has not been written, and stop."""
        self._stop.set()
        self._turn.set()
        if self._thread is not None:
            self._thread.join(2)

    def state(self) -> dict[str, Any]:
        """What is still to be measured, and what could not be kept."""
        with self._lock:
            waiting = len(self._wanted)
        return {"to_measure": waiting, "unkept": self.unkept, "message": self.message}

    # -- its own thread

    def _run(self) -> None:
        while True:
            self._write()
            path = None
            with self._lock:
                if self._wanted:
                    path = self._wanted.pop(0)
            if path is not None and not self._stop.is_set():
                self._measure(path)
            elif self._stop.is_set():
                return
            else:
                self._turn.wait()
                self._turn.clear()

    def _measure(self, path: Path) -> None:
        if path.suffix.lower() in STILLS:
            return
        try:
            self._loudness.measure(path, cancel=self._stop, **self._heard)
        except (OSError, ValueError) as problem:
            # It is played as it is; when it cannot be played at all, playout says so when its time comes.
            self.message = str(problem)
            self._log.warning(self.message)

    def _write(self) -> None:
        with self._lock:
            schedule, self._keep = self._keep, None
        if schedule is None:
            return
        text = json.dumps({"origin": self._origin, "schedule": schedule.to_json()}, ensure_ascii=False)
        try:
            _write_through(self._file, text.encode())
        except OSError as problem:
            self.unkept += 1
            self.message = (
                f"the schedule of {self._channel.id} could not be written to {self._file} "
                f"({problem.strerror}), so a restart "
                "would bring back the one before; make room on the disk and change the schedule once more"
            )
            self._log.error(self.message)

    # -- reading

    def _now(self) -> int:
        """The beginning of the present slot: a rotation that begins between two pictures would always be shown late."""
        return self._format.ticks_of(self._format.slot_at(self._clock.now()))

    def _gain(self, path: Path) -> float:
        measured = self._loudness.get(path, **self._heard)
        return 0.0 if measured is None else gain(measured, self._profile)

    def _scan(self, path: Path) -> Sequence[MediaFile]:
        found = scan_media(path) if path.is_dir() else [examine(path)]
        for row in found:
            if row.problem:
                self._log.warning(row.problem)
        return [row for row in found if not row.problem]

    def _configured(self) -> tuple[str, Schedule]:
        """The configuration's schedule, and a fingerprint of what it was made from."""
        given = self._channel.schedule
        if given is None:
            return "", Schedule()
        mark = given.model_dump(mode="json")
        try:
            if given.folder is not None:
                found = self._scan(given.folder)
                origin = _mark(mark, [(str(row.path), str(row.duration)) for row in found])
                return origin, _rotation(found, self._now(), repeat=given.loop)
            if given.file is not None:
                text = given.file.read_text(encoding="utf-8")
                top = {"zone": self._channel.zone, **json.loads(text)}
                return _mark(mark, text), self.lengths(Schedule.from_json(top))
            items = [_row(item, number, self._path(item.source)) for number, item in enumerate(given.items or [])]
            top = {
                "items": items,
                "zone": self._channel.zone,
                "repeat": "loop" if given.loop and not _fixed(items) else "never",
            }
            # A rotation begins now: one that is cut short must not move its beginning before the epoch.
            return _mark(mark, None), self.lengths(replace(Schedule.from_json(top), epoch=self._now()))
        except (OSError, ValueError) as problem:
            detail = problem if isinstance(problem, ScheduleError) else str(problem)
            self._log.error(f"the schedule of {self._channel.id} cannot be used, so filler or slate is shown: {detail}")
            return _mark(mark, str(detail)), Schedule()

    def _local(self, source: str) -> Path | None:
        """The file that an item's source names; None for a live input, the test card or another address."""
        if source in self._names or source.startswith("testcard:"):
            return None
        if source.startswith("file://"):
            return Path(unquote(urlsplit(source).path))
        return None if "://" in source else Path(source)

    def _path(self, source: str) -> str:
        """An item's source as the configuration means it."""
        path = self._local(source)
        return source if path is None else str(self._beside / path.expanduser())

    def _kept(self, origin: str) -> Schedule | None:
        try:
            row = json.loads(self._file.read_text(encoding="utf-8"))
            return Schedule.from_json(row["schedule"]) if row["origin"] == origin else None
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as problem:
            self._log.error(f"{self._file} cannot be read ({problem}), so the schedule of the configuration is used")
            return None


def _rotation(found: Sequence[MediaFile], epoch: int, *, repeat: bool = True) -> Schedule:
    """Files one after another, from ``epoch`` on, for ever or once."""
    items = []
    lengths = {}
    for number, row in enumerate(found):
        id = f"{number + 1:03d}-{row.path.stem}"[:128]
        # A still picture has no length of its own.
        duration = 10 * TICKS_PER_SECOND if row.still else None
        items.append(Item(id, str(row.path), row.title, duration=duration))
        if row.duration is not None:
            lengths[id] = from_seconds(row.duration)
    if not items:
        return Schedule()
    if repeat:
        return Schedule(tuple(items), repeat="loop", epoch=epoch, lengths=lengths)
    first = Item(items[0].id, items[0].source, items[0].title, start=epoch, duration=items[0].duration)
    return Schedule((first, *items[1:]), lengths=lengths)


def _row(item: config.Item, number: int, source: str) -> dict[str, Any]:
    """An item of the configuration in the schedule's JSON form."""
    row: dict[str, Any] = {"id": item.id or f"item-{number + 1}", "source": source, "loop": item.loop}
    row["title"] = Path(item.source).stem if item.title is None else item.title.zho
    if item.start is not None:
        row["start"] = item.start
    for key, value in (
        ("in", item.in_point),
        ("out", item.out_point),
        ("duration", item.duration),
        ("gain", item.gain),
    ):
        if value:
            row[key] = float(value)
    return row


def _fixed(rows: Sequence[dict[str, Any]]) -> bool:
    return any("start" in row for row in rows)


def _write_through(path: Path, data: bytes) -> None:
    """Replace a file on the data disk, so that a power cut leaves the old one or the new one. Raises OSError."""
    draft = path.with_name(f".{path.name}.new")
    with draft.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _mark(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]
