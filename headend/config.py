"""The configuration: what the operator wrote, checked, with every default filled in.

``load_config`` reads one YAML file. An unknown key, a value of the wrong kind or two settings that contradict each
other are refused, each with one sentence that names file, line, reason and mend; nothing is silently ignored. What
may mend itself while the head end runs (a folder that is not mounted yet) is no refusal but a *finding*, which
``check-config`` reports.

Every key is a field with a description below; ``configs/full.yaml`` shows them all. Times are seconds (``4``, ``500
ms``, ``10 min``), bit rates bit/s (``2500k``, ``2.5M``), relative paths are relative to the file. Top-level keys that
begin with ``x-`` are free, for YAML anchors.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from headend.clock import TICKS_PER_SECOND
from headend.document import Document, DocumentError, Place, load
from headend.quantity import bit_rate, frame_rate, seconds
from headend.secrecy import redact

if TYPE_CHECKING:
    from encoders.format import ChannelFormat


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        raise ValueError(f"the time zone {name!r} is not known; use an IANA name such as Asia/Shanghai") from None
    return name


def _resolve(path: Path, info: ValidationInfo) -> Path:
    base = (info.context or {}).get("base", Path())
    return Path(os.path.normpath(base / path.expanduser()))


def _both(value: Any) -> Any:
    return {"zho": value, "eng": value} if isinstance(value, str) else value


Slug = Annotated[str, Field(pattern=r"^[a-z0-9](?:[a-z0-9_-]{0,38}[a-z0-9])?$")]
Language = Annotated[str, Field(pattern=r"^[a-z]{3}$")]
BitRate = Annotated[int, BeforeValidator(bit_rate)]
Seconds = Annotated[Fraction, BeforeValidator(seconds), PlainSerializer(str)]
Rate = Annotated[Fraction, BeforeValidator(frame_rate), PlainSerializer(str)]
Location = Annotated[Path, AfterValidator(_resolve), PlainSerializer(str)]
Options = dict[str, str | int | float | bool]
Codec = Literal["h264", "hevc", "av1"]
AudioCodec = Literal["aac", "he-aac", "ac3", "eac3", "mp2", "opus"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


class Text(_Section):
    """A text in both languages; a plain string stands for both."""

    zho: str
    """Chinese."""
    eng: str
    """English."""


Words = Annotated[Text, BeforeValidator(_both)]


class Http(_Section):
    """Where viewers and operators connect."""

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 is every network, and then needs HEADEND_TOKEN. Default 127.0.0.1."""
    port: int = Field(default=8080, ge=1, le=65535)
    """TCP port. Default 8080."""


class Log(_Section):
    """Structured logs on standard error, and in a file when one is named."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least serious event that is written. Default info."""
    file: Location | None = None
    """JSON lines are also added to this file; it is reopened when it was moved away by logrotate. Default none."""


class AudioTrack(_Section):
    """One sound of a channel."""

    language: Language = "und"
    """ISO 639-2/T code, e.g. zho. Default und."""
    channels: Literal[1, 2, 6] = 2
    """1, 2 or 6 (5.1). Default 2."""


class Format(_Section):
    """What every picture and sound of the channel is conformed to before it is encoded."""

    width: int = Field(default=1920, ge=64, le=7680, multiple_of=2)
    """Pixels. Default 1920."""
    height: int = Field(default=1080, ge=64, le=4320, multiple_of=2)
    """Lines. Default 1080."""
    rate: Rate = Fraction(25)
    """Pictures a second, e.g. 25, 50 or 30000/1001. Default 25."""
    ten_bit: bool = False
    """Work in 10 bits a sample. Default false."""
    audio: list[AudioTrack] = Field(default_factory=lambda: [AudioTrack()], min_length=1, max_length=8)
    """The sounds of the channel. Default one stereo track."""


class Loudness(_Section):
    """Loudness that every item is brought to by one fixed gain; never by a compressor."""

    profile: Literal["ebu-r128", "chinese"] = "chinese"
    """ebu-r128: -23 LUFS; chinese: -24 LKFS. Default chinese."""


