"""The ring: what is read is what was written, whole and in order, whoever is killed whenever."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headend import ring as ring_module
from headend.accessunit import AccessUnit, StreamFormat
from headend.ring import RingBusyError, RingReader, RingWriter

FORMAT = StreamFormat("video", "h264", extradata=b"\x01\x02", bitrate=1000, rate=Fraction(25), width=160, height=90)
SOUND = StreamFormat("audio", "aac", extradata=b"\x11\x90", sample_rate=48_000, channels=2, frame_samples=1024)
FRAME = 1_080_000


def unit(number: int, size: int = 100, *, key: bool | None = None) -> AccessUnit:
    """A unit whose bytes tell its number and prove that they are whole."""
    body = random.Random(number).randbytes(max(0, size - 12))
    data = number.to_bytes(8, "big") + body
    data += zlib.crc32(data).to_bytes(4, "big")
    return AccessUnit(number * FRAME, number * FRAME - 5, FRAME, number % 10 == 0 if key is None else key, data, 42)


def check(got: AccessUnit) -> int:
    assert zlib.crc32(got.data[:-4]) == int.from_bytes(got.data[-4:], "big"), "torn"
    number = int.from_bytes(got.data[:8], "big")
    assert (got.pts, got.duration) == (number * FRAME, FRAME), "metadata of another unit"
    return number


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rings" / "720p"


def drain(reader: RingReader) -> list[int]:
    return [check(got) for got in iter(reader.read, None)]


def test_what_is_read_is_what_was_written(path: Path) -> None:
    with RingWriter(path, FORMAT, capacity=10_000, units=64) as writer, RingReader(path) as reader:
        units = [unit(n, size) for n, size in enumerate((12, 500, 5000, 13, 4000, 900))]
        for number, each in enumerate(units):
            assert writer.write(each) == number
            assert reader.read() == each
        assert reader.read() is None
        assert reader.format == FORMAT
        assert reader.lost == 0
        assert reader.state()["behind"] == 0


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.booleans(), st.integers(12, 900)), max_size=120), units=st.integers(2, 20))
def test_any_interleaving_yields_rising_whole_units_and_an_exact_loss(
    tmp_path: Path, steps: list[tuple[bool, int]], units: int
) -> None:
    path = tmp_path / f"ring{time.monotonic_ns()}"
    written = 0
    read: list[int] = []
    with RingWriter(path, FORMAT, capacity=2000, units=units) as writer, RingReader(path) as reader:
        for write, size in steps:
            if write:
                writer.write(unit(written, size))
                written += 1
            elif (got := reader.read()) is not None:
                read.append(check(got))
        read += drain(reader)
        assert read == sorted(set(read))
        assert len(read) + reader.lost == written
        # After a loss a decoder can start: what follows a gap is a key unit.
        assert all(b == a + 1 or b % 10 == 0 for a, b in zip([-1, *read], read, strict=False))


def test_an_overtaken_reader_goes_on_at_a_key_unit_and_counts(path: Path) -> None:
    with RingWriter(path, FORMAT, capacity=1_000_000, units=50) as writer, RingReader(path) as reader:
        for number in range(203):
            writer.write(unit(number))
        got = drain(reader)
        assert got[0] % 10 == 0
        assert got == list(range(got[0], 203))
        assert 153 <= got[0] <= 180
        assert reader.lost == got[0]


@pytest.mark.parametrize(
    ("start", "first"), [("live", None), ("idr", 40), ("earliest", 20), (33, 33), (999, 20), (3, 30)]
)
def test_places_to_start(path: Path, start: Any, first: int | None) -> None:
    with RingWriter(path, FORMAT, capacity=1_000_000, units=32) as writer:
        for number in range(45):
            writer.write(unit(number))
        with RingReader(path, start) as reader:
            got = reader.read()
            assert (check(got) if got else None) == first
            assert reader.lost == (first - 3 if start == 3 and first else 0)


def test_start_at_an_instant(path: Path) -> None:
    with RingWriter(path, FORMAT, capacity=1_000_000, units=64) as writer, RingReader(path) as reader:
        for number in range(45):
            writer.write(unit(number))
        for ticks, first in ((25 * FRAME, 20), (20 * FRAME, 20), (20 * FRAME - 1, 10), (-1, 0), (99 * FRAME, 40)):
            reader.seek_time(ticks)
            assert reader.position == first


def test_a_successor_continues_numbers_and_knows_the_end(path: Path) -> None:
    with RingWriter(path, FORMAT, capacity=10_000, units=64) as writer:
        assert writer.last is None
        assert writer.end is None
        for number in (0, 1, 3, 2):
            writer.write(unit(number))
    with RingReader(path, 2) as reader, RingWriter(path, FORMAT, capacity=10_000, units=64) as writer:
        assert writer.last is not None
        assert writer.last[:5] == (3, 2 * FRAME, 2 * FRAME - 5, FRAME, False)
        assert writer.last.generation == 42
        # The end is the highest, not the last: B pictures come out of order.
        assert writer.end == 4 * FRAME
        assert writer.write(unit(4)) == 4
        assert drain(reader) == [3, 2, 4]
        assert reader.reopened == 0


def test_another_format_takes_over_without_losing_what_was_unread(path: Path) -> None:
    with (
        RingReader(_written(path, FORMAT, range(5)), 3) as reader,
        RingWriter(path, SOUND, capacity=5_000, units=16) as writer,
    ):
        assert writer.end == 5 * FRAME
        assert writer.last is not None
        assert writer.last.sequence == 4
        assert writer.write(unit(5)) == 5
        assert check(reader.read() or pytest.fail("nothing")) == 3
        assert reader.format == FORMAT
        assert check(reader.read() or pytest.fail("nothing")) == 4
        assert check(reader.read() or pytest.fail("nothing")) == 5
        assert reader.format == SOUND
        assert (reader.reopened, reader.lost) == (1, 0)
    # And the successor of a successor that wrote nothing still knows the end.
    with RingWriter(path, FORMAT, capacity=5_000, units=16):
        pass
    with RingWriter(path, FORMAT, capacity=5_000, units=16) as writer:
        assert writer.end == 6 * FRAME


def _written(path: Path, fmt: StreamFormat, numbers: range) -> Path:
    with RingWriter(path, fmt, capacity=10_000, units=64) as writer:
        for number in numbers:
            writer.write(unit(number))
    return path


def test_a_ring_that_was_lost_is_read_again_when_it_is_back(path: Path) -> None:
    with RingReader(_written(path, FORMAT, range(9))) as reader:
        path.unlink()
        assert reader.read() is None
        _written(path, FORMAT, range(2))
        assert drain(reader) == [0, 1]
        assert reader.reopened == 1


def test_two_writers_are_refused(path: Path) -> None:
    with (
        RingWriter(path, FORMAT, capacity=1000, units=8),
        pytest.raises(RingBusyError, match="written by another process"),
    ):
        RingWriter(path, FORMAT, capacity=1000, units=8)


def test_a_unit_larger_than_the_ring_is_refused_and_harms_nothing(path: Path) -> None:
    with RingWriter(path, FORMAT, capacity=1000, units=8) as writer, RingReader(path) as reader:
        writer.write(unit(0))
        with pytest.raises(ValueError, match="does not fit"):
            writer.write(unit(1, 1001))
        writer.write(unit(1, 1000, key=True))
        assert drain(reader) == [1]


@pytest.mark.parametrize("content", [b"", b"x" * 100, bytes(20_000), os.urandom(20_000)])
def test_a_damaged_file_is_no_ring_for_readers_and_replaced_by_a_writer(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(ValueError, match="no ring"):
        RingReader(path)
    with RingWriter(path, FORMAT, capacity=1000, units=8) as writer, RingReader(path) as reader:
        writer.write(unit(0))
        assert drain(reader) == [0]


def test_no_ring_yet(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        RingReader(path)


def test_damaged_bytes_are_found_where_memory_is_not_ordered(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring_module, "ORDERED_MEMORY", False)
    with RingWriter(path, FORMAT, capacity=10_000, units=64) as writer, RingReader(path) as reader:
        for number in range(12):
            writer.write(unit(number))
        raw = bytearray(path.read_bytes())
        at = raw.find(unit(4).data)
        with path.open("r+b") as file:
            file.seek(at + 20)
            file.write(b"\xff\x00\xff")
        assert drain(reader) == [0, 1, 2, 3, 10, 11]
        assert reader.lost == 6


def test_a_full_memory_is_found_when_the_ring_is_made(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, at: int, size: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space"):
        RingWriter(path, FORMAT, capacity=1000, units=8)
    assert not list(path.parent.iterdir())


WRITER = """
import sys, random, zlib
sys.path.insert(0, {root!r})
from fractions import Fraction
from headend.accessunit import AccessUnit, StreamFormat
from headend.ring import RingWriter
FRAME = 1_080_000
fmt = StreamFormat("video", "h264", extradata=b"\\x01\\x02", bitrate=1000, rate=Fraction(25), width=160, height=90)
bodies = [random.Random(n).randbytes(40_000 + 7_000 * n) for n in range(10)]
with RingWriter({path!r}, fmt, capacity=2_000_000, units=64) as writer:
    number = 0 if writer.last is None else writer.last.pts // FRAME + 1
    assert writer.end in (None, number * FRAME)
    print(number, flush=True)
    while True:
        data = number.to_bytes(8, "big") + bodies[number % 10]
        data += zlib.crc32(data).to_bytes(4, "big")
        assert writer.write(AccessUnit(number * FRAME, number * FRAME - 5, FRAME, number % 10 == 0, data, 42)) == number
        number += 1
