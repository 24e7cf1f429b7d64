"""AC-3: syncframe header and ``dac3`` (ETSI TS 102 366, 4.4.1, 4.4.2 and F.4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from packagers.codec.bits import BitReader, BitWriter

SAMPLE_RATES: Final = (48000, 44100, 32000)
BIT_RATES: Final = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)
"""kbit/s of frmsizecod / 2."""
CODEC_STRING: Final = "ac-3"


@dataclass(frozen=True, slots=True)
class SyncFrame:
    """The header of an AC-3 syncframe."""

    fscod: int
    frmsizecod: int
    bsid: int
    bsmod: int
    acmod: int
    lfeon: bool

    @classmethod
    def from_bytes(cls, data: bytes) -> SyncFrame:
        """Parse one. Raises ValueError if it is truncated or no AC-3."""
        bits = BitReader(data[:16], "AC-3 syncframe")
        if bits.u(16) != 0x0B77:
            raise ValueError("the audio frame does not begin with the AC-3 syncword 0x0B77; it is damaged")
        bits.skip(16)
        fscod, frmsizecod, bsid, bsmod, acmod = bits.u(2), bits.u(6), bits.u(5), bits.u(3), bits.u(3)
        if fscod == 3 or frmsizecod >> 1 >= len(BIT_RATES) or bsid > 10:
            raise ValueError(
                f"the AC-3 syncframe has reserved codes (fscod {fscod}, frmsizecod {frmsizecod}, bsid {bsid})"
            )
        bits.skip(2 * (acmod & 1 and acmod != 1) + 2 * (acmod >> 2 & 1) + 2 * (acmod == 2))
        return cls(fscod, frmsizecod, bsid, bsmod, acmod, bits.flag())

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return SAMPLE_RATES[self.fscod]

    def configuration(self) -> bytes:
        """The body of the AC3SpecificBox."""
        out = BitWriter().u(self.fscod, 2).u(self.bsid, 5).u(self.bsmod, 3).u(self.acmod, 3).u(self.lfeon, 1)
        return out.u(self.frmsizecod >> 1, 5).u(0, 5).to_bytes()
