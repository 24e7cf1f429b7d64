"""E-AC-3: syncframe headers and ``dec3`` (ETSI TS 102 366, Annex E.1.2 and F.6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from packagers.codec.bits import BitReader, BitWriter

CODEC_STRING: Final = "ec-3"
BLOCKS: Final = (1, 2, 3, 6)
_DEPENDENT: Final = 1


@dataclass(frozen=True, slots=True)
class SyncFrame:
    """The header of one E-AC-3 syncframe."""

    strmtyp: int
    """0 independent, 1 dependent, 2 converted from AC-3."""
    substream: int
    size: int
    """Bytes."""
    fscod: int
    blocks: int
    """Audio blocks of 256 samples."""
    acmod: int
    lfeon: bool
    bsid: int
    chanmap: int
    """Channel locations of a dependent substream, 0 when it has none."""

    @classmethod
    def from_bytes(cls, data: bytes) -> SyncFrame:
        """Parse one. Raises ValueError if it is truncated or no E-AC-3."""
        bits = BitReader(data[:16], "E-AC-3 syncframe")
        if bits.u(16) != 0x0B77:
            raise ValueError("the audio frame does not begin with the E-AC-3 syncword 0x0B77; it is damaged")
        strmtyp, substream, size, fscod = bits.u(2), bits.u(3), (bits.u(11) + 1) * 2, bits.u(2)
        blocks = 6 if (code := bits.u(2)) and fscod == 3 else 6 if fscod == 3 else BLOCKS[code]
        acmod, lfeon, bsid = bits.u(3), bits.flag(), bits.u(5)
        if not 11 <= bsid <= 16:
            raise ValueError(f"the E-AC-3 syncframe has bsid {bsid}, which is not E-AC-3")
        chanmap = 0
        for _ in range(2 if acmod == 0 else 1):
            bits.skip(5)
            if bits.flag():
                bits.skip(8)
        if strmtyp == _DEPENDENT and bits.flag():
            chanmap = bits.u(16)
        return cls(strmtyp, substream, size, fscod, blocks, acmod, lfeon, bsid, chanmap)


def syncframes(data: bytes) -> list[SyncFrame]:
    """The syncframes of one access unit, in order. Raises ValueError if one is truncated."""
    frames: list[SyncFrame] = []
    position = 0
    while position < len(data):
        frame = SyncFrame.from_bytes(data[position : position + 16])
        position += frame.size
        if position > len(data):
            raise ValueError(
                f"the E-AC-3 access unit is truncated: its syncframes need {position} bytes, it has {len(data)}"
            )
        frames.append(frame)
    if not frames or frames[0].strmtyp == _DEPENDENT:
        raise ValueError("the E-AC-3 access unit does not begin with an independent substream; it cannot be decoded")
    return frames


def configuration(data: bytes, bitrate: int) -> bytes:
    """The body of the EC3SpecificBox for the first access unit; ``bitrate`` in bit/s.

    ``bsmod`` is written as 0, complete main: the bit stream has it behind optional mixing data, and what this
    house encodes is a complete main service.
    """
    frames = syncframes(data)
    # An access unit of 1 536 samples may hold several syncframes of one substream: count each substream once.
    programs: list[tuple[SyncFrame, list[SyncFrame]]] = []
    seen: set[int] = set()
    for frame in frames:
        if frame.strmtyp != _DEPENDENT:
            if frame.substream in seen:
                break
            seen.add(frame.substream)
            programs.append((frame, []))
        else:
            programs[-1][1].append(frame)
    out = BitWriter().u(min(bitrate // 1000, 0x1FFF), 13).u(len(programs) - 1, 3)
    for main, dependents in programs:
        out.u(main.fscod, 2).u(main.bsid, 5).u(0, 2).u(0, 3).u(main.acmod, 3).u(main.lfeon, 1).u(0, 3)
        out.u(len(dependents), 4)
        if not dependents:
            out.u(0, 1)
            continue
        locations = 0
        for frame in dependents:
            locations |= _locations(frame.chanmap)
        out.u(locations, 9)
    return out.to_bytes()


def _locations(chanmap: int) -> int:
    """chan_loc (table F.6.1), Lc/Rc in bit 0, of a chanmap (table E.1.4), whose bits count from the top."""
    order = (5, 6, 7, 8, 9, 10, 11, 12, 14)
    return sum(1 << index for index, bit in enumerate(order) if chanmap >> (15 - bit) & 1)
