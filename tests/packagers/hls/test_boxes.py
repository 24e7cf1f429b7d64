"""Boxes: what is written can be walked, and damage is said."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packagers.hls import boxes


@given(st.binary(max_size=200))
def test_walking_any_bytes_yields_boxes_or_value_error(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert sum(8 + len(body) for _, body in boxes.walk(data)) <= len(data)


def test_a_truncated_box_is_named() -> None:
    with pytest.raises(ValueError, match=r"b'mdat' at byte 8 is truncated"):
        list(boxes.walk(boxes.box(b"free") + boxes.box(b"mdat", b"12345678")[:-1]))


@pytest.mark.parametrize(
    ("code", "packed"), [("und", 0x55C4), ("zho", 0x690F), ("ENG", 0x15C7), ("zh", 0x55C4), ("", 0x55C4)]
)
def test_a_language_is_packed_into_15_bits(code: str, packed: int) -> None:
    assert boxes.language(code) == packed


@given(
    st.lists(
        st.tuples(*[st.integers(1, 2**31)] * 2, st.booleans(), st.integers(-(2**31), 2**31 - 1)), min_size=1, max_size=9
    )
)
def test_the_data_offset_points_behind_the_header_of_mdat(rows: list[tuple[int, int, bool, int]]) -> None:
    samples = [boxes.Sample(d, s, boxes.SYNC if key else boxes.NON_SYNC, o) for d, s, key, o in rows]
    moof = boxes.fragment(1, 2**40, samples)
    run = dict(boxes.walk(dict(boxes.walk(dict(boxes.walk(moof))[b"moof"]))[b"traf"]))[b"trun"]
    count, offset = struct.unpack(">II", run[4:12])
    assert (count, offset) == (len(samples), len(moof) + 8)
