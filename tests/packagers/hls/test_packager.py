"""The packager, with makers of bytes that write down what they were given: numbers, gaps, discontinuities, restarts.

After every step the playlists on disk are judged as a player would: nothing listed may change, numbers only grow, every
rendition agrees.
"""

from __future__ import annotations

import errno
import json
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import m3u8
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headend.accessunit import AccessUnit, StreamFormat
from headend.clock import TICKS_PER_SECOND as S
from headend.clock import FakeClock, to_datetime
from headend.ring import RingReader, RingWriter
from packagers.hls.packager import Event, Packager, RenditionInput
from packagers.hls.track import Makers
from packagers.hls.window import Window

T = 2 * S
FRAME = S // 25
AAC = 1024 * 1125 // 2
VIDEO = StreamFormat("video", "h264", bitrate=10**6, maxrate=10**6, width=160, height=90, rate=Fraction(25))


def sound(language: str) -> StreamFormat:
    return StreamFormat(
        "audio", "aac", bitrate=64_000, maxrate=64_000, sample_rate=48_000, channels=2, frame_samples=1024,
        language=language, name=language,
    )  # fmt: skip


class ListReader:
    """A reader of a list."""

    def __init__(self, fmt: StreamFormat) -> None:
        self.format = fmt
        self.lost = 0
        self.queue: deque[AccessUnit] = deque()

    def read(self) -> AccessUnit | None:
        return self.queue.popleft() if self.queue else None


class FakeCmaf:
    """The bytes are JSON of what they were made of; parameters are the first byte of a key unit."""

    def __init__(self, fmt: StreamFormat) -> None:
        self.fmt = fmt

    def init(self, first: AccessUnit) -> bytes:
        if first.data[:1] == b"!":
            raise ValueError("no parameter sets")
        return self.fmt.codec.encode() + first.data[:1]

    def fragment(self, units: Sequence[AccessUnit], *, end: int | None = None, sequence: int = 0) -> bytes:
        return json.dumps(
            {"pts": [u.pts for u in units], "dts": [u.dts for u in units], "end": end, "n": sequence}
        ).encode()


class FakeTs:
    """One continuity counter for all."""

    def __init__(self, formats: Sequence[StreamFormat]) -> None:
        self.cc = 0

    def segment(self, units: Sequence[Sequence[AccessUnit]], *, start: int, end: int) -> bytes:
        first, self.cc = self.cc, self.cc + sum(map(len, units))
        return json.dumps({"cc": first, "units": [[u.pts for u in s] for s in units]}).encode()

    def counters(self) -> dict[str, int]:
        return {"cc": self.cc}

    def restore(self, counters: dict[str, int]) -> None:
        self.cc = counters.get("cc", 0)


MAKERS = Makers(FakeCmaf, FakeTs, lambda fmt, unit: {"h264": "avc1.42c01e", "aac": "mp4a.40.2"}[fmt.codec])


