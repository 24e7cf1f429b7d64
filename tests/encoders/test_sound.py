"""Sound: the coefficients of BS.775, the right number of samples, and every sample in its place."""

from __future__ import annotations

from itertools import pairwise

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders.format import AudioTrack
from encoders.sound import SoundBuffer, SoundConformer, SoundLine, first_sample_of, language, match_tracks, mixing

HALF = np.sqrt(0.5)
SURROUND = ["FL", "FR", "FC", "LFE", "SL", "SR"]


def frame(
    samples: int,
    rate: int = 48_000,
    layout: str = "stereo",
    kind: str = "fltp",
    value: float | None = None,
    at: int = 0,
) -> av.AudioFrame:
    channels = {"mono": 1, "stereo": 2, "5.1": 6}[layout]
    wave = (
        np.full(samples, value)
        if value is not None
        else np.sin(2 * np.pi * 1000 * (at + np.arange(samples)) / rate) / 2
    )
    array = np.repeat(wave[None], channels, axis=0).astype(np.float32)
    made = av.AudioFrame.from_ndarray(
        (array.T * 32767).astype(np.int16).reshape(1, -1) if kind == "s16" else array, kind, layout
    )
    made.sample_rate = rate
    return made


def test_downmix_of_surround_is_that_of_bs775() -> None:
    expected = np.array([[1, 0, HALF, 0, HALF, 0], [0, 1, HALF, 0, 0, HALF]], np.float32)
    np.testing.assert_allclose(mixing(SURROUND, 2), expected)
    np.testing.assert_allclose(mixing(SURROUND, 1), expected.sum(axis=0, keepdims=True) * HALF, atol=1e-6)


def test_upmixes() -> None:
    np.testing.assert_allclose(mixing(["FC"], 2), [[HALF], [HALF]])
    up = mixing(["FL", "FR"], 6)
    assert up is not None
    np.testing.assert_array_equal(up, np.eye(6, 2))
    assert mixing(["FL", "FR"], 2) is None
    assert mixing(SURROUND, 6) is None
    assert mixing(["FC"], 1) is None
    with pytest.raises(ValueError, match="4 channels"):
        mixing(["FC"], 4)


def test_mono_of_mono_written_as_stereo_is_itself() -> None:
    up, down = mixing(["FC"], 2), mixing(["FL", "FR"], 1)
    assert up is not None
    assert down is not None
    np.testing.assert_allclose(down @ up, [[1.0]], atol=1e-6)


@given(
    st.lists(
        st.sampled_from([*SURROUND, "BL", "BR", "BC", "DL", "DR", "UNK", "TFL"]), min_size=1, max_size=12, unique=True
    ),
    st.sampled_from([1, 2, 6]),
)
def test_any_layout_has_a_finite_matrix(names: list[str], channels: int) -> None:
    matrix = mixing(names, channels)
    assert matrix is None or (
        matrix.shape == (channels, len(names)) and np.isfinite(matrix).all() and (abs(matrix) <= 2).all()
    )


@pytest.mark.parametrize(
    ("rate", "kind"), [(44_100, "fltp"), (32_000, "s16"), (96_000, "fltp"), (48_000, "s16"), (22_050, "s16")]
)
def test_resampling_keeps_every_sample_and_flushes_its_tail(rate: int, kind: str) -> None:
    conformer = SoundConformer([2])
    blocks = [
        b for n in range(50) for b in conformer.convert(frame(1024, rate, kind=kind, at=1024 * n))
    ] + conformer.flush()
    out = np.concatenate([b[0] for b in blocks], axis=1)
    assert abs(out.shape[1] - 50 * 1024 * 48_000 / rate) <= 1
    wave = np.sin(2 * np.pi * 1000 * np.arange(out.shape[1]) / 48_000) / 2
    np.testing.assert_allclose(out[0, 500:-500], wave[500:-500], atol=2e-3)


def test_layout_rate_and_format_may_change() -> None:
    conformer = SoundConformer([2, 1])
    total = 0
    for made in (frame(1024), frame(1024, layout="5.1"), frame(1000, 44_100, "mono", "s16"), frame(1024)):
        for stereo, mono in conformer.convert(made):
            assert (stereo.shape[0], mono.shape[0]) == (2, 1)
            total += stereo.shape[1]
    total += sum(b[0].shape[1] for b in conformer.flush())
    assert abs(total - (3 * 1024 + 1000 * 48_000 / 44_100)) <= 2


@pytest.mark.parametrize("kind", ["fltp", "s32p", "s16"])
def test_eight_channels_do_not_crash_the_process(kind: str) -> None:
    wave = np.repeat(np.full((1, 512), 0.25, np.float32), 8, axis=1)
    packed = av.AudioFrame.from_ndarray(wave, "flt", "7.1")
    packed.sample_rate = 48_000
    (planar,) = av.AudioResampler(format=kind).resample(packed)
    (block,) = SoundConformer([2]).convert(planar)
    np.testing.assert_allclose(block[0], 0.25 * (1 + 3 * HALF), atol=1e-3)


def test_gain_costs_nothing_but_counts() -> None:
    (block,) = SoundConformer([2], gain_db=20 * np.log10(0.5)).convert(frame(64, value=0.5))
    np.testing.assert_allclose(block[0], 0.25, atol=1e-6)


def test_languages() -> None:
    assert language("chi") == language("zh") == "zho"
    assert language(None) == "und"
    tracks = [AudioTrack("zho"), AudioTrack("eng"), AudioTrack("fra")]
    assert match_tracks(tracks, ["eng", "chi"]) == [1, 0, 0]
    assert match_tracks(tracks, []) == [None, None, None]


def test_line_ignores_jitter_follows_offsets_and_leaves_gaps() -> None:
    line = SoundLine([2])
    ends = []
    for n in range(20):
        for at, block in line.push(frame(1000), 1000 * n + (n % 3 - 1) * 40):
            ends.append((at, at + block[0].shape[1]))
    assert all(a[1] == b[0] for a, b in pairwise(ends))
    assert line.moves == 0
    ((at, _),) = line.push(frame(1000), 30_000)
    assert at == 30_000
    assert line.moves == 1
    for n in range(1, 40):
        blocks = line.push(frame(1000), 30_000 + 1000 * n + 150)
    assert blocks[0][0] == 30_000 + 39_000 + 150
    assert line.moves == 2


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(1, 120)), max_size=12), st.integers(1, 90))
def test_buffer_gives_what_was_put_and_silence_elsewhere(puts: list[tuple[int, int]], step: int) -> None:
    buffer, model, end = SoundBuffer(1), np.zeros(600, np.float32), 0
    for n, (at, count) in enumerate(sorted(puts)):
        value = np.float32(n + 1)
        buffer.put(at, np.full((1, count), value))
        begin = max(at, end)
        model[begin : at + count] = value if begin < at + count else model[begin : at + count]
        end = max(end, at + count)
    for first in range(0, 540, step):
        got = buffer.take(first, first + step)
        want = model[first : first + step]
        assert (got is None and not want.any()) or (got is not None and np.array_equal(got[0], want[: got.shape[1]]))


def test_samples_of_instants() -> None:
    assert [first_sample_of(t) for t in (0, 281, 282, 562, 563, 1125)] == [0, 0, 1, 1, 1, 2]
