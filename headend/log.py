"""Structured logs: one JSON object a line on standard error, or coloured lines when a person is looking.

Every entry passes :func:`headend.secrecy.redacted`: no password reaches a log. Logging must never hurt the signal:
when standard error is gone (the supervisor died, a terminal was closed) or the disk is full, entries are dropped and
counted.
"""

from __future__ import annotations

import logging
import logging.handlers
import os
import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any, Final, TextIO

import structlog

from headend.clock import SystemClock, to_iso
from headend.secrecy import redacted

Event = MutableMapping[str, Any]

lost: int = 0
"""Entries of this process that could not be written."""

_clock: Final = SystemClock()


class _Patient(logging.handlers.WatchedFileHandler):
    def handleError(self, record: logging.LogRecord) -> None:
        _count()


class _Screen(logging.StreamHandler[TextIO]):
    def handleError(self, record: logging.LogRecord) -> None:
        _count()


def _count() -> None:
    global lost
    lost += 1


def _stamp(logger: Any, method: str, event: Event) -> Event:
    event["time"] = to_iso(_clock.now())
    return event


def _clean(logger: Any, method: str, event: Event) -> Event:
    for key, value in event.items():
        if not key.startswith("_"):
            event[key] = redacted({key: value})[key]
    return event


def set_up(name: str, *, level: str = "info", file: Path | None = None, json: bool | None = None) -> None:
    """Send all logs of this process, structlog's and the standard library's, to standard error and to ``file``.

    ``name`` stands in each entry as ``worker``. ``json``: None means by whether standard error is a terminal. A file
    that cannot be opened is reported and left out.
    """
    if json is None:
        json = not sys.stderr.isatty() and not os.environ.get("FORCE_COLOR")
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        _stamp,
        structlog.processors.format_exc_info,
        _clean,
    ]

    def form(as_json: bool) -> logging.Formatter:
        last: Any = (
            structlog.processors.JSONRenderer(ensure_ascii=False, default=str)
            if as_json
            else structlog.dev.ConsoleRenderer(timestamp_key="time", pad_event_to=0)
        )
        return structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
        )

    screen = _Screen(sys.stderr)
    screen.setFormatter(form(json))
    handlers: list[logging.Handler] = [screen]
    refused: OSError | None = None
    if file is not None:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            handler = _Patient(file, encoding="utf-8")
            handler.setFormatter(form(True))
            handlers.append(handler)
        except OSError as problem:
            refused = problem
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    for each in handlers:
        root.addHandler(each)
    root.setLevel(level.upper())
    # One line for each request is the business of an access log, not of this one.
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(worker=name)
    if refused is not None:
        get(name).warning(
            f"the log file {file} cannot be opened ({refused.strerror}), so logs go to standard error only; make it "
            "writable"
        )


def get(name: str) -> structlog.stdlib.BoundLogger:
    """A logger that knows its worker, in whichever thread it is used."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name, worker=name)
    return logger
