"""From an address to a source: which of the kinds of source an address means.

``testcard:`` and still images register themselves here, and so may anything else that yields media.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from encoders.cued import CuedFile
from encoders.file import FileSource
from encoders.format import ChannelFormat
from encoders.gateway import GatewayFeed
from encoders.live import LiveSource
from encoders.network import DatagramFeed, Feed, PullFeed
from encoders.redact import redact
from encoders.source import Source
from headend.clock import TICKS_PER_SECOND, Clock

Factory = Callable[..., Source]
"""Called with ``(name, url, format, clock, **options)``."""

_factories: dict[str, Factory] = {}

DATAGRAMS: Final = ("udp", "rtp")
PULLED: Final = ("http", "https", "rtmp", "rtmps", "rtsp", "rtsps")
GATEWAY: Final = ("srt", "rist")
STILLS: Final = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".gif"})
"""Suffixes of images that are shown as one picture; of a moving GIF that is its first."""
_FILE_OPTIONS: Final = {"in_point", "out_point", "duration", "loop"}


def register(kind: str, factory: Factory) -> None:
    """Let ``factory`` open addresses of a scheme (``testcard``) or paths with a suffix (``.png``)."""
    _factories[kind.lower()] = factory


def open_source(name: str, url: str, format: ChannelFormat, clock: Clock, **options: Any) -> Source:
    """The source of an address or a path; it is not opened yet.

    ``options``: ``in_point, out_point, duration`` (ticks), ``loop``, ``gain_db`` for files; ``latency`` (seconds),
    ``gain_db`` and ``options`` (libavformat's, as strings) for live inputs. Raises ValueError, in a sentence, for an
    unknown scheme, a malformed address, or an option that this kind of source does not have.
    """
    scheme = _scheme(url)
    suffix = Path(urlsplit(url).path if scheme else url).suffix.lower()
    if scheme in _factories:
        return _factories[scheme](name, url, format, clock, **options)
    if scheme in ("", "file"):
        path = unquote(urlsplit(url).path) if scheme else url
        if suffix in _factories:
            return _factories[suffix](name, path, format, clock, **options)
        if suffix in STILLS:
            return _still(name, path, format, clock, **options)
        return FileSource(name, path, format, clock, **options)
    if scheme == "testcard":
        return _testcard(name, url, format, clock, **options)
    if wrong := sorted(_FILE_OPTIONS & {key for key, value in options.items() if value}):
        raise ValueError(f"{name}: {', '.join(wrong)} cannot be given for the live input {redact(url)}; leave it out")
    return LiveSource(name, _feed(name, url, scheme, clock, options.pop("options", None)), format, clock, **{
        key: value for key, value in options.items() if key not in _FILE_OPTIONS
    })  # fmt: skip


def open_standing(name: str, url: str, format: ChannelFormat, clock: Clock, **options: Any) -> Source:
    """The source of an address or a path that stands ready to be taken: a file is cued, and begins when it is on air.

    ``options``: ``latency``, ``gain_db`` and ``options``, as for :func:`open_source`; what a kind of source has no use
    for is left out. Raises ValueError as it does.
    """
    scheme = _scheme(url)
    if scheme in {*DATAGRAMS, *PULLED, *GATEWAY}:
        return open_source(name, url, format, clock, **options)
    path = unquote(urlsplit(url).path) if scheme == "file" else url
    suffix = Path(path).suffix.lower()
    if scheme in ("", "file") and suffix not in STILLS and suffix not in _factories:
        return CuedFile(name, path, format, clock, gain_db=options.get("gain_db", 0.0))
    return open_source(name, url, format, clock)


def _scheme(url: str) -> str:
    head, colon, rest = url.partition(":")
    known = {*_factories, *DATAGRAMS, *PULLED, *GATEWAY, "file", "testcard"}
    return head.lower() if colon and (rest.startswith("//") or head.lower() in known) else ""


def _feed(name: str, url: str, scheme: str, clock: Clock, options: dict[str, str] | None) -> Feed:
    if scheme in DATAGRAMS:
        return DatagramFeed(url, clock)
    if scheme in GATEWAY or (scheme in ("rtmp", "rtmps") and "listen=1" in (urlsplit(url).query or "")):
        return GatewayFeed(url, clock, options)
    if scheme in PULLED:
        return PullFeed(url, options)
    known = ", ".join(
        sorted({*DATAGRAMS, *PULLED, *GATEWAY, "file", "testcard", *(f for f in _factories if f[0] != ".")})
    )
    raise ValueError(
        f"{name}: {redact(url)} begins with {scheme!r}, which is no kind of source; use one of {known}, or a path"
    )


def _testcard(name: str, url: str, format: ChannelFormat, clock: Clock, **options: Any) -> Source:
    label = unquote(url.partition(":")[2].lstrip("/")) or options.pop("label", name)
    made: Source = importlib.import_module("encoders.testcard").TestCard(name, format, clock, label=label)
    return made


def _still(name: str, path: str, format: ChannelFormat, clock: Clock, **options: Any) -> Source:
    ticks = options.get("duration")
    if options.get("out_point") is not None:
        ticks = options["out_point"] - options.get("in_point", 0)
    seconds = None if ticks is None else Fraction(ticks, TICKS_PER_SECOND)
    made: Source = importlib.import_module("encoders.still").Still(name, path, format, clock, duration=seconds)
    return made