class Studio:
    """A channel of one video and two sounds, its clock, and the eye of a player on what is published."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder = folder
        self.clock = FakeClock(1_800_000_001 * S)
        self.options = {"segment_ticks": T, "window_seconds": 20, "makers": MAKERS, **options}
        self.readers = {"v": ListReader(VIDEO), "zho": ListReader(sound("zho")), "eng": ListReader(sound("eng"))}
        self.slot = self.clock.now() // FRAME
        self.frame = -(-self.clock.now() // AAC)
        self.down: set[str] = set()
        self.letter = b"A"
        self.generation = 1
        self.key_next = False
        self.retains = True
        """Whether what has left the playlist must still be there."""
        self.longest: dict[str, float] = {}
        self.left: dict[tuple[str, int], int] = {}
        self.restarted = 0
        self.events: list[Event] = []
        self.listed: dict[str, dict[int, tuple[Any, ...]]] = {}
        self.newest: dict[str, tuple[int, int]] = {}
        self.kept: list[list[AccessUnit]] = []
        self.packager = self.open()

    def open(self) -> Packager:
        inputs = [RenditionInput(name, reader) for name, reader in self.readers.items()]
        return Packager(
            "news",
            inputs,
            window_dir=self.folder / "w",
            journal_path=self.folder / "d" / "j",
            clock=self.clock,
            **self.options,
        )

    def restart(self) -> None:
        """As after kill -9: nothing closed, a new packager, the ring read again."""
        self.restarted = self.clock.now()
        recent = self.restarted - 10 * S
        for name, reader in self.readers.items():
            reader.queue = deque(u for u in self.history[name] if u.pts >= recent)
        self.packager = self.open()

    @property
    def history(self) -> dict[str, list[AccessUnit]]:
        return self._history

    _history: dict[str, list[AccessUnit]]

    def emit(self, name: str, unit: AccessUnit) -> None:
        if not hasattr(self, "_history"):
            self._history = {name: [] for name in self.readers}
        if name not in self.down:
            self.readers[name].queue.append(unit)
            self._history[name].append(unit)

    def play(self, seconds: float, *, step: bool = True) -> None:
        """Let time pass, frame by frame."""
        for _ in range(round(seconds * 25)):
            key = self.slot % 50 == 0 or self.key_next
            self.key_next = self.key_next and "v" in self.down
            pts = self.slot * FRAME
            self.emit("v", AccessUnit(pts, pts - 2 * FRAME, FRAME, key, self.letter + b"pict", self.generation))
            self.slot += 1
            while self.frame * AAC < self.slot * FRAME:
                for name in ("zho", "eng"):
                    self.emit(
                        name, AccessUnit(self.frame * AAC, self.frame * AAC, AAC, True, b"sound", self.generation)
                    )
                self.frame += 1
            self.clock.advance(FRAME)
            if step:
                self.step()

    def step(self) -> list[Event]:
        events = self.packager.step()
        self.events += events
        if events:
            self.judge()
        return events

    def playlist(self, track: str) -> Any:
        return m3u8.load(str(self.folder / "w" / track / "index.m3u8"))

    def text(self, name: str) -> str:
        return (self.folder / "w" / name).read_text()

    def judge(self) -> None:
        """Look at every playlist as a player does (RFC 8216bis, 6.2.1, 6.2.2, 6.2.4)."""
        breaks: dict[int, set[bool]] = {}
        for track in (f.name for f in (self.folder / "w").iterdir() if (f / "index.m3u8").exists()):
            made = self.playlist(track)
            assert made.target_duration == 2
            first, dsn = made.media_sequence, made.discontinuity_sequence
            old_first, old_dsn = self.newest.get(track, (0, 0))
            known = self.listed.setdefault(track, {})
            assert first >= old_first
            gone = sum(row[3] for n, row in known.items() if old_first <= n < first)
            assert dsn == old_dsn + gone
            self.newest[track] = (first, dsn)
            at = None
            for position, segment in enumerate(made.segments):
                number = first + position
                row = (
                    segment.uri,
                    segment.duration,
                    segment.program_date_time,
                    segment.discontinuity,
                    bool(segment.gap_tag),
                )
                assert segment.uri.split(".")[0] == str(number)
                assert known.setdefault(number, row) == row
                assert segment.duration < 2.5
                breaks.setdefault(number, set()).add(segment.discontinuity)
                if not segment.gap_tag:
                    assert (self.folder / "w" / track / segment.uri).exists()
                    if segment.init_section:
                        assert (self.folder / "w" / track / segment.init_section.uri).exists()
                if at is not None:
                    assert abs((segment.program_date_time - at).total_seconds()) < 0.003
                at = segment.program_date_time + (to_datetime(int(segment.duration * S)) - to_datetime(0))
            longest = max(self.longest.get(track, 0.0), sum(segment.duration for segment in made.segments))
            self.longest[track] = longest
            now = self.clock.now()
            for number, row in known.items():
                if row[4] or number >= first:
                    continue
                # What has left stays for its own duration and that of the longest playlist (RFC 8216, 6.2.2), and
                # is gone soon after; a packager that was killed begins to count anew.
                left = self.left.setdefault((track, number), now)
                there = (self.folder / "w" / track / row[0]).exists()
                assert there or now - left > (row[1] + longest - 0.1) * S or not self.retains
                assert not there or now - max(left, self.restarted) < self.packager.state()["retained_seconds"] * S + T
        assert all(len(flags) == 1 for flags in breaks.values()), "discontinuities differ between renditions"

    def gaps(self, track: str = "v") -> list[int]:
        return sorted(number for number, row in self.listed[track].items() if row[4])

    def numbers(self, track: str = "v") -> list[int]:
        return sorted(self.listed[track])

    def media(self, track: str, number: int) -> Any:
        extension = "ts" if track.startswith("ts-") else "m4s"
        return json.loads((self.folder / "w" / track / f"{number}.{extension}").read_text())


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    made = Studio(tmp_path)
    yield made
    made.packager.close()


TRACKS = {"v", "zho", "eng", "ts-v", "ts-eng"}


def test_a_healthy_channel(studio: Studio) -> None:
    studio.play(31)
    assert set(studio.listed) == TRACKS
    first = studio.numbers()[0]
    assert first == -(-1_800_000_001 * S // T)
    assert studio.numbers() == list(range(first, first + 15))
    for track in TRACKS:
        assert studio.gaps(track) == []
        assert studio.playlist(track).media_sequence == first + 5
        assert len(studio.playlist(track).segments) == 10
    assert studio.packager.counts["discontinuities"] == 0
    start = first * T
    assert studio.media("v", first + 9)["pts"] == [start + 9 * T + i * FRAME for i in range(50)]
    assert studio.media("v", first + 9)["end"] == start + 10 * T
    # Sound: every frame once, in the segment where it begins.
    frames = [pts for n in range(first + 5, first + 15) for pts in studio.media("zho", n)["pts"]]
    assert frames == [k * AAC for k in range(frames[0] // AAC, frames[0] // AAC + len(frames))]
    assert frames[0] >= start + 5 * T > frames[0] - AAC
    # Transport stream: counters go on from segment to segment.
    counters = [studio.media("ts-v", n) for n in range(first + 5, first + 15)]
    for before, after in pairwise(counters):
        assert after["cc"] == before["cc"] + sum(map(len, before["units"]))
    assert sum(map(len, (c["units"][1] for c in counters))) == len(frames)
    json.dumps(studio.packager.state())


def test_segments_appear_as_soon_as_they_are_whole(studio: Studio) -> None:
    """Not a frame after the last unit has come."""
    studio.play(6)
    lags = [event.detail["lag"] for event in studio.events if event.kind == "segment"]
    assert lags
    assert all(abs(lag) < 0.05 for lag in lags)


def test_multivariant_playlists(studio: Studio) -> None:
    studio.play(4)
    cmaf, ts = m3u8.loads(studio.text("index.m3u8")), m3u8.loads(studio.text("ts.m3u8"))
    assert [p.uri for p in cmaf.playlists] == ["v/index.m3u8"]
    assert [(m.language, m.uri, m.default) for m in cmaf.media] == [
        ("zh", "zho/index.m3u8", "YES"),
        ("en", "eng/index.m3u8", "NO"),
    ]
    assert [p.uri for p in ts.playlists] == ["ts-v/index.m3u8"]
    assert [(m.language, m.uri, m.default) for m in ts.media] == [
        ("zh", None, "YES"),
        ("en", "ts-eng/index.m3u8", "NO"),
    ]
    assert cmaf.playlists[0].stream_info.codecs == "avc1.42c01e,mp4a.40.2"
    before = studio.text("index.m3u8")
    studio.play(10)
    assert studio.text("index.m3u8") == before


def test_the_first_segment_is_one_that_everyone_has_whole(tmp_path: Path) -> None:
    studio = Studio(tmp_path)
    studio.down = {"v"}
    studio.play(2.5)
    studio.down = set()
    studio.play(6)
    assert studio.gaps("v") == studio.gaps("zho") == []
    assert studio.numbers("v") == studio.numbers("zho")


def test_an_input_that_never_came_does_not_hold_up_the_others(tmp_path: Path) -> None:
    studio = Studio(tmp_path)
    studio.down = {"eng"}
    studio.play(20)
    assert studio.gaps("eng") == studio.numbers("eng")
    assert studio.gaps("v") == []
    # No player is offered what has never been there.
    assert "eng/index.m3u8" not in studio.text("index.m3u8")
    lags = [event.detail["lag"] for event in studio.events if event.kind == "segment"]
    assert max(lags[1:]) < 2.1
    assert abs(lags[-1]) < 0.1


@pytest.mark.parametrize("frames", [1, 3, 4])
@pytest.mark.parametrize("after", [0.0, 0.84, 1.92])
def test_a_short_hole_of_a_killed_worker_is_bridged(studio: Studio, frames: int, after: float) -> None:
    studio.play(5)
    studio.play(after)
    studio.down = set(studio.readers)
    studio.play(frames * FRAME / S)
    studio.down, studio.key_next, studio.generation = set(), True, 2
    studio.play(8)
    for track in TRACKS:
        assert studio.gaps(track) == []
        assert not any(row[3] for row in studio.listed[track].values())
    collectors = {row["id"]: row for row in studio.packager.state()["inputs"]}
    assert collectors["v"]["bridged"] == (
        2 if after > 1.9 and frames > 2 else 1
    )  # across a boundary it is in two segments
    for number in studio.numbers():
        pts = studio.media("v", number)["pts"]
        assert pts[0] == number * T


def test_a_long_hole_is_a_gap_with_what_there_is(studio: Studio) -> None:
    studio.play(5.4)
    broken = studio.slot * FRAME // T
    studio.down = {"v"}
    studio.play(0.3)
    studio.down, studio.key_next, studio.generation = set(), True, 2
    studio.play(8)
    assert studio.gaps("v") == studio.gaps("ts-v") == [broken]
    assert studio.gaps("zho") == studio.gaps("ts-eng") == []
    assert len(studio.media("v", broken)["pts"]) == 42
    assert studio.media("v", broken)["end"] is None
    # same parameters, house time went on: no discontinuity.
    assert not any(row[3] for row in studio.listed["v"].values())
    # Those who leave the gap out find the counters unbroken.
    before, after = studio.media("ts-v", broken - 1), studio.media("ts-v", broken + 1)
    assert after["cc"] == before["cc"] + sum(map(len, before["units"]))


def test_a_dead_channel_is_gaps_in_time_and_goes_on(studio: Studio) -> None:
    """segments whose durations add up to the hole, tagged, and no pause longer than needed."""
    studio.play(7)
    last = studio.numbers()[-1]
    studio.down = set(studio.readers)
    studio.play(11)
    assert studio.gaps() == list(range(last + 1, studio.numbers()[-1] + 1))
    assert studio.numbers()[-1] * T >= studio.clock.now() - 3 * T - 4 * S
    studio.down, studio.generation = set(), 2
    studio.play(8)
    assert studio.numbers() == list(range(studio.numbers()[0], studio.numbers()[-1] + 1))
    assert studio.gaps()[-1] < studio.numbers()[-2]
    assert studio.packager.counts["discontinuities"] == 0


def test_catching_up_before_the_patience_ends_leaves_nothing(studio: Studio) -> None:
    """A worker back after 3 s that encodes what was missed: late, but whole."""
    studio.play(5)
    held = {name: reader.queue for name, reader in studio.readers.items()}
    for reader in studio.readers.values():
        reader.queue = deque()
    waiting = dict(studio.readers)
    real = dict.fromkeys(waiting, ListReader.read)
    assert real
    closed = threading.Event()
    for reader in waiting.values():
        reader.read = lambda reader=reader: ListReader.read(reader) if closed.is_set() else None  # type: ignore[method-assign,misc]
    studio.play(3)
    closed.set()
    studio.play(5)
    assert held
    assert studio.gaps() == []


def test_units_for_an_issued_segment_are_dropped_and_counted(studio: Studio) -> None:
    studio.play(6)
    late = AccessUnit(studio.numbers()[-1] * T, 0, FRAME, True, b"Alate", 1)
    studio.readers["v"].queue.append(late)
    studio.play(4)
    rows = {row["id"]: row for row in studio.packager.state()["inputs"]}
    assert rows["v"]["late"] == 1
    assert studio.gaps() == []


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.integers(0, 100),
            st.integers(-(2**40), 2**40) | st.sampled_from([86_400 * S, -(2**33) * 300]),
            st.booleans(),
        ),
        max_size=12,
    )
)
def test_wild_timestamps_never_break_it(
    tmp_path_factory: pytest.TempPathFactory, wild: list[tuple[int, int, bool]]
) -> None:
    studio = Studio(tmp_path_factory.mktemp("wild"))
    at = {slot: (shift, key) for slot, shift, key in wild}
    for step in range(101):
        if step in at:
            shift, key = at[step]
            pts = studio.slot * FRAME + shift
            studio.readers["v"].queue.append(AccessUnit(pts, pts, FRAME, key, b"Awild", 1))
        studio.play(FRAME / S)
    state = studio.packager.state()
    assert sum(row["waiting"] for row in state["inputs"]) < 1000
    studio.packager.close()


def test_changed_parameters_are_a_discontinuity_everywhere_and_a_new_map(studio: Studio) -> None:
    studio.play(5)
    while studio.slot % 50:
        studio.play(FRAME / S)
    changed = studio.slot * FRAME // T
    studio.letter, studio.generation = b"B", 2
    studio.play(30)
    for track in TRACKS:
        assert [n for n, row in studio.listed[track].items() if row[3]] == [changed]
        assert studio.playlist(track).discontinuity_sequence == 1
    assert studio.playlist("v").segments[-1].init_section.uri == "init-1.mp4"
    assert (studio.folder / "w" / "v" / "init-1.mp4").read_bytes() == b"h264B"
    # The old one goes when the last segment that needs it may be forgotten, and not before.
    assert (studio.folder / "w" / "v" / "init-0.mp4").exists()
    studio.play(22)
    assert not (studio.folder / "w" / "v" / "init-0.mp4").exists()
    assert (studio.folder / "w" / "zho" / "init-0.mp4").exists()


def test_parameters_that_change_inside_a_segment_are_a_gap_once(studio: Studio) -> None:
    studio.play(5.4)
    broken = studio.slot * FRAME // T
    studio.letter, studio.generation, studio.key_next = b"B", 2, True
    studio.play(8)
    assert studio.gaps("v") == [broken]
    assert [n for n, row in studio.listed["v"].items() if row[3]] == [broken + 1]


def test_a_generation_with_equal_parameters_is_nothing(studio: Studio) -> None:
    studio.play(5.4)
    studio.generation, studio.key_next = 2, True
    studio.play(6)
    assert studio.gaps() == []
    assert not any(row[3] for row in studio.listed["v"].values())


def test_a_successor_reorders_and_decoding_times_still_rise(studio: Studio) -> None:
    """B frames: the first key picture of a new encoder is due before what the old one sent last."""
    studio.play(5.4)
    studio.generation, studio.key_next = 2, True
    original = studio.emit

    def early(name: str, unit: AccessUnit) -> None:
        original(name, unit)
        if name == "v" and unit.generation == 2 and unit.key and not hasattr(studio, "done"):
            studio.done = True  # type: ignore[attr-defined]
            bad = studio.readers["v"].queue.pop()
            studio.readers["v"].queue.append(AccessUnit(bad.pts, bad.dts - 3 * FRAME, FRAME, True, bad.data, 2))

    studio.emit = early  # type: ignore[method-assign]
    studio.play(6)
    assert studio.gaps() == []
    for number in studio.numbers():
        dts = studio.media("v", number)["dts"]
        assert dts == sorted(set(dts))
    assert studio.packager.state()["inputs"][0]["repaired"] >= 1


def test_media_that_cannot_be_framed_is_one_renditions_gap(studio: Studio) -> None:
    studio.play(5)
    while studio.slot % 50:
        studio.play(FRAME / S)
    studio.letter = b"!"
    studio.play(2)
    studio.letter = b"A"
    studio.play(4)
    assert len(studio.gaps("v")) == 1
    assert studio.gaps("zho") == []
    assert any("cannot be read" in event.message for event in studio.events if event.kind == "trouble")
    assert studio.packager.counts["errors"] == 1


@pytest.mark.parametrize("moment", [0.0, 0.6, 1.0, 1.96])
def test_killed_and_restarted_it_loses_and_repeats_nothing(studio: Studio, moment: float) -> None:
    """numbers, EXTINF, dates, counters and init versions go on."""
    studio.play(9 + moment)
    for _ in range(3):
        studio.restart()
        studio.play(2.2)
    studio.play(10)
    numbers = studio.numbers()
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert studio.gaps() == []
    assert studio.packager.state()["inputs"][0]["replayed"] > 0
    assert all("late" not in row for row in studio.packager.state()["inputs"])
    rows = [studio.media("ts-v", n) for n in numbers[-12:]]
    for before, after in pairwise(rows):
        assert after["cc"] == before["cc"] + sum(map(len, before["units"]))
    assert studio.playlist("v").segments[-1].init_section.uri == "init-0.mp4"


def test_killed_at_any_write_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGKILL between any two files of a segment: as an exception that nothing may catch."""

    class Killed(BaseException):
        pass

    studio = Studio(tmp_path)
    studio.play(7)
    real = Window._write
    for count in range(16):
        left = [count]

        def write(self: Window, path: Path, data: bytes, left: list[int] = left) -> None:
            if not left[0]:
                path.with_name(f".{path.name}.part").write_bytes(data[:3])
                raise Killed
            left[0] -= 1
            real(self, path, data)

        monkeypatch.setattr(Window, "_write", write)
        try:
            studio.play(2.2)
        except Killed:
            monkeypatch.undo()
            studio.restart()
            studio.play(2.2)
        monkeypatch.undo()
    studio.play(6)
    assert studio.gaps() == []
    assert studio.numbers() == list(range(studio.numbers()[0], studio.numbers()[-1] + 1))
    studio.packager.close()


