"""The stack: one copy, the source's picture untouched, an overlay that fails costs only itself."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
from PIL import Image

from encoders.canvas import OPAQUE, Planes, picture_of, planes_of
from encoders.format import ChannelFormat
from encoders.overlay import Drawing, OverlayStack

FORMAT = ChannelFormat(160, 90, Fraction(25))


class Spot(Drawing):
    """Writes a value at a place."""

    def __init__(self, name: str, place: int, fade: float = 0.0, shown: bool = True) -> None:
        super().__init__(name, FORMAT, fade, shown)
        self.place = place

    def paint(self, slot: int, planes: Planes) -> None:
        planes[0][0, self.place] = 200


class Broken(Spot):
    """Fails in every picture."""

    def paint(self, slot: int, planes: Planes) -> None:
        raise ArithmeticError("no")


def picture(format: ChannelFormat = FORMAT) -> av.VideoFrame:
    return picture_of(Image.new("RGB", (format.width, format.height), (10, 20, 30)), format)


def test_all_are_drawn_on_one_copy_and_the_source_stays_as_it_was() -> None:
    source = picture()
    before = [plane.copy() for plane in planes_of(source)]
    stack = OverlayStack(FORMAT, [Spot("a", 3), Spot("b", 5)])
    out = stack.draw(7, source)
    assert out is not source
    assert (planes_of(out)[0][0, 3], planes_of(out)[0][0, 5]) == (200, 200)
    assert all(np.array_equal(a, b) for a, b in zip(before, planes_of(source), strict=True))
    assert planes_of(stack.draw(8, source))[0][0, 3] == 200  # a held picture is drawn again


def test_nothing_visible_means_no_copy() -> None:
    source = picture()
    assert OverlayStack(FORMAT, [Spot("a", 3, shown=False)]).draw(0, source) is source
    assert OverlayStack(FORMAT).draw(0, source) is source
    assert Spot("a", 3, shown=False).draw(0, source) is source
    assert Spot("a", 3).draw(0, source) is not source


def test_a_failing_overlay_is_counted_and_the_others_are_drawn() -> None:
    stack = OverlayStack(FORMAT, [Broken("bad", 1), Spot("good", 5)])
    for slot in range(3):
        assert planes_of(stack.draw(slot, picture()))[0][0, 5] == 200
    state = stack.state()
    assert state["errors"] == {"bad": 3}
    assert "bad" in state["message"]
    assert [o["name"] for o in state["overlays"]] == ["bad", "good"]


def test_a_picture_of_another_size_goes_out_without_overlays() -> None:
    other = picture(ChannelFormat(64, 64, Fraction(25)))
    stack = OverlayStack(FORMAT, [Spot("a", 3)])
    assert stack.draw(0, other) is other
    assert "64x64" in stack.state()["message"]


def test_fades_go_up_and_down_slot_by_slot() -> None:
    spot = Spot("a", 3, fade=0.2, shown=False)
    assert spot.opacity(100) == 0
    spot.show(110)
    assert spot.opacity(109) == 0
    rising = [spot.opacity(slot) for slot in range(110, 116)]
    assert rising == sorted(rising)
    assert 0 < rising[0] < OPAQUE
    assert rising[-1] == OPAQUE
    spot.hide()
    falling = [spot.opacity(slot) for slot in range(200, 206)]
    assert falling == sorted(falling, reverse=True)
    assert falling[-1] == 0
    assert not spot.visible(206)


def test_an_overlay_is_found_by_name() -> None:
    stack = OverlayStack(FORMAT, [Spot("a", 3), Spot("b", 4)])
    assert stack["b"].name == "b"
