"""The ladder: every slot once in every rendition, on the grid, through jumps, failures, resumes and closing."""

from __future__ import annotations

import gc
import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any

import av
import numpy as np
import pytest
from av.video.codeccontext import VideoCodecContext

from encoders import capability, lane
from encoders.audio import ticks_of_sample
from encoders.capability import moving_picture
from encoders.format import AudioTrack, ChannelFormat
from encoders.ladder import Ladder
from encoders.lane import Conduit, repaired
from encoders.rendition import AudioRendition, VideoRendition
from encoders.source import Sound
from encoders.video import VideoEncoder
from headend.accessunit import AccessUnit
from headend.clock import FakeClock

CHANNEL = ChannelFormat(160, 90, Fraction(25), (AudioTrack("zho"), AudioTrack("eng", 1)))
VIDEOS = (
    VideoRendition("big", 160, 90, 300_000, gop_frames=10),
    VideoRendition("small", 96, 54, 100_000, gop_frames=10),
)
AUDIOS = (AudioRendition("zho", 96_000), AudioRendition("eng", 64_000, "mp2", 1, track="eng"))
FIRST = 45_000_000_000
Units = dict[str, list[AccessUnit]]


class Collector:
    """A sink that keeps everything."""

    def __init__(self) -> None:
        self.units: Units = defaultdict(list)

    def __call__(self, name: str, unit: AccessUnit) -> None:
        self.units[name].append(unit)

    def slots(self, name: str, channel: ChannelFormat = CHANNEL) -> list[int]:
        return sorted(u.pts // channel.slot_ticks for u in self.units[name])


@pytest.fixture
def ladders() -> Iterator[Callable[..., Ladder]]:
    """Makes ladders and closes them."""
    made: list[Ladder] = []

    def make(*arguments: Any, **options: Any) -> Ladder:
        options.setdefault("clock", FakeClock())
        made.append(Ladder(*arguments, **options))
        return made[-1]

    yield make
    for ladder in made:
        ladder.close()


def sound_of(channel: ChannelFormat, slot: int) -> list[Sound]:
    at = channel.first_sample(slot) + np.arange(channel.samples_in(slot))
    tone = (0.2 * np.sin(2 * np.pi * 440 * (at % 48_000) / 48_000)).astype(np.float32)
    return [np.tile(tone, (track.channels, 1)) for track in channel.tracks]


def feed(ladder: Ladder, slots: Sequence[int], channel: ChannelFormat = CHANNEL) -> None:
    for slot in slots:
        assert ladder.push(slot, moving_picture(slot, channel.width, channel.height), sound_of(channel, slot))


def rising(units: Sequence[AccessUnit]) -> bool:
    return all(a.dts < b.dts for a, b in pairwise(units))


def test_every_slot_once_in_every_rendition(ladders: Callable[..., Ladder]) -> None:
    got = Collector()
    ladder = ladders(CHANNEL, VIDEOS, AUDIOS, got)
    slots = range(FIRST + 3, FIRST + 43)
    feed(ladder, slots)
    assert ladder.flush(20)
    for wish in VIDEOS:
        units = got.units[wish.id]
        assert got.slots(wish.id) == list(slots)
        assert rising(units)
        assert [u.pts // CHANNEL.slot_ticks for u in units if u.key] == [FIRST + 3, *range(FIRST + 10, FIRST + 43, 10)]
        decoder = av.CodecContext.create("h264", "r")
        assert isinstance(decoder, VideoCodecContext)
        shown = [p for u in units for p in decoder.decode(av.Packet(u.data))] + decoder.decode(None)
        assert [(p.width, p.height) for p in shown] == [(wish.width, wish.height)] * len(slots)
    first, end = CHANNEL.first_sample(slots[0]), CHANNEL.first_sample(slots[-1] + 1)
    for name, frame in (("zho", 1024), ("eng", 1152)):
        expected = range(-(-first // frame) * frame, end, frame)
        assert [u.pts for u in got.units[name]] == [ticks_of_sample(s) for s in expected]


def test_pictures_land_in_their_own_slots(ladders: Callable[..., Ladder]) -> None:
    """The decoded picture of each slot is the one that was pushed for it, in both sizes."""
    got = Collector()
    ladder = ladders(CHANNEL, VIDEOS, (), got)
    for k in range(30):
        grey = av.VideoFrame.from_ndarray(np.full((135, 160), 40 + 5 * k, np.uint8), "yuv420p")
        ladder.push(FIRST + k, grey, None)
    assert ladder.flush(20)
    for wish in VIDEOS:
        decoder = av.CodecContext.create("h264", "r")
        assert isinstance(decoder, VideoCodecContext)
        shown = [p for u in got.units[wish.id] for p in decoder.decode(av.Packet(u.data))] + decoder.decode(None)
        luma = [float(p.to_ndarray()[: wish.height].mean()) for p in shown]
        assert luma == pytest.approx([40 + 5 * k for k in range(30)], abs=2.4)


def test_formats_are_known_before_the_first_picture(ladders: Callable[..., Ladder]) -> None:
    formats = ladders(CHANNEL, VIDEOS, AUDIOS, Collector()).formats()
    assert list(formats) == ["big", "small", "zho", "eng"]
    assert (formats["small"].width, formats["small"].rate) == (96, 25)
    assert formats["zho"].extradata[:2] == b"\x11\x90"  # AudioSpecificConfig: AAC-LC, 48 kHz, stereo
    assert (formats["eng"].channels, formats["eng"].frame_samples, formats["eng"].language) == (1, 1152, "eng")


def test_the_callers_pictures_are_not_touched(ladders: Callable[..., Ladder]) -> None:
    """A held picture is pushed again and again, and used elsewhere meanwhile."""
    got = Collector()
    ladder = ladders(CHANNEL, (VIDEOS[0], VideoRendition("twin", 160, 90, 200_000)), (), got)
    held = moving_picture(1, 160, 90)
    held.pts, held.time_base, held.color_primaries = 77, Fraction(1, 1000), 5
    before = held.to_ndarray().copy()
    for k in range(20):
        ladder.push(FIRST + k, held, None)
    assert ladder.flush(20)
    assert (held.pts, held.time_base, held.pict_type, held.color_primaries) == (77, Fraction(1, 1000), 0, 5)
    assert (held.to_ndarray() == before).all()
    assert got.slots("big") == got.slots("twin") == list(range(FIRST, FIRST + 20))


def test_no_picture_repeats_and_no_sound_is_silence(ladders: Callable[..., Ladder]) -> None:
    got = Collector()
    ladder = ladders(CHANNEL, VIDEOS, AUDIOS, got)
    for k in range(10):
        assert ladder.push(FIRST + k, None, None)
    assert ladder.flush(20)
    assert len(got.units["big"]) == 10
    state = ladder.state()
    assert (state["held"], state["mended"]) == (10, 0)
    assert state["renditions"]["zho"]["frames"] > 15


def test_odd_media_is_mended_and_counted(ladders: Callable[..., Ladder]) -> None:
    got = Collector()
    ladder = ladders(CHANNEL, VIDEOS, AUDIOS, got)
    ladder.push(FIRST, moving_picture(0, 320, 240), [np.zeros((2, 5), np.float32)])
    ladder.push(FIRST + 1, moving_picture(1, 160, 90), sound_of(CHANNEL, FIRST + 1))
    assert ladder.flush(20)
    assert got.slots("small") == [FIRST, FIRST + 1]
    assert (ladder.state()["reshaped"], ladder.state()["mended"]) == (1, 1)


def test_tags_that_change_in_the_middle_disturb_nothing(ladders: Callable[..., Ladder]) -> None:
    got = Collector()
    ladder = ladders(CHANNEL, VIDEOS, (), got)
    for k in range(20):
        picture = moving_picture(k, 160, 90)
        picture.colorspace, picture.color_range = (1, 1) if k % 3 else (5, 2)
        picture.color_trc, picture.color_primaries = k % 2 + 1, k % 4
        assert ladder.push(FIRST + k, picture, None)
    assert ladder.flush(20)
    assert got.slots("big") == got.slots("small") == list(range(FIRST, FIRST + 20))
    assert all(row["errors"] == 0 for row in ladder.state()["renditions"].values())


def test_late_slots_are_refused_and_counted(ladders: Callable[..., Ladder]) -> None:
    ladder = ladders(CHANNEL, VIDEOS, (), Collector())
    feed(ladder, range(FIRST, FIRST + 3))
    assert not ladder.push(FIRST + 2, None, None)
    assert not ladder.push(FIRST - 9, None, None)
    assert ladder.state()["late"] == 2


def test_a_hole_in_time_completes_what_was_before_and_begins_anew(ladders: Callable[..., Ladder]) -> None:
    got = Collector()
    clock = FakeClock()
    ladder = ladders(CHANNEL, VIDEOS, AUDIOS, got, clock=clock)
    feed(ladder, range(FIRST, FIRST + 7))
    clock.advance(99)
    feed(ladder, range(FIRST + 1004, FIRST + 1012))
    assert ladder.flush(20)
    units = got.units["big"]
    assert got.slots("big") == [*range(FIRST, FIRST + 7), *range(FIRST + 1004, FIRST + 1012)]
    assert rising(units)
    assert [u.pts // CHANNEL.slot_ticks - FIRST for u in units if u.key] == [0, 1004, 1010]
    assert len({u.generation for u in units}) == 2
    for name in ("zho", "eng"):
        assert rising(got.units[name])
        assert not any(CHANNEL.ticks_of(FIRST + 8) < u.pts < CHANNEL.ticks_of(FIRST + 1004) for u in got.units[name])


def test_resume_skips_what_was_sent_and_starts_with_a_key(ladders: Callable[..., Ladder]) -> None:
    """Each rendition goes on after its own last unit; the next key is on the grid again."""
    got = Collector()
    resume = {
        "big": CHANNEL.ticks_of(FIRST + 4),
        "small": CHANNEL.ticks_of(FIRST + 6),
        "zho": ticks_of_sample((CHANNEL.first_sample(FIRST + 5) // 1024) * 1024),
    }
    ladder = ladders(CHANNEL, VIDEOS, AUDIOS, got, resume=resume)
    feed(ladder, range(FIRST + 1, FIRST + 25))
    assert ladder.flush(20)
    assert got.slots("big") == list(range(FIRST + 4, FIRST + 25))
    assert got.slots("small") == list(range(FIRST + 6, FIRST + 25))
    for name, at in (("big", 4), ("small", 6)):
        units = got.units[name]
        assert [u.pts // CHANNEL.slot_ticks - FIRST for u in units if u.key] == [at, 10, 20]
        assert units[0].dts > resume[name] - CHANNEL.slot_ticks  # after anything the predecessor can have sent
        assert rising(units)
        assert all(u.dts <= u.pts for u in units)
    assert got.units["zho"][0].pts == resume["zho"]


def test_predecessor_and_successor_fit_together(ladders: Callable[..., Ladder]) -> None:
    """Killed without a flush: the successor resumes after what came out, and the joined stream has every slot once."""
    old, new = Collector(), Collector()
    ladder = ladders(CHANNEL, VIDEOS, AUDIOS, old)
    feed(ladder, range(FIRST, FIRST + 33))
    ladder.close()
    ends = {name: max(u.pts + u.duration for u in units) for name, units in old.units.items()}
    # B-pictures that were still inside are lost with the process: what is continuous ends before them.
    for name in ("big", "small"):
        have = set(old.slots(name))
        whole = next(s for s in range(FIRST, FIRST + 99) if s not in have)
        old.units[name] = [u for u in old.units[name] if u.pts < CHANNEL.ticks_of(whole)]
        ends[name] = CHANNEL.ticks_of(whole)
    begin = min(ends.values()) // CHANNEL.slot_ticks
    successor = ladders(CHANNEL, VIDEOS, AUDIOS, new, resume=ends)
    feed(successor, range(begin, begin + 30))
    assert successor.flush(20)
    for name in ("big", "small"):
        assert old.slots(name) + new.slots(name) == list(range(FIRST, begin + 30))
    for name in ("zho", "eng"):
        joined = [u.pts for u in old.units[name] + new.units[name]]
        assert {b - a for a, b in pairwise(joined)} == {old.units[name][0].duration}


def test_pushing_goes_on_after_a_flush(ladders: Callable[..., Ladder]) -> None:
    got = Collector()
    ladder = ladders(CHANNEL, VIDEOS, AUDIOS, got)
    feed(ladder, range(FIRST, FIRST + 5))
    assert ladder.flush(20)
    feed(ladder, range(FIRST + 5, FIRST + 9))
    assert ladder.flush(20)
    assert got.slots("small") == list(range(FIRST, FIRST + 9))
    assert all(rising(units) for units in got.units.values())


class Fragile(VideoEncoder):
    """Fails at the 17th picture of its run, as often as it is told to."""

    failures = 1
    count = 0

    def encode(self, slot: int, picture: av.VideoFrame) -> list[AccessUnit]:
        self.count += 1
        if self.count == 17 and Fragile.failures > 0:
            Fragile.failures -= 1
            raise av.error.ExternalError(542398533, "the driver is gone")
        return super().encode(slot, picture)


def test_an_encoder_that_fails_is_replaced(ladders: Callable[..., Ladder], monkeypatch: pytest.MonkeyPatch) -> None:
    """The lane starts another with an IDR and loses at most what was being reordered; the others do not notice."""
    monkeypatch.setattr(lane, "VideoEncoder", Fragile)
    monkeypatch.setattr(Fragile, "failures", 1)
    got = Collector()
    ladder = ladders(CHANNEL, VIDEOS[:1], AUDIOS, got)
    feed(ladder, range(FIRST, FIRST + 30))
    assert ladder.flush(20)
    row = ladder.state()["renditions"]["big"]
    assert (row["errors"], row["restarts"]) == (1, 1)
    assert "the driver is gone" in row["message"]
    assert len(got.units["big"]) == 30 - row["lost"]
    assert row["lost"] <= 3
    assert rising(got.units["big"])
    assert len([u for u in got.units["big"] if u.key]) == 4  # three on the grid, one where it was replaced
    assert ladder.state()["renditions"]["zho"]["errors"] == 0


def test_an_encoder_that_fails_again_at_once_is_given_up_for_another(
    ladders: Callable[..., Ladder], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two failures within a second: the next in the list takes over, and no picture is lost by that."""
    made: list[str] = []

    class Card(VideoEncoder):
        def __init__(self, wish: VideoRendition, channel: ChannelFormat, name: str, **options: Any) -> None:
            super().__init__(wish, channel, "libx264", **options)
            self.name = name
            made.append(name)

        def encode(self, slot: int, picture: av.VideoFrame) -> list[AccessUnit]:
            if self.name == "card" and slot >= FIRST + 5:
                raise av.error.ExternalError(542398533, "the card fell off the bus")
            return super().encode(slot, picture)

    monkeypatch.setattr(lane, "VideoEncoder", Card)
    monkeypatch.setattr(
        capability, "choose", lambda *a, without=frozenset(), **k: "libx264" if "card" in without else "card"
    )
    got = Collector()
    ladder = ladders(CHANNEL, VIDEOS[:1], (), got)
    feed(ladder, range(FIRST, FIRST + 30))
    assert ladder.flush(20)
    assert made[0] == "card"
    assert made[-1] == ladder.state()["renditions"]["big"]["encoder"] == "libx264"
    row = ladder.state()["renditions"]["big"]
    assert len(got.units["big"]) == 30 - row["lost"]
    assert row["lost"] <= 3
    assert "fell off the bus" in row["message"]
    assert rising(got.units["big"])


def test_the_channel_goes_on_while_nothing_encodes(
    ladders: Callable[..., Ladder], monkeypatch: pytest.MonkeyPatch
) -> None:
    got = Collector()
    ladder = ladders(CHANNEL, VIDEOS, AUDIOS, got)
    big = ladder._lanes[0]

    def refuse() -> str:
        raise capability.NoEncoderError("nothing encodes")

    monkeypatch.setattr(big, "_choose", refuse)
    monkeypatch.setattr(lane, "_RETRY", 1000.0)
    big._encoder = None
    feed(ladder, range(FIRST, FIRST + 20))
    assert ladder.flush(20)
    assert got.slots("small") == list(range(FIRST, FIRST + 20))
    row = ladder.state()["renditions"]["big"]
    assert (row["frames"], row["lost"]) == (0, 20)
    assert "nothing encodes" in row["message"]


def test_a_sound_encoder_that_fails_is_replaced_on_the_grid(
    ladders: Callable[..., Ladder], monkeypatch: pytest.MonkeyPatch
) -> None:
    got = Collector()
    ladder = ladders(CHANNEL, (), AUDIOS[:1], got)
    feed(ladder, range(FIRST, FIRST + 10))
    sounds = ladder._sound
    assert sounds is not None
    failing = sounds.lanes[0]
    assert failing._encoder is not None

    def broken(first: int, sound: Sound) -> list[AccessUnit]:
        raise av.error.ExternalError(542398533, "no more")

    monkeypatch.setattr(failing._encoder, "encode", broken)
    feed(ladder, range(FIRST + 10, FIRST + 40))
    assert ladder.flush(20)
    row = ladder.state()["renditions"]["zho"]
    assert (row["errors"], row["restarts"]) == (1, 1)
    assert row["lost"] == CHANNEL.samples_in(FIRST)
    units = got.units["zho"]
    assert rising(units)
    assert all(u.pts % ticks_of_sample(1024) == 0 for u in units)


def test_a_sink_that_raises_is_counted(ladders: Callable[..., Ladder]) -> None:
    def full(name: str, unit: AccessUnit) -> None:
        raise OSError("no space left")

    ladder = ladders(CHANNEL, VIDEOS, AUDIOS, full)
    feed(ladder, range(FIRST, FIRST + 8))
    assert ladder.flush(20)
    rows = ladder.state()["renditions"]
    assert rows["big"]["sink_errors"] == rows["big"]["frames"] == 8


def test_a_slow_reader_holds_push_up_and_memory_down(ladders: Callable[..., Ladder]) -> None:
    gate = threading.Event()
    ladder = ladders(CHANNEL, VIDEOS, (), lambda name, unit: gate.wait(30), depth=2)
    done = threading.Event()

    def push() -> None:
        feed(ladder, range(FIRST, FIRST + 60))
        done.set()

    threading.Thread(target=push, daemon=True).start()
    end = time.monotonic() + 20
    while len(ladder._lanes[0].inbox) < 2 and time.monotonic() < end:
        time.sleep(0.001)
    assert not done.is_set()
    assert ladder.state()["pushed"] < 30
    gate.set()
    assert done.wait(20)
    assert ladder.flush(20)


def test_close_frees_a_pusher_and_is_idempotent(ladders: Callable[..., Ladder]) -> None:
    gate = threading.Event()
    ladder = ladders(CHANNEL, VIDEOS, (), lambda name, unit: gate.wait(30), depth=2)
    results: list[bool] = []

    def push() -> None:
        while not results or results[-1]:
            results.append(ladder.push(FIRST + len(results), moving_picture(0, 160, 90), None))

    pusher = threading.Thread(target=push, daemon=True)
    pusher.start()
    end = time.monotonic() + 20
    while len(ladder._lanes[0].inbox) < 2 and time.monotonic() < end:
        time.sleep(0.001)
    begun = time.monotonic()
    ladder.close()
    assert time.monotonic() - begun < 2
    pusher.join(10)
    assert not pusher.is_alive()
    gate.set()
    ladder.close()
    assert not ladder.push(FIRST + 999, None, None)
    assert not ladder.flush(1)


def test_close_frees_a_flush(ladders: Callable[..., Ladder]) -> None:
    gate = threading.Event()
    ladder = ladders(CHANNEL, VIDEOS, (), lambda name, unit: gate.wait(30), depth=2)
    feed(ladder, range(FIRST, FIRST + 2))
    results: list[bool] = []
    waiter = threading.Thread(target=lambda: results.append(ladder.flush()), daemon=True)
    waiter.start()
    assert not ladder.flush(0.01)
    ladder.close()
    waiter.join(10)
    assert results == [False]
    gate.set()


def test_threads_end(ladders: Callable[..., Ladder]) -> None:
    before = set(threading.enumerate())
    ladder = ladders(CHANNEL, VIDEOS, AUDIOS, Collector())
    feed(ladder, range(FIRST, FIRST + 3))
    ladder.close()
    gc.collect()
    assert set(threading.enumerate()) <= before


def test_half_rate_and_resized_renditions_of_one_channel(ladders: Callable[..., Ladder]) -> None:
    """25p and anamorphic renditions of a 50p channel, the smaller at full rate under a half-rate parent."""
    channel = ChannelFormat(160, 90, Fraction(50))
    videos = (
        VideoRendition("half", 128, 72, 200_000, gop_frames=10, rate_divisor=2),
        VideoRendition("full", 96, 54, 100_000, gop_frames=20),
        VideoRendition("square", 64, 64, 100_000, gop_frames=20),
    )
    got = Collector()
    ladder = ladders(channel, videos, (), got)
    feed(ladder, range(FIRST, FIRST + 45), channel)
    assert ladder.flush(20)
    assert got.slots("half", channel) == list(range(FIRST, FIRST + 45, 2))
    assert got.slots("full", channel) == got.slots("square", channel) == list(range(FIRST, FIRST + 45))
    keys = {name: [u.pts for u in units if u.key] for name, units in got.units.items()}
    assert keys["half"] == keys["full"] == keys["square"]


@pytest.mark.parametrize(
    ("videos", "audios", "word"),
    [
        ((VIDEOS[0], VIDEOS[0]), (), "two renditions are named big"),
        ((), (AudioRendition("a", 64_000, track="fra"),), "no audio track 'fra'"),
        ((VideoRendition("v", 160, 90, 100_000, profile="nonsense"),), (), "refuses its settings"),
        ((VideoRendition("v", 160, 90, 100_000, encoder="no_such"),), (), "no_such"),
    ],
)
def test_contradictions_are_refused_in_a_sentence(videos: Any, audios: Any, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        Ladder(CHANNEL, videos, audios, Collector())


def test_state_is_json_and_tells_rates(ladders: Callable[..., Ladder]) -> None:
    ladder = ladders(CHANNEL, VIDEOS, AUDIOS, Collector())
    feed(ladder, range(FIRST, FIRST + 50))
    assert ladder.flush(20)
    state = json.loads(json.dumps(ladder.state()))
    row = state["renditions"]["big"]
    assert row["encoder"] in capability.VIDEO["h264"]
    assert row["fps"] > 0
    assert 10_000 < row["bit_rate"] < 600_000
    assert row["last_unit"].endswith("Z")
    assert row["vbv_underflows"] == 0
    assert state["last_slot"] == "2027-01-15T08:00:01.960Z"


def test_conduits_close_for_both_sides() -> None:
    conduit: Conduit[int] = Conduit(1)
    assert conduit.put(1)
    conduit.close()
    assert not conduit.put(2)
    assert conduit.get() is None


def test_sound_that_fits_is_passed_on_uncopied() -> None:
    sound = sound_of(CHANNEL, FIRST)
    tracks, mended = repaired(sound, CHANNEL, FIRST)
    assert not mended
    assert all(a is b for a, b in zip(tracks, sound, strict=True))
