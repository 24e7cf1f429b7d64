"""Music: of the length asked for, soft, never clipped, the same each time."""

from __future__ import annotations

import numpy as np
import pytest

from headend.music import PROGRESSIONS, compose


@pytest.mark.parametrize("mood", sorted(PROGRESSIONS))
@pytest.mark.parametrize("seconds", [0.5, 3.3])
def test_music(mood: str, seconds: float) -> None:
    music = compose(seconds, mood, beat=0.25)
    assert music.shape == (2, round(seconds * 48_000))
    assert music.dtype == np.float32
    assert 0.001 < np.abs(music).max() <= 0.46
    assert np.abs(music[:, [0, -1]]).max() < 1e-3
    assert np.array_equal(music, compose(seconds, mood, beat=0.25))
    assert not np.array_equal(music[0], music[1])
