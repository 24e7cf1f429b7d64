"""A made programme: a scene with title, time and spoken announcements, encoded into a file of a given kind."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.filter import Graph
from av.video.format import VideoFormat
from av.video.stream import VideoStream
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from encoders.canvas import OPAQUE, RGB, Patch, new_picture, planes_of
from encoders.digits import Digits
from encoders.fonts import Typeface, find_typeface
from encoders.format import SAMPLE_RATE, ChannelFormat
from encoders.speech import Espeak
from headend.music import Music, compose
from headend.scenery import Scene, SceneMaker

log = logging.getLogger(__name__)

VERSION: Final = 1
"""Of what the programmes are: raise it when they change, and they are made again."""


@dataclass(frozen=True, slots=True)
class Programme:
    """One programme of the demo."""

    file: str
    chinese: str
    english: str
    scene: SceneMaker
    width: int
    height: int
    rate: Fraction
    seconds: int
    sar: Fraction = Fraction(1)
    interlaced: bool = False
    container: str = "mp4"
    video: str = "libx264"
    audio: str = "aac"
    sample_rate: int = SAMPLE_RATE
    layout: str = "stereo"
    mood: str = "calm"
    root: float = 220.0
    beat: float = 0.5
    gain: float = 1.0
    """Linear: the programmes are not equally loud, which loudness correction has to mend."""
    accent: RGB = (0, 164, 228)
    options: tuple[tuple[str, str], ...] = (("preset", "superfast"), ("crf", "24"))
    """Of the H.264 encoder."""

    @property
    def title(self) -> str:
        """What the file's metadata say it is called."""
        return f"{self.chinese} {self.english}"

    @property
    def pictures(self) -> int:
        """How many pictures it has."""
        return round(self.seconds * self.rate)


def render(programme: Programme, path: Path) -> Iterator[int]:
    """Make one programme; yields the number of pictures made, now and then. The file appears when it is whole."""
    part = path.with_name(f".{path.name}.part")
    try:
        with av.open(str(part), "w", format=programme.container) as container:
            container.metadata["title"] = programme.title
            container.metadata["comment"] = "Made by the head end's demo"
            yield from _encode(container, programme)
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _encode(container: OutputContainer, programme: Programme) -> Iterator[int]:
    format = ChannelFormat(programme.width, programme.height, programme.rate)
    video = _video_stream(container, programme)
    audio = container.add_stream(programme.audio, rate=programme.sample_rate)
    assert isinstance(audio, AudioStream)
    audio.codec_context.layout = programme.layout
    audio.codec_context.bit_rate = 384_000 if programme.layout == "5.1" else 128_000
    sound = _Sound(audio, programme)
    painter = _Painter(programme, format)
    fields = _top_field_first(programme, format) if programme.interlaced else None
    for number in range(programme.pictures):
        picture = painter.picture(number)
        picture.pts, picture.time_base = number, 1 / programme.rate
        if fields is not None:
            fields.push(picture)
            picture = fields.vpull()
            picture.pts, picture.time_base = number, 1 / programme.rate
        container.mux(video.encode(picture))
        container.mux(sound.until(Fraction(number + 1) / programme.rate))
        if number % 12 == 11:
            yield number + 1
    container.mux(video.encode(None))
    container.mux(sound.rest())


def _video_stream(container: OutputContainer, programme: Programme) -> VideoStream:
    stream = container.add_stream(programme.video, rate=programme.rate)
    assert isinstance(stream, VideoStream)
    context = stream.codec_context
    context.width, context.height, context.pix_fmt = programme.width, programme.height, "yuv420p"
    context.time_base = 1 / programme.rate
    context.sample_aspect_ratio = programme.sar
    context.gop_size = round(2 * programme.rate)
    context.color_range = 1
    context.colorspace = 1 if programme.height >= 720 else 5
    if programme.video == "mpeg2video":
        context.bit_rate = 5_000_000
        context.options = {"flags": "+ildct+ilme", "bf": "2", "maxrate": "6000000", "bufsize": "1835008"}
    else:
        context.options = dict(programme.options)
    return stream


def _top_field_first(programme: Programme, format: ChannelFormat) -> Graph:
    """A filter that does nothing but mark pictures as interlaced, which PyAV cannot."""
    graph = Graph()
    source = graph.add_buffer(
        width=format.width, height=format.height, format=VideoFormat("yuv420p"), time_base=1 / programme.rate
    )
    marked = graph.add("setfield", "tff")
    sink = graph.add("buffersink")
    source.link_to(marked)
    marked.link_to(sink)
    graph.configure()
    return graph


