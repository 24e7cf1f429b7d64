"""Items and their appearances."""

from __future__ import annotations

from datetime import time

from encoders.item import Item, Planned
from headend.clock import from_iso

T0 = from_iso("2026-11-21T12:00:00+00:00")


def test_what_is_fixed() -> None:
    assert Item("a", "a", start=T0).fixed
    assert Item("a", "a", daily=time(8)).fixed
    assert not Item("a", "a").fixed


def test_an_appearance_as_json_has_no_credentials() -> None:
    item = Item("a", "rtsp://admin:secret@camera/1", "新闻")
    row = Planned(item, T0, None, offset=27_000_000, occurrence="2026-11-21").to_json()
    assert row == {
        "key": "a@2026-11-21",
        "item": "a",
        "title": "新闻",
        "source": row["source"],
        "start": "2026-11-21T12:00:00.000Z",
        "end": None,
        "offset": 1.0,
    }
    assert "secret" not in row["source"]
