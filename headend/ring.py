"""A ring of access units in shared memory: one writer, many readers in other processes, no lock between them.

The ladder writes each rendition into such a ring and the packagers read it. Either side may be killed at any instant:
the writer's successor goes on where the last complete unit ended, and a reader never gets a torn one.

The file (in a tmpfs, mapped by all) has three parts::

    header   16 KiB: magic, sizes, four 64-bit words that change (below), the stream's format as JSON
    index    ``units`` rows of 80 bytes; the row of unit ``n`` is ``n % units``, and carries a checksum of itself
    data     ``capacity`` bytes; a unit lies in one piece at ``offset % capacity``, offsets only ever grow

Writing unit ``n``: (1) ``claimed`` is raised to the end of the bytes about to be overwritten, (2) the bytes are
copied, (3) the row is written, (4) ``written`` becomes ``n + 1``. A reader copies row and bytes first and looks at
``claimed`` again afterwards: bytes at an offset below ``claimed - capacity`` may have been overwritten meanwhile and
are thrown away. A row that is being overwritten fails its checksum. A writer killed at any point leaves ``written``
at its last complete unit.

Memory order: the scheme needs stores to become visible in program order, and loads to happen in it. x86 promises both
(TSO). Other processors (ARM) do not, so there every unit also carries a CRC-32 of its bytes, which readers check. The
four words are aligned and move as single 64-bit accesses.

A ring of another format (or another size) never changes under its readers: the new writer makes a new file and
renames it over the old one, keeping the numbering; a reader drains the old file, notices the new inode, and goes
over.
"""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import platform
import struct
import zlib
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, NamedTuple

from headend.accessunit import AccessUnit, StreamFormat

Start = Literal["live", "idr", "earliest"] | int

_MAGIC: Final = int.from_bytes(b"AU-RING1", "little")
_HEADER: Final = 16 * 1024
_FORMAT_AT: Final = 256
_ROW: Final = struct.Struct("=QQIIqqqqqIIxxxxxxxx")  # seq offset size flags pts dts duration generation end crc row-crc
_ROW_CHECK: Final = struct.Struct("=I")
_CHECKED_BYTES: Final = _ROW.size - 12
assert _ROW.size == 80

# Positions of the 64-bit words of the header.
_W_MAGIC, _W_CAPACITY, _W_UNITS, _W_FORMAT_SIZE, _W_FORMAT_CRC, _W_FIRST, _W_WRITTEN, _W_CLAIMED = range(8)

_KEY: Final = 1
_CHECKSUM: Final = 2
_INHERITED: Final = 4

ORDERED_MEMORY: Final = platform.machine() in ("x86_64", "AMD64", "i686")
"""Whether the processor keeps stores and loads in order, so that no checksum of the bytes is needed."""


class RingBusyError(RuntimeError):
    """Another process is writing this ring: two writers would destroy it."""


class Mark(NamedTuple):
    """What is known of a unit without its bytes; times in ticks of 27 MHz."""

    sequence: int
    pts: int
    dts: int
    duration: int
    key: bool
    generation: int


class _Row(NamedTuple):
    sequence: int
    offset: int
    size: int
    flags: int
    pts: int
    dts: int
    duration: int
    generation: int
    end: int
    crc: int
    check: int

    @property
    def key(self) -> bool:
        return bool(self.flags & _KEY)


