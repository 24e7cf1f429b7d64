"""``headend doctor``: what this machine can do."""

from __future__ import annotations

from typing import Annotated

import typer

from headend.commands import in_sentences


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor", epilog="Example: headend doctor --json")(doctor)


@in_sentences
def doctor(json: Annotated[bool, typer.Option("--json", help="One JSON object. 输出 JSON。")] = False) -> int:
    """检查本机能力：可用的编码器及速度、可承载的频道数、时钟、字体、网络、磁盘。 What this machine can do.

    Working encoders and their measured speed, a ladder and number of channels that fit, clock, fonts, network, disk.
    """
    from headend.doctor import doctor_command

    return doctor_command(json)
