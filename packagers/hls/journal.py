"""What no clock can tell: the small append-only journal of a channel's playlists.

Segment numbers follow from the house clock, but not which of them were already issued, how many discontinuities went
by, which initialization section has which version, or where the continuity counters of a transport stream stand. Each
line is one JSON record behind its CRC-32, so a line torn by SIGKILL or power loss is recognised and cut off. The line
is in the kernel's hands before the playlist shows the segment (a kill loses nothing); fsync follows in a thread of
its own, so that a slow disk never delays a playlist (power loss takes the window in tmpfs too, and at most the last
record).

The same lines go to a mirror beside the window, in tmpfs. It costs nothing, and it is what a restarted packager goes
on from when the data disk was full or broken.
"""

from __future__ import annotations

import json
import os
import zlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

Record = dict[str, Any]
_MAX_LINE: Final = 64 << 20


def _line(record: Record) -> bytes:
    text = json.dumps(record, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _parse(line: bytes) -> Record | None:
    try:
        if int(line[:8], 16) != zlib.crc32(text := line[9:]):
            return None
        record = json.loads(text)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


class Journal:
    """An append-only file of records that survives being cut at any byte.

    Writing never raises: a disk that is full or broken is counted and said in :attr:`trouble`, and every later record
    tries again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.trouble: str | None = None
        """A sentence while the last record could not be written; None when all is well."""
        self.failed = 0
        """Records that could not be written."""
        self.damaged = 0
        """Lines whose checksum was wrong, torn ones included."""
        self.appended = 0
        """Records since the last compaction."""
        self._fd = -1
        self._good = 0
        self._syncer = ThreadPoolExecutor(1, thread_name_prefix="journal-sync")
        self._sync: Future[None] | None = None
        self._records = list(self._load())

    def records(self) -> list[Record]:
        """The records found at opening, oldest first. They are handed over once, to free their memory."""
        records, self._records = self._records, []
        return records

    def _load(self) -> Iterator[Record]:
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            # A broken disk must not keep a channel off the air; the mirror may know what this file knew.
            self._fail(error)
            return
        at = 0
        while (end := content.find(b"\n", at)) >= 0:
            record = _parse(content[at:end])
            at = end + 1
            if record is None:
                self.damaged += 1
            else:
                self.appended += 1
                yield record
        self._good = at
        if at < len(content):
            self.damaged += 1

    def append(self, record: Record) -> bool:
        """Add a record; False if it could not be written."""
        line = _line(record)
        try:
            fd = self._open()
            # Cut off what an earlier crash or a full disk left of a line.
            os.ftruncate(fd, self._good)
            if (done := os.pwrite(fd, line, self._good)) < len(line):
                raise OSError(28, f"only {done} of {len(line)} bytes fitted")
        except OSError as error:
            self._fail(error)
            return False
        self._good += len(line)
        self.appended += 1
        self.trouble = None
        self._sync_soon(fd)
        return True

    def compact(self, records: list[Record]) -> bool:
        """Replace everything by ``records``, atomically; False if that failed, and the old file stays."""
        draft = self.path.with_name(f".{self.path.name}.new")
        content = b"".join(_line(record) for record in records)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
            try:
                with open(fd, "wb", closefd=False) as sink:
                    sink.write(content)
                os.fsync(fd)
                os.replace(draft, self.path)
                folder = os.open(self.path.parent, os.O_RDONLY)
                try:
                    os.fsync(folder)
                finally:
                    os.close(folder)
            except BaseException:
                os.close(fd)
                raise
        except OSError as error:
            self._fail(error)
            return False
        self._close_file()
        self._fd = fd
        self._good = len(content)
        self.appended = len(records)
        self.trouble = None
        return True

    def _open(self) -> int:
        if self._fd < 0:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        return self._fd

    def _fail(self, error: OSError) -> None:
        self.failed += 1
        self.trouble = (
            f"the journal {self.path} cannot be used ({error.strerror or error}); the channel stays on air, "
            "but after a power failure it may mark a gap too many, so free space on that disk or replace it"
        )

    def _sync_soon(self, fd: int) -> None:
        if self._sync is not None and not self._sync.done():
            return
        problem = self._sync.exception() if self._sync is not None else None
        if isinstance(problem, OSError):
            self._fail(problem)
        self._sync = self._syncer.submit(os.fsync, fd)

    def _close_file(self) -> None:
        if self._sync is not None:
            self._sync.exception()
            self._sync = None
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def close(self) -> None:
        """Wait for the last fsync and close. Idempotent."""
        if self._fd >= 0:
            self._sync_soon(self._fd)
        self._close_file()
        self._syncer.shutdown()

    def state(self) -> Record:
        """Path, records and troubles."""
        return {
            "path": str(self.path),
            "records": self.appended,
            "failed": self.failed,
            "damaged": self.damaged,
            "message": self.trouble,
        }


@dataclass(slots=True)
class Row:
    """What was issued under one number, for all renditions of the channel."""

    number: int
    discontinuity: bool
    tracks: dict[str, list[int]]
    """Per track ``[start, duration, size, gap, init version or -1]``."""

    def to_json(self) -> Record:
        return {"n": self.number, "d": int(self.discontinuity), "r": self.tracks}

    @classmethod
    def from_json(cls, record: Record) -> Row:
        """Raises KeyError, TypeError or ValueError on a record of another shape."""
        tracks = {str(key): [int(v) for v in values] for key, values in record["r"].items()}
        if any(len(values) != 5 for values in tracks.values()):
            raise ValueError("a row of the journal has not five values per track")
        return cls(int(record["n"]), bool(record["d"]), tracks)


@dataclass(slots=True)
class Ledger:
    """What the journal adds up to: the memory of a channel's packager."""

    segment_ticks: int = 0
    offset: int = 0
    """Segment N covers ticks ``[(N - offset) * T, (N - offset + 1) * T)``. Not 0 only if T, or the clock, once went
    back."""
    last: int | None = None
    """The last number issued."""
    dsn: int = 0
    """Discontinuities that left the window."""
    rows: deque[Row] = field(default_factory=deque)
    """The window, oldest first, without holes."""
    inits: dict[str, list[Any]] = field(default_factory=dict)
    """Per input ``[version, digest]`` of its current initialization section."""
    counters: dict[str, dict[str, int]] = field(default_factory=dict)
    """Per transport-stream track, the continuity counters after the last segment."""
    bandwidth: dict[str, list[int]] = field(default_factory=dict)
    codecs: dict[str, str] = field(default_factory=dict)

    def issue(self, row: Row, first: int) -> Record:
        """Enter an issued number and let the window begin at ``first``; returns the record to append."""
        if self.rows and row.number != self.rows[-1].number + 1:
            self.slide(row.number)
        self.rows.append(row)
        self.last = row.number
        self.slide(first)
        return {
            **row.to_json(),
            "f": first,
            "t": self.segment_ticks,
            "o": self.offset,
            "i": self.inits,
            "c": self.counters,
            "b": self.bandwidth,
            "k": self.codecs,
        }

    def slide(self, first: int) -> None:
        """Forget rows below ``first``, counting their discontinuities."""
        while self.rows and self.rows[0].number < first:
            self.dsn += self.rows.popleft().discontinuity

    def snapshot(self) -> list[Record]:
        """Records that rebuild this ledger."""
        return [
            {
                "snapshot": 1,
                "n": self.last,
                "t": self.segment_ticks,
                "o": self.offset,
                "s": self.dsn,
                "i": self.inits,
                "c": self.counters,
                "b": self.bandwidth,
                "k": self.codecs,
                "w": [row.to_json() for row in self.rows],
            }
        ]

    @classmethod
    def replay(cls, records: list[Record]) -> Ledger:
        """The ledger that records add up to; records of another shape are passed over."""
        ledger = cls()
        for record in records:
            try:
                ledger._apply(record)
            except (KeyError, TypeError, ValueError, AttributeError):
                continue
        return ledger

    def _apply(self, record: Record) -> None:
        if "snapshot" in record:
            rows = deque(Row.from_json(row) for row in record["w"])
            self.rows, self.dsn, self.last = rows, int(record["s"]), record["n"]
        else:
            row, first = Row.from_json(record), int(record["f"])
            self.issue(row, first)
        self.segment_ticks, self.offset = int(record["t"]), int(record["o"])
        self.inits, self.counters, self.bandwidth, self.codecs = record["i"], record["c"], record["b"], record["k"]


class TwinJournal:
    """The journal on the data disk and its mirror in tmpfs; what has come further wins at opening."""

    def __init__(self, path: Path, mirror: Path) -> None:
        self.disk = Journal(path)
        self.mirror = Journal(mirror)

    def load(self) -> Ledger:
        """The ledger to go on from."""
        ledgers = [Ledger.replay(journal.records()) for journal in (self.disk, self.mirror)]
        return max(ledgers, key=lambda ledger: -1 if ledger.last is None else ledger.last)

    def append(self, record: Record) -> None:
        """Add a record to both."""
        self.mirror.append(record)
        self.disk.append(record)

    def compact_if_long(self, ledger: Ledger) -> None:
        """Rewrite a journal that has grown to several times what it says."""
        limit = 256 + 4 * len(ledger.rows)
        for journal in (self.disk, self.mirror):
            if journal.appended > limit:
                journal.compact(ledger.snapshot())

    def restart(self, ledger: Ledger) -> None:
        """Begin both anew from ``ledger``, so that they agree."""
        for journal in (self.disk, self.mirror):
            journal.compact(ledger.snapshot())

    @property
    def trouble(self) -> str | None:
        """A sentence while the data disk takes no records."""
        return self.disk.trouble

    def close(self) -> None:
        self.disk.close()
        self.mirror.close()

    def state(self) -> Record:
        return {"disk": self.disk.state(), "mirror": self.mirror.state()}
