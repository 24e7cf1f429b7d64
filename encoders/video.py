"""One picture encoder: slots in, access units on the house clock out.

FFmpeg's encoders are told the number of the picture since they were started, in a time base of one
picture, and the answer is mapped back: PTS is the slot's tick, exactly, however long the channel runs and
whichever encoder it is. Key pictures come where they are asked for and nowhere else: scene cuts do not
move them, GOPs are closed, parameter sets stand before each.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from fractions import Fraction
from typing import Final

import av
from av.codec.hwaccel import HWAccel
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType

from encoders.format import ChannelFormat
from encoders.rendition import VideoRendition
from headend.accessunit import AccessUnit

# SVT-AV1 writes a page about itself to stderr at every start unless told not to.
os.environ.setdefault("SVT_LOG", "1")

_COLOURS: Final = {"bt709": (1, 1, 1), "bt470bg": (5, 6, 5)}
"""Primaries, transfer and matrix of ISO/IEC 23091-2 for each matrix of :class:`ChannelFormat`."""

_SPEEDS: Final = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")
_NVENC: Final = ("p1", "p1", "p2", "p3", "p4", "p4", "p5", "p6", "p7")
_SVT: Final = ("12", "11", "10", "9", "8", "7", "5", "4", "2")
_QSV: Final = ("veryfast", "veryfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")


def threads_for(share: float, cores: int | None = None) -> int:
    """Encoder threads for a rendition that has ``share`` (0 to 1) of the ladder's pictures' samples.

    One thread per encoder is cheapest in processor time and memory, and four encoders fill two cores anyhow.
    But the largest of them is the critical path, and on a machine that does other things too it falls behind
    with one thread: as many threads, then, as it has cores' worth of work, rounded up.
    """
    available = cores or len(os.sched_getaffinity(0))
    return max(1, min(16, math.ceil(share * available - 1e-9)))


def _speed(preset: str, names: tuple[str, ...]) -> str:
    return names[_SPEEDS.index(preset)] if preset in _SPEEDS else preset


def _merge(own: str, given: str | None) -> str:
    """Colon-separated encoder parameters; what the user gave stands last and wins."""
    return f"{own}:{given}" if given else own


def encoder_options(name: str, rendition: VideoRendition, gop: int, threads: int) -> dict[str, str]:
    """FFmpeg options that make ``name`` keep closed GOPs, forced key pictures and a strict VBV."""
    user = dict(rendition.options)
    options = {"g": str(gop), "maxrate": str(rendition.peak), "bufsize": str(rendition.buffer)}
    if rendition.b_frames is not None:
        options["bf"] = str(rendition.b_frames)
    if rendition.profile:
        options["profile"] = rendition.profile
    if rendition.level:
        options["level"] = rendition.level
    if name == "libx264":
        options |= {"preset": rendition.preset, "forced-idr": "1"}
        # Slots are a constant rate: knowing that, x264 holds one picture less back.
        own = "scenecut=0:open-gop=0:nal-hrd=vbr:force-cfr=1"
        if threads > 1:
            # Its lookahead thread costs four pictures of delay and 30 MB at 1080p, and gains nothing here.
            own += ":sync-lookahead=0"
        options["x264-params"] = _merge(own, user.pop("x264-params", None))
    elif name == "libx265":
        options |= {"preset": rendition.preset, "forced-idr": "1"}
        own = (
            f"keyint={gop}:min-keyint=1:scenecut=0:open-gop=0:repeat-headers=1:hrd=1:"
            f"vbv-maxrate={rendition.peak // 1000}:vbv-bufsize={rendition.buffer // 1000}:"
            f"pools={threads}:frame-threads=1:log-level=none"
        )
        if rendition.level:
            own += f":level-idc={options.pop('level')}"
        options["x265-params"] = _merge(own, user.pop("x265-params", None))
    elif name == "libsvtav1":
        # SVT-AV1 holds a buffer, and takes forced key pictures, at a constant rate in low-delay order only.
        options["maxrate"] = str(rendition.bitrate)
        options["preset"] = _speed(rendition.preset, _SVT)
        own = f"keyint={gop}:scd=0:irefresh-type=2:pred-struct=1:lp={min(threads, 6)}"
        options["svtav1-params"] = _merge(own, user.pop("svtav1-params", None))
    elif name.endswith("_nvenc"):
        options |= {
            "preset": _speed(rendition.preset, _NVENC),
            "rc": "vbr",
            "forced-idr": "1",
            "no-scenecut": "1",
            "strict_gop": "1",
            "delay": "0",
        }
    elif name.endswith("_qsv"):
        options |= {"preset": _speed(rendition.preset, _QSV), "forced_idr": "1", "look_ahead": "0"}
    elif name.endswith("_vaapi"):
        options |= {"rc_mode": "VBR"}
    return options | user


def _hardware(name: str) -> HWAccel | None:
    """The device that an encoder wants pictures uploaded to; the others take them from memory."""
    return HWAccel("vaapi") if name.endswith("_vaapi") else None


def _pixel_format(name: str, ten_bit: bool) -> str:
    if name.endswith(("_qsv", "_vaapi")):
        return "p010le" if ten_bit else "nv12"
    if ten_bit:
        return "p010le" if name.endswith("_nvenc") else "yuv420p10le"
    return "yuv420p"


def open_encoder(
    name: str, rendition: VideoRendition, channel: ChannelFormat, threads: int, rate: Fraction, gop: int
) -> VideoCodecContext:
    """An opened encoder. Raises av.FFmpegError or ValueError when the machine or the options will not have it."""
    context = av.CodecContext.create(name, "w", _hardware(name))
    assert isinstance(context, VideoCodecContext)
    context.width, context.height = rendition.width, rendition.height
    context.pix_fmt = _pixel_format(name, rendition.ten_bit)
    context.time_base = 1 / rate
    context.framerate = rate
    context.bit_rate = rendition.bitrate
    context.sample_aspect_ratio = rendition.sar
    primaries, transfer, matrix = _COLOURS[channel.matrix]
    context.color_range, context.color_primaries, context.color_trc, context.colorspace = 1, primaries, transfer, matrix
    context.thread_count = threads
    # Slices would cost bits and need a decoder that likes them; a thread per picture costs a picture of delay.
    context.thread_type = "FRAME"
    context.options = encoder_options(name, rendition, gop, threads)
    context.open()
    return context


class VideoEncoder:
    """One run of one encoder, from its first picture, a key picture, on. For one thread.

    Pictures must come one slot of the rendition after the other; after a jump, start a new one.
    Raises av.FFmpegError or ValueError, at start and later, when the encoder fails.
    """

    def __init__(
        self,
        rendition: VideoRendition,
        channel: ChannelFormat,
        name: str,
        *,
        threads: int = 1,
        after: int | None = None,
        generation: int = 0,
    ) -> None:
        """``after``: DTS must be greater than this tick, that of what was sent before."""
        self.name = name
        self.generation = generation
        self._codec = rendition.codec
        self._ticks = channel.slot_ticks * rendition.rate_divisor
        self._divisor = rendition.rate_divisor
        self._gop = rendition.gop_slots(channel)
        self._base = self._next = -1  # set by the first picture
        self._after = after
        self._rate = rendition.rate(channel)
        self._context = open_encoder(name, rendition, channel, threads, self._rate, rendition.gop(channel))

    def encode(self, slot: int, picture: av.VideoFrame) -> list[AccessUnit]:
        """Give the picture of a slot, in the rendition's size; yields what the encoder has finished.

        The picture's time and type are overwritten: it must belong to the caller alone.
        """
        if self._base < 0:
            self._base = self._next = slot // self._divisor
        if slot != self._next * self._divisor:
            before = (self._next - 1) * self._divisor
            raise ValueError(f"slot {slot} does not follow slot {before}; start a new encoder")
        forced = slot % self._gop == 0 or self._next == self._base
        self._next += 1
        picture.pict_type = PictureType.I if forced else PictureType.NONE
        picture.time_base = 1 / self._rate
        picture.pts = slot // self._divisor - self._base
        return [self._unit(packet) for packet in self._context.encode(picture)]

    def flush(self) -> list[AccessUnit]:
        """What the encoder still held. It cannot be used afterwards."""
        if self._base < 0:
            return []
        return [self._unit(packet) for packet in self._context.encode(None)]

    def _unit(self, packet: av.Packet[av.VideoStream]) -> AccessUnit:
        if packet.pts is None:
            raise ValueError(f"{self.name} gave a picture without a time")
        pts = (self._base + packet.pts) * self._ticks
        dts = pts if packet.dts is None else (self._base + packet.dts) * self._ticks
        if self._after is not None and dts <= self._after:
            # A new encoder's first decoding times reach back behind what the old one sent. Small steps stay
            # below its first PTS, since no reordering is 16 pictures deep, and the run joins its own times soon.
            dts = self._after + self._ticks // 16
        self._after = dts
        key = bool(packet.is_keyframe)
        data = framed(self._codec, bytes(packet), key, self._context.extradata if key else None)
        return AccessUnit(pts, min(dts, pts), self._ticks, key, data, self.generation)


_PARAMETER_SETS: Final[Mapping[str, tuple[int, ...]]] = {"h264": (7, 8), "hevc": (32, 33, 34)}


def framed(codec: str, data: bytes, key: bool, extradata: bytes | None = None) -> bytes:
    """The packet as :mod:`headend.accessunit` frames it: parameter sets in band, no temporal delimiters."""
    if codec == "av1":
        return _framed_av1(data, key, extradata)
    if not key or extradata is None or not extradata.startswith((b"\0\0\1", b"\0\0\0\1")):
        return data
    present = set()
    at = data.find(b"\0\0\1")
    while at >= 0 and at + 3 < len(data):
        kind = data[at + 3] & 31 if codec == "h264" else data[at + 3] >> 1 & 63
        if kind in ((1, 5) if codec == "h264" else range(32)):
            break  # the picture itself: parameter sets stand before it
        present.add(kind)
        at = data.find(b"\0\0\1", at + 3)
    return data if present.issuperset(_PARAMETER_SETS[codec]) else extradata + data


def _framed_av1(data: bytes, key: bool, extradata: bytes | None) -> bytes:
    """Low-overhead OBUs without temporal delimiters, a sequence header first in a key unit (AV1 5.3)."""
    kept = []
    headed = False
    at = 0
    while at < len(data):
        kind = data[at] >> 3 & 15
        start = at
        at += 2 if data[at] & 4 else 1
        if data[start] & 2:
            size, at = _leb128(data, at)
            at += size
        else:
            at = len(data)
        headed |= kind == 1
        if kind != 2:
            kept.append(data[start:at])
    if key and not headed and extradata:
        # av1C (ISO/IEC 14496-15 style) has four bytes before its OBUs.
        kept.insert(0, extradata[4:] if extradata[0] == 0x81 else extradata)
    return b"".join(kept)


def _leb128(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 56, 7):
        if at >= len(data):
            raise ValueError("an OBU's size runs over the end of its packet")
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            break
    return value, at
