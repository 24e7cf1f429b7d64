"""Access units of a channel become segments and playlists, all renditions in lock-step.

Segment N covers the house time ``[N*T, (N+1)*T)``, whoever makes it and whenever. It is issued, in every rendition at
once, when every input has shown that nothing more will come for it, or when waiting longer would stall players; an
input that has not delivered by then gets an EXT-X-GAP of the same length, so that numbers, discontinuities and dates
agree everywhere (RFC 8216bis, 6.2.1, 6.2.4). Numbers jump with time after an outage and are never used twice, because
each is written to the journal before the playlist shows it.

A worker that was killed and resumed a few frames later is no gap and no discontinuity: timestamps are house time, so
the stream simply goes on; the last picture before the hole is shown longer. A discontinuity is written, in all
renditions, when the parameters of any of them change, for then a player needs another initialization section.
"""

from __future__ import annotations

import errno
import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from headend.clock import TICKS_PER_SECOND, Clock, to_iso, to_seconds
from packagers.hls.bandwidth import Bandwidth
from packagers.hls.collector import Collector, Cut, Reader, tolerance_of
from packagers.hls.index import indexes
from packagers.hls.journal import Row, TwinJournal
from packagers.hls.parameters import ParameterBook
from packagers.hls.playlist import media_playlist, target_duration
from packagers.hls.timeline import Segment, Timeline
from packagers.hls.track import Container, Folder, Made, Makers, TransportFolder, folders, state_of
from packagers.hls.window import Window

LATENCY: Final = TICKS_PER_SECOND
"""How late, after a segment's end, a healthy encoder may deliver its last unit."""
_LEAST_PATIENCE: Final = 3 * TICKS_PER_SECOND
_LEAST_SEGMENTS: Final = 6
_REGROW: Final = 10
"""Segments after which a window that had to shrink may list one more."""
POLL: Final = TICKS_PER_SECOND // 25
_DISK_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.ENOMEM)


@dataclass(frozen=True, slots=True)
class RenditionInput:
    """One elementary stream of a channel: its name in URLs, and where its access units come from."""

    id: str
    reader: Reader


@dataclass(frozen=True, slots=True)
class Event:
    """Something that the rest of the head end wants to know."""

    kind: Literal["segment", "gap", "discontinuity", "trouble"]
    channel: str
    number: int
    """Segment concerned."""
    message: str
    """A sentence."""
    detail: dict[str, Any] = field(default_factory=dict)