class _Painter:
    """A scene with the programme's graphics on it: its title in the first seconds, and a lower third with its time."""

    def __init__(self, programme: Programme, format: ChannelFormat) -> None:
        self._programme, self._format = programme, format
        self._sar = float(programme.sar)
        self._scene: Scene = programme.scene(format, self._sar)
        face = find_typeface()
        self._title = self._opening(face)
        self._lower = self._lower_third(face)

    def picture(self, number: int) -> av.VideoFrame:
        """The picture of a number; an interlaced one has two fields of different times."""
        picture = new_picture(self._format)
        planes = planes_of(picture)
        rate = self._programme.rate
        seconds = float(number / rate)
        self._scene.paint(planes, seconds)
        if self._programme.interlaced:
            second = planes_of(new_picture(self._format))
            self._scene.paint(second, float((number + Fraction(1, 2)) / rate))
            for plane, other in zip(planes, second, strict=True):
                plane[1::2] = other[1::2]
        if seconds < 4.5:
            self._title.blend(planes, round(OPAQUE * max(0.0, min(seconds / 0.6, 1.0, (4.5 - seconds) / 0.8))))
        self._lower.blend(planes)
        whole, frame = divmod(number, round(rate))
        self._digits.write(planes, f"{whole // 60:02d}:{whole % 60:02d}:{frame:02d}", *self._digits_at)
        return picture

    def _squeezed(self, art: Image.Image) -> Image.Image:
        """Art as it must be stored so that it has its shape on a screen."""
        return art.resize((max(round(art.width / self._sar), 2), art.height), Image.Resampling.LANCZOS)

    def _opening(self, face: Typeface) -> Patch:
        wide, high = round(self._format.width * self._sar), self._format.height
        unit = min(high, wide * 0.85) / 100
        art = Image.new("RGBA", (wide, round(40 * unit)), (0, 0, 0, 0))
        shade = np.zeros((art.height, art.width, 4), np.uint8)
        fall = np.sin(np.linspace(0, np.pi, art.height))[:, None] * np.sin(np.linspace(0, np.pi, wide))[None, :] ** 2
        shade[..., 3] = 150 * fall**1.3
        art.alpha_composite(Image.fromarray(shade))
        draw = ImageDraw.Draw(art)
        draw.text(
            (wide / 2, 15 * unit),
            self._programme.chinese,
            (255, 255, 255, 255),
            face.sized(round(14 * unit), 700),
            anchor="mm",
        )
        rule = 7 * unit
        draw.rectangle((wide / 2 - rule, 24.4 * unit, wide / 2 + rule, 25.2 * unit), (*self._programme.accent, 255))
        draw.text(
            (wide / 2, 30 * unit),
            self._programme.english,
            (228, 234, 242, 255),
            face.sized(round(5.6 * unit), 400),
            anchor="mm",
        )
        art = self._squeezed(art)
        return Patch(art, 0, round(high * 0.40 - art.height / 2), self._format)

    def _lower_third(self, face: Typeface) -> Patch:
        """Above the place of the channel's crawl; the time at its right end stands on a plain ground."""
        wide, high = round(self._format.width * self._sar), self._format.height
        unit = min(high, wide * 0.85) / 100
        ground: RGB = (12, 20, 38)
        inset = round(wide * 0.05)
        self._digits = Digits(face, round(5.4 * unit) // 2 * 2, self._format, (255, 255, 255), ground, self._sar, 500)
        time_width = round(self._digits.width("00:00:00") * self._sar + 4 * unit)
        title, sub = face.sized(round(4.8 * unit), 600), face.sized(round(3.0 * unit), 400)
        text_width = max(title.getlength(self._programme.chinese), sub.getlength(self._programme.english))
        rows = round(11 * unit) // 2 * 2
        art = Image.new("RGBA", (round(text_width + 6 * unit) + time_width, rows), (*ground, 200))
        draw = ImageDraw.Draw(art)
        draw.rectangle((0, 0, round(0.9 * unit), rows), (*self._programme.accent, 255))
        draw.rectangle((art.width - time_width, 0, art.width, rows), (*ground, 255))
        draw.text((3 * unit, 3.7 * unit), self._programme.chinese, (255, 255, 255, 255), title, anchor="lm")
        draw.text((3 * unit, 8.3 * unit), self._programme.english, (170, 190, 214, 255), sub, anchor="lm")
        art = self._squeezed(art)
        left, top = round(inset / self._sar) // 2 * 2, round(high * 0.87 - rows) // 2 * 2
        x = left + art.width - round(2 * unit / self._sar) - self._digits.width("00:00:00")
        self._digits_at = (x // 2 * 2, (top + (rows - self._digits.cell[1]) // 2) // 2 * 2)
        return Patch(art, left, top, self._format)


class _Sound:
    """The programme's sound, encoded up to the time asked for."""

    def __init__(self, stream: AudioStream, programme: Programme) -> None:
        self._stream, self._programme = stream, programme
        self._samples = _resampled(mixed(programme), programme)
        self._at = 0
        self._frame = stream.codec_context.frame_size or 1024

    def until(self, seconds: Fraction) -> list[av.Packet[Any]]:
        """Packets of the frames that begin before an instant."""
        packets: list[av.Packet[Any]] = []
        while self._at < self._samples.shape[1] and self._at < seconds * self._programme.sample_rate:
            part: NDArray[Any] = np.ascontiguousarray(self._samples[:, self._at : self._at + self._frame])
            context = self._stream.codec_context
            if context.format.name == "s16":
                part = np.rint(np.clip(part, -1, 1) * 32767).astype(np.int16).T.reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(part, format=context.format.name, layout=self._programme.layout)
            frame.sample_rate = self._programme.sample_rate
            frame.pts, frame.time_base = self._at, Fraction(1, self._programme.sample_rate)
            packets += self._stream.encode(frame)
            self._at += self._frame
        return packets

    def rest(self) -> list[av.Packet[Any]]:
        """The last packets."""
        return [*self.until(Fraction(10**6)), *self._stream.encode(None)]


def mixed(programme: Programme) -> Music:
    """Music with the announcements over it, 48 kHz; shape (2, n), or (6, n) with the voice in the centre for 5.1."""
    music = compose(programme.seconds, programme.mood, programme.root, programme.beat, seed=len(programme.english))
    voice = np.zeros(music.shape[1], dtype=np.float32)
    for start, text, language in announcements(programme):
        spoken = _spoken(text, language)
        at = round(start * SAMPLE_RATE)
        spoken = spoken[: max(voice.size - at - SAMPLE_RATE // 2, 0)]
        voice[at : at + spoken.size] += spoken
    # The music steps back while someone speaks, with a third of a second to and fro.
    steps = SAMPLE_RATE // 100
    blocks = -(-voice.size // steps)
    busy = np.abs(np.pad(voice, (0, blocks * steps - voice.size)).reshape(blocks, steps)).max(axis=1) > 0.01
    kernel = np.hanning(67)
    held = np.convolve(np.convolve(busy, np.ones(67), "same") > 0, kernel / kernel.sum(), "same")
    duck = np.interp(np.arange(voice.size), np.arange(blocks) * steps, 1 - 0.75 * held).astype(np.float32)
    music *= duck
    gain = np.float32(programme.gain)
    if programme.layout == "5.1":
        rear = np.roll(music, SAMPLE_RATE // 50, axis=1) * 0.5
        low = np.zeros_like(voice)
        return np.clip(np.stack([music[0], music[1], voice * 0.85, low, rear[0], rear[1]]) * gain, -0.98, 0.98)
    return np.clip((music + voice * 0.75) * gain, -0.98, 0.98)


def announcements(programme: Programme) -> list[tuple[float, str, str]]:
    """What is said, with the second at which it begins and the language."""
    middle = programme.seconds / 2
    return [
        (1.0, f"您正在收看演示频道。本节目是：{programme.chinese}。", "zho"),
        (6.6, f"This is the demonstration channel. The programme is: {programme.english}.", "eng"),
        (middle, f"节目过半，还有{round(middle)}秒。", "zho"),
        (middle + 4.5, f"Half time. {round(middle) - 5} seconds to go.", "eng"),
        (programme.seconds - 5.5, "本节目即将结束。", "zho"),
        (programme.seconds - 3.0, "Next programme follows.", "eng"),
    ]


def _spoken(text: str, language: str) -> NDArray[np.float32]:
    try:
        spoken = Espeak().say(text, language, 1.1)
    except (RuntimeError, ValueError) as error:
        log.warning("An announcement of the demo is left out, so its programmes only have music: %s", error)
        return np.zeros(0, dtype=np.float32)
    peak = float(np.abs(spoken).max(initial=0.0))
    return spoken * np.float32(0.8 / peak) if peak else spoken


def _resampled(sound: Music, programme: Programme) -> NDArray[np.float32]:
    """Sound in the programme's rate and layout."""
    source = "5.1" if sound.shape[0] == 6 else "stereo"
    if source == programme.layout and programme.sample_rate == SAMPLE_RATE:
        return sound
    resampler = av.AudioResampler(format="fltp", layout=programme.layout, rate=programme.sample_rate)
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound), format="fltp", layout=source)
    frame.sample_rate = SAMPLE_RATE
    parts = [out.to_ndarray() for out in (*resampler.resample(frame), *resampler.resample(None))]
    whole = np.concatenate(parts, axis=1)[:, : programme.seconds * programme.sample_rate]
    return whole.astype(np.float32, copy=False)