class VideoRendition(_Section):
    """One encoded form of the channel's pictures."""

    id: Slug
    """Name in URLs; unique in the ladder."""
    width: int = Field(ge=64, le=7680, multiple_of=2)
    """Pixels."""
    height: int = Field(ge=64, le=4320, multiple_of=2)
    """Lines."""
    codec: Codec = "h264"
    """h264, hevc or av1. Default h264."""
    bitrate: BitRate
    """Average bit rate, bit/s."""
    maxrate: BitRate | None = None
    """Peak rate of the VBV, bit/s; never exceeded. Default: 1.5 times bitrate."""
    bufsize: BitRate | None = None
    """Size of the VBV, bit. Default: two seconds of bitrate."""
    preset: str = "veryfast"
    """The encoder's preset, e.g. superfast, veryfast, medium. Default veryfast."""
    encoder: str = "auto"
    """FFmpeg's name of an encoder, or auto: the best that works on this machine. Default auto."""
    b_frames: int = Field(0, ge=0, le=8)
    """Consecutive B pictures at most. Default 0."""
    ten_bit: bool = False
    """10 bits a sample (hevc, av1). Default false."""
    options: Options = Field(default_factory=dict)
    """More private options of the encoder. Default none."""

    @property
    def peak(self) -> int:
        """``maxrate`` with its default filled in, bit/s."""
        return self.maxrate if self.maxrate is not None else self.bitrate * 3 // 2

    @property
    def buffer(self) -> int:
        """``bufsize`` with its default filled in, bit."""
        return self.bufsize if self.bufsize is not None else self.bitrate * 2


class AudioRendition(_Section):
    """One encoded form of one of the channel's sounds."""

    id: Slug
    """Name in URLs; unique in the ladder, also among pictures."""
    codec: AudioCodec = "aac"
    """aac, he-aac, ac3, eac3, mp2 or opus. Default aac."""
    bitrate: BitRate = 128_000
    """Bit rate, bit/s. Default 128k."""
    channels: Literal[1, 2, 6] = 2
    """Channels after down- or up-mixing. Default 2."""
    track: int = Field(0, ge=0)
    """Which of the channel's audio tracks, counted from 0. Default 0."""
    language: Language | None = None
    """ISO 639-2/T code. Default: the track's."""
    name: str | None = Field(None, min_length=1)
    """What a viewer reads in the audio menu. Default: the language's name."""


class Ladder(_Section):
    """All encoded forms of the channel."""

    segment: Seconds = Fraction(4)
    """Length of a segment; a whole number of GOPs. Default 4 s."""
    gop: Seconds = Fraction(2)
    """Length of a group of pictures; a whole number of pictures. Default 2 s."""
    video: list[VideoRendition] = Field(min_length=1, max_length=16)
    """Renditions of the pictures."""
    audio: list[AudioRendition] = Field(
        default_factory=lambda: [AudioRendition.model_validate({"id": "audio"})], max_length=16
    )
    """Renditions of the sound. Default one AAC of 128 kbit/s."""

    @property
    def segment_ticks(self) -> int:
        """Ticks of 27 MHz of a segment."""
        return int(self.segment * TICKS_PER_SECOND)

    @property
    def gop_ticks(self) -> int:
        """Ticks of 27 MHz of a group of pictures."""
        return int(self.gop * TICKS_PER_SECOND)


class Hls(_Section):
    """How the channel is packaged for HLS."""

    containers: list[Literal["cmaf", "ts"]] = Field(default=["cmaf", "ts"], min_length=1)
    """cmaf (fragmented MP4), ts (transport stream), or both. Default both."""
    window: Seconds = Fraction(60)
    """Length of the playlist; at least three segments. Default 60 s."""


SCHEMES: Final = frozenset(
    ["file", "udp", "rtp", "http", "https", "rtmp", "rtmps", "rtsp", "rtsps", "srt", "rist", "testcard"]
)
"""What a source's URL may begin with; a text without ``://`` is a path, ``testcard:`` the test card."""


