"""The as-run log: what was really on air, from when to when, and why.

One row per stay on air, written from what was sent to the ladder. A row is a line of JSON in the file of the
broadcast day in which it began (``2026-11-21.jsonl``), so the log can be read with any tool, and is appended to, never
rewritten. What is on air at the moment stands in ``open.json``, replaced about once a second: after a crash the row
is found there, closed as ``interrupted`` and put into the log.

Writing is done by a thread of its own. A full or dead disk never reaches the channel: rows wait in bounded memory
and are written when the disk is back; what does not fit in there is counted as lost.
"""

from __future__ import annotations

import csv
import io
import json
import os
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import av

from encoders.emission import Emission, OnAir
from encoders.format import ChannelFormat
from encoders.localtime import exact_iso
from headend.clock import TICKS_PER_SECOND, from_iso, to_datetime

KEPT: Final = 10_000
"""Rows held in memory while the disk takes none."""
RETRY: Final = 5.0
"""Seconds between attempts to write to a disk that refused."""
NEAR: Final = 5 * TICKS_PER_SECOND
"""How far the first slot after a restart may lie from the last one noted, for the row to be taken as sent up to it."""


LONGEST: Final = 32 * 86_400 * TICKS_PER_SECOND
"""A row may have begun so long before the stretch that is asked for: a log of years is not read for one day of it."""


@dataclass(frozen=True, slots=True)
class Row:
    """One stay on air. Instants are ticks of house time."""

    item: str
    title: str
    source: str
    priority: int
    planned_start: int | None
    planned_end: int | None
    start: int
    """First tick of the first slot."""
    end: int
    """First tick of the slot after the last one."""
    why: str
    """Why it came on air."""
    ended: str
    """Why it left; ``interrupted`` if the process died."""
    frames: int
    """Slots sent."""
    repeats: int
    """Pictures that the source showed twice, e.g. for frame-rate conversion."""
    holds: int
    """Pictures shown again because the source had none."""
    drops: int
    """Source pictures left out."""
    crc: str
    """CRC-32 of the luma of the first picture as sent, eight hexadecimal digits."""

    def to_json(self) -> dict[str, Any]:
        """A JSON object; instants in ISO 8601, exact to the microsecond."""
        row = asdict(self)
        for name in ("planned_start", "planned_end", "start", "end"):
            row[name] = None if row[name] is None else exact_iso(row[name])
        return row

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> Row:
        """The inverse of :meth:`to_json`. Raises KeyError, TypeError or ValueError on a row of another shape."""
        instants = {
            name: None if row[name] is None else from_iso(row[name])
            for name in ("planned_start", "planned_end", "start", "end")
        }
        return cls(**{**row, **instants})


