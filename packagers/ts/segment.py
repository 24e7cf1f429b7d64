"""Segments of a transport stream as HLS serves them: one program, tables first, every picture in its own PES packet.

What is muxed is a burst, not a constant rate: order and PCR follow the decoding times, so concatenated segments are one
legal stream, and a player that reads a single one finds everything in it. The PCR is the decoding time of its stream
less :data:`DELAY`, which is how long before its decoding a picture has arrived. Continuity counters and the last PCR
are handed out and taken back (:meth:`SegmentMuxer.counters`), so that a successor of this process continues the stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Final

from headend.accessunit import AccessUnit, StreamFormat
from headend.clock import TICKS_PER_90K, TICKS_PER_SECOND
from packagers.codec import aac, h264, hevc, mp2
from packagers.codec.nal import START_CODE
from packagers.ts import pat, pes
from packagers.ts.crc import crc32
from packagers.ts.packet import Packets, packetise, pcr_packet, section_packets
from packagers.ts.pat import ProgramAssociation
from packagers.ts.pmt import ProgramMap, stream_of

PMT_PID: Final = 0x1000
FIRST_PID: Final = 0x100
"""PID of the first stream; the others follow."""
PROGRAM: Final = 1

DELAY: Final = TICKS_PER_SECOND * 3 // 10
"""From the arrival of an access unit to its decoding."""
PCR_INTERVAL: Final = TICKS_PER_SECOND // 25
"""40 ms, as DVB asks (ETSI TR 101 290, 2.3a); ISO/IEC 13818-1 asks for 100 ms (2.7.2)."""
TABLE_INTERVAL: Final = TICKS_PER_SECOND // 10
"""A receiver that tunes in waits no longer for PAT and PMT (TR 101 290 allows 500 ms)."""
AUDIO_SPAN: Final = TICKS_PER_SECOND // 10
"""Sound in one PES packet: headers cost little, and it does not arrive late."""
AUDIO_BYTES: Final = 60_000
STRAY: Final = 10 * TICKS_PER_SECOND
"""How far from its segment a decoding time may be before it is a mistake."""

Event = tuple[int, int, int, Callable[[], None]]


class SegmentMuxer:
    """Makes segments of the streams ``streams``. Raises ValueError for a codec that a transport stream cannot carry."""

    def __init__(self, streams: Sequence[StreamFormat]) -> None:
        if not streams:
            raise ValueError("a transport stream needs at least one stream")
        self.streams = tuple(streams)
        self._pids = [FIRST_PID + index for index in range(len(streams))]
        rows = tuple(stream_of(fmt, pid) for fmt, pid in zip(streams, self._pids, strict=True))
        videos = [index for index, fmt in enumerate(streams) if fmt.kind == "video"]
        self._clock = videos[0] if videos else 0
        self._pat = ProgramAssociation(1, {PROGRAM: PMT_PID}).to_bytes()
        self._map = ProgramMap(PROGRAM, self._pids[self._clock], rows)
        self._identity = crc32(self._map.to_bytes()[:-4])  # without its own CRC, which would make it 0
        self._configs = [
            aac.AudioSpecificConfig.from_bytes(fmt.extradata) if fmt.codec in ("aac", "he-aac") else None
            for fmt in streams
        ]
        self._counters: dict[int, int] = {}
        self._version = 0
        self._pcr: int | None = None
        self._out: list[memoryview] = []

    def counters(self) -> dict[str, int]:
        """What the next segment continues: the next continuity_counter by PID, the last PCR, the PMT's version."""
        kept = {str(pid): counter for pid, counter in self._counters.items()}
        kept |= {"pmt-version": self._version, "pmt-identity": self._identity}
        if self._pcr is not None:
            kept["pcr"] = self._pcr
        return kept

    def restore(self, counters: dict[str, int]) -> None:
        """Continue after a segment whose :meth:`counters` these are, of this muxer or of one with other streams.

        A map of other streams gets the next version_number, so that receivers read it again.
        """
        self._counters = {int(pid): counter & 15 for pid, counter in counters.items() if pid.isdecimal()}
        version, identity = counters.get("pmt-version", 0), counters.get("pmt-identity", self._identity)
        self._version = (version + (identity != self._identity)) & 31
        self._pcr = counters.get("pcr")

    def segment(self, units: Sequence[Sequence[AccessUnit]], *, start: int, end: int) -> bytes:
        """The segment ``[start, end)``: ``units[i]``, in decoding order, belong to ``streams[i]``; some may be empty.

        Raises ValueError, and changes nothing, on access units that are not framed as their codec's are, or whose
        decoding times do not rise or lie far outside of the segment.
        """
        if len(units) != len(self.streams):
            raise ValueError(f"the segment has units of {len(units)} streams, but the program has {len(self.streams)}")
        for fmt, row in zip(self.streams, units, strict=True):
            _check(fmt, row, start, end)
        before = self.counters()
        self._out = []
        try:
            # Sorting looks at time, rank and index only: no two events have all three in common.
            for _, _, _, write in sorted(self._events(units, start), key=lambda event: event[:3]):
                write()
            return b"".join(self._out)
        except ValueError:
            self.restore(before)
            raise
        finally:
            self._out = []

    def _events(self, units: Sequence[Sequence[AccessUnit]], start: int) -> Iterator[Event]:
        """What is written, each with its time and its rank: tables, PCR, pictures, sound."""
        driver = self._clock if units[self._clock] else next((i for i, row in enumerate(units) if row), None)
        times = [(row[0].dts, row[-1].dts) for row in units if row]
        first = min((time for time, _ in times), default=start)
        last = max((time for _, time in times), default=start)
        for time in range(first, last + 1, TABLE_INTERVAL):
            yield time, -1, 0, self._write_tables
        if driver is not None:
            yield from self._references(units[driver], carried=driver == self._clock)
        for index, row in enumerate(units):
            if self.streams[index].kind == "video":
                for unit in row:
                    yield unit.dts, 1, index, lambda i=index, u=unit: self._write_picture(i, u)  # type: ignore[misc]
            else:
                for group in _groups(row):
                    yield group[0].dts, 2, index, lambda i=index, g=group: self._write_sound(i, g)  # type: ignore[misc]

    def _references(self, row: Sequence[AccessUnit], *, carried: bool) -> Iterator[Event]:
        """PCRs that no access unit carries: between two that are further apart than the interval."""
        heads = [unit.dts for unit in row] if self.streams[self._clock].kind == "video" or not carried else [
            group[0].dts for group in _groups(row)
        ]  # fmt: skip
        heads.append(max(row[-1].dts + row[-1].duration, heads[-1] + 1))
        for index, (here, following) in enumerate(pairwise(heads)):
            steps = -(-(following - here) // PCR_INTERVAL)
            for step in range(1 if carried else 0, steps):
                time = here + (following - here) * step // steps
                yield time, 0, index, lambda t=time: self._write_reference(t)  # type: ignore[misc]

    def _write(self, pid: int, packets: Packets) -> None:
        self._out.append(packets.data)
        self._counters[pid] = self._counters.get(pid, 0) + len(packets) & 15

    def _write_tables(self) -> None:
        table = replace(self._map, version=self._version).to_bytes()
        for pid, data in ((pat.PID, self._pat), (PMT_PID, table)):
            self._write(pid, section_packets(pid, self._counters.get(pid, 0), data))

    def _write_reference(self, time: int) -> None:
        pid = self._pids[self._clock]
        # It repeats the counter of the packet before it (2.4.3.3).
        self._out.append(pcr_packet(pid, self._counters.get(pid, 0) - 1, self._reference(time)).data)

    def _reference(self, time: int) -> int:
        """The PCR for a decoding time, never behind an earlier one of the same stream."""
        made = time - DELAY
        # A clock that is far ahead is no reading of this stream: it would stop the PCR for good.
        if self._pcr is not None and made < self._pcr < made + STRAY:
            made = self._pcr
        self._pcr = made
        return made

    def _write_picture(self, index: int, unit: AccessUnit) -> None:
        pid = self._pids[index]
        payload = _delimited(self.streams[index].codec, unit.data)
        head = pes.header(pes.VIDEO, 0, _timestamp(unit.pts), _timestamp(unit.dts))
        pcr = self._reference(unit.dts) if index == self._clock else None
        counter = self._counters.get(pid, 0)
        self._write(pid, packetise(pid, counter, head + payload, random_access=unit.key, pcr=pcr))

    def _write_sound(self, index: int, group: Sequence[AccessUnit]) -> None:
        pid, config = self._pids[index], self._configs[index]
        pieces = [unit.data for unit in group]
        if config is not None:
            pieces = [part for data in pieces for part in (config.adts(len(data)), data)]
        payload = b"".join(pieces)
        stream = pes.PRIVATE_1 if self.streams[index].codec in ("ac3", "eac3") else pes.AUDIO
        head = pes.header(stream, len(payload), _timestamp(group[0].pts))
        leads = index == self._clock
        pcr = self._reference(group[0].dts) if leads else None
        counter = self._counters.get(pid, 0)
        self._write(pid, packetise(pid, counter, head + payload, random_access=leads, pcr=pcr))


def _timestamp(ticks: int) -> int:
    """PTS or DTS: floored, as the PCR's base is, so that neither falls behind the other by rounding."""
    return ticks // TICKS_PER_90K % pes.MODULUS


def _check(fmt: StreamFormat, row: Sequence[AccessUnit], start: int, end: int) -> None:
    previous = start - STRAY - 1
    for unit in row:
        if not previous < unit.dts <= end + STRAY:
            raise ValueError(
                f"the decoding times of the {fmt.codec} stream do not rise, or are far outside of their segment, so it "
                "cannot be muxed; the encoder's clock is at fault"
            )
        if not unit.data:
            raise ValueError(f"an access unit of the {fmt.codec} stream is empty, so the segment cannot be muxed")
        previous = unit.dts
    if fmt.codec == "mp2" and row:
        mp2.FrameHeader.from_bytes(row[0].data)


def _groups(row: Sequence[AccessUnit]) -> Iterator[list[AccessUnit]]:
    """Frames that share a PES packet: gapless, for only the first one's time is written."""
    group: list[AccessUnit] = []
    size = 0
    for unit in row:
        if group and (
            abs(group[-1].dts + group[-1].duration - unit.dts) > TICKS_PER_90K
            or unit.dts + unit.duration - group[0].dts > AUDIO_SPAN
            or size + len(unit.data) > AUDIO_BYTES
        ):
            yield group
            group, size = [], 0
        group.append(unit)
        size += len(unit.data) + 7
    if group:
        yield group


def _delimited(codec: str, data: bytes) -> bytes:
    """The byte stream with an access unit delimiter at its head, as 2.14.1 and 2.17.1 ask."""
    kind, delimiter = (h264.AUD, h264.ACCESS_UNIT_DELIMITER) if codec == "h264" else (
        hevc.AUD, hevc.ACCESS_UNIT_DELIMITER
    )  # fmt: skip
    at = data.find(b"\0\0\1", 0, 16)
    if at < 0 or data[:at].strip(b"\0") or at + 4 > len(data):
        raise ValueError(
            f"an access unit of the {codec} stream does not begin with a start code, so it is no Annex B byte stream"
        )
    first = (h264.unit_type if codec == "h264" else hevc.unit_type)(data[at + 3 : at + 4])
    return data if first == kind else START_CODE + delimiter + data