class Source(_Section):
    """A live input, or media by name."""

    id: Slug
    """Name used by schedule, live and API; unique in the channel."""
    url: str = Field(min_length=1)
    """udp://, rtp://, http(s)://, rtmp://, rtsp://, srt://, rist://, a path, or testcard: for the test card.
    Credentials
    in it are never shown.
    """
    latency: Seconds = Fraction(1)
    """How long input is buffered to ride out jitter. Default 1 s."""
    options: Options = Field(default_factory=dict)
    """More options of FFmpeg's demuxer or protocol. Default none."""

    @field_validator("url")
    @classmethod
    def _known_scheme(cls, url: str, info: ValidationInfo) -> str:
        scheme, separator, rest = url.partition(":")
        if not separator or "/" in scheme:
            return str(_resolve(Path(url), info))
        if scheme.lower() not in SCHEMES:
            raise ValueError(f"no source can open '{scheme}:'; use one of {', '.join(sorted(SCHEMES))}, or a path")
        if scheme == "file":
            return str(_resolve(Path(rest.removeprefix("//")), info))
        if scheme != "testcard" and not rest.startswith("//"):
            raise ValueError(f"'{scheme}:' must be followed by //")
        return url

    @property
    def redacted(self) -> str:
        """The URL without its credentials, for messages."""
        return redact(self.url)

    def __repr_args__(self) -> Any:
        return [(k, self.redacted if k == "url" else v) for k, v in super().__repr_args__()]


class Live(_Section):
    """A standing live take: this source is on air whenever it is good, with the schedule underneath."""

    source: Slug
    """Which source."""
    at_start: bool = Field(True, validation_alias=AliasChoices("at_start", "at-start"))
    """Take it as soon as the channel starts; else wait for the operator. Default true."""


class Item(_Section):
    """One entry of a schedule that is written in the configuration."""

    id: str | None = Field(None, min_length=1, max_length=128)
    """Name in as-run and API. Default: made from position."""
    title: Words | None = None
    """What viewers and operators read. Default: the file's name."""
    source: str = Field(min_length=1)
    """A source's id, a URL or a path."""
    start: str | None = None
    """Fixed start, ISO 8601 with UTC offset. Default: follows the item before."""
    duration: Seconds | None = None
    """How long it is on air. Default: until its end."""
    in_point: Seconds = Field(Fraction(0), alias="in")
    """Where in the media it begins. Default 0."""
    out_point: Seconds | None = Field(None, alias="out")
    """Where in the media it ends. Default: its end."""
    loop: bool = False
    """Begin again until the duration is filled. Default false."""
    gain: float | None = Field(None, ge=-60, le=30)
    """Loudness gain, dB. Default: measured and brought to the profile's target."""

    @field_validator("start")
    @classmethod
    def _instant(cls, text: str | None) -> str | None:
        from headend.clock import from_iso

        if text is not None:
            from_iso(text)
        return text


class Schedule(_Section):
    """What the channel plays: exactly one of folder, file and items."""

    folder: Location | None = None
    """Every media file of a folder, in order of name."""
    loop: bool = True
    """Begin again after the last (folder and items). Default true."""
    file: Location | None = None
    """A JSON schedule, as the API gives it; read when the channel starts."""
    items: list[Item] | None = None
    """The schedule written here."""

    @model_validator(mode="after")
    def _one_kind(self) -> Schedule:
        given = [name for name in ("folder", "file", "items") if getattr(self, name) is not None]
        if len(given) != 1:
            what = " and ".join(given) or "none"
            raise ValueError(f"a schedule is exactly one of folder, file and items, but {what} is given; keep one")
        return self


class Slate(_Section):
    """What is shown when nothing else can be."""

    text: Words = Text(zho="信号即将恢复，请稍候", eng="We will be right back")
    """Words on the slate."""
    image: Location | None = None
    """A still picture behind the words. Default a plain ground."""


Corner = Literal["top-left", "top-right", "bottom-left", "bottom-right"]


class _Overlay(_Section):
    visible: bool = True
    """Shown from the start; else switched on by the operator. Default true."""


