"""Answers for files of the window: types, caching, ranges, conditions, and paths that must lead nowhere."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packagers.hls.cache import Answer, WindowCache

BODY = bytes(range(256)) * 4
TEXT = "#EXTM3U\n#EXT-X-VERSION:6\n" + "#EXTINF:6.000000,\n1.m4s\n" * 20


@pytest.fixture
def cache(tmp_path: Path) -> WindowCache:
    folder = tmp_path / "hls" / "news" / "v"
    folder.mkdir(parents=True)
    for name in ("1.m4s", "1.ts", "init-0.mp4"):
        (folder / name).write_bytes(BODY)
    (folder / "index.m3u8").write_text(TEXT)
    (folder.parent / "index.m3u8").write_text(TEXT)
    (folder / ".2.m4s.part").write_bytes(b"half")
    (folder / "notes.txt").write_text("no media")
    (tmp_path / "secret.m3u8").write_text("secret")
    return WindowCache(tmp_path / "hls")


def get(cache: WindowCache, path: str, method: str = "GET", **headers: str) -> Answer:
    return cache.answer(method, path, {name.replace("_", "-"): value for name, value in headers.items()})


def header(answer: Answer, name: str) -> str | None:
    return dict(answer.headers).get(name)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("index.m3u8", "application/vnd.apple.mpegurl"),
        ("1.m4s", "video/iso.segment"),
        ("1.ts", "video/mp2t"),
        ("init-0.mp4", "video/mp4"),
    ],
)
def test_types(cache: WindowCache, name: str, kind: str) -> None:
    """The names of RFC 8216bis and of the formats' own registrations."""
    answer = get(cache, f"/hls/news/v/{name}")
    assert answer.status == 200
    assert header(answer, "Content-Type") == kind
    assert header(answer, "Access-Control-Allow-Origin") == "*"
    assert b"HTTP/1.1 200 OK\r\n" in answer.head


def test_segments_are_for_ever_and_playlists_are_not(cache: WindowCache) -> None:
    assert header(get(cache, "/hls/news/v/1.m4s"), "Cache-Control") == "public, max-age=120, immutable"
    assert header(get(cache, "/hls/news/index.m3u8"), "Cache-Control") == "public, max-age=1"


def test_playlists_are_gzipped_once_for_all(cache: WindowCache) -> None:
    """Playlists are offered with gzip (RFC 8216bis, 10.2)."""
    packed = get(cache, "/hls/news/v/index.m3u8", accept_encoding="br, gzip;q=0.8")
    assert header(packed, "Content-Encoding") == "gzip"
    assert header(packed, "Vary") == "Accept-Encoding"
    assert gzip.decompress(packed.body).decode() == TEXT
    assert get(cache, "/hls/news/v/index.m3u8", accept_encoding="gzip") is packed
    for refused in ("", "gzip;q=0", "br", "identity"):
        assert get(cache, "/hls/news/v/index.m3u8", accept_encoding=refused).body.decode() == TEXT
    assert header(get(cache, "/hls/news/v/1.m4s", accept_encoding="gzip"), "Content-Encoding") is None


def test_conditions(cache: WindowCache) -> None:
    for path, extra in (
        ("/hls/news/v/1.m4s", {}),
        ("/hls/news/v/index.m3u8", {}),
        ("/hls/news/v/index.m3u8", {"accept_encoding": "gzip"}),
    ):
        whole = get(cache, path, **extra)
        etag = header(whole, "ETag")
        assert etag is not None
        for condition in (etag, f'"other", W/{etag}', "*"):
            answer = get(cache, path, if_none_match=condition, **extra)
            assert answer.status == 304
            assert answer.body == b""
            assert b"\r\nContent-Length" not in answer.head
            assert header(answer, "ETag") == etag
        assert get(cache, path, if_none_match='"other"', **extra) is whole


def test_a_new_playlist_is_seen_at_once(cache: WindowCache, tmp_path: Path) -> None:
    path = tmp_path / "hls" / "news" / "v" / "index.m3u8"
    before = get(cache, "/hls/news/v/index.m3u8")
    draft = path.with_name(".new")
    draft.write_text(TEXT.replace("1.m4s", "2.m4s"))
    os.utime(draft, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))  # a clock too coarse to tell them apart
    draft.replace(path)
    after = get(cache, "/hls/news/v/index.m3u8")
    assert b"2.m4s" in after.body
    assert after is not before
    path.unlink()
    assert get(cache, "/hls/news/v/index.m3u8").status == 404


@given(st.integers(0, 1100), st.integers(0, 1100) | st.just(9007199254740991))
def test_ranges(cache_once: WindowCache, first: int, last: int) -> None:
    answer = get(cache_once, "/hls/news/v/1.m4s", range=f"bytes={first}-{last}")
    if last < first:
        assert answer.status == 200  # not a valid range: ignored
    elif first >= len(BODY):
        assert answer.status == 416
        assert header(answer, "Content-Range") == f"bytes */{len(BODY)}"
    else:
        assert answer.status == 206
        assert answer.body == BODY[first : last + 1]
        assert header(answer, "Content-Range") == f"bytes {first}-{min(last, len(BODY) - 1)}/{len(BODY)}"
        assert f"Content-Length: {len(answer.body)}".encode() in answer.head


