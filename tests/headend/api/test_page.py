"""The status page's files."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    folder = tmp_path / "built"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html><title>播出前端</title>", encoding="utf-8")
    (folder / "assets" / "index-abc123.js").write_text("export const x = 1;\n" * 100, encoding="utf-8")
    (folder / ".sources").write_text("hash", encoding="utf-8")
    return folder


async def test_the_page_comes_with_a_policy_that_lets_nothing_else_run(start: Any, dist: Path) -> None:
    head = await start(page=dist, loopback=False)
    response = await head.call("GET", "/", token=None)
    assert response.status == 200
    assert "播出前端" in await response.text()
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Cache-Control"] == "no-cache"


async def test_hashed_files_are_kept_for_good_and_packed(start: Any, dist: Path) -> None:
    head = await start(page=dist)
    client = head.client
    response = await client.get("/assets/index-abc123.js", headers={"Accept-Encoding": "gzip"}, auto_decompress=False)
    assert "immutable" in response.headers["Cache-Control"]
    assert response.content_type == "text/javascript"
    assert gzip.decompress(await response.read()).startswith(b"export const")
    again = await client.get("/assets/index-abc123.js", headers={"If-None-Match": response.headers["ETag"]})
    assert again.status == 304


@pytest.mark.parametrize("path", ["/.sources", "/assets/..%2f..%2fsecret", "/assets/", "/nothing.js", "/src/main.ts"])
async def test_nothing_but_the_built_files_is_served(start: Any, dist: Path, path: str) -> None:
    (dist.parent / "secret").write_text("x")
    head = await start(page=dist)
    assert (await head.call("GET", path)).status == 404


async def test_without_the_page_the_api_is_still_there(head: Any) -> None:
    response = await head.call("GET", "/")
    assert response.status == 503
    assert "build_console.py" in (await response.json())["detail"]
    assert (await head.call("GET", "/api/v1/channels")).status == 200
