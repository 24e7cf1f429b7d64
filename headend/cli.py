"""The command line. Each command is a module of :mod:`headend.commands`; a new one is added to :data:`COMMANDS`.

Results go to standard output, progress and complaints to standard error. Exit status 2 is a mistake that the user can
mend.
"""

from __future__ import annotations

import importlib
from typing import Final

import typer

COMMANDS: Final = ("run", "check_config", "doctor", "demo", "version")
"""Modules of headend.commands, in the order of the help."""


def build() -> typer.Typer:
    """The application with all its commands."""
    app = typer.Typer(
        name="headend",
        help="广播前端：播出、编码、HLS。 A broadcast head end: playout, encoding, HLS.",
        epilog="Example: headend demo",
        no_args_is_help=True,
        add_completion=False,
        # A traceback with local variables would show passwords.
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for name in COMMANDS:
        importlib.import_module(f"headend.commands.{name}").register(app)
    return app


def main() -> None:
    """Run the command line of this process."""
    build()()
