"""The demo's programmes: made once, taken up where they were left, made again when damaged or of another version."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from headend import demo
from headend.demo import MANIFEST, PROGRAMMES, make_logo, make_programmes
from headend.programme import Programme


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was rendered, by a renderer that only writes a name."""
    names: list[str] = []

    def render(programme: Programme, path: Path) -> Iterator[int]:
        names.append(programme.file)
        yield 12
        path.write_text(programme.title)

    monkeypatch.setattr(demo, "render", render)
    return names


def test_they_are_made_once(tmp_path: Path, made: list[str]) -> None:
    told: list[tuple[int, int, str]] = []
    paths = make_programmes(tmp_path / "new" / "folder", progress=lambda *row: told.append(row))
    assert [p.name for p in paths] == [p.file for p in PROGRAMMES] == made
    assert [row[0] for row in told] == sorted(row[0] for row in told)
    assert told[-1][0] == told[-1][1] == sum(p.pictures for p in PROGRAMMES)
    assert {row[2] for row in told} == {p.title for p in PROGRAMMES}
    made.clear()
    assert make_programmes(tmp_path / "new" / "folder") == paths
    assert made == []


def test_an_interrupted_start_goes_on_where_it_was(tmp_path: Path, made: list[str]) -> None:
    def stop(done: int, total: int, what: str) -> None:
        if what == PROGRAMMES[3].title:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_programmes(tmp_path, progress=stop)
    made.clear()
    make_programmes(tmp_path)
    assert made == [p.file for p in PROGRAMMES[3:]]


def test_what_is_missing_or_cut_is_made_again(tmp_path: Path, made: list[str]) -> None:
    paths = make_programmes(tmp_path)
    made.clear()
    paths[1].unlink()
    paths[4].write_text("cut")
    make_programmes(tmp_path)
    assert made == [PROGRAMMES[1].file, PROGRAMMES[4].file]


@pytest.mark.parametrize(
    "manifest",
    ["{", "[]", "null", '{"version": 1}', '{"version": 0, "files": {}}', '{"version": 1, "files": {"a": "x"}}', ""],
)
def test_a_damaged_or_old_manifest_means_all_are_made_again(tmp_path: Path, made: list[str], manifest: str) -> None:
    make_programmes(tmp_path)
    (tmp_path / MANIFEST).write_text(manifest)
    made.clear()
    make_programmes(tmp_path)
    assert made == [p.file for p in PROGRAMMES]
    assert json.loads((tmp_path / MANIFEST).read_text())["version"] == demo.VERSION


def test_a_folder_that_cannot_be_written_to_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match=r"the demo's programmes cannot be made in .*give it a folder"):
        make_programmes(tmp_path / "file" / "folder")


def test_the_logo_is_made_once_and_has_alpha(tmp_path: Path) -> None:
    path = make_logo(tmp_path / "a" / "logo.png")
    with Image.open(path) as image:
        assert image.mode == "RGBA"
        assert image.getchannel("A").getextrema() == (0, 255)
    before = path.stat().st_mtime_ns
    assert make_logo(path).stat().st_mtime_ns == before


def test_the_programmes_are_of_different_kinds() -> None:
    assert {p.rate for p in PROGRAMMES} >= {25, 24}
    assert any(p.interlaced and p.sar != 1 for p in PROGRAMMES)
    assert any(p.height > p.width for p in PROGRAMMES)
    assert any(p.layout == "mono" and p.sample_rate == 44_100 for p in PROGRAMMES)
    assert all(30 <= p.seconds <= 60 for p in PROGRAMMES)
    assert len({p.file for p in PROGRAMMES}) == len(PROGRAMMES) >= 6
