"""YAML that remembers its lines, and has none of YAML's surprises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headend.document import Document, DocumentError, load


def parse(folder: Path, text: str) -> Document:
    path = folder / "d.yaml"
    path.write_text(text, encoding="utf-8")
    return load(path)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("no", "no"),
        ("true", True),
        ("12:30:00", "12:30:00"),
        ("2026-11-21", "2026-11-21"),
        ("010", "010"),
        ("10", 10),
        ("2.50", 2.5),
        ("30000/1001", "30000/1001"),
        ("~", None),
        ("", None),
        ("'5'", "5"),
        ("1_000", "1_000"),
    ],
)
def test_values_are_what_was_written(tmp_path: Path, written: str, meant: Any) -> None:
    assert parse(tmp_path, f"a: {written}\n").value == {"a": meant}


def test_lines(tmp_path: Path) -> None:
    document = parse(tmp_path, "a: 1\nb:\n  - c: 2\n  - {d: 3,\n     e: 4}\n")
    assert document.line(("a",)) == 1
    assert document.line(("b", 0, "c")) == 3
    assert document.line(("b", 1, "e")) == 5
    assert document.line(("b", 1, "missing")) == 4
    assert document.line(("nowhere", 5)) == 1


def test_anchors_and_merges(tmp_path: Path) -> None:
    document = parse(tmp_path, "x: &x {a: 1, b: 2}\ny: {<<: *x, b: 3}\nz: *x\n")
    assert document.value == {"x": {"a": 1, "b": 2}, "y": {"a": 1, "b": 3}, "z": {"a": 1, "b": 2}}


def test_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "s3cret")
    assert parse(tmp_path, "a: rtmp://h/live/${KEY}\n").value == {"a": "rtmp://h/live/s3cret"}


@pytest.mark.parametrize(
    "text",
    ["a: !!python/object:os.system x", "? [1]\n: 2", "a: *nobody", "a: &a {b: *a}", "a: {b: 1, b: 2}", "a: !!int x"],
)
def test_what_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(DocumentError):
        parse(tmp_path, text)


def test_a_short_text_cannot_become_endless(tmp_path: Path) -> None:
    text = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
    with pytest.raises(DocumentError, match="nested too deeply"):
        parse(tmp_path, text)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(alphabet="ab:-[]{}&*!#\"'\n \t,0.~|>%@", max_size=80))
def test_any_text_is_read_or_refused(tmp_path: Path, text: str) -> None:
    refused: DocumentError | None = None
    try:
        assert isinstance(parse(tmp_path, text).value, dict)
    except DocumentError as problem:
        refused = problem
    if refused is not None:
        assert refused.line >= 1
        assert refused.eng
        assert refused.zho
