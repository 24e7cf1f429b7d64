"""``headend version``: which release this is, and of what it is built."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Annotated

import typer

from headend.commands import CLEAN, in_sentences, result

_PARTS = ("av", "imageio-ffmpeg", "numpy", "aiohttp", "pyzmq", "pydantic")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("version", epilog="Example: headend version --json")(version)


@in_sentences
def version(json: Annotated[bool, typer.Option("--json", help="One JSON object. 输出 JSON。")] = False) -> int:
    """版本信息。 Which release this is, and of what it is built."""
    versions = {"headend": _version("headend"), "python": platform.python_version()}
    versions |= {name: _version(name) for name in _PARTS}
    if json:
        result(versions)
    else:
        for name, text in versions.items():
            print(f"{name} {text}")
    return CLEAN


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
