"""The as-run log: what was sent, through crashes and full disks."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from encoders import asrun
from encoders.asrun import AsRun, Row, append, crc_of, read, to_csv
from encoders.emission import Emission, OnAir
from encoders.format import ChannelFormat
from headend.clock import from_iso

FORMAT = ChannelFormat(160, 90, Fraction(25))
F = FORMAT.slot_ticks
T0 = from_iso("2026-11-21T15:59:00+00:00")
S0 = FORMAT.slot_at(T0)


def picture(luma: int = 50) -> av.VideoFrame:
    frame = av.VideoFrame(160, 90, "yuv420p")
    for plane in frame.planes:
        plane.update(np.full(plane.buffer_size, luma, np.uint8).tobytes())
    return frame


def label(name: str, why: str = "its time has come") -> OnAir:
    return OnAir(f"item:{name}", f"{name}.mp4", f"节目 {name}", name, 50, T0, T0 + 100 * F, why)


A, B = label("a"), label("b")


def send(log: AsRun, slots: range, what: OnAir, **more: bool | int) -> None:
    for slot in slots:
        log.sent(Emission(slot, picture(), None, what, **more), picture())  # type: ignore[arg-type]


def settle(log: AsRun) -> None:
    """Until the writer has written all."""
    deadline = time.monotonic() + 10
    while log.state()["waiting"] or log._note is not None:
        assert time.monotonic() < deadline, log.state()
        time.sleep(0.005)


def test_rows_say_what_was_sent(tmp_path: Path) -> None:
    log = AsRun(tmp_path, FORMAT)
    log.open(S0)
    first, second = label("a"), label("b", "'a' has ended")
    send(log, range(S0, S0 + 10), first)
    send(log, range(S0 + 10, S0 + 12), first, held=True)
    send(log, range(S0 + 12, S0 + 15), first, repeated=True, dropped=2)
    send(log, range(S0 + 15, S0 + 20), second)
    open_rows = log.rows(T0, T0 + 1000 * F)
    assert [(r.item, r.ended) for r in open_rows] == [("a", "'a' has ended"), ("b", "")]
    log.close()
    rows = list(read(tmp_path, T0, T0 + 1000 * F))
    assert rows[0] == Row(
        "a", "节目 a", "a.mp4", 50, T0, T0 + 100 * F, T0, T0 + 15 * F, "its time has come", "'a' has ended",
        15, 3, 2, 6, crc_of(picture()),
    )  # fmt: skip
    assert (rows[1].frames, rows[1].ended) == (5, "the channel was stopped")
    assert not (tmp_path / "open.json").exists()


def test_the_same_item_twice_is_two_rows(tmp_path: Path) -> None:
    log = AsRun(tmp_path, FORMAT)
    log.open(S0)
    send(log, range(S0, S0 + 5), label("a"))
    send(log, range(S0 + 5, S0 + 9), label("a"))
    log.close()
    assert [r.frames for r in read(tmp_path, T0, T0 + 1000 * F)] == [5, 4]


def test_files_are_broadcast_days_of_the_zone(tmp_path: Path) -> None:
    log = AsRun(tmp_path, FORMAT, zone="Asia/Shanghai")  # T0 is one minute before midnight there
    log.open(S0)
    send(log, range(S0, S0 + 5), label("a"))
    send(log, range(S0 + 1500, S0 + 1505), label("b"))
    log.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["2026-11-21.jsonl", "2026-11-22.jsonl"]
    late = AsRun(tmp_path, FORMAT, zone="Asia/Shanghai", day_starts=6 * 3600 * 27_000_000)
    assert late.day_of(from_iso("2026-11-22T05:59:59+08:00")).isoformat() == "2026-11-21"
    assert late.day_of(from_iso("2026-11-22T06:00:00+08:00")).isoformat() == "2026-11-22"
    assert [r.item for r in read(tmp_path, T0 + 1400 * F, T0 + 2000 * F)] == ["b"]
    assert [r.item for r in read(tmp_path, T0, T0 + 1)] == ["a"]


CRASH = """
import os, sys, signal
from fractions import Fraction
from pathlib import Path
import av
from encoders.asrun import AsRun
from encoders.emission import Emission, OnAir
from encoders.format import ChannelFormat
import time
format = ChannelFormat(160, 90, Fraction(25))
log = AsRun(Path(sys.argv[1]), format)
first = int(sys.argv[2])
log.open(first)
frame = av.VideoFrame(160, 90, "yuv420p")
label = OnAir("item:a", "a.mp4", item="a")
for slot in range(first, first + 110):
    log.sent(Emission(slot, frame, None, label), frame)
    if slot % 25 == 24:
        while log._note is not None:
            time.sleep(0.001)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(("resumed", "expected"), [(97, [(97, 97)]), (100, [(100, 100)]), (0, []), (-2, [])])
