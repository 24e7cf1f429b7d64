"""What this machine can really encode: every encoder is tried with a picture or a sound, not just listed.

A library may list `h264_nvenc` on a machine without such a card, and a card may be there with a driver that
gives garbage or hangs. So each encoder is opened with the settings that will be used, given a moving
picture, and what it made is decoded and compared with what went in. Hardware encoders are tried in a
process of their own with a time limit, because a driver that hangs cannot be called back.

`python -m encoders.capability NAME CODEC WIDTHxHEIGHT RATE TEN_BIT` is that process: one JSON object.
"""

from __future__ import annotations

import ctypes
import glob
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.video.codeccontext import VideoCodecContext

from encoders.audio import AudioEncoder
from encoders.format import SAMPLE_RATE, ChannelFormat
from encoders.rendition import FRAME_SAMPLES, AudioRendition, VideoRendition
from encoders.video import VideoEncoder
from headend.accessunit import AccessUnit

VIDEO: Final = {
    "h264": ("h264_nvenc", "h264_qsv", "h264_vaapi", "libx264", "h264_v4l2m2m"),
    "hevc": ("hevc_nvenc", "hevc_qsv", "hevc_vaapi", "libx265", "hevc_v4l2m2m"),
    "av1": ("av1_nvenc", "av1_qsv", "av1_vaapi", "libsvtav1"),
}
"""Encoders of each codec, best first: a card frees the processor for more channels."""

AUDIO: Final = {
    "aac": ("libfdk_aac", "aac"),
    "he-aac": ("libfdk_aac",),
    "ac3": ("ac3",),
    "eac3": ("eac3",),
    "mp2": ("mp2",),
    "opus": ("libopus",),
}

TIME_LIMIT: Final = 10.0
"""Seconds that a hardware encoder may take for its trial."""

_PICTURES: Final = 12
_LEAST_PSNR: Final = 22.0
"""Decibels; a working encoder at the trial's rate is far above, garbage is near 10."""


class NoEncoderError(ValueError):
    """Nothing on this machine encodes what was asked for. The message says what was tried."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of trying one encoder."""

    name: str
    codec: str
    works: bool
    reason: str
    """Empty, or why it does not work, as a clause."""
    fps: float = 0.0
    """Pictures a second in the trial (not a measure of speed: the trial is short)."""
    psnr: float = 0.0


_results: dict[tuple[str, str, int, int, Fraction, bool], Trial] = {}
_lock = threading.Lock()
_memory: Path | None = None


def remember(path: Path) -> None:
    """Recall what earlier processes found, and keep in ``path`` what this one finds.

    A channel that is being restarted has no second to spend on trying a card again. Keep the file where a
    reboot, which may bring another driver, clears it. A file that cannot be read or written costs time only.
    """
    global _memory
    with _lock:
        _memory = path
        try:
            for *key, row in json.loads(path.read_text()):
                name, codec, width, height, rate, ten_bit = key
                _results.setdefault((name, codec, width, height, Fraction(rate), ten_bit), Trial(**row))
        except (OSError, ValueError, TypeError):
            return


def _keep() -> None:
    """Write what is known, whole and then renamed, since several channels keep one file."""
    if _memory is None:
        return
    rows = [[*key[:4], str(key[4]), key[5], asdict(trial)] for key, trial in _results.items()]
    half = _memory.with_name(f".{_memory.name}.{os.getpid()}")
    try:
        half.write_text(json.dumps(rows))
        half.replace(_memory)
    except OSError:
        half.unlink(missing_ok=True)


def is_hardware(name: str) -> bool:
    """Whether an encoder needs a device, by its name in FFmpeg."""
    return name.endswith(("_nvenc", "_qsv", "_vaapi", "_v4l2m2m", "_amf", "_videotoolbox"))


def try_video(
    name: str, codec: str, width: int = 320, height: int = 180, rate: Fraction = Fraction(25), ten_bit: bool = False
) -> Trial:
    """Try an encoder, or recall what came of it in this process.

    Hardware is tried at the size asked for, because cards have limits of size; software at no more than
    320x180, because it has none and a channel that is being restarted has no time.
    """
    if not is_hardware(name) and width * height > 320 * 180:
        width, height = 320, 180
    key = (name, codec, width, height, rate, ten_bit)
    with _lock:
        if key not in _results:
            _results[key] = _try(*key)
            _keep()
        return _results[key]


