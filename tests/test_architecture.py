"""Which room may import which: the table of docs/architecture.md, held by reading the import statements."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
GROUND = {"headend.clock", "headend.accessunit", "headend.ring"}
ROOMS = {
    "encoders": {"packagers", "monitors"},
    "packagers": {"encoders", "monitors"},
    "monitors": {"encoders"},
}
WEB = {"aiohttp", "aiortc", "sqlalchemy", "fastapi", "typer"}


def imports(path: Path) -> list[str]:
    """Every module that a file imports, with the names taken from a package spelled out."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names += (
                [node.module] if node.module.count(".") else [f"{node.module}.{alias.name}" for alias in node.names]
            )
    return names


def files(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_a_room_imports_only_what_it_may(room: str) -> None:
    for path in files(room):
        for name in imports(path):
            top = name.partition(".")[0]
            where = f"{path.relative_to(ROOT)} imports {name}"
            assert top not in ROOMS[room], f"{where}: {room}/ may not know that room"
            if top == "headend":
                assert any(name == g or name.startswith(g + ".") for g in GROUND), (
                    f"{where}: only the ground is open to {room}/"
                )


def test_encoders_know_no_web_and_no_database() -> None:
    for path in files("encoders"):
        assert not {n.partition(".")[0] for n in imports(path)} & WEB, path


def test_the_ground_imports_nothing_of_the_application() -> None:
    for name in sorted(GROUND):
        path = ROOT / (name.replace(".", "/") + ".py")
        if path.exists():
            assert not [
                n
                for n in imports(path)
                if n.split(".")[0] in {*ROOMS, "headend"} and n.rpartition(".")[0] not in GROUND and n not in GROUND
            ]


def test_only_the_clock_asks_what_time_it_is() -> None:
    forbidden = {("time", "time"), ("time", "time_ns"), ("datetime", "now"), ("datetime", "utcnow"), ("date", "today")}
    allowed = {ROOT / "headend/clock.py", ROOT / "headend/houseclock.py"}
    for room in ("headend", "encoders", "packagers", "monitors"):
        for path in set(files(room)) - allowed:
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Attribute)
                    and isinstance(node.func.value, ast.Name)
                ):
                    call = (node.func.value.id, node.func.attr)
                    assert call not in forbidden, (
                        f"{path.relative_to(ROOT)}:{node.lineno} calls {'.'.join(call)}; use the Clock"
                    )
