"""A made programme is what its description says: FFmpeg decodes it and tells."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from headend import programme as module
from headend.demo import PROGRAMMES
from headend.programme import Programme, announcements, mixed, render
from headend.scenery import Shapes

SHORT = [
    replace(
        p,
        width={1280: 320, 720: 180, 540: 108, 854: 214, 1024: 256}[p.width],
        height={720: 180, 576: 144, 960: 192, 480: 120}[p.height],
        seconds=2,
        options=(("preset", "ultrafast"),),
    )
    for p in PROGRAMMES
]


@pytest.fixture(autouse=True)
def few_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "announcements", lambda p: [(0.3, "你好", "zho")])


@pytest.mark.parametrize("programme", SHORT, ids=lambda p: p.file)
def test_the_file_is_what_it_is_said_to_be(programme: Programme, tmp_path: Path) -> None:
    path = tmp_path / programme.file
    told = list(render(programme, path))
    assert told == sorted(told)
    assert [p.name for p in tmp_path.iterdir()] == [programme.file]
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert video.average_rate == programme.rate
        assert video.codec_context.sample_aspect_ratio in (
            programme.sar,
            Fraction(16, 15) if programme.interlaced else 0,
        )
        assert audio.codec_context.sample_rate == programme.sample_rate
        assert audio.codec_context.layout.nb_channels == {"mono": 1, "stereo": 2, "5.1": 6}[programme.layout]
        if programme.container != "mpegts":
            assert container.metadata["title"] == programme.title
        pictures, samples = [], 0
        for frame in container.decode(video, audio):
            if isinstance(frame, av.VideoFrame):
                assert frame.interlaced_frame == programme.interlaced
                pictures.append(frame.to_ndarray(format="gray"))
            else:
                samples += frame.samples
    assert len(pictures) == programme.pictures
    assert abs(samples - 2 * programme.sample_rate) <= 3 * 1536
    assert not np.array_equal(pictures[0], pictures[-1])


def test_fields_of_an_interlaced_picture_are_of_different_times() -> None:
    programme = replace(SHORT[2], scene=Shapes)
    from encoders.canvas import planes_of
    from encoders.format import ChannelFormat

    painter = module._Painter(programme, ChannelFormat(programme.width, programme.height, programme.rate))
    luma = planes_of(painter.picture(40))[0].astype(int)
    comb = np.abs(luma[1:-1:2] - (luma[:-2:2] + luma[2::2]) / 2).max()
    whole = module._Painter(replace(programme, interlaced=False), ChannelFormat(180, 144, programme.rate))
    still = planes_of(whole.picture(40))[0].astype(int)
    assert np.abs(luma - still).max() > 20
    assert comb > 20


def test_an_interrupted_rendering_leaves_nothing(tmp_path: Path) -> None:
    work = render(SHORT[0], tmp_path / "a.mp4")
    next(work)
    assert [p.name for p in tmp_path.iterdir()] == [".a.mp4.part"]
    work.close()
    assert list(tmp_path.iterdir()) == []


def test_it_speaks_both_languages_and_says_its_name() -> None:
    said = module.__dict__["announcements"]
    assert said(PROGRAMMES[0])  # replaced in this file
    spoken = announcements(PROGRAMMES[0])
    assert {language for _, _, language in spoken} == {"zho", "eng"}
    text = " ".join(text for _, text, _ in spoken)
    assert PROGRAMMES[0].chinese in text
    assert PROGRAMMES[0].english in text
    assert all(0 < start < PROGRAMMES[0].seconds for start, _, _ in spoken)


def test_the_voice_is_heard_over_the_music(monkeypatch: pytest.MonkeyPatch) -> None:
    programme = replace(SHORT[0], seconds=4, gain=1.0)
    monkeypatch.setattr(module, "announcements", lambda p: [(1.5, "您正在收看演示频道", "zho")])
    sound = mixed(programme)
    assert sound.shape == (2, 4 * 48_000)
    assert np.abs(sound).max() <= 0.98
    rms = [float(np.sqrt(np.mean(sound[:, at * 48_000 : (at + 1) * 48_000] ** 2))) for at in range(4)]
    assert rms[2] > 1.3 * rms[0]


def test_without_speech_there_is_music(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def missing() -> None:
        raise RuntimeError("espeak-ng cannot be loaded")

    monkeypatch.setattr(module, "Espeak", missing)
    assert np.abs(mixed(SHORT[0])).max() > 0.01
    assert "left out" in caplog.text