def _try(name: str, codec: str, width: int, height: int, rate: Fraction, ten_bit: bool) -> Trial:
    missing = _missing(name)
    if missing:
        return Trial(name, codec, False, missing)
    if not is_hardware(name):
        return trial(name, codec, width, height, rate, ten_bit)
    arguments = [name, codec, f"{width}x{height}", str(rate), str(int(ten_bit))]
    command = [sys.executable, "-m", "encoders.capability", *arguments]
    root = Path(__file__).resolve().parent.parent
    try:
        done = subprocess.run(command, capture_output=True, timeout=TIME_LIMIT, cwd=root, check=False)
        return Trial(**json.loads(done.stdout.splitlines()[-1]))
    except subprocess.TimeoutExpired:
        return Trial(name, codec, False, f"it had made no picture after {TIME_LIMIT:g} s")
    except (OSError, ValueError, TypeError, IndexError):
        return Trial(name, codec, False, "its trial died")


def _missing(name: str) -> str:
    """Why an encoder cannot work, where that can be seen without opening it."""
    try:
        av.Codec(name, "w")
    except av.codec.codec.UnknownCodecError:
        return "the FFmpeg libraries here were built without it"
    if name.endswith("_nvenc"):
        try:
            ctypes.CDLL("libcuda.so.1")
        except OSError:
            return "there is no NVIDIA driver"
    if name.endswith(("_qsv", "_vaapi")) and not glob.glob("/dev/dri/renderD*"):
        return "there is no render device in /dev/dri"
    if name.endswith("_v4l2m2m") and not glob.glob("/dev/video*"):
        return "there is no /dev/video device"
    return ""