class Packager:
    """Makes the HLS of one channel. Not for use by two threads at once.

    ``segment_ticks`` is T, a whole number of GOPs. ``window_dir`` is the channel's folder in tmpfs, ``journal_path``
    its file on the data disk. ``window_seconds`` is how much the playlists list, at least six segments.
    ``gap_after_ticks`` is how long after segment end and encoder latency an input is waited for; half a segment or 3
    s, whichever is longer, if not given.

    Raises ValueError if the channel has no input that either container can carry or two of one name, OSError if the
    window cannot be made.
    """

    def __init__(
        self,
        channel: str,
        inputs: Sequence[RenditionInput],
        *,
        segment_ticks: int,
        window_dir: Path,
        journal_path: Path,
        clock: Clock,
        containers: Sequence[Container] = ("cmaf", "ts"),
        window_seconds: float = 120,
        gap_after_ticks: int | None = None,
        latency_ticks: int = LATENCY,
        makers: Makers | None = None,
    ) -> None:
        names = [given.id for given in inputs]
        if len(set(names)) != len(names):
            raise ValueError(
                f"channel {channel} has two renditions of one name among {', '.join(names)}; rename one of them"
            )
        if segment_ticks <= 0:
            raise ValueError(
                f"channel {channel} has segments of {segment_ticks} ticks; they must be longer than nothing"
            )
        self.channel = channel
        self.segment_ticks = segment_ticks
        self.clock = clock
        self.counts: Counter[str] = Counter()
        self.message: str | None = None
        """The last trouble, in a sentence."""
        self._makers = makers or Makers.real()
        self._patience = max(segment_ticks // 2, _LEAST_PATIENCE) if gap_after_ticks is None else gap_after_ticks
        self._latency = latency_ticks
        self._wanted = max(_LEAST_SEGMENTS, -(-int(window_seconds * TICKS_PER_SECOND) // segment_ticks))
        self._listed = self._wanted
        # Never less than three target durations, however full the memory is (RFC 8216bis, 6.2.2).
        self._fewest = min(self._wanted, -(-3 * target_duration(segment_ticks) * TICKS_PER_SECOND // segment_ticks))
        formats = {given.id: given.reader.format for given in inputs}
        self._folders = folders(formats, containers, self._makers)
        if not self._folders:
            codecs = ", ".join(sorted({fmt.codec for fmt in formats.values()})) or "none"
            raise ValueError(
                f"channel {channel} has nothing that HLS can carry in {' or '.join(containers)} (codecs: {codecs}); "
                "give it at least one rendition in H.264 or AAC"
            )
        window_dir.mkdir(parents=True, exist_ok=True)
        self._window = Window(window_dir, [folder.name for folder in self._folders])
        self._journal = TwinJournal(journal_path, window_dir / ".journal")
        self._ledger = self._journal.load()
        self._break = False
        self._resume()
        origin, tolerance = -self._ledger.offset * segment_ticks, tolerance_of(formats.values())
        self._collectors = {
            given.id: Collector(given.id, given.reader, segment_ticks=segment_ticks, origin=origin, tolerance=tolerance)
            for given in inputs
        }
        framed = {source for folder in self._folders if folder.container == "cmaf" for source in folder.sources}
        self._book = ParameterBook(self._makers, self._ledger, framed)
        self._formats = formats
        self._bandwidth: dict[str, Bandwidth] = {}
        self._declare()
        self._ends: dict[str, int] = {}
        self._timelines = {folder.name: self._rebuilt(folder) for folder in self._folders}
        self._multivariants: dict[str, str] = {}
        self._keep = (max(self._wanted, len(self._ledger.rows)) + 1) * segment_ticks
        """How long a segment stays fetchable after it left the playlist: its own duration, and that of the longest
        playlist that contained it (RFC 8216, 6.2.2)."""
        self._left: deque[tuple[int, int]] = deque()
        """What left the playlist and is still fetchable: the last number of each lot, and when it expires."""
        self._leave()
        self._changed: dict[str, dict[int, int]] = {}
        """Per track, the first number seen of each init version."""
        if self._ledger.rows:
            self._publish([])

    # ---- what was before -------------------------------------------------------------------------------------------

    def _resume(self) -> None:
        """Take up the ledger: agree on numbers with the clock, and list only what is really there."""
        ledger, now = self._ledger, self.clock.now()
        self._replayed_to = ledger.last
        for folder in self._folders:
            if isinstance(folder, TransportFolder):
                folder.counters = dict(ledger.counters.get(folder.name, {}))
        newest = self._window.newest()
        if ledger.last is None and newest is not None:
            # Both journals are gone, the window is not: never use a number or a version again that was seen.
            ledger.last = newest
            for folder in self._folders:
                if (version := self._window.newest_init(folder.name)) is not None:
                    ledger.inits[folder.sources[0]] = [version, ""]
        if ledger.last is not None:
            behind = now // self.segment_ticks + ledger.offset < ledger.last
            if ledger.segment_ticks not in (0, self.segment_ticks) or behind:
                self._renumber(now, behind=behind)
        ledger.segment_ticks = self.segment_ticks
        missing = [row.number for row in ledger.rows if not self._present(row)]
        if missing:
            ledger.slide(missing[-1] + 1)
            self.counts["lost_segments"] += len(missing)
            self._trouble(
                f"channel {self.channel}: {len(missing)} listed segments are no longer in {self._window.root} and "
                "left the playlist; viewers who were far behind live jump ahead"
            )
        if ledger.last is not None:
            self._window.discard(ledger.last)
        self._journal.restart(ledger)

    def _renumber(self, now: int, *, behind: bool) -> None:
        ledger = self._ledger
        assert ledger.last is not None
        natural = now // self.segment_ticks
        ledger.offset = 0 if natural > ledger.last else ledger.last + 1 - natural
        ledger.slide(ledger.last + 1)
        self._break = True
        self.counts["renumbered"] += 1
        why = "the house clock is behind the last segment" if behind else "the segment length was changed"
        self._trouble(
            f"channel {self.channel}: {why}, so numbers go on from {ledger.last + 1} after a discontinuity; "
            "viewers reload once" + ("; check the time of this machine" if behind else "")
        )

    def _present(self, row: Row) -> bool:
        for folder in self._folders:
            if (values := row.tracks.get(folder.name)) is None:
                continue
            _, _, size, gap, init = values
            if gap:
                continue
            if not self._window.has_segment(folder.name, row.number, size):
                return False
            if init >= 0 and not self._window.has_init(folder.name, init):
                return False
        return True

    def _rebuilt(self, folder: Folder) -> Timeline:
        """The timeline that the ledger's rows mean for a folder; one that is new in the configuration begins empty."""
        gone = self._ledger.dsn
        timeline = Timeline((), gone)
        for row in self._ledger.rows:
            if folder.name not in row.tracks:
                gone += row.discontinuity
                timeline = Timeline((), gone)
                continue
            timeline = timeline.append(self._segment(folder, row))
        if timeline.last is not None:
            self._ends[folder.sources[0]] = timeline.last.end
        return timeline

    def _segment(self, folder: Folder, row: Row) -> Segment:
        start, duration, size, gap, init = row.tracks[folder.name]
        return Segment(
            row.number,
            start,
            duration,
            f"{row.number}.{folder.extension}",
            size,
            gap=bool(gap),
            discontinuity=row.discontinuity,
            init=init if init >= 0 else None,
        )

    def _declare(self) -> None:
        for folder in self._folders:
            self._bandwidth[folder.name] = Bandwidth.of(
                [self._formats[source] for source in folder.sources],
                folder.container,
                self.segment_ticks,
                self._ledger.bandwidth.get(folder.name, ()),
            )

    # ---- going on --------------------------------------------------------------------------------------------------

    @property
    def needed_from(self) -> int | None:
        """House time from which on access units are still needed, for placing a reader; None on a new channel."""
        return None if self._ledger.last is None else self._bounds(self._ledger.last + 1)[0]

    def _bounds(self, number: int) -> tuple[int, int]:
        start = (number - self._ledger.offset) * self.segment_ticks
        return start, start + self.segment_ticks

    def step(self) -> list[Event]:
        """Read what has come, and issue every segment that is due. Never waits, never raises on media or a full
        disk."""
        now = self.clock.now()
        due = None if self._ledger.last is None else self._ledger.last + 1
        for collector in self._collectors.values():
            collector.take(now, due, self._replayed_to)
        events: list[Event] = []
        issued = False
        while (number := self._next(now)) is not None and self._ready(number, now):
            self._issue(number, now, events)
            issued = True
        if issued:
            self._publish(events)
        return events

    def _overdue(self, number: int, now: int) -> bool:
        """Whether waiting longer for a segment would stall players."""
        if any(collector.more for collector in self._collectors.values()):
            return False
        return now >= self._bounds(number)[1] + self._latency + self._patience

    def _next(self, now: int) -> int | None:
        """The number to issue next; None before there is anything to begin with."""
        last = self._ledger.last
        if last is not None and self._ledger.rows:
            # After a long outage only what the window can list is worth a gap.
            newest = (now - self._latency - self._patience) // self.segment_ticks - 1 + self._ledger.offset
            return max(last + 1, newest - self._listed + 1)
        # Nothing is listed, so nobody waits for the numbers between: begin with what every input has from its start.
        begun = [c for c in self._collectors.values() if c.first is not None]
        if not begun:
            return None
        number = max(c.number_of(c.first - c.tolerance - 1) + 1 for c in begun if c.first is not None)
        if last is not None:
            number = max(number, last + 1)
        return number if len(begun) == len(self._collectors) or self._overdue(number, now) else None

    def _ready(self, number: int, now: int) -> bool:
        waiting = [c for c in self._collectors.values() if not c.complete(number)]
        if not waiting:
            return True
        if self._overdue(number, now):
            return True
        return len(waiting) < len(self._collectors) and all(c.silent() for c in waiting)

    def _issue(self, number: int, now: int, events: list[Event]) -> None:
        ledger = self._ledger
        previous = ledger.last
        cuts = {name: self._cut(c, number) for name, c in self._collectors.items()}
        discontinuity = self._learn(cuts, events, number) or self._break
        self._break = False
        if previous is not None and number > previous + 1:
            self.counts["skipped_numbers"] += number - previous - 1
        made = {folder.name: self._make(folder, number, cuts, events) for folder in self._folders}
        row = Row(
            number,
            discontinuity,
            {
                name: [m.start, m.end - m.start, len(m.data or b""), int(m.gap), -1 if m.data is None else m.init]
                for name, m in made.items()
            },
        )
        for folder in self._folders:
            result = made[folder.name]
            if isinstance(folder, TransportFolder):
                ledger.counters[folder.name] = folder.counters
            if not result.gap and result.data:
                meter = self._bandwidth[folder.name]
                self.counts["bandwidth_raised"] += meter.add(len(result.data), result.end - result.start)
                ledger.bandwidth[folder.name] = meter.to_json()
        if number % _REGROW == 0:
            self._listed = min(self._wanted, self._listed + 1)
        first = number - self._listed + 1
        well = self._journal.trouble is None
        self._journal.append(ledger.issue(row, first))
        self._journal.compact_if_long(ledger)
        if well and self._journal.trouble is not None:
            self._trouble(f"channel {self.channel}: {self._journal.trouble}", events, number)
        for folder in self._folders:
            timeline = self._timelines[folder.name]
            if timeline.last is not None and timeline.last.number + 1 != number:
                timeline = timeline.slide(number)
            self._timelines[folder.name] = timeline.append(self._segment(folder, row)).slide(first)
        self._tell(number, row, now, events)

    def _cut(self, collector: Collector, number: int) -> Cut:
        after = self._ends.get(collector.name)
        cut = collector.cut(number, after)
        self._ends[collector.name] = cut.end
        return cut

    def _learn(self, cuts: dict[str, Cut], events: list[Event], number: int) -> bool:
        """Compare each input's parameters with what players were told; True if one of them changed."""
        changed = False
        for name, cut in cuts.items():
            if not cut.units or cut.gap:
                continue
            try:
                cuts[name], new = self._book.learn(name, cut)
            except Exception as problem:
                # The bytes come from an encoder or the network: whatever is wrong with them is this rendition's gap
                # alone.
                self.counts["errors"] += 1
                self._trouble(
                    f"channel {self.channel}: the parameters of rendition {name} cannot be read ({problem}), so "
                    f"segment {number} of it is a gap; look at its encoder",
                    events,
                    number,
                )
                cuts[name] = Cut((), cut.start, cut.end, True, cut.format)
                continue
            if cut.format != self._formats[name]:
                self._formats[name] = cut.format
                self._declare()
            if new:
                changed = True
                events.append(
                    Event(
                        "discontinuity",
                        self.channel,
                        number,
                        f"channel {self.channel}: the parameters of rendition {name} changed",
                    )
                )
                self.counts["discontinuities"] += 1
        return changed

    # ---- files -----------------------------------------------------------------------------------------------------

    def _make(self, folder: Folder, number: int, cuts: dict[str, Cut], events: list[Event]) -> Made:
        lead = cuts[folder.sources[0]]
        nothing = Made(None, lead.start, lead.end, True)
        if lead.gap and self._book.strange(folder.sources[0], lead):
            return nothing
        try:
            made = folder.make(number, cuts, self._book.current)
        except Exception as problem:
            # As above: a rendition whose bytes cannot be framed is a gap, the others go on.
            self.counts["errors"] += 1
            self._trouble(
                f"channel {self.channel}: segment {number} of {folder.name} could not be made ({problem}), so it "
                "is a gap; look at its encoder",
                events,
                number,
            )
            return nothing
        if made.data is None:
            return made
        name = f"{number}.{folder.extension}"
        try:
            self._store(lambda: self._window.put_segment(folder.name, number, name, made.data or b""), number, events)
            if made.init >= 0 and not self._window.has_init(folder.name, made.init):
                init = self._book.current[folder.sources[0]].init
                self._store(lambda: self._window.put_init(folder.name, made.init, init), number, events)
        except OSError as problem:
            self.counts["unwritten"] += 1
            self._trouble(
                f"channel {self.channel}: segment {number} of {folder.name} could not be written to "
                f"{self._window.root} ({problem.strerror or problem}), so it is a gap; "
                "give the window more memory or list less",
                events,
                number,
            )
            return nothing
        return made

    def _store(self, write: Callable[[], None], number: int, events: list[Event]) -> None:
        """Write, and make room when the memory is full: what has expired first, then the oldest that is listed."""
        while True:
            try:
                return write()
            except OSError as problem:
                if problem.errno not in _DISK_FULL or not self._make_room(number, events):
                    raise

    def _make_room(self, number: int, events: list[Event]) -> bool:
        first = number - self._listed
        oldest = self._window.oldest()
        if oldest is not None and oldest < first:
            self.counts["expired_early"] += self._window.expire(oldest + 1)
            return True
        if self._listed <= self._fewest:
            return False
        self._listed = max(self._fewest, self._listed * 3 // 4)
        self.counts["window_shrunk"] += 1
        self._trouble(
            f"channel {self.channel}: the memory of {self._window.root} is full, so the playlists list only "
            f"{self._listed} segments; give it more memory or shorten the window",
            events,
            number,
        )
        # Still listed until the playlists are rewritten a moment from now: a full memory leaves no other way.
        self._window.expire(number - self._listed)
        return True

    def _publish(self, events: list[Event]) -> None:
        """Rewrite the playlists, now that all files of all renditions are there; then delete what has expired."""
        last = self._ledger.last
        assert last is not None
        while True:
            try:
                self._write_playlists()
                break
            except OSError as problem:
                if problem.errno in _DISK_FULL and self._make_room(last, events):
                    self._slide(last - self._listed + 1)
                    continue
                self.counts["unwritten_playlists"] += 1
                self._trouble(
                    f"channel {self.channel}: its playlists could not be written to {self._window.root} "
                    f"({problem.strerror or problem}), so players see old ones; give the window more memory",
                    events,
                    last,
                )
                break
        lowest = {
            name: min((s.init for s in timeline.segments if s.init is not None), default=-1)
            for name, timeline in self._timelines.items()
        }
        self._leave()
        expired = self._expired()
        # Retained segments may need an older version: it goes once they have gone.
        unneeded = {name: low for name, low in lowest.items() if low > 0 and self._all_of(name, low, expired)}
        self._window.expire(expired + 1, unneeded)
        self._window.drop_unused(folder.name for folder in self._folders)

    def _leave(self) -> None:
        """Note what is not listed any more. After a restart that is taken to have happened just now: rather too long
        than too short."""
        if not self._ledger.rows:
            return
        gone = self._ledger.rows[0].number - 1
        if not self._left or gone > self._left[-1][0]:
            self._left.append((gone, self.clock.now() + self._keep))

    def _expired(self) -> int:
        """The highest number that nobody may ask for any more."""
        now, expired = self.clock.now(), (self._window.oldest() or 0) - 1
        while self._left and self._left[0][1] <= now:
            expired = max(expired, self._left.popleft()[0])
        return expired

    def _write_playlists(self) -> None:
        for name, timeline in self._timelines.items():
            if timeline.segments:
                self._window.put_playlist(name, media_playlist(timeline, segment_ticks=self.segment_ticks))
        for name, text in self._indexes().items():
            if text != self._multivariants.get(name):
                self._window.put_multivariant(name, text)
                self._multivariants[name] = text

    def _slide(self, first: int) -> None:
        self._ledger.slide(first)
        self._timelines = {name: timeline.slide(first) for name, timeline in self._timelines.items()}

    def _all_of(self, name: str, version: int, expired: int) -> bool:
        """Whether the first listed segments have had the version for as long as anything is retained."""
        segments = [s for s in self._timelines[name].segments if s.init is not None]
        changed_at = next((s.number for s in segments if s.init == version), None)
        known = self._changed.setdefault(name, {})
        if changed_at is not None:
            known[version] = min(changed_at, known.get(version, changed_at))
        for old in [v for v in known if v < version]:
            del known[old]
        return known.get(version, expired + 2) <= expired + 1

    # ---- what is told ----------------------------------------------------------------------------------------------

    def _indexes(self) -> dict[str, str]:
        """Texts of the multivariant playlists. A rendition is named once it has had a segment that can be played."""
        known = [
            folder
            for folder in self._folders
            if all(source in self._ledger.codecs for source in folder.sources)
            and any(not s.gap for s in self._timelines[folder.name].segments)
        ]
        return indexes(known, self._formats, self._ledger.codecs, self._bandwidth)

    def _tell(self, number: int, row: Row, now: int, events: list[Event]) -> None:
        gaps = sorted(name for name, values in row.tracks.items() if values[3])
        start, end = self._bounds(number)
        lag = to_seconds(now - end)
        self.counts["segments"] += 1
        events.append(
            Event(
                "segment",
                self.channel,
                number,
                f"channel {self.channel}: segment {number} of {to_iso(start)} is out {lag:.2f} s after its end",
                {"start": to_iso(start), "lag": lag, "gaps": gaps, "discontinuity": row.discontinuity},
            )
        )
        if gaps:
            self.counts["gaps"] += len(gaps)
            self.counts["gap_segments"] += 1
            events.append(
                Event(
                    "gap",
                    self.channel,
                    number,
                    f"channel {self.channel}: segment {number} is a gap in {', '.join(gaps)}, "
                    "because its media did not come whole and in time",
                    {"tracks": gaps},
                )
            )

    def _trouble(self, message: str, events: list[Event] | None = None, number: int = 0) -> None:
        self.message = message
        if events is not None:
            events.append(Event("trouble", self.channel, number, message))

    def run(self, stop: threading.Event, report: Callable[[list[Event]], None] | None = None, poll: int = POLL) -> None:
        """Step until ``stop`` is set, every ``poll`` ticks; ``report`` gets the events."""
        run([self], self.clock, stop, report, poll)

    def state(self) -> dict[str, Any]:
        """Numbers, counters, inputs, renditions, window and journal."""
        ledger = self._ledger
        return {
            "channel": self.channel,
            "last_segment": ledger.last,
            "last_segment_end": None if ledger.last is None else to_iso(self._bounds(ledger.last)[1]),
            "segment_seconds": to_seconds(self.segment_ticks),
            "listed": len(ledger.rows),
            "listed_limit": self._listed,
            "retained_seconds": to_seconds(self._keep),
            "discontinuity_sequence": ledger.dsn,
            "number_offset": ledger.offset,
            "mixed_parameters": self._book.mixed,
            "counts": {key: self.counts[key] for key in sorted(self.counts)},
            "inputs": [collector.state() for collector in self._collectors.values()],
            "renditions": {
                folder.name: {**state_of(folder), "bandwidth": self._bandwidth[folder.name].state()}
                for folder in self._folders
            },
            "window": self._window.state(),
            "journal": self._journal.state(),
            "message": self._journal.trouble or self.message,
        }

    def close(self) -> None:
        """Close the journal; the window stays for viewers and for a successor. Idempotent."""
        self._journal.close()


def run(
    packagers: Sequence[Packager],
    clock: Clock,
    stop: threading.Event,
    report: Callable[[list[Event]], None] | None = None,
    poll: int = POLL,
) -> None:
    """Step several channels in turn until ``stop`` is set, every ``poll`` ticks of house time."""
    while not stop.is_set():
        for packager in packagers:
            events = packager.step()
            if events and report is not None:
                report(events)
        clock.wait_until(clock.now() + poll, stop)
