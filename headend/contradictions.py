"""Settings that are right each for itself and wrong together.

:func:`contradictions` refuses: with them no picture, or a wrong one, would go on air. :func:`findings` tells what is
doubtful, or may mend itself while the head end runs: a folder that is not mounted yet must not keep a channel off the
air.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from headend.document import Document, Place

if TYPE_CHECKING:
    from headend.config import Channel, Config, Problem

Finding = tuple[Place, str, str]
"""Where, in English, in Chinese."""

_IN_CMAF: Final = {"h264", "hevc", "av1", "aac", "he-aac", "ac3", "eac3", "opus"}
_IN_TS: Final = {"h264", "aac", "he-aac", "ac3", "eac3", "mp2"}
_LISTENS: Final = {"udp", "rtp"}


def contradictions(config: Config, document: Document) -> list[Problem]:
    """Every reason to refuse a configuration whose values are right each for itself."""
    found: list[Finding] = []
    found += _twice(((("channels", n), c.id) for n, c in enumerate(config.channels)), "id", "channels", "两个频道")
    for language in ("zho", "eng"):
        names = (((("channels", n, "name")), getattr(c.name, language)) for n, c in enumerate(config.channels))
        found += [f for f in _twice(names, "name", "channels", "两个频道") if f not in found]
    found += _inputs(config)
    for number, channel in enumerate(config.channels):
        here: Place = ("channels", number)
        for check in _CHECKS:
            found += check(channel, here)
    return _problems(document, found)


def findings(config: Config, document: Document) -> list[Problem]:
    """What is doubtful: missing files, renditions larger than their channel, an open port without a token."""
    found: list[Finding] = []
    missing: list[Finding] = []
    if config.http.host not in ("127.0.0.1", "localhost", "::1") and not os.environ.get("HEADEND_TOKEN"):
        found.append(
            (
                ("http", "host"),
                f"{config.http.host} can be reached from other machines but HEADEND_TOKEN is not set, so a token is "
                "made at first start and printed once; set HEADEND_TOKEN to choose it",
                f"{config.http.host} 可被其他主机访问，但未设置 HEADEND_TOKEN；"
                "首次启动时会生成一个令牌并只显示一次，建议自行设置",
            )
        )
    for number, channel in enumerate(config.channels):
        here: Place = ("channels", number)
        missing += _missing(channel, here)
        found += _enlarged(channel, here)
        if channel.schedule is None and channel.live is None and not channel.filler:
            found.append(
                (
                    here,
                    f"channel {channel.id} has neither schedule, live source nor filler, so it shows its slate; add "
                    "one",
                    f"频道 {channel.id} 没有节目单、直播源和垫片，只会显示待机画面；请至少配置一项",
                )
            )
    return _problems(document, found) + _problems(document, missing, missing=True)


def _problems(document: Document, found: Iterable[Finding], *, missing: bool = False) -> list[Problem]:
    from headend.config import Problem

    return [Problem(document.path, document.line(place), eng, zho, missing) for place, eng, zho in found]


def _twice(rows: Iterable[tuple[Place, str]], key: str, what: str, zho: str) -> Iterator[Finding]:
    seen: dict[str, Place] = {}
    for place, value in rows:
        if value in seen:
            yield (
                (*place, key),
                f"two {what} have the {key} '{value}', so nobody could tell them apart; rename one",
                f"{zho}的 {key} 都是“{value}”，无法区分；请改其中一个",
            )
        seen.setdefault(value, place)


def _inputs(config: Config) -> Iterator[Finding]:
    """Two sources that would wait for the same datagrams: a unicast port has one owner."""
    seen: dict[tuple[str, int], tuple[str, str]] = {}
    for number, channel in enumerate(config.channels):
        for position, source in enumerate(channel.sources):
            place: Place = ("channels", number, "sources", position, "url")
            scheme = source.url.partition(":")[0]
            if scheme not in {*_LISTENS, "http", "https", "rtmp", "rtsp", "srt", "rist"}:
                continue
            try:
                parts = urlsplit(source.url)
                port = parts.port
            except ValueError:
                yield (
                    place,
                    f"the address of source {source.id} has no valid port; write it like {scheme}://127.0.0.1:5000",
                    f"信号源 {source.id} 的地址端口无效，应形如 {scheme}://127.0.0.1:5000",
                )
                continue
            if scheme not in _LISTENS:
                continue
            if port is None:
                yield (
                    place,
                    f"source {source.id} names no port to listen on; write it like {scheme}://127.0.0.1:5000",
                    f"信号源 {source.id} 没有写端口，应形如 {scheme}://127.0.0.1:5000",
                )
                continue
            host = parts.hostname or ""
            multicast = host.startswith("ff") or (host.split(".")[0].isdigit() and 224 <= int(host.split(".")[0]) < 240)
            if multicast:
                continue
            if port in (other for _, other in seen):
                there = next(v for (_, other), v in seen.items() if other == port)
                yield (
                    place,
                    f"source {source.id} of channel {channel.id} and source {there[1]} of channel {there[0]} both "
                    f"listen on UDP port {port}, and only one of them would receive; give one another port, or use "
                    "multicast",
                    f"频道 {channel.id} 的信号源 {source.id} 与频道 {there[0]} 的信号源 {there[1]} 都监听 UDP 端口 "
                    f"{port}，"
                    "只有一个能收到；请改用其他端口或组播",
                )
            seen.setdefault((host, port), (channel.id, source.id))


def _times(channel: Channel, here: Place) -> Iterator[Finding]:
    ladder, slot = channel.ladder, 1 / channel.format.rate
    place = (*here, "ladder")
    shown = {"segment": float(ladder.segment), "gop": float(ladder.gop)}
    if ladder.gop <= 0 or (ladder.gop / slot).denominator != 1:
        good = max(1, round(ladder.gop / slot)) * slot
        yield (
            (*place, "gop"),
            f"a gop of {shown['gop']:g} s is {float(ladder.gop / slot):g} pictures at {channel.format.rate} "
            f"pictures a second, and must be a whole number; use {_decimal(good)}",
            f"{shown['gop']:g} 秒的 gop 在每秒 {channel.format.rate} 帧时不是整数帧；请用 {_decimal(good)}",
        )
    elif ladder.segment < ladder.gop or (ladder.segment / ladder.gop).denominator != 1:
        good = max(1, round(ladder.segment / ladder.gop)) * ladder.gop
        yield (
            (*place, "segment"),
            f"a segment of {shown['segment']:g} s is no whole number of gops of {shown['gop']:g} s, so it could not "
            f"begin with a key picture; use {_decimal(good)}",
            f"{shown['segment']:g} 秒的 segment 不是 {shown['gop']:g} 秒 gop 的整数倍，切片无法从关键帧开始；请用 "
            f"{_decimal(good)}",
        )
    elif channel.hls.window < 3 * ladder.segment:
        yield (
            (*here, "hls", "window"),
            f"a window of {float(channel.hls.window):g} s holds fewer than three segments of {shown['segment']:g} "
            f"s, and players would stall (RFC 8216, 6.2.2); use at least {_decimal(3 * ladder.segment)}",
            f"{float(channel.hls.window):g} 秒的 window 不足三个 {shown['segment']:g} 秒的切片，播放器会卡顿（RFC "
            "8216 6.2.2）；"
            f"请至少用 {_decimal(3 * ladder.segment)}",
        )
    if channel.hang < 1:
        yield (
            (*here, "hang"),
            f"a hang limit of {float(channel.hang):g} s would kill a channel that is only busy; use 1 or more",
            f"{float(channel.hang):g} 秒的 hang 会误杀只是繁忙的频道；请用 1 或更大",
        )


def _decimal(value: Fraction) -> str:
    text = f"{float(value):.6f}".rstrip("0").rstrip(".")
    return text if Fraction(text) == value else f"another frame rate or {value} written as a decimal that is exact"


def _ladder(channel: Channel, here: Place) -> Iterator[Finding]:
    place = (*here, "ladder")
    rows: list[tuple[Place, str]] = []
    rows += [((*place, "video", n), row.id) for n, row in enumerate(channel.ladder.video)]
    rows += [((*place, "audio", n), row.id) for n, row in enumerate(channel.ladder.audio)]
    yield from _twice(rows, "id", "renditions", "两个码流")
    carried = {"cmaf": _IN_CMAF, "ts": _IN_TS}
    for number, video in enumerate(channel.ladder.video):
        row: Place = (*place, "video", number)
        if video.peak < video.bitrate:
            yield (
                (*row, "maxrate"),
                f"rendition {video.id} has a maxrate of {video.peak} below its bitrate of {video.bitrate}; raise "
                "maxrate",
                f"码流 {video.id} 的 maxrate（{video.peak}）低于 bitrate（{video.bitrate}）；请调高 maxrate",
            )
        if video.buffer * 10 < video.bitrate:
            yield (
                (*row, "bufsize"),
                f"rendition {video.id} has a bufsize of {video.buffer} bit, less than a tenth of a second, in which "
                "no key picture fits; raise it to one or two seconds of bitrate",
                f"码流 {video.id} 的 bufsize 不足 0.1 秒，放不下一个关键帧；请调到 bitrate 的一到两倍",
            )
        if video.ten_bit and video.codec == "h264":
            yield (
                (*row, "ten_bit"),
                f"rendition {video.id} asks for 10 bits in h264, which receivers do not play; use hevc or av1",
                f"码流 {video.id} 要求 10 比特 h264，接收端无法播放；请用 hevc 或 av1",
            )
        if video.codec not in set().union(*(carried[c] for c in channel.hls.containers)):
            yield _homeless(row, video.id, video.codec, channel)
    for number, audio in enumerate(channel.ladder.audio):
        row = (*place, "audio", number)
        if audio.track >= len(channel.format.audio):
            yield (
                (*row, "track"),
                f"rendition {audio.id} takes track {audio.track}, but channel {channel.id} has only "
                f"{len(channel.format.audio)} (counted from 0); add a track to format.audio or take another",
                f"码流 {audio.id} 取第 {audio.track} 条声轨，但频道 {channel.id} 只有 {len(channel.format.audio)} "
                "条（从 0 数起）；"
                "请在 format.audio 中增加声轨或改取其他声轨",
            )
        if audio.codec == "mp2" and audio.channels > 2:
            yield (
                (*row, "channels"),
                f"rendition {audio.id} asks for {audio.channels} channels in mp2, which holds two; use aac, ac3 or "
                "eac3",
                f"码流 {audio.id} 要求 {audio.channels} 声道的 mp2，而 mp2 最多两声道；请用 aac、ac3 或 eac3",
            )
        if audio.codec not in set().union(*(carried[c] for c in channel.hls.containers)):
            yield _homeless(row, audio.id, audio.codec, channel)


def _homeless(row: Place, id: str, codec: str, channel: Channel) -> Finding:
    containers = " and ".join(channel.hls.containers)
    return (
        (*row, "codec"),
        f"rendition {id} is {codec}, which {containers} cannot carry, so no viewer would get it; use another codec "
        "or container",
        f"码流 {id} 的编码 {codec} 不能放进 {containers}，观众收不到；请更换编码或封装",
    )


def _sources(channel: Channel, here: Place) -> Iterator[Finding]:
    known = {source.id for source in channel.sources}
    yield from _twice(
        (((*here, "sources", n), s.id) for n, s in enumerate(channel.sources)), "id", "sources", "两个信号源"
    )
    if channel.live is not None and channel.live.source not in known:
        listed = ", ".join(sorted(known)) or "none"
        yield (
            (*here, "live", "source"),
            f"channel {channel.id} has no source '{channel.live.source}' to take live (it has: {listed}); add it to "
            "sources",
            f"频道 {channel.id} 没有名为“{channel.live.source}”的信号源可供直播；请加到 sources 中",
        )
    items = channel.schedule.items if channel.schedule else None
    for number, item in enumerate(items or []):
        place: Place = (*here, "schedule", "items", number)
        # A bare word is meant as the name of a source; anything with a dot, a slash or a colon is media.
        if item.source not in known and not any(mark in item.source for mark in "./:"):
            yield (
                (*place, "source"),
                f"the schedule plays '{item.source}', which is neither a source of channel {channel.id} nor a path "
                "or URL; add the source or correct the name",
                f"节目单中的“{item.source}”既不是频道 {channel.id} 的信号源，也不是路径或网址；请添加信号源或更正名称",
            )
        if item.out_point is not None and item.out_point <= item.in_point:
            yield (
                (*place, "out"),
                f"the out point {float(item.out_point):g} s is not after the in point {float(item.in_point):g} s, "
                "so nothing would be played; correct one of them",
                f"出点 {float(item.out_point):g} 秒不在入点 {float(item.in_point):g} 秒之后，没有可播的内容；请更正",
            )
        if item.loop and item.duration is None:
            yield (
                (*place, "loop"),
                "an item that loops needs a duration, or what follows it would never be played; add duration",
                "循环播放的条目必须有 duration，否则后面的节目永远播不到；请补上",
            )


def _missing(channel: Channel, here: Place) -> Iterator[Finding]:
    wanted: list[tuple[Place, Path, str, str]] = []
    if channel.schedule and channel.schedule.folder:
        wanted.append(((*here, "schedule", "folder"), channel.schedule.folder, "folder", "文件夹"))
    if channel.schedule and channel.schedule.file:
        wanted.append(((*here, "schedule", "file"), channel.schedule.file, "file", "文件"))
    wanted += [((*here, "filler", n), path, "file or folder", "文件或文件夹") for n, path in enumerate(channel.filler)]
    if channel.slate.image:
        wanted.append(((*here, "slate", "image"), channel.slate.image, "file", "文件"))
    for n, overlay in enumerate(channel.overlays):
        for key in ("image", "font"):
            path = getattr(overlay, key, None)
            if path is not None:
                wanted.append(((*here, "overlays", n, key), path, "file", "文件"))
    wanted += [
        ((*here, "sources", n, "url"), Path(source.url), "file", "文件")
        for n, source in enumerate(channel.sources)
        if source.url.startswith("/")
    ]
    for place, path, what, zho in wanted:
        ok = path.is_dir() if what == "folder" else path.is_file() if what == "file" else path.exists()
        if not ok:
            yield (
                place,
                f"the {what} {path} is not there, so channel {channel.id} goes without it until it appears; "
                "correct the path or put it there",
                f"{zho} {path} 不存在，在它出现之前频道 {channel.id} 无法使用它；请更正路径或放好该{zho}",
            )


def _enlarged(channel: Channel, here: Place) -> Iterator[Finding]:
    for n, video in enumerate(channel.ladder.video):
        if video.width > channel.format.width or video.height > channel.format.height:
            yield (
                (*here, "ladder", "video", n, "width"),
                f"rendition {video.id} is {video.width}x{video.height}, larger than the channel's "
                f"{channel.format.width}x{channel.format.height}: it costs bits and shows nothing more; make it "
                "smaller",
                f"码流 {video.id}（{video.width}x{video.height}）"
                f"大于频道画面（{channel.format.width}x{channel.format.height}），"
                "只耗码率而不增加清晰度；请改小",
            )
        if video.bitrate > 200_000_000:
            yield (
                (*here, "ladder", "video", n, "bitrate"),
                f"rendition {video.id} has {video.bitrate} bit/s, more than any receiver plays; lower it",
                f"码流 {video.id} 的码率 {video.bitrate} bit/s 超过任何接收端的能力；请调低",
            )


_CHECKS: Final[tuple[Callable[[Channel, Place], Iterator[Finding]], ...]] = (_times, _ladder, _sources)
