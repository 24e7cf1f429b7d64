"""Speech, listened to with numbers: there is sound, of a plausible length, and other words sound different."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest

from encoders.speech import LONGEST, Espeak


@pytest.fixture(scope="module")
def engine() -> Espeak:
    return Espeak()


@pytest.mark.parametrize(
    ("text", "language", "shortest", "longest"),
    [
        ("您正在收看示范电视台综合频道。", "zho", 2.0, 6.0),
        ("You are watching the demonstration channel.", "eng", 1.2, 4.0),
    ],
)
def test_it_speaks(engine: Espeak, text: str, language: str, shortest: float, longest: float) -> None:
    sound = engine.say(text, language)
    assert sound.dtype == np.float32
    assert shortest < len(sound) / 48_000 < longest
    assert np.abs(sound).max() <= 1.0
    assert np.sqrt(np.mean(sound**2)) > 0.03
    # A voice lies between 80 Hz and some kHz; a fault would be noise, a hum or a constant.
    spectrum = np.abs(np.fft.rfft(sound)) ** 2
    hertz = np.fft.rfftfreq(len(sound), 1 / 48_000)
    assert spectrum[(hertz > 80) & (hertz < 5000)].sum() > 0.9 * spectrum.sum()


def test_longer_texts_are_longer_and_each_character_counts(engine: Espeak) -> None:
    lengths = [len(engine.say("紧急广播" * n, "zho")) for n in (1, 2, 4)]
    assert lengths[0] * 1.5 < lengths[1] < lengths[2] / 1.5
    assert 0.15 < lengths[2] / 48_000 / 16 < 0.5


def test_tones_and_words_differ(engine: Espeak) -> None:
    high, low = engine.say("妈妈妈", "zho"), engine.say("马马马", "zho")
    size = min(len(high), len(low))
    assert np.corrcoef(np.abs(high[:size]), np.abs(low[:size]))[0, 1] < 0.98


def test_rate_changes_the_length(engine: Espeak) -> None:
    slow, fast = engine.say("暴雨红色预警", "zho", 0.8), engine.say("暴雨红色预警", "zho", 1.6)
    assert len(slow) > 1.3 * len(fast)


@pytest.mark.parametrize("text", ["", "。！", "   ", "\x00\x01"])
def test_nothing_to_say_is_no_sound(engine: Espeak, text: str) -> None:
    assert engine.say(text, "zho").shape == (0,)


@pytest.mark.parametrize(
    "text", ["<speak>a</speak>", "[[x]]", "a\x00b", "😀😀", "\ud800", "‮abc", "12345678901234567890"]
)
def test_odd_texts_do_no_harm(engine: Espeak, text: str) -> None:
    assert engine.say(text, "eng").ndim == 1


def test_a_language_without_a_voice_is_refused(engine: Espeak) -> None:
    with pytest.raises(ValueError, match=r"no voice for the language 'xxx'.*cannot be spoken"):
        engine.say("text", "xxx")
    with pytest.raises(ValueError, match="speak it in parts"):
        engine.say("长" * (LONGEST + 1), "zho")
    assert len(engine.say("之后照常", "zho")) > 10_000
    assert {"zho", "eng"} <= set(engine.languages())
    assert json.dumps(engine.state())


def test_threads_get_their_own_words() -> None:
    engines = [Espeak() for _ in range(4)]
    texts = ["一", "一二三四", "一二三四五六七八", "一二三四五六七八九十一二三四五六"]
    alone = [len(engines[0].say(text, "zho")) for text in texts]
    got: dict[int, list[int]] = {}

    def work(number: int) -> None:
        got[number] = [len(engines[number].say(texts[number], "zho")) for _ in range(6)]

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    for number, lengths in got.items():
        assert all(abs(length - alone[number]) < 0.1 * alone[number] + 2400 for length in lengths)
    assert len(got) == 4
