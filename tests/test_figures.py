"""The script that puts benchmark results into the READMEs."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

PATH = Path(__file__).parent.parent / "benchmarks" / "figures.py"
ROWS = [
    {"name": "b: speed", "figure": 1.0410379, "unit": "x", "goal": ">= 1.0", "peer": "54.9 fps", "command": "pytest b"},
    {"name": "a: slots", "figure": 4012, "unit": "slots", "goal": "a | b", "peer": "", "command": ""},
]


@pytest.fixture
def figures() -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("figures", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def root(tmp_path: Path, figures: ModuleType) -> Path:
    """Two READMEs with old figures."""
    for name in figures.HEADS:
        (tmp_path / name).write_text(f"before\n{figures.BEGIN}\nold\n{figures.END}\nafter\n", encoding="utf-8")
    (tmp_path / "latest.json").write_text(json.dumps(ROWS), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (4012, "4,012"), (43724.1, "43,724"), (1.0410379, "1.04"), (57.1747, "57.2"), (0.0625, "0.0625"),
        (0.8776978, "0.878"), (-3.14159, "-3.14"), (0.00001, "0.0000"), (float("inf"), "inf"), (float("nan"), "nan"),
    ],
)  # fmt: skip
def test_figures_are_short(figures: ModuleType, value: float, text: str) -> None:
    assert figures.short(value) == text


def test_both_readmes_get_the_table_and_keep_the_rest(figures: ModuleType, root: Path) -> None:
    assert figures.main([], root, root / "latest.json") == 0
    for name, heads in figures.HEADS.items():
        lines = (root / name).read_text(encoding="utf-8").splitlines()
        assert lines[:2] == ["before", figures.BEGIN]
        assert lines[-2:] == [figures.END, "after"]
        assert "old" not in lines
        assert lines[2] == "| " + " | ".join(heads) + " |"
        assert lines[4] == r"| a: slots | 4,012 slots | a \| b |  |  |"
        assert lines[5] == "| b: speed | 1.04 x | >= 1.0 | 54.9 fps | `pytest b` |"


def test_a_second_run_changes_nothing(figures: ModuleType, root: Path) -> None:
    figures.main([], root, root / "latest.json")
    once = (root / "README.md").read_bytes()
    figures.main([], root, root / "latest.json")
    assert (root / "README.md").read_bytes() == once


def test_a_readme_without_marks_leaves_both_as_they_were(
    figures: ModuleType, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "README.zh-CN.md").write_text("no marks", encoding="utf-8")
    before = (root / "README.md").read_bytes()
    assert figures.main([], root, root / "latest.json") == 2
    assert "README.zh-CN.md" in capsys.readouterr().err
    assert (root / "README.md").read_bytes() == before


@pytest.mark.parametrize("text", ["{", '[{"name": "x"}]', "[1]"])
def test_results_that_cannot_be_read_are_refused(
    figures: ModuleType, root: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "latest.json").write_text(text, encoding="utf-8")
    assert figures.main([], root, root / "latest.json") == 2
    assert capsys.readouterr().err
    assert figures.main([], root, root / "absent.json") == 2


def test_print_changes_nothing(figures: ModuleType, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (root / "README.md").read_bytes()
    assert figures.main(["--print"], root, root / "latest.json") == 0
    assert "| b: speed | 1.04 x |" in capsys.readouterr().out
    assert (root / "README.md").read_bytes() == before