def test_down_for_some_segments_it_lists_them_as_gaps_or_from_the_ring(studio: Studio) -> None:
    studio.play(9)
    last = studio.numbers()[-1]
    studio.play(14, step=False)
    studio.restart()  # the ring holds ten seconds
    studio.play(10)
    numbers = studio.numbers()
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert studio.gaps()[0] == last + 1
    assert 1 <= len(studio.gaps()) <= 3


def test_a_long_outage_makes_numbers_jump_with_time(studio: Studio) -> None:
    studio.play(9)
    before = studio.numbers()[-1]
    studio.clock.advance(3600 * S)
    studio.slot += 3600 * 25
    studio.frame = -(-studio.slot * FRAME // AAC)
    for reader in studio.readers.values():
        reader.queue.clear()
    for rows in studio.history.values():
        rows.clear()
    studio.restart()
    studio.play(10)
    made = studio.playlist("v")
    assert made.media_sequence > before + 1700
    assert len(made.segments) == 10
    assert made.segments[-1].gap_tag is None
    assert studio.numbers()[-1] == (studio.slot * FRAME) // T - 1


def test_the_machine_rebooted_and_its_memory_is_empty(studio: Studio) -> None:
    studio.play(21)
    last = studio.numbers()[-1]
    dsn = studio.playlist("v").discontinuity_sequence
    for path in sorted((studio.folder / "w").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    studio.listed.clear()
    studio.newest.clear()
    for rows in studio.history.values():
        rows.clear()
    studio.restart()
    studio.play(12)
    made = studio.playlist("v")
    # Nobody has a playlist that gaps would continue; but no number is ever used again.
    assert made.media_sequence > last
    assert studio.gaps() == []
    assert made.discontinuity_sequence == dsn
    assert "no longer in" in (studio.packager.message or "")
    assert (studio.folder / "w" / "v" / "init-0.mp4").exists()


def test_both_journals_lost_no_number_is_used_again(studio: Studio) -> None:
    studio.play(9)
    last = studio.numbers()[-1]
    (studio.folder / "d" / "j").unlink()
    (studio.folder / "w" / ".journal").unlink()
    studio.listed.clear()
    studio.newest.clear()
    studio.letter = b"C"
    studio.restart()
    studio.play(6)
    assert last < studio.numbers()[0] <= last + 2
    # A version that viewers may have cached is not given other content.
    assert studio.playlist("v").segments[-1].init_section.uri == "init-1.mp4"


def test_the_clock_went_back_and_numbers_do_not(studio: Studio) -> None:
    studio.play(9)
    last = studio.numbers()[-1]
    back = 500 * T
    studio.clock = FakeClock(studio.clock.now() - back)
    studio.slot -= back // FRAME
    studio.frame = -(-studio.slot * FRAME // AAC)
    for rows in studio.history.values():
        rows.clear()
    studio.restart()
    studio.listed.clear()
    studio.newest = dict.fromkeys(TRACKS, (last, 0))
    studio.play(8)
    first = min(studio.numbers())
    assert last < first <= last + 2
    assert studio.playlist("v").segments[0].discontinuity
    assert "clock is behind" in (studio.packager.message or "")
    numbers = studio.numbers()
    studio.restart()
    studio.play(4)
    assert studio.numbers()[: len(numbers)] == numbers
    assert [n for n, row in studio.listed["v"].items() if row[3]] == [first]


def test_another_segment_length_goes_on_with_higher_numbers(tmp_path: Path) -> None:
    studio = Studio(tmp_path)
    studio.play(9)
    last = studio.numbers()[-1]
    studio.options["segment_ticks"] = 2 * T
    studio.listed.clear()
    studio.newest.clear()
    studio.judge = lambda: None  # type: ignore[method-assign]
    studio.restart()
    studio.play(16)
    made = studio.playlist("v")
    assert made.media_sequence > last
    assert made.target_duration == 4
    studio.packager.close()


@pytest.mark.parametrize("room", [120_000, 60_000])
def test_full_memory_shrinks_the_window_and_the_channel_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    studio = Studio(tmp_path, window_seconds=60)
    studio.retains = False  # what is no longer listed goes first
    real = Window._write

    def write(self: Window, path: Path, data: bytes) -> None:
        if self.bytes + len(data) > room:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(self, path, data)

    monkeypatch.setattr(Window, "_write", write)
    studio.play(90)
    counts = studio.packager.counts
    assert counts["window_shrunk"] > 0
    assert studio.gaps() == []
    assert 3 <= len(studio.playlist("v").segments) < 30
    assert any("memory" in event.message for event in studio.events if event.kind == "trouble")
    studio.packager.close()


def test_no_memory_at_all_is_gaps_not_a_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    studio = Studio(tmp_path)
    studio.retains = False
    studio.play(9)

    def full(self: Window, path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    studio.judge = lambda: None  # type: ignore[method-assign]
    with monkeypatch.context() as patch:
        patch.setattr(Window, "_write", full)
        studio.play(6)
    assert studio.packager.counts["unwritten"] > 0
    assert studio.packager.counts["unwritten_playlists"] > 0
    del studio.judge  # type: ignore[method-assign]
    studio.play(6)
    assert studio.gaps()
    assert studio.numbers()[-1] not in studio.gaps()
    assert studio.packager.state()["last_segment"] == studio.numbers()[-1]
    studio.packager.close()


def test_a_full_data_disk_does_not_stop_it_and_a_restart_repeats_nothing(studio: Studio) -> None:
    studio.play(5)
    studio.packager._journal.disk.append = lambda record: (
        studio.packager._journal.disk._fail(OSError(28, "full")) or False
    )  # type: ignore[method-assign,func-returns-value]
    studio.play(10)
    assert "stays on air" in studio.packager.state()["message"]
    # Said once, not with each segment.
    assert len([event for event in studio.events if event.kind == "trouble" and "journal" in event.message]) == 1
    studio.restart()
    studio.play(6)
    assert studio.gaps() == []
    numbers = studio.numbers()
    assert numbers == list(range(numbers[0], numbers[-1] + 1))


def test_through_a_real_ring(tmp_path: Path) -> None:
    """The reader of the shared-memory ring, placed where a restarted packager needs it."""
    units = [
        AccessUnit(k * FRAME, k * FRAME, FRAME, k % 50 == 0, b"A", 1) for k in range(45_000_000_000, 45_000_000_500)
    ]
    clock = FakeClock(units[0].pts)
    with RingWriter(tmp_path / "ring", VIDEO, capacity=1 << 16, units=1000) as writer:

        def open_one() -> Packager:
            reader = RingReader(tmp_path / "ring", "earliest")
            made = Packager(
                "news", [RenditionInput("v", reader)], segment_ticks=T, window_dir=tmp_path / "w",
                journal_path=tmp_path / "j", clock=clock, makers=MAKERS,
            )  # fmt: skip
            if made.needed_from is not None:
                reader.seek_time(made.needed_from)
            return made

        packager = open_one()
        for count, unit in enumerate(units):
            writer.write(unit)
            clock.advance(FRAME)
            packager.step()
            if count % 120 == 119:
                packager = open_one()
        state = packager.state()
    assert state["last_segment"] == units[0].pts // T + 9
    assert state["inputs"][0]["lost"] == 0
    assert "replayed" not in state["inputs"][0]
    made = m3u8.load(str(tmp_path / "w" / "v" / "index.m3u8"))
    assert [segment.gap_tag for segment in made.segments] == [None] * 10
    packager.close()


def test_run_stops_when_told(studio: Studio) -> None:
    stop = threading.Event()
    seen: list[Event] = []

    def report(events: list[Event]) -> None:
        seen.extend(events)
        stop.set()

    studio.play(6, step=False)
    studio.packager.run(stop, report)
    assert any(event.kind == "segment" for event in seen)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"segment_ticks": 0}, "longer than nothing"),
        ({"containers": ()}, "nothing that HLS can carry"),
    ],
)
def test_contradictions_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Studio(tmp_path, **change)