class _File:
    """The mapped file, as both sides see it."""

    def __init__(self, fd: int, path: Path, *, writable: bool) -> None:
        self.path = path
        self.fd = fd
        try:
            status = os.fstat(fd)
            if status.st_size < _HEADER:
                raise ValueError(f"{path} is no ring of access units: it has only {status.st_size} bytes")
            self.inode = (status.st_dev, status.st_ino)
            access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
            self.map = mmap.mmap(fd, status.st_size, access=access)
        except BaseException:
            os.close(fd)
            raise
        self.words = memoryview(self.map)[:_FORMAT_AT].cast("Q")
        try:
            self.capacity = self.words[_W_CAPACITY]
            self.units = self.words[_W_UNITS]
            self.data_at = _HEADER + self.units * _ROW.size
            text = self.map[_FORMAT_AT : _FORMAT_AT + min(self.words[_W_FORMAT_SIZE], _HEADER - _FORMAT_AT)]
            if (
                self.words[_W_MAGIC] != _MAGIC
                or not self.capacity
                or not self.units
                or status.st_size != self.data_at + self.capacity
                or zlib.crc32(text) != self.words[_W_FORMAT_CRC]
            ):
                raise ValueError(f"{path} is no ring of access units of this version, or it is damaged")
            self.format = StreamFormat.from_json(json.loads(text))
        except (ValueError, TypeError, KeyError) as problem:
            self.close()
            raise ValueError(str(problem)) from None

    @classmethod
    def open(cls, path: Path, *, writable: bool) -> _File:
        return cls(os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC), path, writable=writable)

    def close(self) -> None:
        self.words.release()
        self.map.close()
        os.close(self.fd)

    def row(self, sequence: int) -> _Row | None:
        """The index row of a unit; None if it is not, or no longer, there."""
        at = _HEADER + sequence % self.units * _ROW.size
        raw = self.map[at : at + _ROW.size]
        row = _Row._make(_ROW.unpack(raw))
        if row.sequence != sequence or zlib.crc32(raw[:_CHECKED_BYTES], _MAGIC & 0xFFFFFFFF) != row.check:
            return None
        return row

    def held(self, row: _Row) -> bool:
        """Whether the bytes of a row have not been overwritten."""
        return not row.flags & _INHERITED and row.offset + self.capacity >= self.words[_W_CLAIMED]

    def oldest(self) -> int:
        """The lowest number that can still be there."""
        return max(self.words[_W_FIRST], self.words[_W_WRITTEN] - self.units, 0)


