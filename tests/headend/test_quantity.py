"""What people write for numbers."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.quantity import bit_rate, frame_rate, seconds


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2500k", 2_500_000),
        ("2.5M", 2_500_000),
        (128000, 128_000),
        ("0.064 Mbit/s", 64_000),
        ("1G", 10**9),
        ("96kbps", 96_000),
    ],
)
def test_bit_rates(written: Any, meant: int) -> None:
    assert bit_rate(written) == meant


@pytest.mark.parametrize("written", ["", "fast", "-5k", "1.0001", "5kB", None, True, [1], "1e9", "0"])
def test_no_bit_rates(written: Any) -> None:
    with pytest.raises(ValueError, match="bit rate"):
        bit_rate(written)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (4, 4),
        (2.002, Fraction(1001, 500)),
        ("500 ms", Fraction(1, 2)),
        ("10min", 600),
        ("2 h", 7200),
        ("1001/500", Fraction(1001, 500)),
        (0.1, Fraction(1, 10)),
    ],
)
def test_seconds(written: Any, meant: Any) -> None:
    assert seconds(written) == meant


@given(st.fractions(0, 10**6, max_denominator=10**12))
def test_every_time_survives_being_written_as_json(time: Fraction) -> None:
    assert seconds(str(time)) == time


@pytest.mark.parametrize("written", ["soon", "-1", "5 parsecs", "1/0", None, {}, "07:00:00"])
def test_no_seconds(written: Any) -> None:
    with pytest.raises(ValueError, match="is no time"):
        seconds(written)


@pytest.mark.parametrize(
    ("written", "meant"), [(25, 25), ("30000/1001", Fraction(30000, 1001)), (59.94, Fraction(60000, 1001))]
)
def test_frame_rates(written: Any, meant: Any) -> None:
    assert frame_rate(written) == meant


@pytest.mark.parametrize("written", ["x", 0, 1000, "25/0", 24.5, "nan", "inf"])
def test_no_frame_rates(written: Any) -> None:
    with pytest.raises(ValueError, match="frame rate"):
        frame_rate(written)
