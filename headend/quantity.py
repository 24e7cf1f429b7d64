"""What people write for a bit rate, a time or a frame rate, and the exact number it means."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any, Final

from headend.clock import TICKS_PER_SECOND

_NUMBER: Final = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*([A-Za-z/]*)\s*$")
_RATIO: Final = re.compile(r"^\s*(\d{1,30})/([1-9]\d{0,29})\s*$")
_BITS: Final = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}
_SECONDS: Final = {
    "": Fraction(1),
    "s": Fraction(1),
    "ms": Fraction(1, 1000),
    "min": Fraction(60),
    "h": Fraction(3600),
    "d": Fraction(86_400),
}
_NTSC: Final = {
    "23.976": Fraction(24000, 1001),
    "23.98": Fraction(24000, 1001),
    "29.97": Fraction(30000, 1001),
    "59.94": Fraction(60000, 1001),
}


def bit_rate(value: Any) -> int:
    """Bit/s of ``2500k``, ``2.5M``, ``2.5 Mbit/s`` or a plain number. Raises ValueError."""
    found = _NUMBER.match(_text(value))
    unit = found[2].lower().removesuffix("bit/s").removesuffix("bps").removesuffix("b/s") if found else "?"
    if not found or unit not in _BITS:
        raise ValueError(f"{value!r} is no bit rate; write it like 2500k or 2.5M")
    bits = Fraction(found[1]) * _BITS[unit]
    if bits.denominator != 1 or not 1 <= bits <= 10**12:
        raise ValueError(f"{value!r} is no bit rate of a whole number of bit/s")
    return int(bits)


def seconds(value: Any) -> Fraction:
    """Exact seconds of ``4``, ``2.002``, ``1001/500``, ``500 ms``, ``10 min`` or ``2 h``. Raises ValueError."""
    if isinstance(value, Fraction):
        return value
    if ratio := _RATIO.match(_text(value)):
        return Fraction(int(ratio[1]), int(ratio[2]))
    found = _NUMBER.match(_text(value))
    if not found or found[2].lower() not in _SECONDS:
        raise ValueError(f"{value!r} is no time; write seconds like 4 or 2.5, or with a unit: 500 ms, 10 min, 2 h")
    return Fraction(found[1]) * _SECONDS[found[2].lower()]


def frame_rate(value: Any) -> Fraction:
    """Pictures a second of ``25``, ``30000/1001`` or ``29.97`` (which means 30000/1001). Raises ValueError."""
    text = _text(value).strip()
    try:
        rate = _NTSC.get(text) or Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"{value!r} is no frame rate; write it like 25, 50 or 30000/1001") from None
    if not 1 <= rate <= 240:
        raise ValueError(f"a frame rate of {text} is outside 1 to 240 pictures a second")
    if (TICKS_PER_SECOND / rate).denominator != 1:
        raise ValueError(
            f"a frame rate of {text} has no whole number of 27 MHz ticks per picture, so timestamps would drift; "
            "use a broadcast rate such as 25, 50 or 30000/1001"
        )
    return rate


def _text(value: Any) -> str:
    # repr of a float is its shortest decimal, which is what was written.
    return repr(value) if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