class LogoOverlay(_Overlay):
    """A picture in a corner."""

    kind: Literal["logo"]
    image: Location
    """PNG, with transparency."""
    corner: Corner = "top-left"
    """Where. Default top-left."""
    margin: float = Field(0.04, ge=0, le=0.4)
    """Distance from the edges, part of the picture's height. Default 0.04."""
    height: float = Field(0.08, gt=0, le=1)
    """Part of the picture's height. Default 0.08."""
    opacity: float = Field(1.0, gt=0, le=1)
    """1 is opaque. Default 1."""
    fade: Seconds = Fraction(1, 2)
    """How long it fades in and out. Default 0.5 s."""


class ClockOverlay(_Overlay):
    """The time of day in the channel's time zone."""

    kind: Literal["clock"]
    corner: Corner = "top-right"
    """Where. Default top-right."""
    margin: float = Field(0.04, ge=0, le=0.4)
    """Distance from the edges, part of the picture's height. Default 0.04."""
    size: float = Field(0.05, gt=0, le=0.5)
    """Height of the digits, part of the picture's height. Default 0.05."""
    format: str = Field("%H:%M:%S", min_length=1)
    """As strftime. Default %H:%M:%S."""
    font: Location | None = None
    """A font file. Default the system's CJK font."""


class CrawlOverlay(_Overlay):
    """Text that runs through the picture from right to left."""

    kind: Literal["crawl"]
    text: str = Field(min_length=1, max_length=4000)
    """Chinese and Latin."""
    speed: float = Field(0.12, gt=0, le=2)
    """Picture widths a second. Default 0.12."""
    position: Literal["top", "bottom"] = "bottom"
    """Where. Default bottom."""
    size: float = Field(0.05, gt=0, le=0.5)
    """Height of the letters, part of the picture's height. Default 0.05."""
    font: Location | None = None
    """A font file. Default the system's CJK font."""


class BannerOverlay(_Overlay):
    """A standing line of text on a coloured band."""

    kind: Literal["banner"]
    text: str = Field(min_length=1, max_length=200)
    """Chinese and Latin."""
    position: Literal["top", "bottom"] = "bottom"
    """Where. Default bottom."""
    size: float = Field(0.06, gt=0, le=0.5)
    """Height of the letters, part of the picture's height. Default 0.06."""
    font: Location | None = None
    """A font file. Default the system's CJK font."""


Overlay = Annotated[LogoOverlay | ClockOverlay | CrawlOverlay | BannerOverlay, Field(discriminator="kind")]


class Fallback(_Section):
    """When a source counts as failed, and when it is trusted again. 0 switches a test off."""

    no_picture: Seconds = Fraction(1)
    """No new picture for so long. Default 1 s."""
    black: Seconds = Fraction(10)
    """Black for so long. Default 10 s."""
    frozen: Seconds = Fraction(10)
    """The same picture for so long. Default 10 s."""
    silent: Seconds = Fraction(10)
    """Silence for so long. Default 10 s."""
    return_after: Seconds = Fraction(3)
    """Good for so long before it is on air again. Default 3 s."""


