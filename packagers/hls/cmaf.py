"""Access units as CMAF: an initialization section, and fragments whose times are house time (ISO/IEC 23000-19).

**Time.** The media timeline is house time itself: ``tfdt`` and composition times count units of the track's
timescale since the Unix epoch. Two packagers therefore write the same times, and a player needs no offset between
renditions. In 90 kHz that is 1.6e14 today, far below 2^53, where JavaScript's numbers end. Each *instant* is rounded
to the timescale, and durations are differences of rounded instants, so that rounding never adds up; for every
broadcast frame rate nothing is rounded at all.

**No edit list.** With B-pictures the first composition offset is positive and the decoding time begins before the
segment: ``tfdt`` is the DTS, so presentation times equal house time exactly, where an edit list would be read by some
players and not by others. The delay of sound encoders needs no edit list either: an access unit's PTS is that of the
samples that a decoder makes of it. For the same reason the pre-skip in ``dOps`` is 0: it belongs to the beginning of
the encoder's stream, long gone, and a player would drop sound where it joins.

**Parameter sets** are in the sample entry alone (``avc1``, ``hvc1``); samples lose them, and access unit delimiters and
filler too. AV1 samples keep the sequence header, without which they would not be sync samples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from typing import Final

from headend.accessunit import AccessUnit, StreamFormat
from headend.clock import TICKS_PER_90K, TICKS_PER_SECOND
from packagers.codec import aac, ac3, av1, eac3, h264, hevc, nal, opus
from packagers.codec.colour import Colour
from packagers.hls import boxes

_NAL_LENGTH: Final = 4


def timescale_of(fmt: StreamFormat) -> int:
    """Units a second in which the stream's times are whole numbers: the sample rate of sound, 90 000 for pictures whose
    duration is a whole number of 90 kHz units, else the numerator of the frame rate (24 000 for 24000/1001)."""
    if fmt.kind == "audio":
        return fmt.sample_rate
    frame = Fraction(TICKS_PER_SECOND) / fmt.rate if fmt.rate else Fraction(TICKS_PER_90K)
    return 90_000 if (frame / TICKS_PER_90K).denominator == 1 else fmt.rate.numerator


class CmafTrack:
    """Makes the initialization section and the fragments of one stream.

    Stateless but for ``fmt``: equal input gives equal bytes. Raises ValueError for MPEG audio layer II, which
    neither HLS nor CMAF defines in fragmented MP4, and for sound without a sample rate.
    """

    def __init__(self, fmt: StreamFormat) -> None:
        if fmt.codec == "mp2":
            raise ValueError(
                "MPEG audio layer II cannot go into fragmented MP4 for HLS; use transport stream segments, or AAC"
            )
        if fmt.kind == "audio" and fmt.sample_rate <= 0:
            raise ValueError("the stream's format has no sample rate, so its times cannot be written")
        self.format = fmt
        self.timescale = timescale_of(fmt)
        """Units a second of all times in the file."""

    def init(self, first: AccessUnit) -> bytes:
        """The initialization section for a stream that begins with the key access unit ``first``.

        Raises ValueError when its parameter sets (or the format's ``extradata``) are missing or damaged.
        """
        track = self._video(first.data) if self.format.kind == "video" else self._audio(first.data)
        return boxes.file_type(b"ftyp", b"cmfc", b"cmfc", b"iso6", b"iso9", b"mp41") + boxes.movie(track)

    def fragment(self, units: Sequence[AccessUnit], *, end: int | None = None, sequence: int = 0) -> bytes:
        """``styp moof mdat`` of a run of access units in decoding order: a whole segment or a part of one.

        ``end`` is the house time at which the presentation of the run ends; it decides the duration of the last
        sample, which without it is the unit's own. Raises ValueError on an empty run, DTS that do not rise, framing
        that is damaged, or two sets of parameters in one run.
        """
        if not units:
            raise ValueError(
                "a fragment needs at least one access unit; a hole in the stream is a gap, not an empty file"
            )
        times = [self._units(unit.dts) for unit in units]
        times.append(self._end(units, end, times[-1]))
        if any(after <= before for before, after in pairwise(times)):
            raise ValueError("the decoding times of the access units do not rise, so no player could order them")
        payloads = self._payloads(units)
        samples = [
            boxes.Sample(
                times[i + 1] - times[i],
                len(payloads[i]),
                boxes.SYNC if unit.key else boxes.NON_SYNC,
                self._units(unit.pts) - times[i],
            )
            for i, unit in enumerate(units)
        ]
        # A chunk that begins with a sync sample can begin a CMAF fragment.
        brand = b"cmff" if units[0].key else b"cmfl"
        styp = boxes.file_type(b"styp", b"msdh", b"msdh", b"cmfc", brand)
        return b"".join((styp, boxes.fragment(sequence, times[0], samples), boxes.box(b"mdat", *payloads)))

    def _units(self, ticks: int) -> int:
        """An instant in units of the timescale, to nearest."""
        return (2 * ticks * self.timescale + TICKS_PER_SECOND) // (2 * TICKS_PER_SECOND)

    def _end(self, units: Sequence[AccessUnit], end: int | None, last: int) -> int:
        """Decoding time at which the last sample's duration ends."""
        own = units[-1].dts + units[-1].duration
        if end is not None and units[0].key:
            # The next run's key picture will be decoded as long before its presentation as this one's.
            planned = end - (units[0].pts - units[0].dts)
            if self._units(planned) > last:
                return self._units(planned)
        return max(self._units(own), last + 1)

    def _payloads(self, units: Sequence[AccessUnit]) -> list[bytes]:
        match self.format.codec:
            case "h264":
                return _length_prefixed(units, h264.unit_type, _H264_UNSTORED, _H264_PARAMETERS)
            case "hevc":
                return _length_prefixed(units, hevc.unit_type, _HEVC_UNSTORED, _HEVC_PARAMETERS)
            case "av1":
                return [av1.sample(unit.data) for unit in units]
            case _:
                return [unit.data for unit in units]

    def _video(self, data: bytes) -> boxes.Track:
        fmt = self.format
        sar, colour = fmt.sar, Colour()
        match fmt.codec:
            case "h264":
                found = _sorted(data, h264.unit_type)
                config = h264.configuration(found.get(h264.SPS, []), found.get(h264.PPS, []))
                avc = h264.SequenceParameterSet.from_bytes(found[h264.SPS][0])
                kind, body, width, height = b"avc1", boxes.box(b"avcC", config), avc.width, avc.height
                sar, colour = avc.sar, avc.colour
            case "hevc":
                found = _sorted(data, hevc.unit_type)
                config = hevc.configuration(*(found.get(k, []) for k in (hevc.VPS, hevc.SPS, hevc.PPS)))
                hvc = hevc.SequenceParameterSet.from_bytes(found[hevc.SPS][0])
                kind, body, width, height = b"hvc1", boxes.box(b"hvcC", config), hvc.width, hvc.height
                sar, colour = hvc.sar, hvc.colour
            case _:
                obu = av1.sequence_header(data)
                header = av1.SequenceHeader.from_bytes(obu.payload)
                kind, body = b"av01", boxes.box(b"av1C", av1.configuration(obu))
                width, height, colour = header.width, header.height, header.colour
        if max(width, height) > 0xFFFF:
            raise ValueError(
                f"a picture of {width}x{height} does not fit into a sample entry; its parameter sets are damaged"
            )
        entry = boxes.visual_entry(
            kind,
            width,
            height,
            body,
            boxes.colour_information(colour),
            boxes.pixel_aspect_ratio(sar),
            boxes.bit_rate(fmt.bitrate, fmt.maxrate),
        )
        display = min(round(width * sar), 0xFFFF)
        return boxes.Track(b"vide", self.timescale, fmt.language, entry, display, height, fmt.name or "video")

    def _audio(self, data: bytes) -> boxes.Track:
        fmt = self.format
        match fmt.codec:
            case "aac" | "he-aac":
                aac.AudioSpecificConfig.from_bytes(fmt.extradata)
                body = boxes.full_box(b"esds", 0, 0, aac.descriptor(fmt.extradata, fmt.bitrate, fmt.maxrate))
                kind = b"mp4a"
            case "ac3":
                kind, body = b"ac-3", boxes.box(b"dac3", ac3.SyncFrame.from_bytes(data).configuration())
            case "eac3":
                kind, body = b"ec-3", boxes.box(b"dec3", eac3.configuration(data, fmt.bitrate))
            case _:
                head = replace(opus.OpusHead.from_bytes(fmt.extradata), pre_skip=0)
                kind, body = b"Opus", boxes.box(b"dOps", head.configuration())
        entry = boxes.audio_entry(kind, fmt.channels, fmt.sample_rate, body, boxes.bit_rate(fmt.bitrate, fmt.maxrate))
        return boxes.Track(b"soun", self.timescale, fmt.language, entry, name=fmt.name or "audio")


_H264_PARAMETERS: Final = frozenset({h264.SPS, h264.PPS})
_H264_UNSTORED: Final = _H264_PARAMETERS | {h264.AUD, h264.FILLER}
_HEVC_PARAMETERS: Final = frozenset({hevc.VPS, hevc.SPS, hevc.PPS})
_HEVC_UNSTORED: Final = _HEVC_PARAMETERS | {hevc.AUD, hevc.FILLER}


def _sorted(data: bytes, unit_type: Callable[[bytes], int]) -> dict[int, list[bytes]]:
    """NAL units by type, each content once."""
    found: dict[int, list[bytes]] = {}
    for unit in nal.split(data):
        same = found.setdefault(unit_type(unit), [])
        if unit not in same:
            same.append(unit)
    return found


def _length_prefixed(
    units: Sequence[AccessUnit],
    unit_type: Callable[[bytes], int],
    unstored: frozenset[int],
    parameters: frozenset[int],
) -> list[bytes]:
    payloads: list[bytes] = []
    known: list[bytes] | None = None
    for unit in units:
        kept: list[bytes] = []
        carried: list[bytes] = []
        for piece in nal.split(unit.data):
            kind = unit_type(piece)
            if kind in parameters:
                carried.append(piece)
            elif kind not in unstored:
                kept.append(piece)
        if carried:
            if known is not None and carried != known:
                raise ValueError(
                    "the parameter sets change inside one fragment, so no initialization section fits it; "
                    "cut the segment where the encoder was replaced"
                )
            known = carried
        payloads.append(nal.length_prefixed(kept))
    return payloads
