"""Sound encoders: frames on the house grid, to the sample, whenever they were started."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import av
import numpy as np
import pytest
from av.audio.codeccontext import AudioCodecContext
from hypothesis import given
from hypothesis import strategies as st

from encoders.audio import AudioEncoder, first_frame, mixed, sample_at, ticks_of_sample
from encoders.format import ChannelFormat
from encoders.rendition import FRAME_SAMPLES, AudioRendition
from encoders.source import Sound
from headend.accessunit import AccessUnit
from headend.clock import TICKS_PER_SECOND

EPOCH = 1_800_000_000 * 48_000
CODECS = [("aac", "aac"), ("ac3", "ac3"), ("eac3", "eac3"), ("mp2", "mp2"), ("opus", "libopus")]
DECODERS = {"mp2": "mp2float", "opus": "libopus"}
RATES = [Fraction(24000, 1001), Fraction(25), Fraction(30000, 1001), Fraction(50), Fraction(60000, 1001)]


def noise(count: int, channels: int = 2) -> Sound:
    """Low-pass noise: something that every codec keeps, with one sharp place in its correlation."""
    rng = np.random.default_rng(4)
    white = rng.normal(size=(channels, count + 16))
    return (0.1 * sum(white[:, k : k + count] for k in range(8))).astype(np.float32)


def encode(encoder: AudioEncoder, first: int, sound: Sound, step: int = 1920) -> list[AccessUnit]:
    units: list[AccessUnit] = []
    for at in range(0, sound.shape[1], step):
        units += encoder.encode(first + at, sound[:, at : at + step])
    return units


def decoded(codec: str, extradata: bytes, units: Sequence[AccessUnit], frame: int) -> Sound:
    """Samples from the first unit's PTS on, one channel."""
    decoder = av.CodecContext.create(DECODERS.get(codec, codec), "r")
    assert isinstance(decoder, AudioCodecContext)
    decoder.extradata = extradata or None
    heard = np.zeros(len(units) * frame, np.float32)
    for k, unit in enumerate(units):
        for got in decoder.decode(av.Packet(unit.data)):
            samples = got.to_ndarray() / (32768 if "s16" in got.format.name else 1)
            line = samples[0] if got.format.is_planar else samples.reshape(-1, len(got.layout.channels))[:, 0]
            # A decoder that drops a codec's start-up (Opus) drops it from the front of its first frame.
            heard[(k + 1) * frame - len(line) : (k + 1) * frame] = line
    return heard


def lag(heard: Sound, given: Sound) -> int:
    """By how many samples ``heard`` is late."""
    size = 1 << 17
    product = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(given, size)))
    peak = int(np.argmax(product))
    return peak - size if peak > size // 2 else peak


