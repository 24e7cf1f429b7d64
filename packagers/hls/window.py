"""The window of a channel: a folder per rendition in tmpfs, with the files that an origin serves.

A file is written under a hidden name and renamed, so whoever sees it sees it whole (RFC 8216bis, 6.2.1). A segment
that has left the playlist stays for as long as a player may still ask for it; names follow from numbers, so a
restarted packager knows from the folder alone what to keep.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

PLAYLIST: Final = "index.m3u8"
_SEGMENT: Final = re.compile(r"(\d+)\.(?:m4s|ts)")
_INIT: Final = re.compile(r"init-(\d+)\.mp4")


def init_name(version: int) -> str:
    """File name of an initialization section."""
    return f"init-{version}.mp4"


class Window:
    """Files of a channel below ``root``. ``tracks`` are the folders in use; others are left to expire.

    Raises OSError if the folders cannot be made or read.
    """

    def __init__(self, root: Path, tracks: Iterable[str]) -> None:
        self.root = root
        self.bytes = 0
        """Size of all segments and initialization sections held."""
        self._segments: dict[str, dict[int, tuple[str, int]]] = {}
        self._inits: dict[str, dict[int, int]] = {}
        root.mkdir(parents=True, exist_ok=True)
        live = set(tracks)
        for track in live:
            (root / track).mkdir(exist_ok=True)
        for folder in root.iterdir():
            if folder.is_dir():
                self._adopt(folder, live=folder.name in live)
            elif folder.name.startswith(".") and folder.name.endswith(".part"):
                folder.unlink(missing_ok=True)

    def _adopt(self, folder: Path, *, live: bool) -> None:
        segments = self._segments.setdefault(folder.name, {})
        inits = self._inits.setdefault(folder.name, {})
        for path in folder.iterdir():
            if found := _SEGMENT.fullmatch(path.name):
                size = path.stat().st_size
                segments[int(found[1])] = (path.name, size)
                self.bytes += size
            elif found := _INIT.fullmatch(path.name):
                size = path.stat().st_size
                inits[int(found[1])] = size
                self.bytes += size
            elif path.name.startswith(".") or not live:
                # Half-written files of a killed packager, and playlists of renditions that are no more.
                path.unlink(missing_ok=True)

    def _write(self, path: Path, data: bytes) -> None:
        draft = path.with_name(f".{path.name}.part")
        try:
            draft.write_bytes(data)
            os.replace(draft, path)
        except OSError:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
            raise

    def put_segment(self, track: str, number: int, name: str, data: bytes) -> None:
        """Write a segment. Raises OSError, with nothing left behind."""
        self._write(self.root / track / name, data)
        self.bytes += len(data) - self._segments[track].get(number, ("", 0))[1]
        self._segments[track][number] = (name, len(data))

    def put_init(self, track: str, version: int, data: bytes) -> None:
        """Write an initialization section. Raises OSError."""
        self._write(self.root / track / init_name(version), data)
        self.bytes += len(data) - self._inits[track].get(version, 0)
        self._inits[track][version] = len(data)

    def put_playlist(self, track: str, text: str) -> None:
        """Write the media playlist of a track. Raises OSError."""
        self._write(self.root / track / PLAYLIST, text.encode())

    def put_multivariant(self, name: str, text: str) -> None:
        """Write a multivariant playlist. Raises OSError."""
        self._write(self.root / name, text.encode())

    def has_segment(self, track: str, number: int, size: int) -> bool:
        """Whether a whole segment of this size is there."""
        return self._segments.get(track, {}).get(number, ("", -1))[1] == size

    def has_init(self, track: str, version: int) -> bool:
        """Whether an initialization section is there."""
        return version in self._inits.get(track, {})

    def newest(self) -> int | None:
        """The highest segment number of all tracks."""
        return max((max(numbers) for numbers in self._segments.values() if numbers), default=None)

    def oldest(self) -> int | None:
        """The lowest segment number of all tracks."""
        return min((min(numbers) for numbers in self._segments.values() if numbers), default=None)

    def newest_init(self, track: str) -> int | None:
        """The highest version of an initialization section of a track."""
        return max(self._inits.get(track, {}), default=None)

    def expire(self, before: int, inits: dict[str, int] | None = None) -> int:
        """Delete segments numbered below ``before``, and versions below ``inits[track]``; returns how many segments
        went."""
        gone = 0
        for track, segments in list(self._segments.items()):
            # Numbers were entered in rising order, but for those adopted at start.
            for number in [n for n in segments if n < before]:
                name, size = segments.pop(number)
                (self.root / track / name).unlink(missing_ok=True)
                self.bytes -= size
                gone += 1
            if inits is not None and (lowest := inits.get(track)) is not None:
                held = self._inits[track]
                for version in [v for v in held if v < lowest]:
                    self.bytes -= held.pop(version)
                    (self.root / track / init_name(version)).unlink(missing_ok=True)
        return gone

    def drop_unused(self, live: Iterable[str]) -> None:
        """Remove folders that are no track any more and whose last segment has expired."""
        keep = set(live)
        for track in [t for t, numbers in self._segments.items() if t not in keep and not numbers]:
            for version in self._inits.pop(track):
                (self.root / track / init_name(version)).unlink(missing_ok=True)
            del self._segments[track]
            with suppress(OSError):
                (self.root / track).rmdir()

    def discard(self, above: int) -> int:
        """Delete segments numbered above ``above``: written, but never listed, by a packager that was killed."""
        gone = 0
        for track, segments in self._segments.items():
            for number in [n for n in segments if n > above]:
                name, size = segments.pop(number)
                (self.root / track / name).unlink(missing_ok=True)
                self.bytes -= size
                gone += 1
        return gone

    def state(self) -> dict[str, Any]:
        """Folder, files and bytes."""
        return {"path": str(self.root), "segments": sum(map(len, self._segments.values())), "bytes": self.bytes}