class RingWriter:
    """The one writer of a ring.

    ``capacity`` is the size of the data part in bytes, ``units`` how many units the index holds. An existing file of
    the same format and sizes is continued, any other is replaced, its numbering and :attr:`end` kept.

    Raises RingBusyError if another process writes this ring, OSError if the memory cannot be had (a full tmpfs is
    found here, never in the middle of a write), ValueError for sizes that are not positive or a format that does not
    fit the header.
    """

    def __init__(self, path: str | os.PathLike[str], fmt: StreamFormat, *, capacity: int, units: int) -> None:
        if capacity <= 0 or units < 2:
            raise ValueError(f"a ring of {capacity} bytes and {units} units cannot hold a stream; make both larger")
        self.path = Path(path)
        self.format = fmt
        self._file = self._continue(fmt, capacity, units)
        words = self._file.words
        self._written = words[_W_WRITTEN]
        # What a killed writer had claimed may be half overwritten: begin beyond it.
        self._head = words[_W_CLAIMED]
        row = self._file.row(self._written - 1) if self._written else None
        self.last: Mark | None = None
        self.end: int | None = None
        """The highest ``pts + duration`` of all units written, ticks; None before the first."""
        if row is not None:
            self.last = Mark(row.sequence, row.pts, row.dts, row.duration, row.key, row.generation)
            self.end = row.end

    def _continue(self, fmt: StreamFormat, capacity: int, units: int) -> _File:
        try:
            old = _File.open(self.path, writable=True)
        except (FileNotFoundError, ValueError):
            # Nothing there, or nothing that can be read: both begin anew.
            return self._create(fmt, capacity, units, None)
        try:
            fcntl.flock(old.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            old.close()
            raise RingBusyError(
                f"the ring {self.path} is being written by another process; two writers would destroy the stream, "
                "so stop the other one first"
            ) from None
        if old.format == fmt and (old.capacity, old.units) == (capacity, units):
            return old
        new = self._create(fmt, capacity, units, old)
        old.close()
        return new

    def _create(self, fmt: StreamFormat, capacity: int, units: int, old: _File | None) -> _File:
        text = json.dumps(fmt.to_json()).encode()
        if len(text) > _HEADER - _FORMAT_AT:
            raise ValueError(f"the format of the ring {self.path} takes {len(text)} bytes and does not fit its header")
        first = old.words[_W_WRITTEN] if old else 0
        last = old.row(first - 1) if old and first else None
        header = struct.pack("=8Q", _MAGIC, capacity, units, len(text), zlib.crc32(text), first, first, 0)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        fd = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, _HEADER + units * _ROW.size + capacity)
            os.pwrite(fd, header, 0)
            os.pwrite(fd, text, _FORMAT_AT)
            if last is not None:
                row = _packed(last._replace(flags=last.flags | _INHERITED))
                os.pwrite(fd, row, _HEADER + last.sequence % units * _ROW.size)
            fcntl.flock(fd, fcntl.LOCK_EX)
            os.rename(draft, self.path)
        except BaseException:
            os.close(fd)
            draft.unlink(missing_ok=True)
            raise
        return _File(fd, self.path, writable=True)

    def write(self, unit: AccessUnit) -> int:
        """Add a unit; returns its number.

        Raises ValueError if it is larger than the whole ring: nothing is written then.
        """
        file, size, capacity = self._file, len(unit.data), self._file.capacity
        if size > capacity:
            raise ValueError(
                f"an access unit of {size} bytes does not fit the ring {self.path} of {capacity} bytes and was left "
                "out; give the ring more capacity"
            )
        start = self._head
        at = start % capacity
        if at + size > capacity:
            start += capacity - at
            at = 0
        sequence = self._written
        end = unit.pts + unit.duration
        if self.end is not None and self.end > end:
            end = self.end
        flags = (_KEY if unit.key else 0) | (0 if ORDERED_MEMORY else _CHECKSUM)
        crc = 0 if ORDERED_MEMORY else zlib.crc32(unit.data)
        row = _Row(
            sequence, start, size, flags, unit.pts, unit.dts, unit.duration, unit.generation, end, crc, 0
        )  # fmt: skip
        raw = _packed(row)
        file.words[_W_CLAIMED] = start + size
        at += file.data_at
        file.map[at : at + size] = unit.data
        at = _HEADER + sequence % file.units * _ROW.size
        file.map[at : at + _ROW.size] = raw
        file.words[_W_WRITTEN] = sequence + 1
        self._written = sequence + 1
        self._head = start + size
        self.end = end
        self.last = Mark(sequence, unit.pts, unit.dts, unit.duration, unit.key, unit.generation)
        return sequence

    def state(self) -> dict[str, Any]:
        """Path, sizes and how much has been written."""
        return {
            "path": str(self.path),
            "written": self._written,
            "bytes": self._head,
            "capacity": self._file.capacity,
            "units": self._file.units,
        }

    def close(self) -> None:
        """Unmap; the file and what is in it stay for readers and for a successor. Idempotent."""
        if not self._file.map.closed:
            self._file.close()

    def __enter__(self) -> RingWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class RingReader:
    """One of the readers of a ring.

    ``start``: ``"live"``, the next unit to be written; ``"idr"``, the newest key unit held; ``"earliest"``, the
    oldest key unit held; or the number of a unit (of one read before, plus one, to go on).

    Raises FileNotFoundError if there is no ring yet, ValueError if the file is no ring.
    """

    def __init__(self, path: str | os.PathLike[str], start: Start = "live") -> None:
        self.path = Path(path)
        self.lost = 0
        """Units that were overwritten before they were read, and those passed over to reach the next key unit."""
        self.reopened = 0
        """How often another file took the place of the one read: :attr:`format` may have changed."""
        self._file = _File.open(self.path, writable=False)
        self._next = 0
        self._want_key = False
        self._losing = False
        self.seek(start)

    @property
    def format(self) -> StreamFormat:
        """The format of the units that :meth:`read` yields."""
        return self._file.format

    @property
    def position(self) -> int:
        """Number of the unit that :meth:`read` yields next."""
        return self._next

    @property
    def written(self) -> int:
        """Number of the unit that the writer writes next."""
        return self._file.words[_W_WRITTEN]

    def seek(self, start: Start) -> None:
        """Go to a place, as ``start`` of the constructor. With no key unit held, the next one to be written is waited
        for.
        """
        self._losing = False
        self._want_key = start in ("earliest", "idr")
        if isinstance(start, int):
            # A number from the future belongs to a ring that was lost with its tmpfs.
            self._want_key = not 0 <= start <= self.written
            self._next = self._key_after(self._file.oldest()) if self._want_key else start
        elif start == "live":
            self._next = self.written
        elif start == "earliest":
            self._next = self._key_after(self._file.oldest())
        else:
            self._next = self._key_before(None)

    def seek_time(self, ticks: int) -> None:
        """Go to the newest key unit that is presented at or before an instant, or the oldest key unit held if none
        is.
        """
        self._losing = False
        self._want_key = True
        self._next = self._key_before(ticks)

    def read(self) -> AccessUnit | None:
        """The next unit, whole; None when the writer has not made it yet. Never blocks, never raises."""
        while True:
            file = self._file
            if self._next >= file.words[_W_WRITTEN]:
                if not self._moved():
                    return None
                continue
            row = file.row(self._next)
            if row is not None and file.held(row):
                if self._want_key and not row.key:
                    self._next += 1
                    self.lost += self._losing
                    continue
                at = file.data_at + row.offset % file.capacity
                data = file.map[at : at + row.size]
                if file.held(row) and (not row.flags & _CHECKSUM or zlib.crc32(data) == row.crc):
                    self._next += 1
                    self._want_key = self._losing = False
                    return AccessUnit(row.pts, row.dts, row.duration, row.key, data, row.generation)
            self._overtaken()

    def _overtaken(self) -> None:
        """Count what is gone and go to a key unit that will not be overwritten the next moment."""
        oldest, written = self._file.oldest(), self.written
        # A quarter of the ring as a head start; no further than needed when the unit is just damaged.
        target = self._key_after(max(self._next + 1, oldest + (written - oldest) // 4))
        self.lost += target - self._next
        self._next = target
        # The key unit may not have been written yet.
        self._want_key = self._losing = True

    def _key_after(self, sequence: int) -> int:
        for number in range(sequence, written := self.written):
            row = self._file.row(number)
            if row is not None and row.key and self._file.held(row):
                return number
        return max(sequence, written)

    def _key_before(self, ticks: int | None) -> int:
        found: int | None = None
        for number in range(self.written - 1, self._file.oldest() - 1, -1):
            row = self._file.row(number)
            if row is None or not self._file.held(row):
                break
            if row.key:
                found = number
                if ticks is None or row.pts <= ticks:
                    break
        return self.written if found is None else found

    def _moved(self) -> bool:
        """Go over to the file that has taken the place of this one, if there is one."""
        try:
            status = os.stat(self.path)
            if (status.st_dev, status.st_ino) == self._file.inode:
                return False
            file = _File.open(self.path, writable=False)
        except (OSError, ValueError):
            return False
        # The old writer may have added a unit between the last look and the rename.
        if self._next < self._file.words[_W_WRITTEN]:
            file.close()
            return True
        self._file.close()
        self._file = file
        self.reopened += 1
        if self._next > file.words[_W_WRITTEN]:
            self._next = file.words[_W_FIRST]
        return True

    def state(self) -> dict[str, Any]:
        """Path, position, how far behind the writer, and what was lost."""
        return {
            "path": str(self.path),
            "position": self._next,
            "behind": max(0, self.written - self._next),
            "lost": self.lost,
            "reopened": self.reopened,
        }

    def close(self) -> None:
        """Unmap. Idempotent."""
        if not self._file.map.closed:
            self._file.close()

    def __enter__(self) -> RingReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _packed(row: _Row) -> bytes:
    raw = _ROW.pack(*row)
    check = zlib.crc32(raw[:_CHECKED_BYTES], _MAGIC & 0xFFFFFFFF)
    return raw[:_CHECKED_BYTES] + _ROW_CHECK.pack(check) + raw[_CHECKED_BYTES + 4 :]


def end_of(path: str | os.PathLike[str]) -> int | None:
    """The highest ``pts + duration`` that a ring's last writer reached, in ticks; None if there is no such ring, or
    nothing in it.

    For a successor that must know where to go on before it can say what format it will write.
    """
    try:
        file = _File.open(Path(path), writable=False)
    except (OSError, ValueError):
        return None
    try:
        written = file.words[_W_WRITTEN]
        row = file.row(written - 1) if written else None
        return None if row is None else row.end
    finally:
        file.close()