class Channel(_Section):
    """One scheduled programme stream."""

    id: Slug
    """Name in URLs; unique."""
    name: Words
    """What viewers and operators read; unique."""
    zone: Annotated[str, AfterValidator(_zone)] = "Asia/Shanghai"
    """IANA time zone of schedule and clock. Default Asia/Shanghai."""
    format: Format = Format()
    """Pictures and sound inside the channel."""
    loudness: Loudness = Loudness()
    """Target loudness."""
    ladder: Ladder
    """What is encoded."""
    hls: Hls = Hls()
    """How it is packaged."""
    sources: list[Source] = Field(default_factory=list)
    """Inputs that schedule and operators can take. Default none."""
    live: Live | None = None
    """A standing live take. Default none."""
    schedule: Schedule | None = None
    """What is played. Default nothing: live, filler or slate."""
    filler: list[Location] = Field(default_factory=list)
    """Media for gaps: a path or several. Default none."""
    slate: Slate = Slate()
    """Shown when nothing else can be."""
    overlays: list[Overlay] = Field(default_factory=list, max_length=16)
    """Drawn over every picture, in this order. Default none."""
    fallback: Fallback = Fallback()
    """When a source counts as failed."""
    delay: Seconds = Fraction(0)
    """Live broadcast delay with a dump button. Default 0 s."""
    catch_up: Seconds = Fraction(10)
    """The longest outage of the channel's own process that is made up for by encoding faster than real time. Default
    10 s.
    """
    hang: Seconds = Fraction(5)
    """A channel process that sent no picture for so long is killed and started again. Default 5 s."""

    @field_validator("filler", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return [] if value is None else [value] if isinstance(value, str) else value

    def channel_format(self) -> ChannelFormat:
        """The engine's form of :attr:`format`."""
        from encoders.format import AudioTrack as Track
        from encoders.format import ChannelFormat

        shape = self.format
        tracks = tuple(Track(language=track.language, channels=track.channels) for track in shape.audio)
        return ChannelFormat(shape.width, shape.height, shape.rate, tracks, shape.ten_bit)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a configuration, in both languages, and where."""

    path: Path
    line: int
    eng: str
    zho: str
    missing: bool = False
    """It is about a file that is not there (yet)."""

    def __str__(self) -> str:
        return self.sentence("eng")

    def sentence(self, language: str) -> str:
        """``FILE, line N: sentence`` in ``zho`` or ``eng``."""
        if language == "zho":
            return f"{self.path} 第 {self.line} 行：{self.zho}。"
        return f"{self.path}, line {self.line}: {self.eng}."


class ConfigError(ValueError):
    """The configuration is refused. ``problems`` holds one sentence for each reason."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class Config(_Section):
    """The whole configuration. Secrets are not in it: the administrator's token is HEADEND_TOKEN in the environment."""

    http: Http = Http()
    """Where viewers and operators connect."""
    data: Location = Field(Path("var"), validate_default=True)
    """What must survive the machine: journals, schedules, as-run. Default ./var beside this file."""
    run: Location | None = None
    """What must survive a process but not the machine; a tmpfs. Default /dev/shm/headend-HASH of this file's path."""
    language: Literal["zho", "eng"] | None = None
    """Language of messages to operators. Default: from LANG."""
    log: Log = Log()
    """Structured logs."""
    channels: list[Channel] = Field(min_length=1, max_length=64)
    """The channels."""

    _path: Path = PrivateAttr(default=Path())
    _findings: tuple[Problem, ...] = PrivateAttr(default=())

    @property
    def path(self) -> Path:
        """The file that this was read from, absolute."""
        return self._path

    @property
    def findings(self) -> tuple[Problem, ...]:
        """What is doubtful but not refused: missing files, renditions larger than their channel, an open port without
        token.
        """
        return self._findings

    def frozen(self) -> bytes:
        """The configuration as JSON that :func:`load_config` reads again from any folder: paths absolute, variables
        replaced.

        Workers read this, not the operator's file: a file that is being edited must not hinder the restart of a
        channel.
        """
        return json.dumps({**self.model_dump(mode="json", by_alias=True), "x-path": str(self.path)}, indent=1).encode()

    def channel(self, id: str) -> Channel:
        """The channel of that id. Raises KeyError, with a sentence."""
        for channel in self.channels:
            if channel.id == id:
                return channel
        raise KeyError(f"there is no channel {id!r} in {self.path}; it has {', '.join(c.id for c in self.channels)}")

    def digest(self, kind: str, id: str | None = None) -> str:
        """A fingerprint of what a worker of this kind reads: when it changes, the worker must be replaced."""
        part: Any
        match kind:
            case "clock":
                part = None
            case "channel":
                part = self.channel(id or "").model_dump(mode="json")
            case "origin":
                part = [self.http.model_dump(mode="json"), [channel.id for channel in self.channels]]
            case "hls":
                part = [channel.model_dump(mode="json") for channel in self.channels]
            case _:
                part = [
                    self.http.model_dump(mode="json"),
                    [channel.model_dump(mode="json") for channel in self.channels],
                ]
        text = json.dumps([part, str(self.data), str(self.run), self.log.model_dump(mode="json")], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def load_config(path: str | os.PathLike[str]) -> Config:
    """Read and check a configuration.

    Raises ConfigError with one sentence for each reason, also when the file cannot be read.
    """
    from headend.contradictions import contradictions, findings

    file = Path(os.path.abspath(path))
    try:
        document = load(file)
    except OSError as problem:
        reason = problem.strerror or str(problem)
        eng = f"the file cannot be read ({reason}), so nothing can be put on air; name a configuration that exists"
        raise ConfigError(
            [Problem(file, 1, eng, f"无法读取文件（{reason}），无法开播；请指定存在的配置文件")]
        ) from None
    except DocumentError as problem:
        raise ConfigError([Problem(file, problem.line, problem.eng, problem.zho)]) from None
    value = {key: part for key, part in document.value.items() if not key.startswith("x-")}
    try:
        config = Config.model_validate(value, context={"base": file.parent})
    except ValidationError as refused:
        raise ConfigError([_problem(document, error) for error in refused.errors()]) from None
    if refusals := contradictions(config, document):
        raise ConfigError(refusals)
    # A frozen configuration remembers whose it is.
    config._path = Path(str(document.value.get("x-path", file)))
    config._findings = tuple(findings(config, document))
    return config


def _problem(document: Document, error: Any) -> Problem:
    """pydantic's error as a sentence about a line of the file."""
    place: Place = tuple(error["loc"])
    kind: str = error["type"]
    # pydantic puts the kind of an overlay into the place; the file has no such key.
    known = tuple(
        part
        for at, part in enumerate(place)
        if not (at >= 2 and place[at - 2] == "overlays" and isinstance(place[at - 1], int))
    )
    key = str(known[-1]) if known else ""
    where = ".".join(str(part) for part in known[:-1]) or "the top level"
    wo = ".".join(str(part) for part in known[:-1]) or "顶层"
    context = error.get("ctx", {})
    match kind:
        case "extra_forbidden":
            near = difflib.get_close_matches(key, _fields(place), n=1)
            hint = f"; perhaps '{near[0]}' is meant" if near else "; remove it"
            eng = f"the key '{key}' is not known in {where}{hint}"
            zho = f"{wo} 中没有键“{key}”" + (f"，是否应为“{near[0]}”" if near else "，请删除")
        case "missing":
            eng, zho = f"the key '{key}' is missing in {where}; add it", f"{wo} 中缺少键“{key}”，请补上"
        case "value_error":
            eng = f"{'.'.join(map(str, known))}: {redact(str(context.get('error', error['msg'])))}"
            zho = f"{'.'.join(map(str, known))} 的值不可用：{redact(str(context.get('error', error['msg'])))}"
        case _:
            shown = error.get("input")
            written = f" '{redact(str(shown))}'" if isinstance(shown, str | int | float) and key != "url" else ""
            message = error["msg"].removeprefix("Input ").replace("String ", "").replace("Value ", "")
            eng = f"{'.'.join(map(str, known))}: the value{written} {message[:1].lower() + message[1:]}"
            zho = f"{'.'.join(map(str, known))} 的值{written.replace(chr(39), '')} 不可用（{message}）"
    return Problem(document.path, document.line(known), eng, zho)


def _fields(place: Place) -> list[str]:
    """The keys that are known where an unknown one was found."""
    model: Any = Config
    for part in place[:-1]:
        if isinstance(part, int):
            continue
        models = _models(model)
        named = [m for m in models if "kind" in m.model_fields and part in str(m.model_fields["kind"].annotation)]
        if named:
            model = named[0]
            continue
        fields = [field for m in models for name, field in m.model_fields.items() if part in (name, field.alias)]
        if not fields:
            return []
        model = fields[0].annotation
    return [field.alias or name for m in _models(model) for name, field in m.model_fields.items()]


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in getattr(annotation, "__args__", ()) for model in _models(part)]