def test_two_renditions_of_one_name_are_refused(tmp_path: Path) -> None:
    inputs = [RenditionInput("v", ListReader(VIDEO))] * 2
    with pytest.raises(ValueError, match="two renditions of one name"):
        Packager(
            "news",
            inputs,
            segment_ticks=T,
            window_dir=tmp_path,
            journal_path=tmp_path / "j",
            clock=FakeClock(),
            makers=MAKERS,
        )


def test_radio(tmp_path: Path) -> None:
    clock = FakeClock(1_800_000_000 * S)
    readers = {name: ListReader(sound(name)) for name in ("zho", "eng")}
    packager = Packager(
        "radio", [RenditionInput(name, reader) for name, reader in readers.items()],
        segment_ticks=T, window_dir=tmp_path / "w", journal_path=tmp_path / "j", clock=clock, makers=MAKERS,
    )  # fmt: skip
    first = -(-clock.now() // AAC)
    for k in range(first, first + 400):
        for reader in readers.values():
            reader.queue.append(AccessUnit(k * AAC, k * AAC, AAC, True, b"s"))
    clock.advance(400 * AAC)
    packager.step()
    for name in ("index.m3u8", "ts.m3u8"):
        made = m3u8.loads((tmp_path / "w" / name).read_text())
        assert len(made.playlists) == 1
        assert made.playlists[0].stream_info.codecs == "mp4a.40.2"
        assert made.playlists[0].stream_info.resolution is None
        assert [m.language for m in made.media] == ["zh", "en"]
    packager.close()
