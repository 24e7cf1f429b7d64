"""Logs: one object a line, no secrets, never an exception for the signal."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from headend import log


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    # Pytest's own must not be closed.
    root.handlers = []
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_entries_are_json_without_secrets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "logs" / "headend.log"
    log.set_up("channel-one", file=file, json=True)
    logger = log.get("channel-one")
    logger.info("opened rtsp://admin:S3cret@camera/1", url="srt://h:1?passphrase=S3cret", token="S3cret", n=5)
    logger.debug("not shown")
    logging.getLogger("library").warning("failed with %s", "http://u:S3cret@h/")
    try:
        raise ValueError("cannot open http://u:S3cret@h/")
    except ValueError:
        logger.exception("worse")
    entries = lines(file)
    assert [entry["level"] for entry in entries] == ["info", "warning", "error"]
    assert "S3cret" not in file.read_text()
    assert entries[0]["worker"] == "channel-one"
    assert entries[0]["n"] == 5
    assert entries[0]["time"].endswith("Z")
    assert "ValueError" in entries[2]["exception"]
    shown = capsys.readouterr().err
    assert "S3cret" not in shown
    assert [json.loads(line)["event"] for line in shown.splitlines()] == [entry["event"] for entry in entries]


def test_every_thread_knows_its_worker(tmp_path: Path) -> None:
    log.set_up("hls", file=tmp_path / "l", json=True)
    logger = log.get("hls")
    thread = threading.Thread(target=lambda: logger.info("from a thread"))
    thread.start()
    thread.join()
    assert lines(tmp_path / "l")[0]["worker"] == "hls"


def test_a_person_gets_no_json(capsys: pytest.CaptureFixture[str]) -> None:
    log.set_up("supervisor", json=False)
    log.get("supervisor").info("started", pid=5)
    shown = capsys.readouterr().err
    assert "started" in shown
    assert not shown.startswith("{")


def test_a_file_that_cannot_be_opened_is_said_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    log.set_up("hls", file=tmp_path / "file" / "log", json=True)
    assert "cannot be opened" in capsys.readouterr().err


def test_a_broken_standard_error_is_counted_and_hurts_nobody(tmp_path: Path) -> None:
    script = (
        "import sys, os\n"
        "from headend import log\n"
        "log.set_up('hls', json=True)\n"
        "sys.stdin.readline()\n"
        "logger = log.get('hls')\n"
        "for n in range(5): logger.info('into the void')\n"
        "open(sys.argv[1], 'w').write(str(log.lost)); os._exit(0)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "lost")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        assert process.stdin is not None
        process.stderr.close()
        process.stdin.write(b"\n")
        process.stdin.flush()
        assert process.wait(20) == 0
    assert (tmp_path / "lost").read_text() == "5"
