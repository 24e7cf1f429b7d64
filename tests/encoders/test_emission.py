"""Labels of what is on air."""

from __future__ import annotations

import json

from encoders.emission import OnAir


def test_a_label_is_one_stay_and_json() -> None:
    label = OnAir("item:a", "a.mp4", "新闻", "a", 50, 1_800_000_000 * 27_000_000, None, "its time has come")
    assert label != OnAir("item:a", "a.mp4", "新闻", "a", 50, 1_800_000_000 * 27_000_000, None, "its time has come")
    assert json.loads(json.dumps(label.to_json())) == {
        "item": "a",
        "source": "a.mp4",
        "title": "新闻",
        "priority": 50,
        "planned_start": "2027-01-15T08:00:00.000Z",
        "ends": None,
        "why": "its time has come",
    }
    assert OnAir("slate", "slate").to_json()["item"] is None
