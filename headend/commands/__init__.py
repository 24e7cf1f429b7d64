"""The commands of the command line, one module each; ``headend/cli.py`` lists them.

A module has ``register(app)``, which adds its command. It imports what it needs inside the command, so that ``headend
--help`` is quick and a broken part spoils only its own command.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from typing import Any, Final, ParamSpec

import typer
from rich.console import Console

from headend.tongue import current, tell

CLEAN: Final = 0
MISTAKE: Final = 2
"""Exit status of a mistake that the user can mend."""

Arguments = ParamSpec("Arguments")


def screen() -> Console:
    """Where progress and complaints go: standard error."""
    return Console(stderr=True, soft_wrap=True, highlight=False)


def complain(sentence: str) -> None:
    """Say on standard error what is wrong."""
    screen().print(sentence, style="red", markup=False)


def result(value: Any) -> None:
    """One JSON object on standard output."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def in_sentences(command: Callable[Arguments, int]) -> Callable[Arguments, None]:
    """A command whose mistakes of the user become sentences and exit status 2, and whose result is its exit status."""

    @functools.wraps(command)
    def guarded(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        from headend.config import ConfigError
        from headend.paths import PathsError
        from headend.secrecy import redact
        from headend.supervisor import SupervisorError

        try:
            status = command(*args, **kwargs)
        except ConfigError as refused:
            for problem in refused.problems:
                complain(problem.sentence(current()))
            status = MISTAKE
        except (PathsError, SupervisorError) as problem:
            complain(redact(str(problem)))
            status = MISTAKE
        except OSError as problem:
            where = f"{problem.filename}: " if problem.filename else ""
            complain(redact(f"{where}{problem.strerror or problem}"))
            status = MISTAKE
        except KeyboardInterrupt:
            complain(tell("已中断。", "Interrupted."))
            status = 130
        raise typer.Exit(status)

    return guarded
