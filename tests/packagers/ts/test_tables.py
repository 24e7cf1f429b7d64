"""PAT, PMT and descriptors: round trips, fuzz, and the tables of real captures rebuilt byte for byte."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.accessunit import StreamFormat
from packagers.ts import descriptor, pmt
from packagers.ts.demux import Demuxer
from packagers.ts.descriptor import Descriptor
from packagers.ts.pat import ProgramAssociation
from packagers.ts.pmt import ElementaryStream, ProgramMap
from packagers.ts.section import Section

CAPTURES = Path(os.environ.get("HEADEND_CAPTURES", Path(__file__).parents[4] / "shared" / "media"))

descriptors = st.lists(st.builds(Descriptor, st.integers(0, 255), st.binary(max_size=40)), max_size=3).map(tuple)
pids = st.integers(0, 0x1FFF)
streams = st.lists(st.builds(ElementaryStream, st.integers(0, 255), pids, descriptors), max_size=5).map(tuple)


@given(
    st.integers(0, 0xFFFF),
    st.dictionaries(st.integers(0, 0xFFFF), pids, max_size=253),
    st.integers(0, 31),
    st.booleans(),
)
def test_associations_round_trip(stream: int, programs: dict[int, int], version: int, current: bool) -> None:
    table = ProgramAssociation(stream, programs, version, current)
    assert ProgramAssociation.from_bytes(table.to_bytes()) == table


@given(st.integers(0, 0xFFFF), pids, streams, descriptors, st.integers(0, 31))
def test_maps_round_trip(program: int, pcr: int, rows: Any, notes: Any, version: int) -> None:
    table = ProgramMap(program, pcr, rows, notes, version)
    assert ProgramMap.from_bytes(table.to_bytes()) == table


@given(st.binary(max_size=60), st.sampled_from([0, 2]))
def test_a_table_of_rubbish_is_a_valueerror_or_a_table(body: bytes, table_id: int) -> None:
    """The CRC is right: only the parser stands between the rubbish and the process."""
    data = Section(table_id, 1, body).to_bytes()
    for parse in (ProgramAssociation.from_bytes, ProgramMap.from_bytes):
        with suppress(ValueError):
            parse(data)


@given(st.binary(max_size=60))
def test_loops_of_rubbish(data: bytes) -> None:
    try:
        found = descriptor.parse(data)
    except ValueError:
        return
    assert descriptor.join(found) == data


def test_descriptors_have_limits() -> None:
    assert len(Descriptor(1, bytes(255)).to_bytes()) == 257
    with pytest.raises(ValueError, match="255"):
        Descriptor(1, bytes(256)).to_bytes()
    with pytest.raises(ValueError, match="4 bytes"):
        descriptor.registration(b"AC3")


def test_the_descriptors_of_dvb_for_dolby() -> None:
    """EN 300 468, D.3 and D.5: a byte of flags, none of them set."""
    assert descriptor.dvb_ac3().to_bytes() == b"\x6a\x01\0"
    assert descriptor.dvb_enhanced_ac3().to_bytes() == b"\x7a\x01\0"


@pytest.mark.parametrize(
    ("code", "written"), [("zho", b"zho\0"), ("ZHO", b"zho\0"), ("中文语", b"und\0"), ("", b"und\0")]
)
def test_languages(code: str, written: bytes) -> None:
    assert descriptor.language(code).to_bytes() == b"\x0a\x04" + written


@pytest.mark.parametrize(
    ("codec", "rate", "kind", "identifier"),
    [
        ("aac", 48_000, 0x0F, None),
        ("he-aac", 48_000, 0x0F, None),
        ("mp2", 48_000, 0x03, None),
        ("mp2", 24_000, 0x04, None),
        ("ac3", 48_000, 0x81, b"AC-3"),
        ("eac3", 48_000, 0x87, b"EAC3"),
        ("h264", 0, 0x1B, None),
        ("hevc", 0, 0x24, b"HEVC"),
    ],
)
def test_how_a_codec_is_announced(codec: Any, rate: int, kind: int, identifier: bytes | None) -> None:
    video = codec in ("h264", "hevc")
    row = pmt.stream_of(StreamFormat("video" if video else "audio", codec, sample_rate=rate, language="eng"), 0x101)
    assert (row.stream_type, row.pid) == (kind, 0x101)
    loop = descriptor.join(row.descriptors)
    assert (b"\x0a\x04eng\0" in loop) != video
    assert loop.startswith(b"\x05\x04" + identifier) if identifier else b"\x05\x04" not in loop


@pytest.mark.skipif(not CAPTURES.is_dir(), reason="no captures beside the repository")
@pytest.mark.parametrize("path", sorted(CAPTURES.rglob("*.ts")), ids=lambda path: path.name)
def test_the_tables_of_captures_are_rebuilt_byte_for_byte(path: Path) -> None:
    data = path.read_bytes()
    demuxer = Demuxer()
    demuxer.read(data[: 188 * 6000])
    program = demuxer.finish()
    tables: list[tuple[Any, bytes]] = []
    damaged = 0
    for parse, sections in (
        (ProgramAssociation, program.associations),
        *((ProgramMap, rows) for rows in program.maps.values()),
    ):
        for section in sections:
            try:
                tables.append((parse.from_bytes(section), section))
            except ValueError:
                damaged += 1
    assert tables
    assert all(table.to_bytes() == section for table, section in tables)
    assert damaged == 0 or path.name == "test-143.ts"  # the capture that is known to be damaged
