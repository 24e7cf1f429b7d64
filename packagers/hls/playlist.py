"""Playlists as pure functions (RFC 8216bis, section 4): the same timeline gives the same text, byte for byte.

What a playlist says of a segment depends on that segment alone, so that nothing already listed can change when the
window slides (6.2.1): EXTINF is the difference of two absolute instants rounded to the microsecond, so its rounding
error never adds up; PROGRAM-DATE-TIME is on every segment; EXT-X-VERSION is the least that the tags used demand
(section 8).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal

from headend.clock import TICKS_PER_SECOND, to_iso
from packagers.hls.language import bcp47
from packagers.hls.timeline import Segment, Timeline

_MICROSECOND: Final = TICKS_PER_SECOND // 1_000_000
_SLACK: Final = TICKS_PER_SECOND // 20
"""Longer than any audio frame: an audio segment ends with a whole frame, so it exceeds the nominal duration by less."""
USUAL_START: Final = 2_000_000
"""Bit/s that a player should begin with (Apple's authoring specification, 1.32): that variant is listed first."""


def target_duration(segment_ticks: int) -> int:
    """EXT-X-TARGETDURATION of segments that are ``segment_ticks`` long: no EXTINF, rounded, ever exceeds it
    (4.4.3.1)."""
    return max(1, (2 * (segment_ticks + _SLACK) + TICKS_PER_SECOND) // (2 * TICKS_PER_SECOND))


def extinf(start: int, duration: int) -> str:
    """Seconds with six decimals. Sums of neighbours telescope, so a run of segments is exact to a microsecond."""
    micros = (start + duration) // _MICROSECOND - start // _MICROSECOND
    return f"{micros // 1_000_000}.{micros % 1_000_000:06d}"


def version(
    *, floats: bool = False, byte_ranges: bool = False, maps: bool = False, skip: Literal["", "v1", "v2"] = ""
) -> int:
    """The lowest EXT-X-VERSION that a playlist with these features may carry (section 8)."""
    floors = (
        (skip == "v2", 10),
        (skip == "v1", 9),
        (maps, 6),
        (byte_ranges, 4),
        (floats, 3),
    )
    return next((floor for used, floor in floors if used), 1)


def media_playlist(timeline: Timeline, *, segment_ticks: int, part_target: int = 0, ended: bool = False) -> str:
    """The media playlist of a rendition.

    ``part_target`` (ticks) is the EXT-X-PART-INF of a timeline with parts, listed for the last three target
    durations; 0 without. ``ended`` adds EXT-X-ENDLIST.
    """
    target = target_duration(segment_ticks)
    maps = any(s.init is not None for s in timeline.segments)
    lines = [
        "#EXTM3U",
        f"#EXT-X-VERSION:{version(floats=True, maps=maps)}",
        f"#EXT-X-TARGETDURATION:{target}",
        "#EXT-X-INDEPENDENT-SEGMENTS",
        f"#EXT-X-MEDIA-SEQUENCE:{timeline.msn or 0}",
        f"#EXT-X-DISCONTINUITY-SEQUENCE:{timeline.dsn}",
    ]
    if part_target:
        # Three part targets of hold-back is Apple's demand (14.3); the draft itself asks for two.
        lines.insert(3, f"#EXT-X-SERVER-CONTROL:PART-HOLD-BACK={_seconds(3 * part_target)}")
        lines.insert(4, f"#EXT-X-PART-INF:PART-TARGET={_seconds(part_target)}")
    edge = timeline.segments[-1].end - 3 * target * TICKS_PER_SECOND if timeline.segments else 0
    init: int | None = None
    for segment in timeline.segments:
        lines += _segment(segment, init, with_parts=bool(part_target) and segment.end > edge)
        if segment.init is not None:
            init = segment.init
    if ended:
        lines.append("#EXT-X-ENDLIST")
    return "\n".join(lines) + "\n"


def _segment(segment: Segment, init: int | None, *, with_parts: bool) -> Iterable[str]:
    if segment.discontinuity:
        yield "#EXT-X-DISCONTINUITY"
    if segment.init is not None and segment.init != init:
        yield f'#EXT-X-MAP:URI="init-{segment.init}.mp4"'
    yield f"#EXT-X-PROGRAM-DATE-TIME:{to_iso(segment.start)}"
    if with_parts:
        for part in segment.parts:
            flags = (",INDEPENDENT=YES" if part.independent else "") + (",GAP=YES" if part.gap else "")
            yield f'#EXT-X-PART:DURATION={_seconds(part.duration)},URI="{part.uri}"{flags}'
    if segment.gap:
        yield "#EXT-X-GAP"
    yield f"#EXTINF:{extinf(segment.start, segment.duration)},"
    yield segment.uri


def _seconds(ticks: int) -> str:
    # Rounded up: a part whose true duration equals the target must not print as longer than it (rule of 4.4.3.7).
    micros = -(-ticks // _MICROSECOND)
    return f"{micros // 1_000_000}.{micros % 1_000_000:06d}"


@dataclass(frozen=True, slots=True)
class Sound:
    """An audio rendition as a multivariant playlist names it."""

    uri: str | None
    """None when it is inside the variants themselves (a transport stream's own sound)."""
    codec: str
    """RFC 6381."""
    language: str
    """ISO 639-2/T."""
    name: str
    channels: int
    peak: int
    """Bit/s; 0 when it is counted in the variants."""
    average: int


@dataclass(frozen=True, slots=True)
class Variant:
    """A video rendition (or, of a radio channel, a sound) as a multivariant playlist names it."""

    uri: str
    codec: str
    """RFC 6381, of everything inside; comma-separated if there is more than one."""
    peak: int
    """Bit/s, declared for the heaviest segment."""
    average: int
    width: int = 0
    height: int = 0
    sar: Fraction = Fraction(1)
    rate: Fraction = Fraction(0)
    video_range: str = "SDR"


@dataclass(frozen=True, slots=True)
class Group:
    """Sounds that a viewer chooses among: one codec, one of each language."""

    id: str
    sounds: tuple[Sound, ...]


def groups(sounds: Sequence[Sound]) -> tuple[Group, ...]:
    """Sort sounds into groups: one for each codec, and a further one when a codec has a language twice."""
    found: dict[str, list[Sound]] = {}
    for sound in sounds:
        family = key = _family(sound.codec)
        number = 1
        while any(_same_choice(sound, other) for other in found.get(key, ())):
            number += 1
            key = f"{family}-{number}"
        found.setdefault(key, []).append(sound)
    return tuple(Group(key, tuple(members)) for key, members in found.items())


def _same_choice(a: Sound, b: Sound) -> bool:
    return a.language == b.language and (a.name == b.name or not a.name)


def _family(codec: str) -> str:
    return {"mp4a.40.2": "aac", "mp4a.40.5": "heaac", "mp4a.40.29": "heaac2"}.get(codec, codec.split(".")[0])


def multivariant(variants: Sequence[Variant], audio: Sequence[Group] = ()) -> str:
    """The multivariant playlist. Each variant is offered with each group of sounds.

    BANDWIDTH is the variant's peak with the heaviest sound of the group, AVERAGE-BANDWIDTH likewise (4.4.6.2).
    """
    lines = ["#EXTM3U", "#EXT-X-INDEPENDENT-SEGMENTS"]
    for group in audio:
        lines += _media(group)
    rows = sorted(
        (_stream(variant, group) for variant in variants for group in (audio or (None,))),
        key=lambda row: -row[0],
    )
    if rows:
        first = min(rows, key=lambda row: abs(row[0] - USUAL_START))
        rows.remove(first)
        for _, tag, uri in (first, *rows):
            lines += [tag, uri]
    return "\n".join(lines) + "\n"


def _media(group: Group) -> Iterable[str]:
    names: set[str] = set()
    for position, sound in enumerate(group.sounds):
        language = bcp47(sound.language)
        name = base = sound.name or language
        number = 1
        while name in names:
            number += 1
            name = f"{base} {number}"
        names.add(name)
        parts = [
            "TYPE=AUDIO",
            f"GROUP-ID={_quoted(group.id)}",
            f"NAME={_quoted(name)}",
            f"LANGUAGE={_quoted(language)}",
            f"DEFAULT={'NO' if position else 'YES'}",
            "AUTOSELECT=YES",
            f'CHANNELS="{sound.channels}"',
        ]
        if sound.uri is not None:
            parts.append(f"URI={_quoted(sound.uri)}")
        yield "#EXT-X-MEDIA:" + ",".join(parts)


def _stream(variant: Variant, group: Group | None) -> tuple[int, str, str]:
    peak, average = variant.peak, variant.average
    codecs = variant.codec.split(",")
    if group is not None:
        peak += max(sound.peak for sound in group.sounds)
        average += max(sound.average for sound in group.sounds)
        codecs += [sound.codec for sound in group.sounds]
    parts = [
        f"BANDWIDTH={peak}",
        f"AVERAGE-BANDWIDTH={average}",
        f'CODECS="{",".join(dict.fromkeys(codecs))}"',
    ]
    if variant.width:
        # The size it is meant to be shown at, so anamorphic pictures count with square pixels.
        width = round(variant.width * variant.sar)
        parts += [
            f"RESOLUTION={width}x{variant.height}",
            f"FRAME-RATE={_rate(variant.rate)}",
            f"VIDEO-RANGE={variant.video_range}",
        ]
    if group is not None:
        parts.append(f"AUDIO={_quoted(group.id)}")
    parts.append("CLOSED-CAPTIONS=NONE")
    return peak, "#EXT-X-STREAM-INF:" + ",".join(parts), variant.uri


def _rate(rate: Fraction) -> str:
    thousandths = round(rate * 1000)
    return f"{thousandths // 1000}.{thousandths % 1000:03d}"


def _quoted(text: str) -> str:
    """A quoted-string, which cannot hold quotes or line breaks (4.2)."""
    return '"' + text.replace('"', "'").replace("\r", " ").replace("\n", " ") + '"'
