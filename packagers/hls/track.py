"""What makes the bytes of one rendition folder: CMAF of one input, or a transport stream of several.

The packager decides what a segment is (:class:`~packagers.hls.collector.Cut`); a track turns it into a file. The
makers of the bytes are Protocols, so that the packager can be read and tested without them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

from headend.accessunit import AccessUnit, StreamFormat
from packagers.hls.collector import Cut

Container = Literal["cmaf", "ts"]

CMAF_CODECS: Final = frozenset({"h264", "hevc", "av1", "aac", "he-aac", "ac3", "eac3", "opus"})
"""HLS has no MPEG-1 layer II in fragmented MP4."""
TS_CODECS: Final = frozenset({"h264", "aac", "he-aac", "ac3", "eac3", "mp2"})
"""HEVC and AV1 are fragmented MP4 only in HLS (Apple's authoring specification, 1.5 and 1.11)."""


class FragmentMaker(Protocol):
    """What :class:`packagers.hls.cmaf.CmafTrack` is to a packager."""

    def init(self, first: AccessUnit) -> bytes: ...

    def fragment(self, units: Sequence[AccessUnit], *, end: int | None = None, sequence: int = 0) -> bytes: ...


class TransportMaker(Protocol):
    """What :class:`packagers.ts.segment.SegmentMuxer` is to a packager."""

    def segment(self, units: Sequence[Sequence[AccessUnit]], *, start: int, end: int) -> bytes: ...

    def counters(self) -> dict[str, int]: ...

    def restore(self, counters: dict[str, int]) -> None: ...


@dataclass(frozen=True, slots=True)
class Makers:
    """The three makers of bytes and names."""

    cmaf: Callable[[StreamFormat], FragmentMaker]
    ts: Callable[[Sequence[StreamFormat]], TransportMaker]
    codec: Callable[[StreamFormat, AccessUnit], str]

    @classmethod
    def real(cls) -> Makers:
        """This package's own."""
        from packagers.codec import codec_string
        from packagers.hls.cmaf import CmafTrack
        from packagers.ts.segment import SegmentMuxer

        return cls(CmafTrack, SegmentMuxer, codec_string)


@dataclass(frozen=True, slots=True)
class Made:
    """A segment of a track, before it is a file. ``data`` is None when there is nothing to fetch."""

    data: bytes | None
    start: int
    end: int
    gap: bool
    init: int = -1


@dataclass(slots=True)
class Parameters:
    """The current parameters of an input: what a player must be told before its first unit."""

    format: StreamFormat
    version: int
    init: bytes
    maker: FragmentMaker | None


class CmafFolder:
    """One input as fragmented MP4."""

    container: Final[Container] = "cmaf"
    extension: Final = "m4s"

    def __init__(self, name: str, source: str) -> None:
        self.name = name
        self.sources = (source,)

    def make(self, number: int, cuts: Mapping[str, Cut], parameters: Mapping[str, Parameters]) -> Made:
        """The segment with this number. Raises what the maker raises on media it cannot frame."""
        cut = cuts[self.sources[0]]
        known = parameters.get(self.sources[0])
        if not cut.units or known is None or known.maker is None:
            return Made(None, cut.start, cut.end, True)
        # A gap's last picture is not shown longer: nobody knows how long it was meant to be.
        end = None if cut.gap else cut.end
        data = known.maker.fragment(cut.units, end=end, sequence=number & 0xFFFFFFFF)
        return Made(data, cut.start, cut.end, cut.gap, known.version)


class TransportFolder:
    """One or more inputs muxed into a transport stream; the first decides whether a segment is a gap."""

    container: Final[Container] = "ts"
    extension: Final = "ts"

    def __init__(self, name: str, sources: Sequence[str], makers: Makers) -> None:
        self.name = name
        self.sources = tuple(sources)
        self.counters: dict[str, int] = {}
        self.incomplete = 0
        """Segments whose further inputs were gaps: pictures without sound."""
        self._makers = makers
        self._formats: list[StreamFormat] = []
        self._muxer: TransportMaker | None = None

    def make(self, number: int, cuts: Mapping[str, Cut], parameters: Mapping[str, Parameters]) -> Made:
        """The segment with this number. Raises what the muxer raises on media it cannot frame."""
        chosen = [cuts[source] for source in self.sources]
        lead = chosen[0]
        if not lead.units:
            return Made(None, lead.start, lead.end, True)
        formats = [cut.format for cut in chosen]
        if self._muxer is None or formats != self._formats:
            self._muxer = self._makers.ts(formats)
            self._formats = formats
            if self.counters:
                self._muxer.restore(self.counters)
        before = self._muxer.counters()
        kept = False
        try:
            data = self._muxer.segment([cut.units for cut in chosen], start=lead.start, end=lead.end)
            kept = not lead.gap
        finally:
            if not kept:
                # A gap is no part of the stream: players leave it out, and must find the counters unbroken after it.
                self._muxer.restore(before)
        if kept:
            self.counters = self._muxer.counters()
            self.incomplete += any(cut.gap for cut in chosen[1:])
        return Made(data, lead.start, lead.end, lead.gap)


Folder = CmafFolder | TransportFolder


def folders(formats: Mapping[str, StreamFormat], containers: Sequence[Container], makers: Makers) -> list[Folder]:
    """The folders of a channel, videos first: ``ID`` for CMAF, ``ts-ID`` for transport streams.

    A transport stream's pictures carry the first sound; further languages stand alone, once each.
    """
    made: list[Folder] = []
    if "cmaf" in containers:
        made += [CmafFolder(name, name) for name in _ordered(formats, CMAF_CODECS)]
    if "ts" in containers:
        names = _ordered(formats, TS_CODECS)
        videos = [name for name in names if formats[name].kind == "video"]
        sounds: dict[str, str] = {}
        for name in names:
            if formats[name].kind == "audio":
                sounds.setdefault(formats[name].language, name)
        first, *others = sounds.values() if sounds else (None,)
        if videos:
            made += [TransportFolder(f"ts-{name}", [name, *([first] if first else [])], makers) for name in videos]
            made += [TransportFolder(f"ts-{name}", [name], makers) for name in others if name]
        else:
            made += [TransportFolder(f"ts-{name}", [name], makers) for name in sounds.values()]
    return made


def _ordered(formats: Mapping[str, StreamFormat], codecs: frozenset[str]) -> list[str]:
    names = [name for name, fmt in formats.items() if fmt.codec in codecs]
    return sorted(names, key=lambda name: formats[name].kind != "video")


def state_of(folder: Folder) -> dict[str, Any]:
    """What a folder says of itself."""
    if isinstance(folder, TransportFolder):
        return {"container": "ts", "sources": list(folder.sources), "without_sound": folder.incomplete}
    return {"container": "cmaf", "sources": list(folder.sources)}