"""


@pytest.fixture
def writers(path: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []
    script = WRITER.format(root=str(Path(__file__).parents[2]), path=str(path))

    def start() -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline().strip().isdigit(), "the writer did not accept what its predecessor left"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_a_fast_writer_that_is_killed_again_and_again(path: Path, writers: Callable[..., Any]) -> None:
    """A real second process writes as fast as it can, laps the reader all the time, and dies at any instruction."""
    dice = random.Random(7)
    process = writers()
    with RingReader(path, "earliest") as reader:
        # Where it begins depends on how far the writer has got; from there on every unit is accounted for.
        while (got := reader.read()) is None:
            time.sleep(0.001)
        seen, last, before = 1, check(got), reader.position - 1 - reader.lost
        for _ in range(8):
            until = time.monotonic() + 0.2 + dice.random() / 5
            while time.monotonic() < until:
                for _ in range(dice.randrange(1, 40)):
                    got = reader.read()
                    if got is None:
                        break
                    number = check(got)
                    assert number > last
                    if number != last + 1:
                        assert got.key
                    seen, last = seen + 1, number
            process.send_signal(signal.SIGKILL)
            process.wait()
            # Everything the dead one had completed is readable, up to the very last.
            for got in iter(reader.read, None):
                number = check(got)
                assert number > last
                seen, last = seen + 1, number
            assert reader.position == reader.written
            process = writers()
        assert before + seen + reader.lost == reader.position
        assert seen > 20
        assert reader.reopened == 0


def test_formats_differ_by_any_field(path: Path) -> None:
    with RingReader(_written(path, FORMAT, range(3))) as reader:
        _written(path, replace(FORMAT, maxrate=2000), range(3, 4))
        assert drain(reader) == [3]
        assert reader.reopened == 1
        assert reader.format.maxrate == 2000
