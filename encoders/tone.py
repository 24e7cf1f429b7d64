"""Line-up tone: 1 kHz at -18 dBFS with the gaps that tell the channels apart (EBU R 68, EBU Tech 3304).

In stereo the left channel is interrupted for a quarter of a second every three seconds and the right never is. In 5.1
the others have gaps of their own number in the same three seconds: centre two, LFE (80 Hz) three, left surround four,
right surround five; a single channel has none. Sample s since the epoch is a function of s, so two machines agree.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from encoders.format import SAMPLE_RATE
from encoders.source import Sound

LEVEL_DBFS: Final = -18.0
"""Peak of the sine below full scale: EBU alignment level."""
PERIOD: Final = 3 * SAMPLE_RATE
"""Samples after which everything repeats: 1 kHz and 80 Hz fit in it a whole number of times."""
GAP: Final = SAMPLE_RATE // 4
"""Samples of the left channel's gap."""

_GAPS: Final = {1: (0,), 2: (1, 0), 6: (1, 0, 2, 3, 4, 5)}
_EDGE: Final = 96
"""Samples of a gap's slopes, 2 ms: no click."""


class Tone:
    """The tone of one track of 1, 2 or 6 channels."""

    def __init__(self, channels: int, level: float = LEVEL_DBFS) -> None:
        moment = np.arange(PERIOD) / SAMPLE_RATE
        gaps = _GAPS.get(channels, (0,) * channels)
        rows = []
        for number, count in enumerate(gaps):
            hertz = 80 if channels == 6 and number == 3 else 1000
            rows.append(10 ** (level / 20) * np.sin(2 * np.pi * hertz * moment) * _envelope(count))
        one = np.stack(rows).astype(np.float32)
        # The beginning again after the end: a slot is always one view, never a copy.
        self._samples: Sound = np.concatenate([one, one], axis=1)
        self._samples.flags.writeable = False

    def samples(self, first: int, count: int) -> Sound:
        """``count`` (at most 3 s) samples from number ``first`` on, shape (channels, count), read-only."""
        start = first % PERIOD
        return self._samples[:, start : start + count]


def in_gap(sample: int) -> bool:
    """Whether the left channel is interrupted at a sample: a picture may show it, so that sound can be seen to fit."""
    return sample % PERIOD < GAP


def _envelope(count: int) -> NDArray[np.float64]:
    """1 with ``count`` gaps at the beginning of the period."""
    envelope = np.ones(PERIOD)
    length = GAP if count == 1 else GAP // 2
    slope = (1 + np.cos(np.linspace(0, np.pi, _EDGE))) / 2
    for number in range(count):
        at = number * 2 * length
        envelope[at : at + length] = 0
        envelope[at : at + _EDGE] = slope
        envelope[at + length - _EDGE : at + length] = slope[::-1]
    return envelope
