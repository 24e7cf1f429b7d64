"""Why a file cannot be played, found by looking at the file, because a demuxer's "invalid data" helps nobody."""

from __future__ import annotations

import os
from pathlib import Path

_HEAD = 1 << 16


def diagnose(path: str, error: Exception | None = None, *, encrypted: bool = False) -> str:
    """A clause "REASON, so nothing of it can be shown; MEND" about the file at ``path``."""
    reason, mend = _reason(Path(path), error, encrypted)
    return f"the file {path} {reason}, so nothing of it can be shown; {mend}"


def _reason(path: Path, error: Exception | None, encrypted: bool) -> tuple[str, str]:
    if not path.exists():
        return "does not exist", "copy it there or mend the path in the schedule"
    if path.is_dir():
        return "is a folder", "name a media file in it"
    if not os.access(path, os.R_OK):
        return "may not be read by this user", "give the head end's user the right to read it"
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as failure:
        return f"cannot be read ({failure.strerror})", "check the disk or the network share"
    if not size:
        return "is empty (0 bytes)", "copy it again: the transfer has probably failed"
    if encrypted or _scrambled(head) or b"pssh" in head:
        return "is encrypted", "supply it without encryption: the head end has no key for it"
    if _text(head):
        return "is a text, not a media file, whatever its name says", "replace it by the media file that was meant"
    if head[4:8] in (b"ftyp", b"mdat", b"free", b"wide") and not _has_moov(path):
        return (
            "is cut off: its index (moov) is missing or incomplete",
            "copy it again, or record it anew: the writer has not finished it",
        )
    said = f" (FFmpeg says: {getattr(error, 'strerror', None) or error})" if error is not None else ""
    return f"holds neither pictures nor sound that can be decoded{said}", "convert it to a usual format, or replace it"


def _text(head: bytes) -> bool:
    if b"\0" in head:
        return False
    try:
        text = head[:-4].decode("utf-8") if len(head) == _HEAD else head.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return all(c.isprintable() or c in "\r\n\t\f\x1b" for c in text)


def _scrambled(head: bytes) -> bool:
    """Whether most packets of a transport stream say that they are scrambled (ISO/IEC 13818-1, table 2-4)."""
    packets = [head[i : i + 188] for i in range(0, len(head) - 187, 188)]
    if len(packets) < 20 or any(packet[0] != 0x47 for packet in packets):
        return False
    media = [packet for packet in packets if ((packet[1] & 0x1F) << 8 | packet[2]) not in (0, 0x1FFF)]
    return sum(packet[3] >> 6 > 1 for packet in media) * 2 > len(media)


def _has_moov(path: Path) -> bool:
    """Whether an ISO base media file has a whole movie box at its top level (ISO/IEC 14496-12, 8.2.1)."""
    size = path.stat().st_size
    with path.open("rb") as file:
        at = 0
        while at + 8 <= size:
            file.seek(at)
            header = file.read(16)
            length, kind = int.from_bytes(header[:4], "big"), header[4:8]
            if length == 1:
                length = int.from_bytes(header[8:16], "big")
            if kind == b"moov":
                return at + length <= size
            if length < 8:
                return False
            at += length
    return False
