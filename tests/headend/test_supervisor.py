"""The supervisor with real processes: they die, hang, are adopted, replaced, and stopped."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest

from headend.bus import Bus
from headend.roster import FREE, PAUSES, WORKED, YOUNG, Worker

Eventually = Callable[..., Any]


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_pauses_between_starts_double_and_are_forgotten_after_a_long_life() -> None:
    worker = Worker("channel", "one", 5.0)
    assert [worker.pause(1.0) for _ in range(10)] == [*PAUSES, 30.0, 30.0]
    assert worker.pause(YOUNG) == 0.0
    # One that had got to its work is not made to wait for the first few deaths.
    assert [worker.pause(WORKED) for _ in range(FREE + 2)] == [*[0.0] * FREE, 0.5, 1.0]
    assert worker.pause(YOUNG) == 0.0
    assert worker.pause(1.0) == 0.5


def test_life_of_a_head_end(head_end: Any, eventually: Eventually) -> None:
    """Killed, hung, spare, clean stop: one start serves them all, since starting is what costs."""
    supervisor = head_end.start()
    eventually(head_end.running)
    assert set(head_end.records()) == {"clock", "channel-one", "hls", "origin", "api"}
    eventually(lambda: head_end.state().get("spare"))
    spare = head_end.state()["spare"]

    # A worker that is killed is another process, and running, within a second: the spare.
    first = head_end.records()["channel-one"]
    time_of_death = time.monotonic()
    os.kill(first.pid, signal.SIGKILL)
    second = eventually(lambda: (r := head_end.records().get("channel-one")) and r.pid != first.pid and r)
    assert time.monotonic() - time_of_death < 1.0
    assert second.pid == spare
    eventually(head_end.running)
    eventually(lambda: head_end.state()["workers"]["channel-one"]["restarts"] == 1)
    assert "SIGKILL" in head_end.log()

    # A worker that lives but does not get on is killed after its channel's `hang`, here one second.
    bus = Bus(head_end.run, "test")
    try:
        reply = eventually(lambda: (r := bus.request("channel-one", {"do": "hang"}, 0.5))["ok"] and r)
        assert reply["result"]["name"] == "channel-one"
        hung = time.monotonic()
        eventually(lambda: not alive(second.pid), 5)
        assert 0.5 < time.monotonic() - hung < 3.0
        third = eventually(lambda: (r := head_end.records().get("channel-one")) and r.pid != second.pid and r)
        assert "has not got on for" in head_end.log()
        eventually(lambda: head_end.state()["workers"]["channel-one"]["hung"] == 1)
        assert bus.request("supervisor", {"do": "state"})["result"]["pid"] == supervisor.pid
        assert bus.request("supervisor", {"do": "fly"})["problem"]["status"] == 400
    finally:
        bus.close()

    # Clean stop: nothing is left, neither a process nor the run directory.
    pids = [record.pid for record in head_end.records().values()]
    assert third.pid in pids
    spare = eventually(lambda: head_end.state().get("spare"))
    supervisor.send_signal(signal.SIGTERM)
    assert supervisor.wait(10) == 0
    assert not [pid for pid in [*pids, spare] if alive(pid)]
    assert not head_end.run.exists()


def test_a_killed_supervisor_leaves_its_workers_and_its_successor_adopts_them(
    head_end: Any, eventually: Eventually
) -> None:
    first = head_end.start()
    eventually(head_end.running)
    before = head_end.records()
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    second = head_end.start()
    eventually(lambda: head_end.running(second))
    after = head_end.records()
    assert {name: record.pid for name, record in after.items()} == {name: r.pid for name, r in before.items()}
    assert all(row["adopted"] for row in head_end.state()["workers"].values())

    # The end of one that is not a child is noticed too.
    os.kill(after["api"].pid, signal.SIGKILL)
    eventually(lambda: (r := head_end.records().get("api")) and r.pid != after["api"].pid)

    # A third supervisor is refused and touches nothing.
    third = head_end.start()
    assert third.wait(10) == 1
    assert f"already running (process {second.pid}" in head_end.log()
    assert head_end.records()["channel-one"].pid == before["channel-one"].pid

    second.terminate()
    assert second.wait(10) == 0
    assert not [r.pid for r in after.values() if alive(r.pid)]


def test_a_successor_with_another_configuration_replaces_what_changed(head_end: Any, eventually: Eventually) -> None:
    first = head_end.start()
    eventually(head_end.running)
    before = head_end.records()
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    head_end.config.write_text(head_end.config.read_text().replace("100k", "120k"))
    second = head_end.start()
    eventually(lambda: head_end.running(second))
    after = head_end.records()
    changed = {name for name in after if after[name].pid != before[name].pid}
    assert {"channel-one", "hls"} <= changed
    assert not changed & {"clock", "origin"}
    # SIGHUP: a refused configuration changes nothing, a changed one replaces the worker that reads it.
    good = head_end.config.read_text()
    head_end.config.write_text(good.replace("bitrate", "bitrat"))
    second.send_signal(signal.SIGHUP)
    eventually(lambda: "is refused and the one on air stays" in head_end.log())
    assert head_end.records()["channel-one"].pid == after["channel-one"].pid
    head_end.config.write_text(good.replace("120k", "130k"))
    second.send_signal(signal.SIGHUP)
    eventually(lambda: (r := head_end.records().get("channel-one")) and r.pid != after["channel-one"].pid)
    assert head_end.records()["clock"].pid == before["clock"].pid


def test_a_full_run_directory_hinders_neither_adoption_nor_the_configuration_on_air(
    head_end: Any, eventually: Eventually
) -> None:
    """That nothing can be written is played by a directory in the place of each draft."""
    first = head_end.start()
    eventually(head_end.running)
    frozen = (head_end.run / "config.json").read_bytes()
    (head_end.run / f".config.json.{first.pid}").mkdir()
    text = head_end.config.read_text()
    head_end.config.write_text(text + "log: {level: debug}\n")
    first.send_signal(signal.SIGHUP)
    eventually(lambda: "the configuration on air stays" in head_end.log())
    assert "make room in the run directory" in head_end.log()
    assert (head_end.run / "config.json").read_bytes() == frozen
    assert first.poll() is None
    assert head_end.running()

    head_end.config.write_text(text)
    before = {name: record.pid for name, record in head_end.records().items()}
    first.kill()
    first.wait()
    # What the successor would write is there already.
    (head_end.run / "config.json").chmod(0o400)
    inode = (head_end.run / "config.json").stat().st_ino
    second = head_end.start()
    eventually(lambda: head_end.running(second))
    assert {name: record.pid for name, record in head_end.records().items()} == before
    assert (head_end.run / "config.json").stat().st_ino == inode


def test_a_port_in_use_is_refused_in_a_sentence(head_end: Any) -> None:
    port = int(head_end.config.read_text().split("port: ")[1].split("}")[0])
    with socket.create_server(("127.0.0.1", port)):
        supervisor = head_end.start()
        assert supervisor.wait(10) == 1
    assert f"127.0.0.1 port {port}: another program is listening there" in head_end.log()
    assert not head_end.records()


def test_the_state_is_json_with_what_the_status_page_shows(head_end: Any, eventually: Eventually) -> None:
    head_end.start()
    eventually(head_end.running)
    row = head_end.state()["workers"]["channel-one"]
    assert row["last_beat"].endswith("Z")
    assert row["doing"] == "a picture"
    assert row["kind"] == "channel"
    assert json.dumps(row)


def test_one_worker_beyond_help_does_not_hold_up_the_others(head_end: Any, eventually: Eventually) -> None:
    script = head_end.config.parent / "worker.py"
    script.write_text(
        script.read_text().replace(
            'worker.KINDS[kind] = "played:task"',
            'worker.KINDS[kind] = "played:" + ("none" if kind == "hls" else "task")',
        )
    )
    supervisor = head_end.start()
    eventually(lambda: head_end.state().get("ready"))
    rows = eventually(lambda: (r := head_end.state()["workers"])["hls"]["restarts"] > 1 and r)
    assert {row["state"] for name, row in rows.items() if name != "hls"} == {"running"}
    assert "these fail: hls" in head_end.log()
    assert "it is started again in 0.5 s" in head_end.log()
    supervisor.terminate()
    assert supervisor.wait(10) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_during_the_start_leaves_nothing(head_end: Any, eventually: Eventually, number: signal.Signals) -> None:
    supervisor: subprocess.Popen[bytes] = head_end.start()
    eventually(lambda: (head_end.run / "supervisor.json").exists())
    supervisor.send_signal(number)
    assert supervisor.wait(10) == 0
    assert not head_end.run.exists()