@pytest.mark.parametrize(
    ("codec", "name", "channels"),
    [(codec, name, channels) for codec, name in CODECS for channels in (1, 2, 6) if (codec, channels) != ("mp2", 6)],
)
def test_what_is_decoded_lies_where_the_pts_says(codec: str, name: str, channels: int) -> None:
    frame = FRAME_SAMPLES[codec]
    first = EPOCH + 777
    encoder = AudioEncoder(AudioRendition("a", 192_000, codec, channels), name)  # type: ignore[arg-type]
    sound = noise(30_000, channels)
    units = encode(encoder, first, sound) + encoder.flush()
    index = -(-first // frame)
    assert [u.pts for u in units] == [ticks_of_sample((index + k) * frame) for k in range(len(units))]
    assert (index + len(units)) * frame >= first + sound.shape[1]  # every sample given came out
    assert all(u.dts == u.pts and u.key and u.duration == ticks_of_sample(frame) for u in units)
    assert lag(decoded(codec, encoder.extradata, units, frame), sound[0, index * frame - first :]) == 0
    assert not units[0].data.startswith(b"\xff\xf1"), "no ADTS"


@pytest.mark.parametrize(("codec", "name"), CODECS)
def test_two_encoders_of_one_sound_are_interchangeable(codec: str, name: str) -> None:
    """Started at other times, they agree in every PTS, and one takes over from the other without a click."""
    frame = FRAME_SAMPLES[codec]
    wish = AudioRendition("a", 192_000, codec)  # type: ignore[arg-type]
    # Not a multiple of the frame: a phase that comes round too late would show.
    at = np.arange(60_000)
    tone = np.tile(0.25 * np.sin(2 * np.pi * 997 / 48_000 * at), (2, 1)).astype(np.float32)
    first = EPOCH // frame * frame
    one = AudioEncoder(wish, name)
    old = encode(one, first, tone)
    resume = old[20].pts
    two = AudioEncoder(wish, name, resume=resume)
    late = 12 * frame + 100
    new = encode(two, first + late, tone[:, late:])
    assert new[0].pts == resume
    assert {u.pts for u in new} >= {u.pts for u in old[20:]}
    heard = decoded(codec, one.extradata, [*old[:20], *new], frame)[: 38 * frame]
    middle = slice(4 * frame, 36 * frame)
    error = heard[middle] - tone[0, : 38 * frame][middle]
    assert float(np.sqrt(np.mean(error**2))) < 0.02
    assert float(np.abs(error).max()) < 0.12


def test_samples_before_resume_are_skipped_and_counted_in() -> None:
    wish = AudioRendition("a", 128_000)
    resume = ticks_of_sample(EPOCH) + 3 * TICKS_PER_SECOND
    encoder = AudioEncoder(wish, "aac", resume=resume)
    units = encode(encoder, EPOCH, np.zeros((2, 4 * 48_000), np.float32))
    assert units[0].pts == ticks_of_sample(first_frame(resume, 1024) * 1024)
    assert 0 <= units[0].pts - resume < ticks_of_sample(1024)


def test_a_jump_is_refused() -> None:
    encoder = AudioEncoder(AudioRendition("a", 128_000), "aac")
    encoder.encode(EPOCH, noise(1920))
    with pytest.raises(ValueError, match="start a new encoder"):
        encoder.encode(EPOCH, noise(1920))


@given(
    start=st.integers(0, 2**40),
    rate=st.sampled_from(RATES),
    frame=st.sampled_from(sorted(set(FRAME_SAMPLES.values()))),
    slots=st.integers(1, 500),
)
def test_the_grid_is_exact(start: int, rate: Fraction, frame: int, slots: int) -> None:
    """Ticks of grid frames are whole, and the first at or after an instant is neither early nor one too late."""
    channel = ChannelFormat(160, 90, rate)
    index = first_frame(channel.ticks_of(start), frame)
    assert index * frame * TICKS_PER_SECOND % 48_000 == 0
    assert ticks_of_sample(index * frame) >= channel.ticks_of(start)
    assert ticks_of_sample((index - 1) * frame) < channel.ticks_of(start)
    assert first_frame(ticks_of_sample(index * frame), frame) == index
    # Slots own their samples without overlap or hole, and on the grid of `sample_at`.
    assert channel.first_sample(start) == sample_at(channel.ticks_of(start))
    counted = sum(channel.samples_in(s) for s in range(start, start + slots))
    assert channel.first_sample(start) + counted == channel.first_sample(start + slots)


@pytest.mark.parametrize("have", [1, 2, 6])
@pytest.mark.parametrize("want", [1, 2, 6])
def test_mixes_neither_clip_nor_lose_a_voice(have: int, want: int) -> None:
    voice = np.zeros((have, 100), np.float32)
    voice[2 if have == 6 else 0] = 0.5
    made = mixed(voice, want)
    assert made.shape == (want, 100)
    assert made.dtype == np.float32
    assert float(np.abs(made).max()) >= 0.2
    assert float(np.abs(mixed(np.ones((have, 8), np.float32), want)).max()) <= 1.0


def test_settings_that_an_encoder_has_not_are_refused() -> None:
    with pytest.raises((av.FFmpegError, ValueError)):
        AudioEncoder(AudioRendition("a", 192_000, "ac3", options={"no_such": "1", "dialnorm": "9"}), "ac3")