class AsRun:
    """The log of one channel in a directory.

    ``sent`` is called by the engine for each slot and returns at once; everything else may be called from any thread.
    ``zone`` and ``day_starts`` (ticks after local midnight) say when a broadcast day begins.
    """

    def __init__(
        self,
        directory: Path,
        format: ChannelFormat,
        zone: str = "UTC",
        day_starts: int = 0,
        on_row: Callable[[Row], None] | None = None,
    ) -> None:
        self._directory = directory
        self._format = format
        self._zone = ZoneInfo(zone)
        self._day_starts = timedelta(microseconds=day_starts // 27)
        self.on_row = on_row
        """Called with each finished row, by the thread that finished it; must not block."""
        self._lock = threading.Condition()
        self._row: Row | None = None
        self._label: OnAir | None = None
        self._rows: deque[Row] = deque()
        self._noted = 0
        self._note: Row | None = None
        self._closing = False
        self._thread: threading.Thread | None = None
        self.written = 0
        self.lost = 0
        """Rows that were not written: memory was full while the disk was, too."""
        self.errors = 0
        """Attempts to write that failed."""
        self.message = ""
        """What the disk said last; empty when it works."""

    def open(self, first: int) -> None:
        """Begin at a slot: close the row that a crash left open, and start the writer."""
        left = self._left_open()
        if left is not None:
            first_tick = self._format.ticks_of(first)
            # What the ring holds up to here was sent, even if the note is a second old; what it does not hold was not.
            if abs(first_tick - left.end) <= NEAR:
                slots = (first_tick - left.end) // self._format.slot_ticks
                left = replace(left, end=first_tick, frames=left.frames + slots)
            if left.end > left.start:
                self._rows.append(replace(left, ended="interrupted"))
        self._thread = threading.Thread(target=self._write_on, name="as-run", daemon=True)
        self._thread.start()

    def sent(self, emission: Emission, picture: av.VideoFrame) -> None:
        """Note that a slot was sent; ``picture`` is what went out, overlays and all."""
        start = self._format.ticks_of(emission.slot)
        end = self._format.ticks_of(emission.slot + 1)
        with self._lock:
            row = self._row
            label = emission.label
            if row is None or label is not self._label:
                if row is not None:
                    self._put(replace(row, ended=label.why or "its time was over"))
                self._label = label
                row = Row(
                    label.item, label.title, label.source, label.priority, label.planned_start, label.planned_end,
                    start, end, label.why, "", 0, 0, 0, 0, crc_of(picture),
                )  # fmt: skip
                self._noted = -1
            self._row = replace(
                row,
                end=end,
                frames=row.frames + 1,
                repeats=row.repeats + (emission.repeated and not emission.held),
                holds=row.holds + emission.held,
                drops=row.drops + emission.dropped,
            )
            second = end // TICKS_PER_SECOND
            if second != self._noted:
                self._noted, self._note = second, self._row
                self._lock.notify()

    def rows(self, start: int, end: int) -> list[Row]:
        """Rows that overlap a stretch of time, in order, the open one and those not yet written included."""
        found = list(read(self._directory, start, end))
        with self._lock:
            fresh = [*self._rows, *([self._row] if self._row is not None else [])]
        # The writer may put a row to disk between the two looks.
        known = {_identity(row) for row in found}
        found += [row for row in fresh if row.start < end and row.end > start and _identity(row) not in known]
        return sorted(found, key=lambda row: row.start)

    def close(self, why: str = "the channel was stopped") -> None:
        """Close the open row and write what can be written."""
        with self._lock:
            if self._row is not None:
                self._put(replace(self._row, ended=why))
            self._row = self._label = None
            self._closing = True
            self._lock.notify_all()
        if self._thread is not None:
            self._thread.join(5)

    def state(self) -> dict[str, Any]:
        """What was written, what waits and what was lost."""
        with self._lock:
            return {
                "written": self.written,
                "waiting": len(self._rows),
                "lost": self.lost,
                "errors": self.errors,
                "message": self.message or None,
            }

    def day_of(self, ticks: int) -> date:
        """The broadcast day of an instant."""
        return (to_datetime(ticks).astimezone(self._zone).replace(tzinfo=None) - self._day_starts).date()

    # The writer

    def _put(self, row: Row) -> None:
        if len(self._rows) >= KEPT:
            self._rows.popleft()
            self.lost += 1
        self._rows.append(row)
        self._lock.notify()
        if self.on_row is not None:
            self.on_row(row)

    def _write_on(self) -> None:
        patience: float | None = None
        while True:
            with self._lock:
                if patience is None:
                    self._lock.wait_for(lambda: self._closing or bool(self._rows) or self._note is not None)
                else:
                    self._lock.wait_for(lambda: self._closing, patience)
                closing = self._closing
            patience = None if self._write() else RETRY
            if closing:
                return

    def _write(self) -> bool:
        """Write all that waits; False if the disk refused."""
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            while True:
                with self._lock:
                    if not self._rows:
                        break
                    row = self._rows[0]
                append(self._directory / f"{self.day_of(row.start).isoformat()}.jsonl", row)
                with self._lock:
                    if self._rows and self._rows[0] is row:
                        self._rows.popleft()
                    self.written += 1
            with self._lock:
                note, self._note = self._note, None
                if note is not None and (self._row is None or note.start != self._row.start):
                    note = None  # It has been closed in the meantime, and is in the log.
                closed = self._row is None and self._closing
            mark = self._directory / "open.json"
            if closed:
                mark.unlink(missing_ok=True)
            elif note is not None:
                draft = mark.with_suffix(".new")
                draft.write_text(json.dumps(note.to_json(), ensure_ascii=False), encoding="utf-8")
                draft.replace(mark)
        except OSError as error:
            with self._lock:
                self.errors += 1
                self.message = (
                    f"the as-run log cannot be written to {self._directory}: {error.strerror or error}; the channel "
                    f"goes on, rows wait in memory ({KEPT} at most); make room or mend the disk"
                )
            return False
        with self._lock:
            self.message = ""
        return True

    def _left_open(self) -> Row | None:
        """The row that was open when the process died; None if it was stopped cleanly."""
        try:
            row = Row.from_json(json.loads((self._directory / "open.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        # Killed between writing a row to the log and noting the next one: it is there already.
        if any(
            known.start == row.start and known.source == row.source
            for known in read(self._directory, row.start, row.end)
        ):
            return None
        return row


def append(path: Path, row: Row) -> None:
    """Append a row, whole or not at all. Raises OSError."""
    line = json.dumps(row.to_json(), ensure_ascii=False).encode() + b"\n"
    with open(path, "a+b", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        if size:
            file.seek(size - 1)
            if file.read(1) != b"\n":
                line = b"\n" + line  # The process was killed in the middle of a line.
        try:
            written = 0
            while written < len(line):
                written += file.write(line[written:])
            os.fsync(file.fileno())
        except OSError:
            file.truncate(size)
            raise


def read(directory: Path, start: int, end: int) -> Iterator[Row]:
    """Rows of a log directory that overlap [start, end), day by day. Lines that are no rows are skipped."""
    # A row lies in the file of the day in which it began, and a day of any zone begins within a day of UTC's.
    last = (to_datetime(max(end, 0)).date() + timedelta(days=1)).isoformat()
    first = to_datetime(max(start - LONGEST, 0)).date().isoformat()
    for path in sorted(directory.glob("????-??-??.jsonl")):
        if not first <= path.stem <= last:
            continue
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        for line in lines:
            try:
                row = Row.from_json(json.loads(line))
            except (ValueError, KeyError, TypeError):
                continue
            if row.start < end and row.end > start:
                yield row


def to_csv(rows: Iterable[Row]) -> str:
    """Rows as CSV (RFC 4180) with a header line."""
    out = io.StringIO(newline="")
    names = list(Row.__dataclass_fields__)
    writer = csv.DictWriter(out, names)
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _plain(value) for name, value in row.to_json().items()})
    return out.getvalue()


def crc_of(picture: av.VideoFrame) -> str:
    """CRC-32 of the visible luma of a picture, line by line, as eight hexadecimal digits."""
    plane = picture.planes[0]
    wide = picture.width * (2 if "10" in picture.format.name else 1)
    lines = memoryview(plane).cast("B")
    crc = 0
    for line in range(picture.height):
        crc = zlib.crc32(lines[line * plane.line_size : line * plane.line_size + wide], crc)
    return f"{crc:08x}"


def _identity(row: Row) -> tuple[int, str, str]:
    """What tells rows apart; to the microsecond, because that is what a file keeps of a start."""
    return row.start // 27, row.item, row.source


def _plain(value: Any) -> Any:
    """A cell that a spreadsheet does not take for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@") else value
