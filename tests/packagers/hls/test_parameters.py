"""What counts as a change of parameters."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from headend.accessunit import AccessUnit, StreamFormat
from packagers.hls.collector import Cut
from packagers.hls.journal import Ledger
from packagers.hls.parameters import ParameterBook
from packagers.hls.track import Makers

FMT = StreamFormat("video", "h264")


class Initials:
    """The first byte of a key unit is its parameters."""

    def __init__(self, fmt: StreamFormat) -> None:
        self.fmt = fmt

    def init(self, first: AccessUnit) -> bytes:
        if first.data[:1] == b"!":
            raise ValueError("no parameter sets")
        return first.data[:1]

    def fragment(self, units: Sequence[AccessUnit], *, end: int | None = None, sequence: int = 0) -> bytes:
        return b""


MAKERS = Makers(Initials, lambda formats: None, lambda fmt, unit: f"codec-{unit.data[:1].decode()}")  # type: ignore[arg-type,return-value]


def cut(*data: bytes, gap: bool = False, fmt: StreamFormat = FMT) -> Cut:
    units = tuple(AccessUnit(i, i, 1, True, piece, i) for i, piece in enumerate(data))
    return Cut(units, 0, 10, gap, fmt)


def book(ledger: Ledger | None = None) -> ParameterBook:
    return ParameterBook(MAKERS, ledger or Ledger(), {"v"})


def test_versions_count_changes_only() -> None:
    ledger = Ledger()
    made = book(ledger)
    changes = [made.learn("v", cut(letter))[1] for letter in (b"A1", b"A2", b"B1", b"B2", b"A1")]
    assert changes == [False, False, True, False, True]
    assert ledger.inits["v"][0] == 2
    assert ledger.codecs["v"] == "codec-A"
    # A successor goes on from the ledger.
    assert book(ledger).learn("v", cut(b"A9")) == (cut(b"A9"), False)


def test_a_change_inside_is_a_gap_and_teaches_nothing() -> None:
    made = book()
    made.learn("v", cut(b"A1"))
    result, changed = made.learn("v", cut(b"A1", b"B1"))
    assert result.gap
    assert not changed
    assert made.mixed == 1
    assert made.current["v"].init == b"A"


def test_a_stream_that_is_not_framed_is_known_by_its_format() -> None:
    made = book()
    assert not made.learn("ts-only", cut(b"!"))[1]
    assert made.current["ts-only"].maker is None
    assert made.learn("ts-only", cut(b"!", fmt=StreamFormat("video", "h264", width=2)))[1]


def test_partial_media_is_shown_only_if_players_can_decode_it() -> None:
    made = book()
    assert made.strange("v", cut(b"A", gap=True))
    made.learn("v", cut(b"A"))
    assert not made.strange("v", cut(b"A", gap=True))
    assert made.strange("v", cut(b"A", b"B", gap=True))
    assert made.strange("v", cut(b"!", gap=True))
    assert made.strange("v", cut(gap=True))
    assert made.strange("v", cut(b"A", gap=True, fmt=StreamFormat("video", "hevc")))


def test_what_cannot_be_read_is_raised_to_the_owner() -> None:
    with pytest.raises(ValueError, match="no parameter sets"):
        book().learn("v", cut(b"!"))
