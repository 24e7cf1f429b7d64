"""What is drawn on the channel's picture after the source was chosen: logo, clock, crawl, banner.

Every overlay is a function of the slot, so that two machines that make the same channel draw the same picture.
A stack copies the source's picture once (a held picture is drawn again in the next slot, and an encoder may still be
reading the last one) and lets each overlay paint on the copy. An overlay that fails is left out, counted and told;
the channel goes on.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Any, Protocol

import av

from encoders.canvas import OPAQUE, Planes, copy_picture, planes_of
from encoders.format import ChannelFormat


class Overlay(Protocol):
    """Something drawn on a picture."""

    name: str

    def visible(self, slot: int) -> bool:
        """Whether ``paint`` would change the picture of a slot."""
        ...

    def paint(self, slot: int, planes: Planes) -> None:
        """Draw on samples that belong to the caller."""
        ...

    def draw(self, slot: int, picture: av.VideoFrame) -> av.VideoFrame:
        """A picture with the overlay on it: a copy, or ``picture`` itself when there is nothing to draw."""
        ...

    def state(self) -> dict[str, Any]:
        """``name, kind, shown`` and what is particular to the kind."""
        ...


class Drawing:
    """What overlays have in common: drawing alone, showing and hiding with a fade.

    ``fade`` is the seconds that appearing and disappearing take.
    """

    def __init__(self, name: str, format: ChannelFormat, fade: float = 0.0, shown: bool = True) -> None:
        self.name = name
        self.format = format
        self._fade = max(int(Fraction(fade).limit_denominator(1000) * format.rate), 0)
        self._shown = shown
        self._since: int | None = None
        self._turn = False

    def show(self, slot: int | None = None) -> None:
        """Appear from ``slot`` on, fading in; None: from the next picture on."""
        self._switch(True, slot)

    def hide(self, slot: int | None = None) -> None:
        """Disappear from ``slot`` on, fading out; None: from the next picture on."""
        self._switch(False, slot)

    def _switch(self, shown: bool, slot: int | None) -> None:
        if shown != self._shown:
            self._shown = shown
            self._since = slot
            self._turn = slot is None

    def opacity(self, slot: int) -> int:
        """0 ... 256: how far the fade has come at a slot."""
        if self._turn:
            self._since, self._turn = slot, False
        if self._since is None:
            return OPAQUE if self._shown else 0
        passed = slot - self._since
        if passed < 0:
            return 0 if self._shown else OPAQUE
        come = OPAQUE if passed >= self._fade else OPAQUE * (passed + 1) // (self._fade + 1)
        return come if self._shown else OPAQUE - come

    def visible(self, slot: int) -> bool:
        """Whether there is something to draw at a slot."""
        return self.opacity(slot) > 0

    def paint(self, slot: int, planes: Planes) -> None:
        """Draw on samples that belong to the caller."""
        raise NotImplementedError

    def draw(self, slot: int, picture: av.VideoFrame) -> av.VideoFrame:
        """A copy of ``picture`` with the overlay on it, or ``picture`` itself when there is nothing to draw."""
        if not self.visible(slot):
            return picture
        copy = copy_picture(picture)
        self.paint(slot, planes_of(copy))
        return copy

    def state(self) -> dict[str, Any]:
        """``name, kind, shown``."""
        return {"name": self.name, "kind": type(self).__name__.lower(), "shown": self._shown}


class OverlayStack:
    """The overlays of a channel, drawn in order, the last on top."""

    def __init__(self, format: ChannelFormat, overlays: Iterable[Overlay] = ()) -> None:
        self.format = format
        self.overlays: list[Overlay] = list(overlays)
        self._errors: dict[str, int] = {}
        self._message = ""
        self._drawn = 0

    def draw(self, slot: int, picture: av.VideoFrame) -> av.VideoFrame:
        """A picture with every visible overlay on it: a copy, or ``picture`` itself if there is none. Never raises."""
        copy: av.VideoFrame | None = None
        planes: Planes | None = None
        for overlay in list(self.overlays):
            try:
                if not overlay.visible(slot):
                    continue
                if planes is None:
                    if (picture.width, picture.height, picture.format.name) != (
                        self.format.width,
                        self.format.height,
                        self.format.pixel_format,
                    ):
                        raise ValueError(
                            f"a picture of {picture.width}x{picture.height} {picture.format.name} came to a channel of "
                            f"{self.format.width}x{self.format.height} {self.format.pixel_format}; "
                            "it is shown without overlays"
                        )
                    copy = copy_picture(picture)
                    planes = planes_of(copy)
                overlay.paint(slot, planes)
            except Exception as error:  # the signal goes on without this overlay; the fault is counted and told
                self._errors[overlay.name] = self._errors.get(overlay.name, 0) + 1
                self._message = f"overlay {overlay.name}: {error}"
        self._drawn += copy is not None
        return picture if copy is None else copy

    def __getitem__(self, name: str) -> Overlay:
        """The overlay of a name. Raises KeyError."""
        for overlay in self.overlays:
            if overlay.name == name:
                return overlay
        raise KeyError(name)

    def state(self) -> dict[str, Any]:
        """``overlays`` (their states), ``pictures`` drawn on, ``errors`` per overlay, ``message`` of the last error."""
        return {
            "overlays": [overlay.state() for overlay in self.overlays],
            "pictures": self._drawn,
            "errors": dict(self._errors),
            "message": self._message,
        }
