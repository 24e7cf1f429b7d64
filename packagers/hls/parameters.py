"""What a player must be told before it can decode a stream, and whether that has changed.

Each input's parameters are its initialization section: parameter sets, size, sample rate. Equal parameters from a new
encoder are no change; other parameters are a new version, and a discontinuity for the whole channel. Versions are
counted in the ledger, so that a restarted packager neither repeats nor skips one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Set

from packagers.hls.collector import Cut
from packagers.hls.journal import Ledger
from packagers.hls.track import Makers, Parameters


class ParameterBook:
    """Parameters of a channel's inputs. ``framed`` names those that are packaged as fragmented MP4 too."""

    def __init__(self, makers: Makers, ledger: Ledger, framed: Set[str]) -> None:
        self.current: dict[str, Parameters] = {}
        """By input: what the segments now being made need."""
        self.mixed = 0
        """Segments whose parameters changed inside, which no initialization section fits."""
        self._makers = makers
        self._ledger = ledger
        self._framed = framed

    def learn(self, name: str, cut: Cut) -> tuple[Cut, bool]:
        """Take note of the parameters of a whole segment; True if players were told others before.

        The cut comes back as a gap if its parameters change inside. Raises what the maker raises on parameters that
        it cannot read.
        """
        known = self.current.get(name)
        maker = known.maker if known is not None and known.format == cut.format else None
        if maker is None and name in self._framed:
            maker = self._makers.cmaf(cut.format)
        first = cut.units[0]
        init = maker.init(first) if maker is not None else repr(cut.format.to_json()).encode()
        if maker is not None and cut.format.kind == "video":
            generation = first.generation
            for unit in cut.units:
                if unit.key and unit.generation != generation:
                    generation = unit.generation
                    if maker.init(unit) != init:
                        self.mixed += 1
                        return Cut((), cut.start, cut.end, True, cut.format), False
        digest = hashlib.sha256(init).hexdigest()[:16]
        version, before = self._ledger.inits.get(name, (-1, ""))
        changed = digest != before
        if changed:
            version += 1
            self._ledger.inits[name] = [version, digest]
        if changed or name not in self._ledger.codecs:
            self._ledger.codecs[name] = self._makers.codec(cut.format, first)
        self.current[name] = Parameters(cut.format, version, init, maker)
        return cut, changed and bool(before)

    def strange(self, name: str, cut: Cut) -> bool:
        """Whether the partial media of a gap has other parameters than players know: then it is better not shown."""
        known = self.current.get(name)
        if known is None or not cut.units or known.format != cut.format:
            return True
        if known.maker is None or cut.format.kind == "audio":
            return False
        try:
            return any(known.maker.init(unit) != known.init for unit in cut.units if unit.key)
        except Exception:  # parameters that cannot be read are strange
            return True
