"""The worker of a channel, as it really runs: on air, obeying, killed, and on air again without a hole."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from headend.accessunit import AccessUnit
from headend.bus import Bus
from headend.clock import from_iso, from_seconds, to_iso
from headend.config import load_config
from headend.paths import Paths
from headend.ring import RingReader

CHANNEL = """
    sources: [{id: card, url: "testcard:"}, {id: bars, url: "testcard:bars"}]
    overlays: [{kind: crawl, text: first}]
    schedule: {loop: true, items: [{id: a, source: "testcard:a", duration: 600}]}
"""


class OnAir:
    """Clock and channel in processes of their own."""

    def __init__(self, config: Path, folder: Path) -> None:
        self.config, self.folder = config, folder
        loaded = load_config(config)
        self.paths = Paths.of(loaded)
        ladder = loaded.channels[0].ladder
        self.renditions = [row.id for row in ladder.video] + [row.id for row in ladder.audio]
        self.processes: list[subprocess.Popen[bytes]] = []
        self.paths.make()
        self.bus = Bus(self.paths.run, "test")
        self.start("clock")

    def start(self, *what: str) -> subprocess.Popen[bytes]:
        with open(self.folder / "log", "ab") as log:
            command = [sys.executable, "-m", "headend.worker", *what, "--config", str(self.config)]
            self.processes.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log))
        return self.processes[-1]

    def ask(self, do: str, **body: Any) -> Any:
        """The reply of the channel; None while it is not there."""
        reply = self.bus.request("channel-one", {"do": do, **body}, timeout=1.0)
        return reply if reply["ok"] or reply["problem"]["status"] < 500 else None

    def source(self) -> str:
        """The source on air; empty while there is none."""
        reply = self.ask("state")
        on_air = reply["result"]["on_air"] if reply else None
        return str(on_air["source"]) if on_air else ""

    def units(self, id: str) -> list[AccessUnit]:
        """What the ring of a rendition holds."""
        with RingReader(self.paths.ring("one", id), "earliest") as reader:
            units = []
            while (unit := reader.read()) is not None:
                units.append(unit)
            return units

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        self.bus.close()


@pytest.fixture
def on_air(config_file: Path, tmp_path: Path) -> Iterator[OnAir]:
    text = config_file.read_text(encoding="utf-8").partition("    sources:")[0]
    config_file.write_text(text + CHANNEL.lstrip("\n"), encoding="utf-8")
    made = OnAir(config_file, tmp_path)
    yield made
    made.close()


def test_on_air_commands_and_a_kill_without_a_hole(on_air: OnAir, eventually: Callable[..., Any]) -> None:
    channel = on_air.start("channel", "one")
    eventually(lambda: on_air.source() == "testcard:a", 30)
    state = on_air.ask("state")["result"]
    at = to_iso(from_iso(state["last_frame"]) + from_seconds(2) + from_seconds(0.013))

    taken = on_air.ask("take", source="card", at=at)["result"]
    assert 0 <= from_iso(taken["at"]) - from_iso(at) < 1_080_000
    eventually(lambda: on_air.source() == "card")
    assert on_air.ask("state")["result"]["on_air"]["since"] == taken["at"]
    second = from_iso(taken["at"]) + from_seconds(1)
    eventually(lambda: from_iso(on_air.ask("state")["result"]["last_frame"]) > second)

    refused = on_air.ask("take", source="nobody")
    assert (refused["ok"], refused["problem"]["status"]) == (False, 409)
    assert "bars, card" in refused["problem"]["detail"]
    assert on_air.ask("take", source="card", at="soon")["problem"]["status"] == 409
    assert on_air.ask("dump")["problem"]["status"] == 409
    assert on_air.ask("dance")["problem"]["status"] == 400
    assert on_air.ask("crawl", text="second")["result"] == {"text": "second"}
    put = on_air.ask("schedule.put", items=[{"id": "b", "source": "gopher://x", "duration": 5}])
    assert put["problem"]["status"] == 422
    version = on_air.ask("schedule.get")["result"]["version"]
    stale = on_air.ask("schedule.patch", set=[], remove=["a"], version=version + 7)
    assert stale["problem"]["status"] == 412

    channel.send_signal(signal.SIGKILL)
    channel.wait()
    on_air.start("channel", "one")
    # What was taken by hand stays taken.
    eventually(lambda: on_air.source() == "card", 30)
    assert on_air.ask("state")["result"]["crawl"] == "second"
    frames = on_air.ask("state")["result"]["counts"]["sent"]
    eventually(lambda: on_air.ask("state")["result"]["counts"]["sent"] > frames + 25)

    for id in on_air.renditions:
        units = on_air.units(id)
        assert len(units) > 50
        assert all(after.pts == unit.pts + unit.duration for unit, after in pairwise(units)), id
    rows = on_air.ask("asrun")["result"]["rows"]
    assert [row["source"] for row in rows] == ["testcard:a", "card", "card"]
    assert [row["ended"] for row in rows][:2] == ["card was taken", "interrupted"]
    assert rows[0]["end"] == rows[1]["start"]
    assert rows[1]["end"] == rows[2]["start"]


def test_a_clean_stop_sends_what_was_chosen_and_leaves_nothing(on_air: OnAir, eventually: Callable[..., Any]) -> None:
    channel = on_air.start("channel", "one")
    eventually(lambda: on_air.source() == "testcard:a", 30)
    channel.send_signal(signal.SIGTERM)
    assert channel.wait(10) == 0
    units = on_air.units("v")
    last = Path(on_air.paths.data / "channels" / "one" / "asrun")
    rows = [line for path in last.glob("*.jsonl") for line in path.read_text().splitlines()]
    assert len(rows) == 1
    assert f'"frames": {len(units)}' in rows[0]
    assert not (last / "open.json").exists()
    assert not os.path.exists(f"/proc/{channel.pid}")
