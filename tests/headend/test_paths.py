"""Directories: made, refused, and cleared of what is ours only."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from headend.config import load_config
from headend.paths import Paths, PathsError, write_whole


def test_the_run_directory_follows_the_configuration_file(config_file: Path, run: Path) -> None:
    paths = Paths.of(load_config(config_file))
    assert paths.run == run
    config_file.write_text("\n".join(row for row in config_file.read_text().splitlines() if not row.startswith("run")))
    default = Paths.of(load_config(config_file))
    other = config_file.with_name("other.yaml")
    other.write_text(config_file.read_text())
    assert default.run.name.startswith("headend-")
    assert Paths.of(load_config(other)).run != default.run


def test_make_and_clear_leave_what_is_not_ours(run: Path, tmp_path: Path) -> None:
    paths = Paths(run, tmp_path / "data")
    paths.make()
    paths.make()
    assert run.stat().st_mode & 0o777 == 0o700
    found, half = run / "capability.json", run / ".supervisor.json.4711"
    for path in (
        paths.ring("one", "v"),
        paths.clock,
        paths.heartbeat("x"),
        paths.worker("x"),
        paths.config,
        found,
        half,
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    (run / "mine.txt").write_text("the operator's")
    paths.clear()
    assert [path.name for path in run.iterdir()] == ["mine.txt"]
    (run / "mine.txt").unlink()
    paths.make()
    paths.clear()
    assert not run.exists()
    assert paths.journals.is_dir()


def test_directories_that_cannot_be_used(tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(PathsError, match="cannot be made"):
        Paths(run, tmp_path / "file" / "data").make()
    with pytest.raises(PathsError, match="too long for the sockets"):
        Paths(tmp_path / ("x" * 90), tmp_path).make()
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    with pytest.raises(PathsError, match="belongs to another user"):
        Paths(run, tmp_path).make()


def test_a_link_in_the_place_of_the_run_directory_is_refused(run: Path, tmp_path: Path) -> None:
    (tmp_path / "trap").mkdir()
    run.symlink_to(tmp_path / "trap")
    with pytest.raises(PathsError, match="belongs to another user"):
        Paths(run, tmp_path).make()


def test_write_whole(tmp_path: Path) -> None:
    path = tmp_path / "f"
    write_whole(path, b"1", mode=0o600)
    write_whole(path, b"2", mode=0o600)
    assert path.read_bytes() == b"2"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(OSError, match="Is a directory"):
        write_whole(tmp_path, b"3")
