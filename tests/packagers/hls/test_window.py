"""The window's folder: whole files, expiry, and what a killed packager left."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from packagers.hls.window import Window


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_files_appear_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """whoever sees a file sees it whole, because it is renamed into place."""
    window = Window(tmp_path, ["v"])
    seen: list[set[str]] = []
    real = os.replace

    def spy(source: Path, target: Path) -> None:
        seen.append(names(tmp_path / "v"))
        real(source, target)

    monkeypatch.setattr(os, "replace", spy)
    window.put_segment("v", 1, "1.m4s", b"abc")
    assert seen == [{".1.m4s.part"}]
    assert (tmp_path / "v" / "1.m4s").read_bytes() == b"abc"
    assert window.bytes == 3


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    window = Window(tmp_path, ["v"])

    def full(self: Path, data: bytes) -> int:
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        window.put_segment("v", 1, "1.m4s", b"abc")
    assert names(tmp_path / "v") == set()
    assert window.bytes == 0


def test_expiry_by_number_and_version(tmp_path: Path) -> None:
    window = Window(tmp_path, ["v"])
    for number in range(5):
        window.put_segment("v", number, f"{number}.ts", b"xx")
    window.put_init("v", 0, b"i0")
    window.put_init("v", 1, b"i1")
    assert window.expire(3, {"v": 1}) == 3
    assert names(tmp_path / "v") == {"3.ts", "4.ts", "init-1.mp4"}
    assert window.bytes == 6
    assert window.newest() == 4
    assert window.newest_init("v") == 1
    assert window.discard(3) == 1
    assert window.newest() == 3


def test_a_successor_adopts_the_folder(tmp_path: Path) -> None:
    first = Window(tmp_path, ["v", "old"])
    first.put_segment("v", 7, "7.m4s", b"seven")
    first.put_init("v", 2, b"init")
    first.put_segment("old", 7, "7.m4s", b"seven")
    first.put_playlist("old", "#EXTM3U\n")
    first.put_playlist("v", "#EXTM3U\n")
    (tmp_path / "v" / ".8.m4s.part").write_bytes(b"half")
    second = Window(tmp_path, ["v"])
    assert names(tmp_path / "v") == {"7.m4s", "init-2.mp4", "index.m3u8"}
    assert second.has_segment("v", 7, 5)
    assert not second.has_segment("v", 7, 4)
    assert second.has_init("v", 2)
    # The playlist of a removed rendition answers 404, its segments stay for a while.
    assert names(tmp_path / "old") == {"7.m4s"}
    second.expire(8)
    second.drop_unused(["v"])
    assert names(tmp_path) == {"v"}
    assert second.state()["segments"] == 0
