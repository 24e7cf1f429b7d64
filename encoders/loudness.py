"""Programme loudness: measured once over a whole file, brought to target by one constant gain.

Integrated loudness and true peak are measured as ITU-R BS.1770-4 and EBU R 128 say, by FFmpeg's ``ebur128`` filter in
a child process at low priority, over the sound alone, mixed as the channel will mix it. The gain never changes within
an item: there is no compressor. Where the target would push the true peak above -1 dBTP the gain stops there.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import subprocess
import tempfile
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import av

from encoders.gateway import executable
from encoders.sound import language, mixing

PROFILES: Final[dict[str, float]] = {"ebu-r128": -23.0, "gyt-282": -24.0, "chinese": -24.0}
"""Target loudness by profile, LUFS (LKFS): EBU R 128; GY/T 282-2014, which is the Chinese one."""

PEAK: Final = -1.0
"""The highest true peak after the gain, dBTP (EBU R 128, 5)."""

MOST: Final = 20.0
"""The largest gain, dB: what is quieter than that is not a programme that was levelled wrongly."""

_SILENCE: Final = -69.0
"""The filter says -70 when every block was below the absolute gate of -70 LUFS, or there was no whole block of 400
ms.
"""


@dataclass(frozen=True, slots=True)
class Loudness:
    """What was measured. None: silence, or too short to be measured (less than one block of 400 ms)."""

    integrated: float | None
    """LUFS."""
    true_peak: float | None
    """dBTP."""


def gain(measured: Loudness, profile: str) -> float:
    """The constant gain, in dB, that brings a programme to a profile's target. Zero for silence.

    Raises ValueError for an unknown profile.
    """
    if profile not in PROFILES:
        raise ValueError(f"there is no loudness profile {profile!r}; use one of {', '.join(PROFILES)}")
    if measured.integrated is None:
        return 0.0
    wanted = PROFILES[profile] - measured.integrated
    if measured.true_peak is not None:
        wanted = min(wanted, PEAK - measured.true_peak)
    return round(min(wanted, MOST), 2)


def measure(
    path: str | Path, *, channels: int = 2, track: str = "und", cancel: threading.Event | None = None
) -> Loudness | None:
    """Measure the sound of ``path`` in language ``track`` (else the first), mixed to ``channels``; None when
    ``cancel`` was set.

    A file without sound is silence. Raises OSError when the file cannot be read, ValueError when its sound cannot be
    decoded.
    """
    chosen = _choose(str(path), channels, track)
    if chosen is None:
        return Loudness(None, None)
    index, pan = chosen
    process = subprocess.Popen(
        [executable(), "-hide_banner", "-nostdin", "-nostats", "-i", f"file:{path}", "-map", f"0:{index}", "-vn", "-sn",
         "-dn", "-af", f"{pan}ebur128=peak=true:framelog=quiet", "-f", "null", "-"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, process.pid, 10)
    text = ""
    try:
        while True:
            try:
                text = process.communicate(timeout=0.1)[1].decode("utf-8", "replace")
                break
            except subprocess.TimeoutExpired:
                if cancel is not None and cancel.is_set():
                    return None
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    summary = text[text.rfind("Integrated loudness:") :] if "Integrated loudness:" in text else ""
    integrated, peak = _figure(summary, "I"), _figure(summary, "Peak")
    if integrated is None:
        last = (text.strip().splitlines() or ["no reason given"])[-1]
        raise ValueError(
            f"the loudness of {path} cannot be measured ({last}), so it is played as it is; check the file"
        )
    if integrated <= _SILENCE:
        integrated = None
    return Loudness(integrated, peak)


def _figure(text: str, name: str) -> float | None:
    found = re.search(rf"^\s*{name}:\s*(-?[\d.]+|-?inf|nan)", text, re.M)
    value = float(found[1]) if found else math.nan
    return value if math.isfinite(value) else None


def _choose(path: str, channels: int, track: str) -> tuple[int, str] | None:
    """Index of the stream to be measured, and the mixing as a filter."""
    with av.open(f"file:{path}", metadata_errors="replace") as container:
        streams = list(container.streams.audio)
        if not streams:
            return None
        best = container.streams.best("audio")
        fallback = next((s for s in streams if s is best), streams[0])
        stream = next((s for s in streams if language(s.language) == language(track)), fallback)
        names = [channel.name for channel in stream.codec_context.layout.channels]
        matrix = mixing(names, channels)
        if matrix is None:
            return stream.index, ""
        rows = (
            f"c{row}=" + ("+".join(f"{v:.6f}*c{column}" for column, v in enumerate(values) if v) or "0*c0")
            for row, values in enumerate(matrix.tolist())
        )
        layout = {1: "mono", 2: "stereo", 6: "5.1"}[channels]
        return stream.index, f"pan={layout}|{'|'.join(rows)},"


class LoudnessStore:
    """Measurements kept in a JSON file, so that each file is measured once.

    A file that has changed (size or time of change) is measured again. An unreadable store is begun anew: it holds
    nothing that cannot be measured again.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        self._rows: dict[str, dict[str, Any]] = {}
        try:
            rows = json.loads(self.path.read_text(encoding="utf-8"))
            self._rows = {key: row for key, row in rows.items() if {"key", "integrated", "true_peak"} <= row.keys()}
        except (OSError, ValueError, AttributeError):
            self._rows = {}

    def get(self, path: str | Path, *, channels: int = 2, track: str = "und") -> Loudness | None:
        """What was measured of the file as it is now; None when it has not been, or is gone."""
        try:
            key = _key(path)
        except OSError:
            return None
        with self._lock:
            row = self._rows.get(_name(path, channels, track))
        return Loudness(row["integrated"], row["true_peak"]) if row is not None and row["key"] == key else None

    def put(self, path: str | Path, measured: Loudness, *, channels: int = 2, track: str = "und") -> None:
        """Keep a measurement. Raises OSError when the file is gone or the store cannot be written."""
        row = {"key": _key(path), **asdict(measured)}
        with self._lock:
            self._rows[_name(path, channels, track)] = row
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=self.path.name)
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    json.dump(self._rows, file, ensure_ascii=False, indent=1, sort_keys=True)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(name, self.path)
            except OSError:
                with contextlib.suppress(OSError):
                    os.unlink(name)
                raise

    def measure(
        self,
        path: str | Path,
        *,
        channels: int = 2,
        track: str = "und",
        cancel: threading.Event | None = None,
        meter: Callable[..., Loudness | None] = measure,
    ) -> Loudness | None:
        """The kept measurement, else a new one, which is kept. Raises and returns as :func:`measure` does."""
        known = self.get(path, channels=channels, track=track)
        if known is not None:
            return known
        measured = meter(path, channels=channels, track=track, cancel=cancel)
        if measured is not None:
            with contextlib.suppress(OSError):  # a full disk costs a second measurement, not the item
                self.put(path, measured, channels=channels, track=track)
        return measured


def _name(path: str | Path, channels: int, track: str) -> str:
    return f"{Path(path).resolve()}|{channels}|{track}"


def _key(path: str | Path) -> str:
    status = os.stat(path)
    return f"{status.st_size}:{status.st_mtime_ns}"