@pytest.fixture(scope="module")
def cache_once(tmp_path_factory: pytest.TempPathFactory) -> WindowCache:
    root = tmp_path_factory.mktemp("window")
    (root / "news" / "v").mkdir(parents=True)
    (root / "news" / "v" / "1.m4s").write_bytes(BODY)
    return WindowCache(root)


def test_ranges_without_an_end_or_a_beginning(cache: WindowCache) -> None:
    assert get(cache, "/hls/news/v/1.m4s", range="bytes=1000-").body == BODY[1000:]
    assert get(cache, "/hls/news/v/1.m4s", range="bytes=-24").body == BODY[-24:]
    assert get(cache, "/hls/news/v/1.m4s", range="bytes=-5000").body == BODY
    assert get(cache, "/hls/news/v/1.m4s", range="bytes=-0").status == 416
    for nonsense in ("bytes=0-1,4-5", "bytes=-", "lines=1-2", "bytes=" + "9" * 30 + "-"):
        assert get(cache, "/hls/news/v/1.m4s", range=nonsense).status == 200
    etag = header(get(cache, "/hls/news/v/1.m4s"), "ETag") or ""
    assert get(cache, "/hls/news/v/1.m4s", range="bytes=0-1", if_range=etag).status == 206
    assert get(cache, "/hls/news/v/1.m4s", range="bytes=0-1", if_range='"old"').status == 200
    assert get(cache, "/hls/news/v/1.m4s", range="bytes=0-1", if_none_match=etag).status == 304
    assert get(cache, "/hls/news/v/index.m3u8", range="bytes=0-6", accept_encoding="gzip").body == b"#EXTM3U"


@pytest.mark.parametrize(
    "path",
    [
        "/hls/news/v/2.m4s", "/hls/news", "/hls/", "/hls/news/v/x/1.m4s", "/hls/../secret.m3u8",
        "/hls/news/../../secret.m3u8", "/hls/%2e%2e/secret.m3u8", "/hls/..%2fsecret.m3u8",
        "/hls/news/v/..%2f..%2f..%2fsecret.m3u8", "/hls/news/v/.2.m4s.part", "/hls/news/v/notes.txt",
        "/hls//secret.m3u8", "/hls/news/v/%00.m4s", "/hls/news/%ff/1.m4s", "/hls/news/v/" + "a" * 5000 + ".ts",
    ],
)  # fmt: skip
def test_paths_that_lead_nowhere(cache: WindowCache, path: str) -> None:
    answer = get(cache, path)
    assert answer.status == 404
    assert json.loads(answer.body)["status"] == 404
    assert header(answer, "Content-Type") == "application/problem+json"


@given(st.text(max_size=60))
def test_no_path_raises(cache_once: WindowCache, path: str) -> None:
    assert get(cache_once, "/hls/" + path).status in (200, 404)


def test_links_and_folders_are_not_served(cache: WindowCache, tmp_path: Path) -> None:
    folder = tmp_path / "hls" / "news" / "v"
    (folder / "link.m3u8").symlink_to(tmp_path / "secret.m3u8")
    (folder / "folder.ts").mkdir()
    os.mkfifo(folder / "pipe.ts")
    for name in ("link.m3u8", "folder.ts", "pipe.ts"):
        assert get(cache, f"/hls/news/v/{name}").status == 404


def test_encoded_names_and_queries(cache: WindowCache, tmp_path: Path) -> None:
    folder = tmp_path / "hls" / "新闻 1" / "v"
    folder.mkdir(parents=True)
    (folder / "1.ts").write_bytes(b"x")
    assert get(cache, "/hls/%E6%96%B0%E9%97%BB%201/v/1.ts?t=1&u=..").body == b"x"


def test_methods(cache: WindowCache) -> None:
    preflight = get(cache, "/hls/news/v/1.m4s", "OPTIONS")
    assert preflight.status == 204
    assert "Range" in (header(preflight, "Access-Control-Allow-Headers") or "")
    wrong = get(cache, "/hls/news/v/1.m4s", "DELETE")
    assert wrong.status == 405
    assert header(wrong, "Allow") == "GET, HEAD, OPTIONS"


def test_memory_is_bounded_and_the_least_used_leaves(tmp_path: Path) -> None:
    folder = tmp_path / "c" / "v"
    folder.mkdir(parents=True)
    for number in range(50):
        (folder / f"{number}.ts").write_bytes(bytes(10_000))
    (folder / "big.ts").write_bytes(bytes(200_000))
    cache = WindowCache(tmp_path, limit=100_000)
    for number in range(50):
        assert get(cache, f"/hls/c/v/{number}.ts").status == 200
        assert get(cache, "/hls/c/v/0.ts").status == 200
        assert cache.bytes <= cache.limit
    assert cache.loads == 50
    assert len(get(cache, "/hls/c/v/big.ts").body) == 200_000
    assert cache.state()["bytes"] <= cache.limit
