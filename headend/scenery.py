"""Moving pictures for the demo's programmes, painted with numpy straight into the planes of a picture.

A scene is a function of the programme's time; it paints every sample. What does not move is drawn once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from encoders.canvas import RGB, RGBA, Planes, premultiplied, samples_of, yuv
from encoders.format import ChannelFormat


class Scene(Protocol):
    """A moving picture."""

    def paint(self, planes: Planes, seconds: float) -> None:
        """Paint the whole picture as it is ``seconds`` into the programme."""
        ...


SceneMaker = Callable[[ChannelFormat, float], Scene]
"""Makes a scene for a picture format whose samples have the given aspect (width : height)."""


class Sprite:
    """An artwork with alpha that can be stamped anywhere."""

    def __init__(self, art: Image.Image, format: ChannelFormat, sar: float = 1.0) -> None:
        width, height = max(round(art.width / sar) // 2 * 2, 2), max(art.height // 2 * 2, 2)
        self.size = width, height
        self._layers = premultiplied(art.resize((width, height), Image.Resampling.LANCZOS), format)

    def stamp(self, planes: Planes, x: float, y: float) -> None:
        """Put it with its middle at ``x``, ``y``; what lies outside is cut off."""
        left, top = round(x - self.size[0] / 2) // 2 * 2, round(y - self.size[1] / 2) // 2 * 2
        for number, (plane, (keep, add)) in enumerate(zip(planes, self._layers, strict=True)):
            step = 2 if number else 1
            row, column = top // step, left // step
            up, aside = max(-row, 0), max(-column, 0)
            target = plane[row + up : max(row + keep.shape[0], 0), column + aside : max(column + keep.shape[1], 0)]
            if not target.size:
                continue
            part = slice(up, up + target.shape[0]), slice(aside, aside + target.shape[1])
            target[...] = (target * keep[part] + add[part] + 128) >> 8


def disc(diameter: int, colour: RGB, glow: float = 0.0) -> Image.Image:
    """A round spot with soft edge; ``glow`` is the part of its radius that fades."""
    size = max(diameter, 4)
    y, x = np.mgrid[0:size, 0:size] + 0.5
    away = np.hypot(x - size / 2, y - size / 2) / (size / 2)
    edge = max(glow, 3 / size)
    alpha = np.clip((1 - away) / edge, 0, 1)
    art = np.empty((size, size, 4), np.uint8)
    art[..., :3] = colour
    art[..., 3] = np.rint(255 * alpha * alpha * (3 - 2 * alpha))
    return Image.fromarray(art)


def vertical(format: ChannelFormat, *stops: tuple[float, RGB]) -> Planes:
    """A gradient from top to bottom through colours at parts of the height, with a little noise against steps."""
    down = (np.arange(format.height) + 0.5) / format.height
    places = [place for place, _ in stops]
    rows = np.stack([np.interp(down, places, [colour[i] for _, colour in stops]) for i in range(3)], axis=-1)
    noise = np.random.default_rng(7).uniform(-0.7, 0.7, (format.height, format.width, 1))
    image = np.rint(np.clip(rows[:, None, :] + noise, 0, 255)).astype(np.uint8)
    return samples_of(Image.fromarray(image), format)


class Dawn:
    """A sun that rises behind a skyline; three rows of houses run past, the near ones faster."""

    def __init__(self, format: ChannelFormat, sar: float) -> None:
        self._format = format
        self._sky = vertical(
            format, (0.0, (18, 32, 84)), (0.45, (120, 92, 138)), (0.72, (250, 164, 104)), (1.0, (255, 214, 150))
        )
        self._glow = Sprite(disc(format.height * 4 // 5, (255, 206, 120), 1.0), format, sar)
        self._sun = Sprite(disc(format.height // 6, (255, 240, 204)), format, sar)
        colours: tuple[RGB, ...] = ((112, 84, 122), (66, 52, 92), (26, 26, 52))
        self._rows = [self._houses(number, colour) for number, colour in enumerate(colours)]

    def _houses(self, number: int, colour: RGB) -> tuple[int, Planes, NDArray[np.bool_], NDArray[np.bool_]]:
        format, chance = self._format, np.random.default_rng(20 + number)
        width, rows = format.width * 2, round(format.height * (0.30 - 0.02 * number)) // 2 * 2
        image = Image.new("RGB", (width, rows), (255, 0, 255))
        draw = ImageDraw.Draw(image)
        x = 0
        lit = ((206, 168, 128), (238, 192, 118), (255, 214, 122))[number]
        while x < width:
            wide = int(format.height * chance.uniform(0.05, 0.11) * (0.7 + 0.3 * number))
            top = int(rows * chance.uniform(0.12, 0.62))
            if x + wide > width * 0.98:
                wide = width - x
            draw.rectangle((x, top, x + wide - 1, rows), colour)
            cell = max(format.height // (60 - 8 * number), 4)
            for wx in range(x + cell // 2, x + wide - cell, cell):
                for wy in range(top + cell, rows - cell, cell * 3 // 2):
                    if chance.random() < 0.16 + 0.08 * number:
                        draw.rectangle((wx, wy, wx + cell // 2, wy + cell * 2 // 3), lit)
            x += wide
        solid = np.any(np.asarray(image) != (255, 0, 255), axis=-1)
        planes = samples_of(image, format)
        twice = [np.concatenate([p, p[:, : p.shape[1] // 2]], axis=1) for p in planes]
        mask = np.concatenate([solid, solid[:, : width // 2]], axis=1)
        # Chroma only where all four samples are house: the key colour never bleeds.
        half = mask[::2, ::2] & mask[1::2, ::2] & mask[::2, 1::2] & mask[1::2, 1::2]
        return rows, (twice[0], twice[1], twice[2]), mask, half

    def paint(self, planes: Planes, seconds: float) -> None:
        """Paint the whole picture."""
        format = self._format
        for plane, sky in zip(planes, self._sky, strict=True):
            np.copyto(plane, sky)
        x, y = format.width * 0.66, format.height * max(0.74 - 0.009 * seconds, 0.34)
        self._glow.stamp(planes, x, y)
        self._sun.stamp(planes, x, y)
        for number, (rows, houses, mask, half) in enumerate(self._rows):
            shift = round(seconds * format.height * (0.02, 0.05, 0.11)[number]) % (format.width * 2) // 2 * 2
            for index, (plane, source) in enumerate(zip(planes, houses, strict=True)):
                step = 2 if index else 1
                columns = slice(shift // step, (shift + format.width) // step)
                cover = (half if index else mask)[:, columns]
                np.copyto(plane[(format.height - rows) // step :], source[:, columns], where=cover)


class Stars:
    """A flight through stars, with a slow nebula behind them."""

    def __init__(self, format: ChannelFormat, sar: float) -> None:
        self._format, self._sar = format, sar
        chance = np.random.default_rng(3)
        small = chance.normal(size=(5, 8, 3)) * (16, 18, 34) + (14, 18, 52)
        cloud = Image.fromarray(np.clip(small, 0, 110).astype(np.uint8)).resize(
            (format.width, format.height), Image.Resampling.BICUBIC
        )
        self._back = samples_of(cloud.filter(ImageFilter.GaussianBlur(format.height / 16)), format)
        count = 900
        self._place = chance.uniform(-1, 1, (2, count))
        self._depth = chance.uniform(0, 1, count)
        cool = chance.random(count) < 0.6
        self._chroma = np.where(cool, 146, 110).astype(np.uint8), np.where(cool, 116, 142).astype(np.uint8)

    def paint(self, planes: Planes, seconds: float) -> None:
        """Paint the whole picture."""
        format = self._format
        for plane, back in zip(planes, self._back, strict=True):
            np.copyto(plane, back)
        depth = 1 - (self._depth + seconds * 0.16) % 1
        across = self._place[0] / (depth + 0.02) * 0.5 * format.height / self._sar + format.width / 2
        down = self._place[1] / (depth + 0.02) * 0.5 * format.height + format.height / 2
        side = np.clip((1 - depth) * format.height / 130, 1, 6).astype(np.int64)
        light = (60 + 175 * (1 - depth) ** 0.7).astype(np.uint8)
        inside = (across >= 8) & (across < format.width - 8) & (down >= 8) & (down < format.height - 8)
        x, y = across.astype(np.int64), down.astype(np.int64)
        for i in np.flatnonzero(inside):
            s = side[i]
            planes[0][y[i] : y[i] + s, x[i] : x[i] + s] = light[i]
            if s > 1:
                for plane, chroma in zip(planes[1:], self._chroma, strict=True):
                    plane[y[i] // 2 : (y[i] + s) // 2, x[i] // 2 : (x[i] + s) // 2] = chroma[i]


class Shapes:
    """Coloured balls that bounce with gravity over a chequered floor."""

    def __init__(self, format: ChannelFormat, sar: float) -> None:
        self._format = format
        self._back = vertical(
            format, (0.0, (30, 96, 140)), (0.7, (150, 204, 220)), (0.7, (70, 62, 92)), (1.0, (42, 36, 62))
        )
        luma = self._back[0]
        floor = round(format.height * 0.7)
        y, x = np.mgrid[floor : format.height, 0 : format.width]
        deep = (y - floor + format.height * 0.06) / format.height
        tiles = (np.floor((x - format.width / 2) / format.width / deep * 0.9) + np.floor(0.8 / deep)).astype(int) % 2
        luma[floor:] = np.clip(luma[floor:] + np.where(tiles, 26, 0), 16, 235).astype(luma.dtype)
        colours: tuple[RGB, ...] = (
            (230, 60, 60),
            (250, 180, 30),
            (70, 190, 90),
            (60, 120, 230),
            (190, 90, 220),
            (240, 240, 240),
        )
        self._balls = [
            (Sprite(_ball(format.height * (9 + 2 * (n % 3)) // 60, colour), format, sar), n)
            for n, colour in enumerate(colours)
        ]
        self._shadow = Sprite(_shadow(format.height // 5), format, sar)

    def paint(self, planes: Planes, seconds: float) -> None:
        """Paint the whole picture."""
        format = self._format
        for plane, back in zip(planes, self._back, strict=True):
            np.copyto(plane, back)
        spots = []
        for ball, n in self._balls:
            room = format.width - ball.size[0]
            run = (seconds * (0.11 + 0.035 * n) + 0.17 * n) % 2
            x = ball.size[0] / 2 + room * (run if run < 1 else 2 - run)
            beat = 1.1 + 0.13 * n
            phase = (seconds / beat + 0.31 * n) % 1
            ground = format.height * (0.78 + 0.028 * n)
            spots.append((ball, x, ground, 4 * phase * (1 - phase) * (0.40 + 0.04 * (n % 3)) * format.height))
        for _, x, ground, _ in spots:
            self._shadow.stamp(planes, x, ground)
        for ball, x, ground, high in spots:
            ball.stamp(planes, x, ground - ball.size[1] / 2 - high)


def _ball(size: int, colour: RGB) -> Image.Image:
    art = np.asarray(disc(size, colour)).copy()
    y, x = np.mgrid[0:size, 0:size] / size
    light = np.clip(1.25 - 1.1 * np.hypot(x - 0.34, y - 0.3), 0.35, 1.25)[..., None]
    shine = np.clip(1 - np.hypot(x - 0.34, y - 0.28) * 7, 0, 1)[..., None] * 170
    art[..., :3] = np.clip(art[..., :3] * light + shine, 0, 255)
    return Image.fromarray(art)


def _shadow(width: int) -> Image.Image:
    art = disc(width, (0, 0, 0), 1.0).resize((width, max(width // 5, 4)))
    faint: RGBA = (0, 0, 0, 120)
    art.putalpha(art.getchannel("A").point(lambda a: a * faint[3] // 255))
    return art


class Lanterns:
    """Lanterns that rise into the night, near ones larger and faster."""

    def __init__(self, format: ChannelFormat, sar: float) -> None:
        self._format = format
        self._back = vertical(format, (0.0, (10, 10, 34)), (0.6, (52, 18, 48)), (1.0, (112, 36, 36)))
        unit = min(format.width, format.height)
        self._kinds = [Sprite(_lantern(round(unit * part)), format, sar) for part in (0.09, 0.14, 0.22)]
        chance = np.random.default_rng(11)
        self._all = sorted(
            (
                int(chance.integers(0, 3)),
                float(chance.uniform(0, 1)),
                float(chance.uniform(0, 1)),
                float(chance.uniform(0, 6)),
            )
            for _ in range(26)
        )

    def paint(self, planes: Planes, seconds: float) -> None:
        """Paint the whole picture."""
        format = self._format
        for plane, back in zip(planes, self._back, strict=True):
            np.copyto(plane, back)
        for kind, across, start, phase in self._all:
            sprite = self._kinds[kind]
            travel = format.height + 2 * sprite.size[1]
            rise = (start + seconds * (0.025 + 0.018 * kind)) % 1
            sway = np.sin(seconds * 0.8 + phase) * format.width * 0.02
            sprite.stamp(planes, across * format.width + sway, format.height + sprite.size[1] - rise * travel)


def _lantern(width: int) -> Image.Image:
    height = width * 5 // 4
    art = disc(width * 2, (255, 140, 40), 1.0).resize((width * 2, height * 2))
    art.putalpha(art.getchannel("A").point(lambda a: a // 3))
    x, y = width // 2, height // 2
    body = Image.new("RGBA", art.size)
    draw = ImageDraw.Draw(body)
    for step in range(8):  # lighter to the middle
        inset = width * step // 18
        draw.ellipse(
            (x + inset, y, x + width - inset, y + height), (206 + 6 * step, 44 + 16 * step, 26 + 5 * step, 255)
        )
    rib = max(width // 5, 2)
    for top in (y - height // 24, y + height - height // 16):
        draw.rectangle((x + width // 2 - rib, top, x + width // 2 + rib, top + height // 10), (236, 186, 70, 255))
    draw.line(
        (x + width // 2, y + height, x + width // 2, y + height * 5 // 4), (236, 186, 70, 255), max(width // 24, 1)
    )
    art.alpha_composite(body)
    return art


class Plasma:
    """Waves of colour that run through each other."""

    def __init__(self, format: ChannelFormat, sar: float) -> None:
        y, x = np.mgrid[0 : format.height, 0 : format.width] / format.height
        middle = format.width / format.height * sar * 0.3
        # Whole waves across and down, so that rolling them round shows no seam.
        u, v = x * (2 * np.pi * format.height / format.width), y * 2 * np.pi
        self._waves = [
            (128 * np.hypot(x * sar - middle, y - 0.4)).astype(np.uint8),
            (64 * np.sin(u + 1.4 * np.sin(v)) + 64).astype(np.uint8),
            (64 * np.cos(v + 1.2 * np.sin(2 * u)) + 64).astype(np.uint8),
        ]
        turn = np.arange(256) / 256 * 2 * np.pi
        rgb = np.stack([112 + 80 * np.sin(turn + p) for p in (0.0, 1.7, 3.6)], axis=-1)
        table = np.array([yuv((round(r), round(g), round(b)), format) for r, g, b in rgb], dtype=np.uint8)
        self._tables = [np.ascontiguousarray(table[:, i]) for i in range(3)]

    def paint(self, planes: Planes, seconds: float) -> None:
        """Paint the whole picture."""
        first, second, third = self._waves
        index = first + np.uint8(round(seconds * 26) % 256)
        index += np.roll(second, round(seconds * 40), axis=1)
        index += np.roll(third, round(seconds * 24), axis=0)
        half = index[::2, ::2]
        for plane, table, where in zip(planes, self._tables, (index, half, half), strict=True):
            np.take(table, where, out=plane, mode="clip") if plane.flags.c_contiguous else np.copyto(
                plane, table[where]
            )


class ZonePlate:
    """Rings that run outward, finer towards the edge: the picture that shows every fault of a scaler."""

    def __init__(self, format: ChannelFormat, sar: float) -> None:
        y, x = np.mgrid[0 : format.height, 0 : format.width]
        x = (x - format.width / 2) * sar
        y = y - format.height / 2
        # The finest ring, in the corner, has a third of the frequency that the samples could carry.
        away = (x * x + y * y) / np.hypot(format.width * sar, format.height) / 3
        self._phase = (away * 256 % 256).astype(np.uint8)
        turn = np.arange(256) / 256 * 2 * np.pi
        self._table = np.rint(120 + 68 * np.cos(turn)).astype(np.uint8)
        warm = np.hypot(x, y)[::2, ::2] / format.width
        self._chroma = (128 + 26 * np.cos(warm * 7), 128 - 22 * np.cos(warm * 7))

    def paint(self, planes: Planes, seconds: float) -> None:
        """Paint the whole picture."""
        np.copyto(planes[0], self._table[self._phase - np.uint8(round(seconds * 90) % 256)])
        for plane, chroma in zip(planes[1:], self._chroma, strict=True):
            np.copyto(plane, chroma, casting="unsafe")


class Radar:
    """A beam that turns over a map of rings, and showers that light up when it passes."""

    TURN = 6.0
    """Seconds of one turn."""

    def __init__(self, format: ChannelFormat, sar: float) -> None:
        self._format = format
        y, x = np.mgrid[0 : format.height, 0 : format.width].astype(np.float32)
        x = (x - format.width * 0.5) * sar
        y = y - format.height * 0.5
        away = np.hypot(x, y) / (format.height * 0.47)
        self._angle = (np.arctan2(y, x) * (128 / np.pi) % 256).astype(np.uint8)
        chance = np.random.default_rng(5)
        small = chance.normal(size=(18, 32)).astype(np.float32)
        rain = np.asarray(Image.fromarray(small).resize((format.width, format.height), Image.Resampling.BICUBIC))
        wet = np.clip((rain - 0.45) * 1.6, 0, 1) * (away < 1)
        rings = (np.abs(away * 4 - np.rint(away * 4)) < 0.012 * 4) & (away < 1.02) & (away > 0.1)
        cross = (np.minimum(np.abs(x), np.abs(y)) < format.height / 500) & (away < 1)
        ground = np.where(away < 1, 34, 22) + 26 * (rings | cross)
        self._ground = ground.astype(np.uint8)
        self._bright = np.where(away < 1, np.where(wet > 0, 64 + 110 * wet, 40), 0).astype(np.uint16)
        # Behind the beam its light decays over half a turn.
        self._decay = np.rint(255 * np.exp(-np.arange(256) / 52)).astype(np.uint16)
        half = wet[::2, ::2] > 0
        inside = away[::2, ::2] < 1
        self._chroma = tuple(
            np.where(half, w, np.where(inside, i, o)).astype(np.uint8) for w, i, o in ((104, 124, 138), (112, 108, 122))
        )

    def paint(self, planes: Planes, seconds: float) -> None:
        """Paint the whole picture."""
        beam = np.uint8(round(seconds / self.TURN * 256) % 256)
        light = self._decay[beam - self._angle]
        light *= self._bright
        light >>= 8
        light += self._ground
        np.copyto(planes[0], light, casting="unsafe")
        for plane, chroma in zip(planes[1:], self._chroma, strict=True):
            np.copyto(plane, chroma)
