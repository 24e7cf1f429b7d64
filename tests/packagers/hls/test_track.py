"""Which folders a channel has, and what they make of cuts."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from headend.accessunit import AccessUnit, StreamFormat
from packagers.hls.collector import Cut
from packagers.hls.track import CmafFolder, Makers, TransportFolder, folders, state_of

H264 = StreamFormat("video", "h264")
HEVC = StreamFormat("video", "hevc")
UNIT = AccessUnit(0, 0, 1, True, b"x")


def audio(language: str, codec: str = "aac") -> StreamFormat:
    return StreamFormat("audio", codec, language=language)  # type: ignore[arg-type]


class Counting:
    def __init__(self, formats: Sequence[StreamFormat]) -> None:
        self.cc = 0

    def segment(self, units: Sequence[Sequence[AccessUnit]], *, start: int, end: int) -> bytes:
        self.cc += 1
        if units[0][0].data == b"!":
            raise ValueError("broken")
        return b"%d" % self.cc

    def counters(self) -> dict[str, int]:
        return {"cc": self.cc}

    def restore(self, counters: dict[str, int]) -> None:
        self.cc = counters["cc"]


def no_cmaf(fmt: StreamFormat) -> CmafFolder:
    raise AssertionError("not asked for")


MAKERS = Makers(no_cmaf, Counting, lambda fmt, unit: "")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("streams", "names"),
    [
        ({"z": audio("zho"), "e": audio("eng"), "v": H264}, ["v", "z", "e", "ts-v:v+z", "ts-e:e"]),
        ({"v": H264}, ["v", "ts-v:v"]),
        ({"z": audio("zho"), "e": audio("eng")}, ["z", "e", "ts-z:z", "ts-e:e"]),
        # HEVC is fragmented MP4 only, MPEG audio transport stream only; a language once per transport stream.
        ({"h": HEVC, "v": H264, "m": audio("zho", "mp2"), "z": audio("zho")}, ["h", "v", "z", "ts-v:v+m"]),
        ({"h": HEVC}, ["h"]),
    ],
)
def test_folders(streams: dict[str, StreamFormat], names: list[str]) -> None:
    made = folders(streams, ("cmaf", "ts"), MAKERS)
    assert [f.name + (":" + "+".join(f.sources) if f.container == "ts" else "") for f in made] == names
    assert folders(streams, ("ts",), MAKERS) == [] or all(
        f.container == "ts" for f in folders(streams, ("ts",), MAKERS)
    )


def cut(*, gap: bool = False, data: bytes = b"x", empty: bool = False) -> Cut:
    unit = AccessUnit(0, 0, 1, True, data)
    return Cut(() if empty else (unit,), 0, 10, gap, H264)


def test_counters_pass_over_gaps_and_failures() -> None:
    folder = TransportFolder("ts-v", ["v", "a"], MAKERS)
    both = {"v": cut(), "a": cut()}
    assert folder.make(1, both, {}).data == b"1"
    assert folder.make(2, {**both, "v": cut(gap=True)}, {}).gap
    with pytest.raises(ValueError, match="broken"):
        folder.make(3, {**both, "v": cut(data=b"!")}, {})
    assert folder.make(4, both, {}).data == b"2"
    assert folder.counters == {"cc": 2}
    successor = TransportFolder("ts-v", ["v", "a"], MAKERS)
    successor.counters = folder.counters
    assert successor.make(5, both, {}).data == b"3"


def test_pictures_without_sound_are_better_than_a_gap() -> None:
    folder = TransportFolder("ts-v", ["v", "a"], MAKERS)
    made = folder.make(1, {"v": cut(), "a": cut(gap=True, empty=True)}, {})
    assert not made.gap
    assert state_of(folder)["without_sound"] == 1
    assert folder.make(2, {"v": cut(gap=True, empty=True), "a": cut()}, {}).data is None


def test_without_parameters_there_is_nothing_to_frame() -> None:
    folder = CmafFolder("v", "v")
    made = folder.make(1, {"v": cut()}, {})
    assert made.gap
    assert made.data is None
    assert state_of(folder) == {"container": "cmaf", "sources": ["v"]}
