"""The journal: cut at any byte, a full disk, and what the records add up to."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packagers.hls.journal import Journal, Ledger, Row, TwinJournal


def row(number: int, *, discontinuity: bool = False) -> Row:
    return Row(number, discontinuity, {"v": [number * 100, 100, 5, 0, 0]})


def write(path: Path, records: list[dict[str, object]]) -> bytes:
    journal = Journal(path)
    for record in records:
        assert journal.append(record)
    journal.close()
    return path.read_bytes()


def test_what_is_appended_is_read_again(tmp_path: Path) -> None:
    write(tmp_path / "j", [{"n": 1}, {"n": 2, "text": "频道"}])
    journal = Journal(tmp_path / "j")
    assert journal.records() == [{"n": 1}, {"n": 2, "text": "频道"}]
    assert journal.records() == []
    assert journal.damaged == 0
    journal.close()
    journal.close()


def test_cut_at_any_byte_it_keeps_every_whole_record_and_goes_on(tmp_path: Path) -> None:
    whole = write(tmp_path / "j", [{"n": i, "pad": "x" * i} for i in range(4)])
    ends = [i + 1 for i, byte in enumerate(whole) if byte == 10]
    for length in range(len(whole) + 1):
        path = tmp_path / "cut"
        path.write_bytes(whole[:length])
        journal = Journal(path)
        kept = sum(end <= length for end in ends)
        assert [r["n"] for r in journal.records()] == list(range(kept))
        assert journal.damaged == (length not in (0, *ends))
        assert journal.append({"n": 99})
        journal.close()
        again = Journal(path)
        assert [r["n"] for r in again.records()] == [*range(kept), 99]
        again.close()


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_damaged_byte_costs_at_most_the_lines_it_touches(
    tmp_path_factory: pytest.TempPathFactory, at: int, flip: int
) -> None:
    path = tmp_path_factory.mktemp("journal") / "j"
    content = bytearray(write(path, [{"n": i} for i in range(6)]))
    content[at % len(content)] ^= flip
    path.write_bytes(content)
    journal = Journal(path)
    found = [r["n"] for r in journal.records()]
    assert set(found) <= set(range(6))
    assert len(found) >= 4
    assert found == sorted(found)
    journal.close()


def test_a_full_disk_is_said_and_counted_and_later_records_are_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path / "j")
    assert journal.append({"n": 1})
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: real(fd, data[:5], at))
    assert not journal.append({"n": 2})
    assert journal.failed == 1
    assert journal.trouble is not None
    assert "cannot be used" in journal.trouble
    monkeypatch.undo()
    assert journal.append({"n": 3})
    journal.close()
    assert [r["n"] for r in Journal(tmp_path / "j").records()] == [1, 3]
    assert journal.state()["message"] is None


def test_a_disk_that_can_neither_be_read_nor_written(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    twin = TwinJournal(tmp_path / "disk", tmp_path / "mirror")
    ledger = twin.load()
    for number in range(3):
        twin.append(ledger.issue(row(number), 0))
    assert twin.trouble is not None
    assert "cannot be used" in twin.trouble
    assert twin.disk.failed == 4
    twin.close()
    again = TwinJournal(tmp_path / "disk", tmp_path / "mirror")
    assert again.load().last == 2
    again.close()


def test_compaction_is_atomic_and_keeps_what_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path / "j")
    for number in range(50):
        journal.append({"n": number})

    def broken(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", broken)
    assert not journal.compact([{"n": "short"}])
    monkeypatch.undo()
    assert len(Journal(tmp_path / "j").records()) == 50
    assert journal.append({"n": 50})
    assert journal.compact([{"n": "short"}])
    assert journal.append({"n": "next"})
    journal.close()
    assert Journal(tmp_path / "j").records() == [{"n": "short"}, {"n": "next"}]


def test_records_add_up_to_the_ledger_with_and_without_snapshot() -> None:
    ledger = Ledger(segment_ticks=100, offset=3)
    records = []
    for number in range(10, 20):
        ledger.inits = {"v": [number // 4, "digest"]}
        ledger.counters = {"ts-v": {"256": number}}
        records.append(json.loads(json.dumps(ledger.issue(row(number, discontinuity=number % 3 == 0), number - 4))))
    for rebuilt in (
        Ledger.replay(records),
        Ledger.replay(ledger.snapshot()),
        Ledger.replay([*ledger.snapshot(), *records[99:]]),
    ):
        assert rebuilt == ledger
    assert ledger.dsn == 1  # 12 has left the window of five, 15 and 18 are in it
    assert [r.number for r in ledger.rows] == [15, 16, 17, 18, 19]


def test_a_jump_of_numbers_empties_the_window() -> None:
    ledger = Ledger(segment_ticks=100)
    ledger.issue(row(1, discontinuity=True), 0)
    ledger.issue(row(50), 40)
    assert [r.number for r in ledger.rows] == [50]
    assert ledger.dsn == 1


@given(
    st.lists(
        st.dictionaries(st.sampled_from("ndrftoicbks"), st.one_of(st.integers(), st.text(max_size=3), st.none())),
        max_size=5,
    )
)
def test_records_of_another_shape_are_passed_over(records: list[dict[str, object]]) -> None:
    assert isinstance(Ledger.replay(records), Ledger)


def test_the_mirror_wins_when_the_disk_fell_behind(tmp_path: Path) -> None:
    twin = TwinJournal(tmp_path / "disk", tmp_path / "mirror")
    ledger = Ledger(segment_ticks=100)
    twin.append(ledger.issue(row(1), 0))
    twin.mirror.append(ledger.issue(row(2), 0))
    twin.close()
    again = TwinJournal(tmp_path / "disk", tmp_path / "mirror")
    assert again.load().last == 2
    again.close()


def test_a_long_journal_is_rewritten(tmp_path: Path) -> None:
    twin = TwinJournal(tmp_path / "disk", tmp_path / "mirror")
    ledger = Ledger(segment_ticks=100)
    for number in range(900):
        twin.append(ledger.issue(row(number), number - 5))
        twin.compact_if_long(ledger)
    assert twin.disk.appended < 300
    twin.close()
    again = TwinJournal(tmp_path / "disk", tmp_path / "mirror")
    assert again.load() == ledger
    again.close()
