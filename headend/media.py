"""What of a folder can be played: every file is opened and its first picture or sound decoded."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
from PIL import Image, UnidentifiedImageError

from encoders.opening import STILLS

# fmt: off
_BESIDE: Final = frozenset({
    ".txt", ".md", ".nfo", ".srt", ".ass", ".ssa", ".vtt", ".sub", ".idx", ".sup", ".smi", ".xml", ".json",
    ".yaml", ".yml", ".csv", ".log", ".pdf", ".doc", ".docx", ".html", ".htm", ".url", ".ini", ".db", ".m3u",
    ".m3u8", ".mpd", ".pls", ".cue", ".sdp", ".ffconcat", ".torrent", ".part", ".crdownload", ".tmp", ".zip",
    ".rar", ".7z", ".gz", ".tar", ".exe", ".py", ".sh", ".ttf", ".otf", ".ttc",
})
# fmt: on
"""Kinds of files that lie beside media and are not played; playlists among them, which would open other files."""
_PACKETS: Final = 2_000
"""How far into a file a first picture or sound is looked for."""


@dataclass(frozen=True, slots=True)
class MediaFile:
    """One file of a folder."""

    path: Path
    title: str
    """From its metadata, else its name without suffix."""
    duration: Fraction | None
    """Seconds; None where the file does not say, and for stills."""
    video: bool
    audio: bool
    still: bool = False
    problem: str = ""
    """A sentence, when it cannot be played."""


def scan_media(folder: str | Path) -> list[MediaFile]:
    """Every file below a folder that is meant to be played, in natural order (2 before 10).

    Hidden files, and kinds that only lie beside media, are left out. What cannot be played is there with ``problem``.
    Raises ValueError with a sentence if the folder cannot be read.
    """
    place = Path(folder).expanduser()
    if not place.is_dir():
        raise ValueError(
            f"{place} is no folder that can be read, so there is nothing to play from it; name a folder with media"
        )
    return [examine(path) for path in sorted(_files(place), key=lambda path: natural(str(path.relative_to(place))))]


def natural(text: str) -> list[tuple[int, int, str]]:
    """A key that sorts numbers in a text by their value."""
    parts = re.split(r"(\d+)", text.casefold())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]


def _files(place: Path) -> Iterator[Path]:
    for base, folders, names in os.walk(place):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and Path(name).suffix.lower() not in _BESIDE:
                yield Path(base, name)


def examine(path: Path) -> MediaFile:
    """One file as :func:`scan_media` would describe it. Never raises: what is wrong is in ``problem``."""
    try:
        # Opening a pipe would wait for a writer.
        if not stat.S_ISREG(path.stat().st_mode):
            return _refused(path, "it is not an ordinary file")
        if path.stat().st_size == 0:
            return _refused(path, "it is empty")
        return _still(path) if path.suffix.lower() in STILLS else _opened(path)
    except av.error.FFmpegError as error:
        return _refused(path, str(error.strerror or error))
    except UnidentifiedImageError:
        return _refused(path, "it is no image of a known kind")
    except OSError as error:
        return _refused(path, error.strerror or str(error) or "it cannot be read")
    except (ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return _refused(path, str(error))


def _still(path: Path) -> MediaFile:
    with Image.open(path) as image:
        image.verify()
    return MediaFile(path, path.stem, None, video=True, audio=False, still=True)


def _opened(path: Path) -> MediaFile:
    # A file may name others, on the network too: only files are opened.
    with av.open(str(path), options={"protocol_whitelist": "file"}, metadata_errors="replace") as container:
        cover = {s.index for s in container.streams.video if s.disposition & av.stream.Disposition.attached_pic}
        video = [s for s in container.streams.video if s.index not in cover]
        audio = list(container.streams.audio)
        if not video and not audio:
            return _refused(path, "it has neither pictures nor sound")
        title = container.metadata.get("title", "").strip() or path.stem
        duration = None if container.duration is None else Fraction(container.duration, 1_000_000)
        if duration is not None and duration <= 0:
            return _refused(path, "it has no length")
        fault = "nothing in it can be decoded"
        for number, packet in enumerate(container.demux([*video[:1], *audio[:1]])):
            try:
                if packet.decode():
                    return MediaFile(path, title, duration, bool(video), bool(audio))
            except av.error.FFmpegError as error:
                fault = f"it cannot be decoded: {error.strerror or error}"
            if number >= _PACKETS:
                break
        return _refused(path, fault)


def _refused(path: Path, why: str) -> MediaFile:
    sentence = f"{path.name} is left out, because {why}; convert it to MP4, or take it away"
    return MediaFile(path, path.stem, None, video=False, audio=False, problem=sentence)
