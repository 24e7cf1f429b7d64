"""The demo's own programmes, made at first start so that a machine without media has something on air.

They are deliberately of different kinds (frame rates, interlaced, anamorphic, upright, mono, 5.1, other containers and
loudness), so that what the channel does to conform them can be seen and heard. Each has its title and its own time
burnt in, and says in Mandarin and in English what it is. A programme is written beside its place and then renamed, and
a manifest names what is finished, so an interrupted start goes on where it was.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
from PIL import Image, ImageDraw

from encoders.fonts import find_typeface
from headend.programme import VERSION, Programme, render
from headend.scenery import Dawn, Lanterns, Plasma, Shapes, Stars, ZonePlate

log = logging.getLogger(__name__)

MANIFEST: Final = "programmes.json"

Progress = Callable[[int, int, str], None]
"""Called with pictures made, pictures in all, and what is being made."""

PROGRAMMES: Final = (
    Programme("01-dawn.mp4", "城市晨光", "City at dawn", Dawn, 1280, 720, Fraction(25), 40, mood="bright", root=196.0),
    Programme(
        "02-stars.mp4",
        "星际旅行",
        "Among the stars",
        Stars,
        1280,
        720,
        Fraction(30_000, 1001),
        36,
        mood="calm",
        root=146.83,
        beat=0.75,
        gain=0.4,
        accent=(140, 110, 240),
    ),
    Programme(
        "03-shapes.ts",
        "几何乐园",
        "Playground of shapes",
        Shapes,
        720,
        576,
        Fraction(25),
        36,
        sar=Fraction(12, 11),
        interlaced=True,
        container="mpegts",
        video="mpeg2video",
        audio="mp2",
        mood="bright",
        root=261.63,
        beat=0.375,
        gain=1.6,
        accent=(232, 120, 30),
    ),
    Programme(
        "04-lanterns.mp4",
        "孔明灯",
        "Sky lanterns",
        Lanterns,
        540,
        960,
        Fraction(25),
        32,
        mood="gong",
        root=220.0,
        beat=0.6,
        accent=(214, 60, 40),
    ),
    Programme(
        "05-plasma.mp4",
        "流光溢彩",
        "Flowing colours",
        Plasma,
        854,
        480,
        Fraction(24),
        32,
        sample_rate=44_100,
        layout="mono",
        mood="gong",
        root=164.81,
        gain=0.7,
        accent=(20, 170, 140),
    ),
    Programme(
        "06-zone-plate.mkv",
        "波带片",
        "Zone plate",
        ZonePlate,
        1024,
        576,
        Fraction(25),
        32,
        container="matroska",
        audio="ac3",
        layout="5.1",
        mood="calm",
        root=174.61,
        accent=(90, 130, 160),
    ),
)


def make_programmes(folder: str | Path, *, progress: Progress | None = None) -> list[Path]:
    """Make what is missing of the demo's programmes; their files, in order.

    Raises OSError with a sentence if the folder cannot be written to.
    """
    place = Path(folder)
    total = sum(p.pictures for p in PROGRAMMES)
    done = 0
    tell = progress or (lambda done, total, what: None)
    try:
        place.mkdir(parents=True, exist_ok=True)
        finished = _read_manifest(place)
        for programme in PROGRAMMES:
            path = place / programme.file
            if not (path.exists() and finished.get(programme.file) == path.stat().st_size):
                for made in render(programme, path):
                    tell(done + made, total, programme.title)
                finished[programme.file] = path.stat().st_size
                _write_manifest(place, finished)
            done += programme.pictures
            tell(done, total, programme.title)
    except (OSError, av.error.FFmpegError) as error:
        raise OSError(
            error.errno,
            f"the demo's programmes cannot be made in {place} ({error.strerror or error}), so it cannot play; "
            "give it a folder that can be written to with 100 MB free",
        ) from error
    return [place / programme.file for programme in PROGRAMMES]


def make_logo(path: str | Path, text: str = "示范") -> Path:
    """The demo channel's logo, a PNG with alpha, if it is not there yet. Raises OSError."""
    place = Path(path)
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        face = find_typeface()
        art = Image.new("RGBA", (640, 200))
        draw = ImageDraw.Draw(art)
        # Three arcs that leave a mast: what every transmitter's sign is made of.
        for number in range(3):
            inset = 34 * number
            box = (10 + inset, 10 + inset, 190 - inset, 190 - inset)
            draw.arc(box, -60, 60, (0, 164, 228, 255), 18)
            draw.arc(box, 120, 240, (0, 164, 228, 255), 18)
        draw.ellipse((84, 84, 116, 116), (255, 255, 255, 255))
        font = face.sized(150, 800)
        draw.text(
            (216, 100), text, (255, 255, 255, 255), font, anchor="lm", stroke_width=5, stroke_fill=(10, 24, 52, 150)
        )
        art = art.crop((0, 0, min(round(226 + font.getlength(text)), 640), 200))
        part = place.with_name(f".{place.name}.part")
        art.save(part, "PNG")
        part.replace(place)
    return place


def _read_manifest(folder: Path) -> dict[str, int]:
    """Size of each finished file; nothing if they are of another version or the manifest is damaged."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if manifest["version"] == VERSION:
            return {str(name): int(size) for name, size in manifest["files"].items()}
    except FileNotFoundError:
        pass
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("The manifest in %s is damaged (%s); the demo's programmes are made again.", folder, error)
    return {}


def _write_manifest(folder: Path, finished: dict[str, int]) -> None:
    part = folder / f".{MANIFEST}.part"
    part.write_text(json.dumps({"version": VERSION, "files": finished}, indent=2), encoding="utf-8")
    part.replace(folder / MANIFEST)