def moving_picture(number: int, width: int, height: int, ten_bit: bool = False) -> av.VideoFrame:
    """A picture of a slanted gradient with a bar that moves, so that an encoder has something to predict."""
    across, down = np.arange(width), np.arange(height)[:, None]
    luma = 40 + (across * 120 // width + down * 60 // height + number * 2) % 160
    left = number * 8 % width
    luma[:, left : left + width // 8] = 200
    chroma = np.full((height // 2, width), 128)
    chroma[:, : width // 2] = 110 + across[: width // 2] * 40 // width
    picture = av.VideoFrame.from_ndarray(np.concatenate((luma, chroma)).astype(np.uint8), "yuv420p")
    return picture.reformat(format="yuv420p10le") if ten_bit else picture


def trial(name: str, codec: str, width: int, height: int, rate: Fraction, ten_bit: bool) -> Trial:
    """Encode, decode and compare, in this process. Never raises: what went wrong is the reason."""
    gop = _PICTURES // 2
    try:
        rendition = VideoRendition(
            "trial",
            width,
            height,
            max(400_000, width * height * 4),
            codec,  # type: ignore[arg-type]
            gop_frames=gop,
            ten_bit=ten_bit,
        )
        begun = time.perf_counter()
        encoder = VideoEncoder(rendition, ChannelFormat(width, height, rate, ten_bit=ten_bit), name)
        units: list[AccessUnit] = []
        for k in range(_PICTURES):
            units += encoder.encode(k, moving_picture(k, width, height, ten_bit))
        units += encoder.flush()
        seconds = time.perf_counter() - begun
        keys = [i for i, u in enumerate(sorted(units, key=lambda u: u.pts)) if u.key]
        if len(units) != _PICTURES or keys != [0, gop]:
            why = f"of {_PICTURES} pictures it gave {len(units)}, with key pictures at {keys} instead of [0, {gop}]"
            return Trial(name, codec, False, why)
        psnr = _psnr(units, codec, width, height, ten_bit)
    except (av.FFmpegError, ValueError, RuntimeError, NotImplementedError, AssertionError) as error:
        return Trial(name, codec, False, clause(error))
    if psnr < _LEAST_PSNR:
        return Trial(name, codec, False, f"what it made does not look like what it was given (PSNR {psnr:.1f} dB)")
    return Trial(name, codec, True, "", round(_PICTURES / seconds, 1), round(psnr, 1))


def clause(error: BaseException) -> str:
    """What FFmpeg says of an error, without the long list of options it failed with."""
    return str(getattr(error, "strerror", None) or error or type(error).__name__)


def _psnr(units: list[AccessUnit], codec: str, width: int, height: int, ten_bit: bool) -> float:
    """Least luma PSNR of the pictures that a decoder makes of access units. Raises ValueError if some are missing."""
    # FFmpeg's own "av1" decoder needs a card.
    decoder = av.CodecContext.create("libdav1d" if codec == "av1" else codec, "r")
    assert isinstance(decoder, VideoCodecContext)
    pictures = []
    for unit in units:
        pictures += decoder.decode(av.Packet(unit.data))
    pictures += decoder.decode(None)
    if len(pictures) != len(units):
        raise ValueError(f"a decoder makes {len(pictures)} pictures of the {len(units)} that it made")
    worst = 99.0
    for k, picture in enumerate(pictures):
        got = picture.reformat(format="yuv420p").to_ndarray()[:height].astype(np.int32)
        want = moving_picture(k, width, height).to_ndarray()[:height].astype(np.int32)
        error = float(np.mean((got - want) ** 2))
        worst = min(worst, 10 * float(np.log10(255**2 / error)) if error else 99.0)
    return worst


def try_audio(name: str, codec: str) -> Trial:
    """Try a sound encoder with a second of a tone, decode it and compare the level; recalls what came of it."""
    key = (name, codec, 0, 0, Fraction(0), False)
    with _lock:
        if key not in _results:
            _results[key] = _try_audio(name, codec)
            _keep()
        return _results[key]


def _try_audio(name: str, codec: str) -> Trial:
    missing = _missing(name)
    if missing:
        return Trial(name, codec, False, missing)
    tone = 0.25 * np.sin(2 * np.pi * 1000 / SAMPLE_RATE * np.arange(SAMPLE_RATE // 4))
    try:
        encoder = AudioEncoder(AudioRendition("trial", 128_000, codec), name)  # type: ignore[arg-type]
        units = encoder.encode(0, np.stack((tone, tone)).astype(np.float32)) + encoder.flush()
        decoder = av.CodecContext.create({"mp2": "mp2float", "he-aac": "aac", "opus": "libopus"}.get(codec, codec), "r")
        assert isinstance(decoder, AudioCodecContext)
        decoder.extradata = encoder.extradata or None
        heard = []
        for unit in units:
            for frame in decoder.decode(av.Packet(unit.data)):
                full = 32768 if "s16" in frame.format.name else 1
                heard.append(frame.to_ndarray().astype(np.float64).ravel() / full)
        level = float(np.sqrt(np.mean(np.concatenate(heard)[len(tone) // 2 :] ** 2)))
    except (av.FFmpegError, ValueError, RuntimeError, AssertionError) as error:
        return Trial(name, codec, False, clause(error))
    if not 0.12 < level < 0.25:
        return Trial(name, codec, False, f"a tone of 0.18 came back as {level:.2f}")
    return Trial(name, codec, True, "")


def choose(
    codec: str,
    width: int = 320,
    height: int = 180,
    rate: Fraction = Fraction(25),
    *,
    ten_bit: bool = False,
    encoder: str = "auto",
    without: frozenset[str] = frozenset(),
) -> str:
    """FFmpeg's name of the best encoder of a codec that works here; sizes matter for video only.

    ``encoder`` asks for one by name; ``without`` leaves out those that failed on air.
    Raises NoEncoderError, naming everything that was tried and why it would not do.
    """
    audio = codec in FRAME_SAMPLES
    known = AUDIO if audio else VIDEO
    if codec not in known:
        raise NoEncoderError(f"there is no codec {codec!r}; use one of {', '.join((*VIDEO, *AUDIO))}")
    wanted = known[codec] if encoder == "auto" else (encoder,)
    reasons = []
    for name in wanted:
        if name in without:
            reasons.append(f"{name}: it failed on air")
            continue
        result = try_audio(name, codec) if audio else try_video(name, codec, width, height, rate, ten_bit)
        if result.works:
            return name
        reasons.append(f"{name}: {result.reason}")
    depth = " in 10 bits" if ten_bit else ""
    raise NoEncoderError(
        f"nothing on this machine encodes {codec}{'' if audio else f' at {width}x{height}{depth}'} "
        f"({'; '.join(reasons)}); choose another codec or leave the rendition out"
    )


def survey() -> list[Trial]:
    """Every encoder that this program knows, tried."""
    rows = [try_video(name, codec) for codec, names in VIDEO.items() for name in names]
    return rows + [try_audio(name, codec) for codec, names in AUDIO.items() for name in names]


def main(arguments: list[str]) -> int:
    """The trial process: prints one JSON object."""
    name, codec, size, rate, ten_bit = arguments
    width, height = map(int, size.split("x"))
    result = trial(name, codec, width, height, Fraction(rate), ten_bit == "1")
    # Some drivers print on stdout: the answer is the last line.
    print(json.dumps(asdict(result)), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
