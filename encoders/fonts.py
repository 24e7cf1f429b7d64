"""Where the letters on a picture come from.

A box in place of a Chinese character on air is a broadcaster's nightmare, so a typeface is only accepted when it has
Chinese, and a text is checked against the typeface's own character map before it may be drawn. Order of search: the
file that the configuration names, the system's Chinese sans serif (asked of fontconfig, else looked for in the usual
folders), and the Noto Sans CJK that the package ``manimgx-fonts-cjk`` brings.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import struct
import subprocess
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal

from PIL import ImageFont

PROBE: Final = "中文播出应急预警ABCabc0123:，。"
"""Characters that a typeface must have before it is taken for a Chinese one."""

_FOLDERS: Final = ("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "/System/Library/Fonts")
_KNOWN: Final = (
    "NotoSansCJK",
    "SourceHanSans",
    "NotoSansSC",
    "wqy-microhei",
    "wqy-zenhei",
    "PingFang",
    "DroidSansFallback",
)


@dataclass(frozen=True, slots=True)
class Typeface:
    """One face of a font file."""

    path: Path
    index: int = 0
    """Number of the face in a collection (.ttc, .otc)."""
    origin: Literal["configured", "system", "package"] = "configured"

    def sized(self, size: int, weight: int = 500) -> ImageFont.FreeTypeFont:
        """The face at ``size`` pixels per em; ``weight`` (100-900) counts when the font is a variable one."""
        return _sized(self.path, self.index, max(size, 4), weight)

    def has(self, character: str) -> bool:
        """Whether the face has a glyph for a character."""
        return ord(character) in _characters(self.path, self.index)


def find_typeface(configured: str | Path | None = None) -> Typeface:
    """The typeface to draw with.

    Raises ValueError if the configured file is no font, and RuntimeError if no Chinese font is to be found at all.
    """
    if configured is not None:
        path = Path(configured).expanduser()
        try:
            face = Typeface(path, _chinese_face(path), "configured")
            face.sized(20).getbbox("A")
            _characters(face.path, face.index)
        except (OSError, ValueError, struct.error) as error:
            raise ValueError(
                f"the font file {path} cannot be used ({error}), so no text could be drawn; "
                "name a .ttf, .otf or .ttc file, or leave the setting out to use the system's Chinese font"
            ) from error
        return face
    return _found()


def missing_glyphs(text: str, face: Typeface) -> list[str]:
    """The characters of ``text`` that the typeface cannot draw, each once, in order of appearance.

    Line ends, tabs and characters that are never drawn (category Cf, variation selectors) do not count.
    """
    have = _characters(face.path, face.index)
    return [c for c in dict.fromkeys(text) if not _unseen(c) and ord(c) not in have]


def refuse_missing(text: str, face: Typeface, where: str) -> None:
    """Raise ValueError with a sentence if ``text``, to be shown as ``where``, has a character that cannot be drawn."""
    if missing := missing_glyphs(text, face):
        shown = " ".join(f"{c} (U+{ord(c):04X})" for c in missing[:8]) + (" ..." if len(missing) > 8 else "")
        raise ValueError(
            f"{where} has {len(missing)} character(s) that the font {face.path.name} cannot draw: {shown}; "
            "they would be boxes on air. Change the text, or configure a font that has them"
        )


def _unseen(character: str) -> bool:
    return character in "\n\r\t" or unicodedata.category(character) == "Cf" or 0xFE00 <= ord(character) <= 0xFE0F


@lru_cache(maxsize=128)
def _sized(path: Path, index: int, size: int, weight: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.truetype(str(path), size, index=index)
    try:
        axes = font.get_variation_axes()
    except OSError:  # not a variable font
        return font
    values = []
    for axis in axes:
        low, high, default = axis["minimum"] or 0, axis["maximum"] or 0, axis["default"] or 0
        name = axis["name"] or b""
        values.append(float(min(max(weight, low), high)) if b"eight" in bytes(name) else float(default))
    font.set_variation_by_axes(values)
    return font


@lru_cache(maxsize=1)
def _found() -> Typeface:
    for path, index in _candidates():
        face = Typeface(path, index, "system")
        try:
            if not missing_glyphs(PROBE, face):
                face.sized(20).getbbox(PROBE)
                return face
        except (OSError, ValueError, struct.error):
            continue  # a damaged font file on the system is no reason not to look further
    if (package := _packaged()) is not None:
        return package
    raise RuntimeError(
        "no Chinese font was found, so no text can be drawn on pictures; install the system's fonts-noto-cjk, "
        "or the Python package manimgx-fonts-cjk, or name a font file in the configuration"
    )


def _packaged() -> Typeface | None:
    """Noto Sans CJK, as the wheel brings it."""
    spec = importlib.util.find_spec("manimgx_fonts_cjk")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for path in sorted(Path(folder).glob("*.[ot]t[cf]")):
            return Typeface(path, _chinese_face(path), "package")
    return None


def _candidates() -> Iterator[tuple[Path, int]]:
    """Font files of the system that may have Chinese, best first."""
    if (program := shutil.which("fc-match")) is not None:
        for pattern in ("Noto Sans CJK SC:lang=zh-cn", "sans-serif:lang=zh-cn"):
            try:
                answer = subprocess.run(
                    [program, "-f", "%{file}\n%{index}", pattern],
                    capture_output=True,
                    text=True,
                    timeout=10,
                    check=True,
                ).stdout
            except (OSError, subprocess.SubprocessError):
                break
            file, _, index = answer.partition("\n")
            # The upper half of fontconfig's index is the named instance of a variable font.
            yield Path(file), int(index or 0) & 0xFFFF
    for folder in _FOLDERS:
        files = [Path(base, name) for base, _, names in os.walk(Path(folder).expanduser()) for name in names]
        for known in _KNOWN:
            for path in sorted(files):
                if path.name.startswith(known) and path.suffix.lower() in (".ttc", ".otc", ".ttf", ".otf"):
                    yield path, _chinese_face(path)


def _chinese_face(path: Path) -> int:
    """In a collection the face for simplified Chinese, by its family name; else the first."""
    with path.open("rb") as file:
        faces = len(_offsets(file.read(1024)))
    for index in range(faces):
        family = ImageFont.truetype(str(path), 20, index=index).getname()[0] or ""
        if family.endswith((" SC", " CN", " GB")):
            return index
    return 0


def _offsets(head: bytes) -> list[int]:
    """Where the faces of a font file begin (ISO/IEC 14496-22, 4.6)."""
    if head[:4] != b"ttcf":
        return [0]
    (count,) = struct.unpack_from(">I", head, 8)
    return list(struct.unpack_from(f">{min(count, 64)}I", head, 12))


@lru_cache(maxsize=8)
def _characters(path: Path, index: int) -> frozenset[int]:
    """Every code point that a face maps to a glyph: its ``cmap`` table, formats 4 and 12 (ISO/IEC 14496-22, 5.2.1).

    Raises OSError, ValueError or struct.error if the file is no OpenType font.
    """
    with path.open("rb") as file:
        start = _offsets(file.read(1024))[index]
        file.seek(start)
        (tables,) = struct.unpack(">4xH6x", file.read(12))
        directory = file.read(16 * tables)
        for row in range(0, len(directory), 16):
            tag, offset, length = struct.unpack_from(">4s4xII", directory, row)
            if tag == b"cmap":
                file.seek(offset)
                return _parse_cmap(file.read(length))
    raise ValueError("the font has no character map")


def _parse_cmap(table: bytes) -> frozenset[int]:
    found: set[int] = set()
    (count,) = struct.unpack_from(">H", table, 2)
    for row in range(count):
        platform, encoding, offset = struct.unpack_from(">HHI", table, 4 + 8 * row)
        if platform != 0 and (platform, encoding) not in ((3, 1), (3, 10)):
            continue
        (layout,) = struct.unpack_from(">H", table, offset)
        if layout == 12:
            (groups,) = struct.unpack_from(">I", table, offset + 12)
            for group in range(groups):
                first, last, glyph = struct.unpack_from(">III", table, offset + 16 + 12 * group)
                found.update(range(first + (glyph == 0), min(last, 0x10FFFF) + 1))
        elif layout == 4:
            found.update(_segments(table[offset:]))
    if not found:
        raise ValueError("the font has no Unicode character map")
    return frozenset(found)


def _segments(table: bytes) -> Iterator[int]:
    """The code points of a format 4 subtable; a segment may map some of its codes to glyph 0, "missing"."""
    (double,) = struct.unpack_from(">H", table, 6)
    for segment in range(double // 2):
        at = 14 + 2 * segment
        (last,) = struct.unpack_from(">H", table, at)
        (first,) = struct.unpack_from(">H", table, at + 2 + double)
        (delta,) = struct.unpack_from(">H", table, at + 2 + 2 * double)
        place = at + 2 + 3 * double
        (distance,) = struct.unpack_from(">H", table, place)
        for code in range(first, min(last, 0xFFFE) + 1):
            if distance:
                where = place + distance + 2 * (code - first)
                glyph = struct.unpack_from(">H", table, where)[0] if where + 2 <= len(table) else 0
                glyph = (glyph + delta) & 0xFFFF if glyph else 0
            else:
                glyph = (code + delta) & 0xFFFF
            if glyph:
                yield code
