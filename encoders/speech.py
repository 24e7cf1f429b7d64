"""Text to speech: how words of an announcement or an alert become sound.

:class:`Engine` is the interface; :class:`Espeak` the embedded default, espeak-ng with its voices from the wheel
``espeakng-loader``. The library keeps its voice and its callback in global variables, so all use of it goes through one
lock per process; it releases the interpreter while it works.
"""

from __future__ import annotations

import ctypes
import threading
import unicodedata
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Protocol

import av
import numpy as np
from numpy.typing import NDArray

from encoders.format import SAMPLE_RATE

Voice = NDArray[np.float32]
"""Mono sound, 48 kHz, shape (n,), in [-1, 1]."""

LONGEST: Final = 5_000
"""Characters of one text: a bound on memory and on how long the lock is held; about twenty minutes of speech."""

_NAMES: Final = {
    "zho": "cmn",
    "chi": "cmn",
    "cmn": "cmn",
    "yue": "yue",
    "hak": "hak",
    "eng": "en-us",
    "uig": "ug",
    "kaz": "kk",
    "kir": "ky",
    "kor": "ko",
    "jpn": "ja",
    "rus": "ru",
    "vie": "vi",
    "fra": "fr",
    "deu": "de",
    "spa": "es",
}
"""espeak-ng's voices by ISO 639-2/T or 639-3 code; other codes are tried as they are."""

# Of espeak-ng's speak_lib.h.
_SYNCHRONOUS: Final = 2
_DONT_EXIT: Final = 0x8000
_UTF8: Final = 1
_RATE, _VOLUME = 1, 2
_CALLBACK: Final = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class Engine(Protocol):
    """What makes speech of text."""

    def languages(self) -> list[str]:
        """ISO 639-2/T codes that it speaks."""
        ...

    def say(self, text: str, language: str, rate: float = 1.0) -> Voice:
        """The text, spoken; ``rate`` is speed, 1 normal. Thread-safe.

        A text with nothing to say (punctuation only) gives an array of no samples. Raises ValueError with a sentence
        for a language it cannot speak.
        """
        ...

    def state(self) -> dict[str, Any]:
        """``engine, languages, spoken`` (texts so far), ``message``."""
        ...


class Espeak:
    """espeak-ng. Every object shares the one library of the process; raises RuntimeError if it cannot be loaded."""

    def __init__(self) -> None:
        self._library, self._sample_rate = _library()
        self._spoken = 0

    def languages(self) -> list[str]:
        """The codes that have a voice here."""
        with _LOCK:
            return [code for code, name in _NAMES.items() if self._library.espeak_SetVoiceByName(name.encode()) == 0]

    def say(self, text: str, language: str, rate: float = 1.0) -> Voice:
        """The text, spoken, without the silence after it. Raises ValueError with a sentence; see :class:`Engine`."""
        if len(text) > LONGEST:
            raise ValueError(
                f"a text of {len(text)} characters is more than the {LONGEST} that are spoken at once, so nothing was "
                "spoken; speak it in parts"
            )
        # A NUL would end the text; other control characters are instructions to the engine.
        text = "".join(" " if unicodedata.category(c) in ("Cc", "Cs") else c for c in text)
        pieces: list[NDArray[np.int16]] = []

        def take(samples: Any, count: int, _events: int | None) -> int:
            if samples and count > 0:
                pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
            return 0

        callback = _CALLBACK(take)
        with _LOCK:
            if self._library.espeak_SetVoiceByName(_NAMES.get(language, language).encode()) != 0:
                raise ValueError(
                    f"there is no voice for the language {language!r}, so the text cannot be spoken; "
                    f"espeak-ng has {', '.join(sorted(set(_NAMES)))} and others by their own names"
                )
            self._library.espeak_SetParameter(_RATE, max(80, min(round(165 * rate), 450)), 0)
            self._library.espeak_SetParameter(_VOLUME, 100, 0)
            self._library.espeak_SetSynthCallback(callback)
            data = text.encode()
            failed = self._library.espeak_Synth(data, len(data) + 1, 0, 1, 0, _UTF8, None, None)
            self._library.espeak_Synchronize()
            self._library.espeak_SetSynthCallback(_SILENT)
        if failed:
            raise RuntimeError(
                f"espeak-ng refused a text of {len(text)} characters (error {failed}); nothing was spoken"
            )
        self._spoken += 1
        return _resampled(_trimmed(np.concatenate(pieces)) if pieces else np.empty(0, np.int16), self._sample_rate)

    def state(self) -> dict[str, Any]:
        """``engine, languages, spoken, message``."""
        return {"engine": "espeak-ng", "languages": self.languages(), "spoken": self._spoken, "message": ""}


_LOCK: Final = threading.Lock()


_SILENT: Final = _CALLBACK(lambda _samples, _count, _events: 0)
"""What the library holds between texts, so that it never calls a callback that is gone."""


@lru_cache(maxsize=1)
def _library() -> tuple[ctypes.CDLL, int]:
    """The library, started, and its sample rate."""
    try:
        import espeakng_loader

        library = ctypes.CDLL(espeakng_loader.get_library_path())
        data = Path(espeakng_loader.get_data_path())
    except (ImportError, OSError, RuntimeError) as error:
        raise RuntimeError(
            f"espeak-ng cannot be loaded ({error}), so nothing can be spoken; install the package espeakng-loader"
        ) from error
    library.espeak_Synth.argtypes = [
        ctypes.c_char_p,
        ctypes.c_size_t,
        ctypes.c_uint,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.c_uint,
        ctypes.c_void_p,
        ctypes.c_void_p,
    ]
    library.espeak_SetSynthCallback.argtypes = [_CALLBACK]
    library.espeak_SetSynthCallback.restype = None
    with _LOCK:
        rate = library.espeak_Initialize(_SYNCHRONOUS, 0, str(data).encode(), _DONT_EXIT)
        if rate <= 0:
            raise RuntimeError(
                f"espeak-ng did not start with its data in {data}, so nothing can be spoken; reinstall "
                "espeakng-loader in a folder whose path has fewer than 150 characters"
            )
        library.espeak_SetSynthCallback(_SILENT)
    return library, int(rate)


def _trimmed(sound: NDArray[np.int16]) -> NDArray[np.int16]:
    """Without the silence at either end, but for a breath of 40 ms."""
    loud = np.flatnonzero(np.abs(sound.astype(np.int32)) > 64)
    if not loud.size:
        return sound[:0]
    return sound[max(loud[0] - 900, 0) : loud[-1] + 900]


def _resampled(sound: NDArray[np.int16], rate: int) -> Voice:
    """48 kHz float of 16-bit sound."""
    if not sound.size:
        return np.empty(0, np.float32)
    if rate == SAMPLE_RATE:
        return (sound / np.float32(32768)).astype(np.float32)
    resampler = av.AudioResampler(format="fltp", layout="mono", rate=SAMPLE_RATE)
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound)[None, :], format="s16", layout="mono")
    frame.sample_rate = rate
    parts = [out.to_ndarray()[0] for out in (*resampler.resample(frame), *resampler.resample(None))]
    whole: Voice = np.clip(np.concatenate(parts), -1.0, 1.0).astype(np.float32)
    return whole
