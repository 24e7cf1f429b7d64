"""The timeline of one rendition: which segments its media playlist lists, as immutable values.

A packager appends and slides; a playlist is a pure function of what it then holds. Numbers come from the house clock,
so a timeline never invents one: it only refuses those that would break the order. Sub-segments (*parts*) hang on
their segment, for low latency; a timeline without them is an ordinary live playlist.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Part:
    """A sub-segment of low latency (RFC 8216bis, 4.4.4.9). ``duration`` in ticks of 27 MHz."""

    duration: int
    uri: str
    independent: bool = False
    gap: bool = False


@dataclass(frozen=True, slots=True)
class Segment:
    """One media segment of one rendition; what is listed once never changes."""

    number: int
    """Media sequence number."""
    start: int
    """House time of its first sample, ticks. PROGRAM-DATE-TIME is this instant."""
    duration: int
    """Ticks until the start of the next."""
    uri: str
    """Relative to the media playlist."""
    size: int = 0
    """Bytes; 0 if there are none to fetch."""
    gap: bool = False
    """The media could not be made (EXT-X-GAP); what is at the URI, if anything, is incomplete."""
    discontinuity: bool = False
    """Parameters or timestamps break between the segment before and this one."""
    init: int | None = None
    """Version of the initialization section it needs; None for a transport stream."""
    independent: bool = True
    """It can be decoded without any other segment."""
    parts: tuple[Part, ...] = ()

    @property
    def end(self) -> int:
        """House time of the first sample after it."""
        return self.start + self.duration


@dataclass(frozen=True, slots=True)
class Timeline:
    """The listed segments of a rendition, oldest first, and how many discontinuities were listed before them."""

    segments: tuple[Segment, ...] = ()
    discontinuities: int = 0
    """EXT-X-DISCONTINUITY-SEQUENCE: the number of discontinuities that went before the first listed segment."""

    @property
    def msn(self) -> int | None:
        """EXT-X-MEDIA-SEQUENCE, the number of the first listed segment; None when nothing is listed."""
        return self.segments[0].number if self.segments else None

    @property
    def dsn(self) -> int:
        """EXT-X-DISCONTINUITY-SEQUENCE."""
        return self.discontinuities

    @property
    def last(self) -> Segment | None:
        """The newest segment."""
        return self.segments[-1] if self.segments else None

    @property
    def duration(self) -> int:
        """Ticks from the start of the first listed segment to the end of the last."""
        return self.segments[-1].end - self.segments[0].start if self.segments else 0

    def append(self, segment: Segment) -> Timeline:
        """With one segment more. Raises ValueError unless its number follows the last one's (RFC 8216bis, 6.2.2)."""
        if self.segments and segment.number != self.segments[-1].number + 1:
            raise ValueError(
                f"segment {segment.number} cannot follow segment {self.segments[-1].number}: "
                "every number between them must be listed first, as a gap if it has no media"
            )
        return replace(self, segments=(*self.segments, segment))

    def slide(self, first: int) -> Timeline:
        """Without the segments whose number is below ``first``; their discontinuities stay counted."""
        keep = 0
        while keep < len(self.segments) and self.segments[keep].number < first:
            keep += 1
        gone = self.segments[:keep]
        return (
            Timeline(self.segments[keep:], self.discontinuities + sum(s.discontinuity for s in gone)) if gone else self
        )
