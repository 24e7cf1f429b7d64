"""The window in memory: each file as the answers that HTTP gives for it, made once and shared by everyone who asks.

A playlist is looked at again on every request (one ``stat``: it was renamed into place, so a new one has a new inode)
and compressed once for all who accept gzip. A segment never changes, so it is not looked at again; the least recently
used leave when the memory bound is reached. Reading is done where it is asked for: the window lies in tmpfs, where it
is a copy.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import stat
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

PREFIX: Final = "/hls/"
TYPES: Final = {
    "m3u8": "application/vnd.apple.mpegurl",
    "ts": "video/mp2t",
    "m4s": "video/iso.segment",
    "mp4": "video/mp4",
}
"""What HLS calls the files (RFC 8216bis, section 4 and 3.1)."""
CORS: Final = (
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Expose-Headers", "Content-Length, Content-Range, Date, ETag"),
)
_ALLOW: Final = "GET, HEAD, OPTIONS"
_PART: Final = re.compile(r"[^./\x00][^/\x00]*")
_RANGE: Final = re.compile(r"\s*bytes\s*=\s*(\d*)\s*-\s*(\d*)\s*")
_REASONS: Final = {
    200: "OK",
    204: "No Content",
    206: "Partial Content",
    304: "Not Modified",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    416: "Range Not Satisfiable",
    503: "Service Unavailable",
}

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole HTTP response but for Date and what depends on the connection."""

    status: int
    headers: Headers
    body: bytes = b""
    head: bytes = field(init=False, repr=False)
    """Status line and headers as they go on the wire, without the empty line."""

    def __post_init__(self) -> None:
        lines = [f"HTTP/1.1 {self.status} {_REASONS[self.status]}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        if self.status not in (204, 304):
            lines.append(f"Content-Length: {len(self.body)}")
        object.__setattr__(self, "head", ("\r\n".join(lines) + "\r\n").encode("latin-1"))


def problem(status: int, title: str, detail: str, extra: Headers = ()) -> Answer:
    """An error as problem JSON (RFC 9457)."""
    body = json.dumps({"type": "about:blank", "title": title, "status": status, "detail": detail}, ensure_ascii=False)
    headers = (("Content-Type", "application/problem+json"), ("Cache-Control", "no-store"), *CORS, *extra)
    return Answer(status, headers, body.encode())


_PREFLIGHT: Final = Answer(
    204,
    (
        ("Access-Control-Allow-Origin", "*"),
        ("Access-Control-Allow-Methods", _ALLOW),
        ("Access-Control-Allow-Headers", "Range, If-None-Match, If-Range, Content-Type, Cache-Control"),
        ("Access-Control-Max-Age", "86400"),
        ("Allow", _ALLOW),
    ),
)
_WRONG_METHOD: Final = problem(
    405, "Method not allowed", "Media is only read here; use GET or HEAD.", (("Allow", _ALLOW),)
)
_MISSING: Final = problem(
    404,
    "Not found",
    "There is no such playlist or segment. A segment is gone once it has left its playlist for some time; "
    "reload the playlist at /hls/CHANNEL/index.m3u8.",
)


@dataclass(slots=True)
class Entry:
    """A file and its ready answers."""

    identity: tuple[int, int, int]
    """Inode, modification time in ns, size."""
    whole: Answer
    etag: str
    unchanged: Answer
    packed: Answer | None = None
    """The same with gzip; playlists only."""
    packed_etag: str = ""
    packed_unchanged: Answer | None = None

    @property
    def size(self) -> int:
        return len(self.whole.body) + (len(self.packed.body) if self.packed else 0) + 2048


class WindowCache:
    """Answers requests for files below ``root``.

    ``limit`` bounds the bytes held; one file larger than that is still served, and not kept. ``segment_age`` and
    ``playlist_age`` are the seconds that caches may keep a segment and a playlist.
    """

    def __init__(self, root: Path, *, limit: int = 256 << 20, segment_age: int = 120, playlist_age: int = 1) -> None:
        self.root = root
        self.limit = limit
        self.bytes = 0
        self.loads = 0
        """Files read."""
        self.misses = 0
        """Requests for files that are not there."""
        self._root = os.fspath(root) + "/"
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._segment_cache = f"public, max-age={segment_age}, immutable"
        self._playlist_cache = f"public, max-age={playlist_age}"

    def answer(self, method: str, path: str, headers: Mapping[str, str]) -> Answer:
        """The response to a request for ``path`` (percent-encoded, with or without a query) below ``/hls/``.

        ``headers`` must answer to lower-case names. A HEAD request gets the answer of GET: leave the body away.
        """
        if method != "GET" and method != "HEAD":
            return _PREFLIGHT if method == "OPTIONS" else _WRONG_METHOD
        name = path.partition("?")[0][len(PREFIX) :]
        entry = self._entry(unquote(name) if "%" in name else name)
        if entry is None:
            self.misses += 1
            return _MISSING
        asked = headers.get("range")
        if asked is None:
            if entry.packed is not None and _accepts_gzip(headers.get("accept-encoding", "")):
                matches = headers.get("if-none-match")
                if matches is not None and _matches(matches, entry.packed_etag):
                    assert entry.packed_unchanged is not None
                    return entry.packed_unchanged
                return entry.packed
            matches = headers.get("if-none-match")
            return entry.unchanged if matches is not None and _matches(matches, entry.etag) else entry.whole
        matches = headers.get("if-none-match")
        if matches is not None and _matches(matches, entry.etag):
            return entry.unchanged
        condition = headers.get("if-range")
        if condition is not None and condition.strip() != entry.etag:
            return entry.whole
        return _part(entry, asked)

    def _entry(self, name: str) -> Entry | None:
        entry = self._entries.get(name)
        if entry is not None:
            if entry.packed is not None:
                try:
                    status = os.stat(self._root + name)
                except OSError:
                    self._forget(name)
                    return None
                if (status.st_ino, status.st_mtime_ns, status.st_size) != entry.identity:
                    self._forget(name)
                    return self._load(name)
            self._entries.move_to_end(name)
            return entry
        parts = name.split("/")
        if not 2 <= len(parts) <= 3 or not all(_PART.fullmatch(part) for part in parts):
            return None
        return self._load(name)

    def _load(self, name: str) -> Entry | None:
        kind = TYPES.get(name.rpartition(".")[2])
        if kind is None:
            return None
        try:
            # A link could lead out of the window; nobody makes one there.
            fd = os.open(self._root + name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except (OSError, ValueError):
            return None
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                return None
            with open(fd, "rb", buffering=0, closefd=False) as file:
                body = file.readall() or b""
        finally:
            os.close(fd)
        self.loads += 1
        entry = self._made(status, kind, body)
        self._entries[name] = entry
        self.bytes += entry.size
        while self.bytes > self.limit and self._entries:
            self._forget(next(iter(self._entries)))
        return entry

    def _made(self, status: os.stat_result, kind: str, body: bytes) -> Entry:
        identity = (status.st_ino, status.st_mtime_ns, status.st_size)
        etag = f'"{status.st_mtime_ns:x}-{len(body):x}"'
        playlist = kind == TYPES["m3u8"]
        cache = ("Cache-Control", self._playlist_cache if playlist else self._segment_cache)
        if not playlist:
            headers: Headers = (("Content-Type", kind), cache, ("ETag", etag), ("Accept-Ranges", "bytes"), *CORS)
            return Entry(identity, Answer(200, headers, body), etag, Answer(304, (("ETag", etag), cache, *CORS)))
        vary = ("Vary", "Accept-Encoding")
        packed_etag = etag[:-1] + '-gz"'
        headers = (("Content-Type", kind), cache, vary, *CORS)
        packed = gzip.compress(body, 6, mtime=0)
        return Entry(
            identity,
            Answer(200, (*headers, ("ETag", etag), ("Accept-Ranges", "bytes")), body),
            etag,
            Answer(304, (("ETag", etag), cache, vary, *CORS)),
            Answer(200, (*headers, ("ETag", packed_etag), ("Content-Encoding", "gzip")), packed),
            packed_etag,
            Answer(304, (("ETag", packed_etag), cache, vary, *CORS)),
        )

    def _forget(self, name: str) -> None:
        self.bytes -= self._entries.pop(name).size

    def state(self) -> dict[str, Any]:
        """Files and bytes held, files read, requests for what is not there."""
        return {
            "files": len(self._entries),
            "bytes": self.bytes,
            "limit": self.limit,
            "loads": self.loads,
            "misses": self.misses,
        }


def _part(entry: Entry, asked: str) -> Answer:
    """A byte range (RFC 9110, 14.2). What is not one single range is ignored, as the standard allows."""
    body = entry.whole.body
    found = _RANGE.fullmatch(asked)
    if found is None or not (found[1] or found[2]):
        return entry.whole
    if len(found[1]) > 18 or len(found[2]) > 18:
        # hls.js and the draft ask for "to the end" with 9007199254740991; anything longer is nonsense.
        return entry.whole
    if found[1]:
        first = int(found[1])
        last = min(int(found[2]), len(body) - 1) if found[2] else len(body) - 1
        if found[2] and int(found[2]) < first:
            return entry.whole
    else:
        first = max(0, len(body) - int(found[2]))
        last = len(body) - 1 if int(found[2]) else -1
    if first >= len(body) or last < first:
        return problem(
            416,
            "Range not satisfiable",
            f"The file has {len(body)} bytes; ask for a range that begins inside it.",
            (("Content-Range", f"bytes */{len(body)}"),),
        )
    return Answer(
        206, (*entry.whole.headers, ("Content-Range", f"bytes {first}-{last}/{len(body)}")), body[first : last + 1]
    )


def _matches(condition: str, etag: str) -> bool:
    """Whether If-None-Match names the tag; comparison is weak (RFC 9110, 13.1.2)."""
    return condition.strip() == "*" or any(tag.strip().removeprefix("W/") == etag for tag in condition.split(","))


def _accepts_gzip(accepted: str) -> bool:
    if "gzip" not in accepted:
        return False
    for coding in accepted.split(","):
        name, _, weight = coding.partition(";")
        if name.strip().lower() in ("gzip", "x-gzip"):
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
