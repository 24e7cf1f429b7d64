"""As-run rows for people and their spreadsheets: a time range as JSON, or as a CSV file."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from typing import Any, Final

from aiohttp import web

from headend.api import models
from headend.api.desk import Desk
from headend.api.problem import Problem
from headend.clock import TICKS_PER_SECOND, from_iso, to_iso

_DAY: Final = 24 * 3600 * TICKS_PER_SECOND
_PATIENCE: Final = 10.0
_LEADING: Final = ("start", "end", "planned_start", "planned_end", "item", "title", "source", "why")
"""Columns that come first, where rows have them; the rest follows in the order of the rows."""


async def answer(desk: Desk, channel: str, query: models.AsRunQuery) -> models.AsRun | web.Response:
    """The rows of a range. Raises :class:`Problem` 422 if the range ends before it begins."""
    end = from_iso(query.to) if query.to else desk.clock.now()
    begin = from_iso(query.from_) if query.from_ else end - _DAY
    if begin >= end:
        raise Problem(
            422, "invalid", f"the range from {to_iso(begin)} to {to_iso(end)} holds no time; put `from` before `to`"
        )
    ask = {"do": "asrun", "from": to_iso(begin), "to": to_iso(end)}
    result = await desk.command(f"channel-{channel}", ask, _PATIENCE)
    found = result.get("rows") if isinstance(result, dict) else result
    rows = [row for row in found or [] if isinstance(row, dict)]
    kept = rows[-query.limit :]
    cut = len(kept) < len(rows) or (isinstance(result, dict) and result.get("truncated") is True)
    if query.format == "json":
        return models.AsRun(rows=kept, truncated=cut)
    day = to_iso(begin)[:10].replace("-", "")
    return web.Response(
        # The byte order mark is what makes spreadsheets read Chinese as UTF-8.
        body=("\ufeff" + table(kept)).encode(),
        headers={
            "Content-Type": "text/csv; charset=utf-8; header=present",
            "Content-Disposition": f'attachment; filename="asrun-{channel}-{day}.csv"',
            "Cache-Control": "no-store",
            "X-Truncated": "true" if cut else "false",
        },
    )


def table(rows: Iterable[dict[str, Any]]) -> str:
    """CSV (RFC 4180) with a header line. Nested values are JSON.

    A text that a spreadsheet would take for a formula gets an apostrophe before it: titles come from outside.
    """
    rows = list(rows)
    seen = dict.fromkeys(key for row in rows for key in row)
    columns = [name for name in _LEADING if name in seen] + [name for name in seen if name not in _LEADING]
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\r\n")
    writer.writerow(columns or _LEADING)
    for row in rows:
        writer.writerow([_cell(row.get(name)) for name in columns])
    return sink.getvalue()


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case str():
            return "'" + value if value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
        case _:
            return json.dumps(value, ensure_ascii=False)
