"""Descriptors: what tables say about a program or a stream (ISO/IEC 13818-1, 2.6; ETSI EN 300 468, 6.2)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

REGISTRATION: Final = 0x05
ISO_639_LANGUAGE: Final = 0x0A
DVB_AC3: Final = 0x6A
DVB_ENHANCED_AC3: Final = 0x7A


@dataclass(frozen=True, slots=True)
class Descriptor:
    """One descriptor: its tag and what stands behind its length."""

    tag: int
    data: bytes

    def to_bytes(self) -> bytes:
        """Tag, length, data. Raises ValueError if the data are longer than 255 bytes."""
        if len(self.data) > 255:
            raise ValueError(f"the descriptor 0x{self.tag:02X} has {len(self.data)} bytes, above the limit of 255")
        return bytes((self.tag, len(self.data))) + self.data


def parse(loop: bytes) -> tuple[Descriptor, ...]:
    """The descriptors of a loop. Raises ValueError if the last one is truncated."""
    found: list[Descriptor] = []
    at = 0
    while at < len(loop):
        if at + 2 > len(loop) or at + 2 + loop[at + 1] > len(loop):
            raise ValueError(f"the descriptor 0x{loop[at]:02X} at byte {at} is truncated; the table is damaged")
        found.append(Descriptor(loop[at], bytes(loop[at + 2 : at + 2 + loop[at + 1]])))
        at += 2 + loop[at + 1]
    return tuple(found)


def join(descriptors: Iterable[Descriptor]) -> bytes:
    """The bytes of a descriptor loop."""
    return b"".join(one.to_bytes() for one in descriptors)


def registration(identifier: bytes) -> Descriptor:
    """registration_descriptor (2.6.8) with four letters, e.g. ``b"AC-3"``."""
    if len(identifier) != 4:
        raise ValueError(f"a format_identifier has 4 bytes, {identifier!r} has {len(identifier)}")
    return Descriptor(REGISTRATION, identifier)


def language(code: str, audio_type: int = 0) -> Descriptor:
    """ISO_639_language_descriptor (2.6.18); anything but three letters is ``und``."""
    letters = code.lower()
    if len(letters) != 3 or not all("a" <= letter <= "z" for letter in letters):
        letters = "und"
    return Descriptor(ISO_639_LANGUAGE, letters.encode("ascii") + bytes((audio_type,)))


def dvb_ac3() -> Descriptor:
    """AC-3_descriptor (EN 300 468, D.3) without its optional fields."""
    return Descriptor(DVB_AC3, b"\0")


def dvb_enhanced_ac3() -> Descriptor:
    """enhanced_ac-3_descriptor (EN 300 468, D.5) without its optional fields."""
    return Descriptor(DVB_ENHANCED_AC3, b"\0")