def test_what_was_noted_but_never_reached_the_ring_was_not_sent(
    tmp_path: Path, resumed: int, expected: list[tuple[int, int]]
) -> None:
    log = AsRun(tmp_path, FORMAT)
    log.open(S0)
    send(log, range(S0, S0 + 100), label("a"))
    assert log._row is not None
    (tmp_path / "open.json").write_text(json.dumps(log._row.to_json()))
    successor = AsRun(tmp_path, FORMAT)
    successor.open(S0 + resumed)
    successor.close()
    rows = list(read(tmp_path, 0, T0 + 1000 * F))
    assert [(row.frames, (row.end - T0) // F) for row in rows if row.ended == "interrupted"] == expected
    log.close()


def test_a_killed_process_leaves_a_row_that_is_found_again(tmp_path: Path) -> None:
    child = subprocess.run(
        [sys.executable, "-c", CRASH, str(tmp_path), str(S0)],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        timeout=40,
        check=False,
    )
    assert child.returncode == -9
    log = AsRun(tmp_path, FORMAT)
    log.open(S0 + 110)
    send(log, range(S0 + 110, S0 + 120), label("a"))
    log.close()
    rows = list(read(tmp_path, T0, T0 + 1000 * F))
    assert [(r.ended, r.frames, r.end) for r in rows] == [
        ("interrupted", 110, T0 + 110 * F),
        ("the channel was stopped", 10, T0 + 120 * F),
    ]


def test_after_a_long_outage_the_row_ends_where_it_was_noted(tmp_path: Path) -> None:
    row = Row("a", "", "a", 50, None, None, T0, T0 + 25 * F, "", "", 25, 0, 0, 0, "0")
    (tmp_path / "open.json").write_text(json.dumps(row.to_json()))
    log = AsRun(tmp_path, FORMAT)
    log.open(S0 + 10_000)
    log.close()
    assert [(r.end, r.frames) for r in read(tmp_path, T0, T0 + 30 * F)] == [(T0 + 25 * F, 25)]


def test_a_row_that_was_logged_before_the_kill_is_not_logged_twice(tmp_path: Path) -> None:
    row = Row("a", "", "a", 50, None, None, T0, T0 + 25 * F, "", "x", 25, 0, 0, 0, "0")
    append(tmp_path / "2026-11-21.jsonl", row)
    (tmp_path / "open.json").write_text(json.dumps(row.to_json()))
    log = AsRun(tmp_path, FORMAT)
    log.open(S0 + 30)
    log.close()
    assert list(read(tmp_path, T0, T0 + 30 * F)) == [row]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"item": 3}', "null", "\x00\xff"])
def test_a_broken_note_is_no_obstacle(tmp_path: Path, text: str) -> None:
    (tmp_path / "open.json").write_text(text)
    log = AsRun(tmp_path, FORMAT)
    log.open(S0)
    send(log, range(S0, S0 + 5), label("a"))
    log.close()
    assert len(list(read(tmp_path, T0, T0 + 30 * F))) == 1


def test_half_a_line_is_skipped_and_the_next_row_is_whole(tmp_path: Path) -> None:
    row = Row("a", "", "a", 50, None, None, T0, T0 + 25 * F, "", "x", 25, 0, 0, 0, "0")
    path = tmp_path / "2026-11-21.jsonl"
    append(path, row)
    with path.open("ab") as file:
        file.write(path.read_bytes()[:40])
    append(path, row)
    assert list(read(tmp_path, T0, T0 + 30 * F)) == [row, row]


def test_a_full_disk_is_counted_and_made_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asrun, "RETRY", 0.02)
    monkeypatch.setattr(asrun, "KEPT", 20)
    full = True
    fsync = os.fsync

    def refuse(file: int) -> None:
        if full:
            raise OSError(28, "No space left on device")
        fsync(file)

    monkeypatch.setattr(os, "fsync", refuse)
    log = AsRun(tmp_path, FORMAT)
    log.open(S0)
    for n in range(30):
        send(log, range(S0 + 5 * n, S0 + 5 * n + 5), label(f"i{n}"))
    deadline = time.monotonic() + 10
    while not log.state()["errors"]:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert "No space left on device; the channel goes on" in log.state()["message"]
    assert log.state()["waiting"] == 20
    assert log.state()["lost"] == 9
    assert (tmp_path / "2026-11-21.jsonl").read_bytes() == b"", "what could not be made durable is taken back"
    full = False
    settle(log)
    log.close()
    assert [r.item for r in read(tmp_path, T0, T0 + 1000 * F)] == [f"i{n}" for n in range(9, 30)]
    assert log.state()["message"] is None


def test_csv(tmp_path: Path) -> None:
    row = Row("a", "=cmd()", 'x,"y"', 50, None, T0, T0, T0 + 25 * F, "", "", 25, 0, 0, 0, "0")
    table = list(csv.DictReader(io.StringIO(to_csv([row]))))
    assert table[0]["title"] == "'=cmd()"
    assert table[0]["source"] == 'x,"y"'
    assert table[0]["start"] == "2026-11-21T15:59:00Z"
    assert Row.from_json(row.to_json()) == row


def test_crc_sees_the_visible_luma_only() -> None:
    assert crc_of(picture(50)) == crc_of(picture(50))
    assert crc_of(picture(50)) != crc_of(picture(51))
    deep = av.VideoFrame(150, 90, "yuv420p10le")
    line = deep.planes[0].line_size
    assert line > 300, "there is padding to be left out"
    luma = np.zeros((90, line), np.uint8)
    deep.planes[0].update(luma.tobytes())
    before = crc_of(deep)
    luma[:, 300:] = 7
    deep.planes[0].update(luma.tobytes())
    assert crc_of(deep) == before
    luma[3, 299] = 7
    deep.planes[0].update(luma.tobytes())
    assert crc_of(deep) != before


def test_a_written_row_is_not_read_twice_when_slots_are_no_whole_microseconds(
    tmp_path: Path,
) -> None:
    format = ChannelFormat(160, 90, Fraction(30000, 1001))
    rows: list[Row] = []
    log = AsRun(tmp_path, format, on_row=rows.append)
    log.open(1)
    for slot in range(1, 11):
        log.sent(Emission(slot, picture(), None, A if slot < 5 else B), picture())
    settle(log)
    log._rows.extend(rows)  # as if the writer had put the row on the disk between the two looks
    found = log.rows(0, 1 << 50)
    log._rows.clear()
    log.close()
    assert [row.item for row in found] == ["a", "b"]
