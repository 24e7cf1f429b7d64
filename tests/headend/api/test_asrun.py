"""As-run rows by time range, as JSON and as a file."""

from __future__ import annotations

import csv
import io
from typing import Any

from headend.api.asrun import table

ROW = {
    "item": "a",
    "title": "天气, 早",
    "source": "/m/a.mp4",
    "start": "2026-11-21T12:00:00.000Z",
    "end": "2026-11-21T12:01:00.000Z",
    "why": "",
    "holds": 0,
}
URL = "/api/v1/channels/news/asrun"


async def test_a_range_is_asked_of_the_channel(head: Any) -> None:
    head.bus.rows = [ROW]
    query = "?from=2026-11-21T20:00:00%2B08:00&to=2026-11-22T20:00:00%2B08:00"
    body = await (await head.call("GET", URL + query)).json()
    assert body == {"rows": [ROW], "truncated": False}
    assert head.bus.commands("asrun") == [
        {"do": "asrun", "from": "2026-11-21T12:00:00.000Z", "to": "2026-11-22T12:00:00.000Z"}
    ]


async def test_without_a_range_it_is_the_last_day_and_the_newest_rows(head: Any) -> None:
    head.bus.rows = [{**ROW, "item": str(n)} for n in range(30)]
    body = await (await head.call("GET", URL + "?limit=3")).json()
    assert ([row["item"] for row in body["rows"]], body["truncated"]) == (["27", "28", "29"], True)
    assert head.bus.commands("asrun")[0]["from"] == "2027-01-14T08:00:00.000Z"


async def test_a_range_that_holds_no_time_is_refused(head: Any) -> None:
    query = "?from=2026-11-21T20:00:00Z&to=2026-11-21T20:00:00Z"
    assert (await head.call("GET", URL + query)).status == 422
    assert (await head.call("GET", URL + "?from=yesterday")).status == 422


async def test_the_file_opens_in_a_spreadsheet(head: Any) -> None:
    head.bus.rows = [ROW]
    response = await head.call("GET", URL + "?format=csv")
    assert response.content_type == "text/csv"
    assert 'filename="asrun-news-' in response.headers["Content-Disposition"]
    raw = await response.read()
    assert raw.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(raw.decode("utf-8-sig"))))
    assert rows[0]["title"] == "天气, 早"
    assert list(rows[0])[:2] == ["start", "end"]


def test_rows_of_different_shape_and_odd_values_fit_one_table() -> None:
    text = table([{"item": "=cmd()", "x": [1, "二"]}, {"y": None, "item": "b", "z": True, "gain": -1.5}])
    rows = list(csv.DictReader(io.StringIO(text)))
    assert rows[0] == {"item": "'=cmd()", "x": '[1, "二"]', "y": "", "z": "", "gain": ""}
    assert rows[1] == {"item": "b", "x": "", "y": "", "z": "true", "gain": "-1.5"}
    assert table([]).count("\r\n") == 1
