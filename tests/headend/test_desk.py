"""What operators have set by hand outlives the channel's process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from headend import log
from headend.clock import TICKS_PER_SECOND, FakeClock, to_iso
from headend.desk import Desk


class FakePlayout:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str | None, int | None]] = []

    def take(self, source: str, at: int | None) -> None:
        if source == "gone":
            raise ValueError("there is no source 'gone'")
        self.told.append((source, at))

    def release(self, at: int | None) -> None:
        self.told.append((None, at))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def desk(path: Path, clock: FakeClock) -> Desk:
    return Desk(path, clock, log.get("test"))


def restored(path: Path, clock: FakeClock) -> tuple[list[tuple[str | None, int | None]], list[str]]:
    """What a successor would do."""
    playout, texts = FakePlayout(), []

    def crawl(row: dict[str, Any]) -> None:
        texts.append(row["text"])

    desk(path, clock).restore(playout, crawl)  # type: ignore[arg-type]
    return playout.told, texts


def test_nothing_was_set(tmp_path: Path, clock: FakeClock) -> None:
    assert restored(tmp_path / "desk.json", clock) == ([], [])


def test_a_take_is_taken_again_and_a_release_ends_it(tmp_path: Path, clock: FakeClock) -> None:
    path = tmp_path / "desk.json"
    first = desk(path, clock)
    first.take("studio", None)
    first.crawl("洪水预警")
    assert restored(path, clock) == ([("studio", None)], ["洪水预警"])
    first.take(None, None)
    assert restored(path, clock)[0] == []


def test_orders_for_later(tmp_path: Path, clock: FakeClock) -> None:
    path = tmp_path / "desk.json"
    first = desk(path, clock)
    soon, later = clock.now() + 5 * TICKS_PER_SECOND, clock.now() + 9 * TICKS_PER_SECOND
    first.take("studio", to_iso(soon))
    first.take(None, to_iso(later))
    assert restored(path, clock)[0] == [("studio", soon), (None, later)]
    clock.advance(6 * TICKS_PER_SECOND)
    # Its time has passed while nobody was there: it holds now.
    assert restored(path, clock)[0] == [("studio", None), (None, later)]


def test_what_the_configuration_no_longer_has_is_left_out(tmp_path: Path, clock: FakeClock) -> None:
    path = tmp_path / "desk.json"
    desk(path, clock).take("gone", None)
    assert restored(path, clock) == ([], [])


def test_a_broken_file_costs_the_orders_only(tmp_path: Path, clock: FakeClock) -> None:
    path = tmp_path / "desk.json"
    path.write_text('{"orders": [{"source"')
    assert restored(path, clock) == ([], [])
