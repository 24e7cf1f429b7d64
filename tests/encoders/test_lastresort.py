"""Whatever the slate does, there is a picture."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest

from encoders.format import ChannelFormat
from encoders.herald import Herald
from encoders.lastresort import LastResort, black
from encoders.source import Slice

FORMAT = ChannelFormat(160, 90, Fraction(25))


class Slate:
    name = "slate"

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def open(self, first: int) -> None:
        if isinstance(self.answer, Exception):
            raise self.answer

    def ready(self, slot: int) -> bool:
        return True

    def pull(self, slot: int, wait: float = 0.0) -> Slice | None:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer  # type: ignore[no-any-return]

    def state(self) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        self.open(0)


@pytest.mark.parametrize(
    ("answer", "errors"),
    [
        (None, 0),
        (Slice(None, None), 0),
        (Slice(av.VideoFrame(80, 46, "yuv420p"), None), 0),
        (Slice(av.VideoFrame(160, 90, "rgb24"), None), 0),
        (RuntimeError("no font"), 3),
    ],
)
def test_a_slate_that_fails_is_black(answer: Any, errors: int) -> None:
    herald = Herald()
    resort = LastResort(FORMAT, Slate(answer), herald)
    resort.open(0)
    picture, slice = resort.pull(5)
    assert picture is resort.black is slice.picture
    assert slice.sound is None
    resort.close()
    assert herald.errors == errors


def test_a_slate_that_works_is_shown() -> None:
    good = Slice(av.VideoFrame(160, 90, "yuv420p"), [np.zeros((2, 1920), np.float32)])
    picture, slice = LastResort(FORMAT, Slate(good), Herald()).pull(5)
    assert picture is good.picture
    assert slice is good
    assert LastResort(FORMAT, None, Herald()).pull(5)[0].width == 160


@pytest.mark.parametrize("deep", [False, True])
def test_black_is_black(deep: bool) -> None:
    picture = black(ChannelFormat(160, 90, Fraction(25), ten_bit=deep))
    assert (picture.width, picture.height, picture.format.name) == (160, 90, "yuv420p10le" if deep else "yuv420p")
    rgb = picture.to_ndarray(format="rgb24")
    assert int(rgb.max()) <= 1
