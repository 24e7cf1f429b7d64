"""The configuration: the examples load, and every mistake is one sentence with its line."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from headend.config import Config, ConfigError, Problem, load_config

CONFIGS = Path(__file__).parents[2] / "configs"
GOOD = """\
http: {port: 8081}
channels:
  - id: one
    name: {zho: 一套, eng: One}
    format: {width: 1280, height: 720, rate: 25}
    ladder:
      segment: 4
      gop: 2
      video:
        - {id: v, width: 640, height: 360, bitrate: 800k}
    sources:
      - {id: in, url: "udp://127.0.0.1:5000"}
    live: {source: in, at-start: true}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "c.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def refused(folder: Path, text: str) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        load_config(write(folder, text))
    return caught.value.problems


def good(folder: Path, text: str = GOOD) -> Config:
    return load_config(write(folder, text))


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_every_example_loads(path: Path) -> None:
    config = load_config(path)
    for channel in config.channels:
        shape = channel.channel_format()
        assert shape.width == channel.format.width
        assert len(shape.tracks) == len(channel.format.audio)
        assert channel.ladder.segment_ticks % channel.ladder.gop_ticks == 0


def test_the_full_example_names_every_key() -> None:
    """What is not in it cannot be found by reading it."""
    text = (CONFIGS / "full.yaml").read_text(encoding="utf-8")
    names: set[str] = set()

    def collect(schema: object) -> None:
        if isinstance(schema, dict):
            if isinstance(schema.get("properties"), dict):
                names.update(schema["properties"])
            for part in schema.values():
                collect(part)
        elif isinstance(schema, list):
            for part in schema:
                collect(part)

    collect(Config.model_json_schema())
    # "gain: " and "{gain: " both name a key.
    text = text.replace("at-start:", "at_start:")
    missing = [name for name in sorted(names) if f"{name}: " not in text and f"{name}:\n" not in text]
    assert not missing
    assert len(names) > 60


def test_every_field_is_described() -> None:
    def check(schema: dict[str, object], where: str) -> None:
        for name, row in schema.get("properties", {}).items():  # type: ignore[attr-defined]
            # pydantic puts no description beside a reference to a section, which has its own; enums of one have none.
            assert row.get("description") or "const" in row or "$ref" in row, f"{where}.{name}"

    schema = Config.model_json_schema()
    check(schema, "")
    for name, section in schema["$defs"].items():
        check(section, name)


def test_units_defaults_and_paths(tmp_path: Path) -> None:
    text = GOOD.replace("bitrate: 800k", "bitrate: 2.5M, bufsize: 1000 kbit/s")
    config = good(tmp_path, text + "    schedule: {folder: media}\n    filler: a.mp4\n    delay: 500 ms\n")
    channel = config.channels[0]
    video = channel.ladder.video[0]
    assert (video.bitrate, video.peak, video.buffer) == (2_500_000, 3_750_000, 1_000_000)
    assert channel.ladder.segment_ticks == 4 * 27_000_000
    assert channel.delay == Fraction(1, 2)
    assert channel.schedule is not None
    assert channel.schedule.folder == tmp_path / "media"
    assert channel.filler == [tmp_path / "a.mp4"]
    assert config.data == tmp_path / "var"
    assert channel.ladder.audio[0].codec == "aac"
    assert channel.live is not None
    assert channel.live.at_start
    missing = [finding for finding in config.findings if finding.missing]
    assert [finding.line for finding in missing] == [14, 15]


def test_ntsc_rates_and_exact_segments(tmp_path: Path) -> None:
    text = (
        GOOD.replace("rate: 25", "rate: 29.97").replace("segment: 4", "segment: 4.004").replace("gop: 2", "gop: 2.002")
    )
    channel = good(tmp_path, text).channels[0]
    assert channel.format.rate == Fraction(30000, 1001)
    assert channel.ladder.gop_ticks == 60 * channel.channel_format().slot_ticks


MISTAKES = [
    ("port: 8081", "port: 80811", 1, "http.port: the value '80811' should be less than or equal to 65535"),
    ("port: 8081", "prt: 8081", 1, "the key 'prt' is not known in http; perhaps 'port' is meant"),
    ("http:", "htp:", 1, "the key 'htp' is not known in the top level; perhaps 'http' is meant"),
    ("id: one", "id: One!", 3, "channels.0.id: the value 'One!' should match"),
    ("    name: {zho: 一套, eng: One}\n", "", 3, "the key 'name' is missing in channels.0"),
    ("rate: 25", "rate: 0", 5, "a frame rate of 0 is outside"),
    ("rate: 25", "rate: 24.5", 5, "no whole number of 27 MHz ticks"),
    ("rate: 25", "rate: x", 5, "is no frame rate; write it like 25"),
    ("width: 1280", "width: 1281", 5, "the value '1281' should be a multiple of 2"),
    ("bitrate: 800k", "bitrate: fast", 10, "'fast' is no bit rate; write it like 2500k or 2.5M"),
    ("bitrate: 800k", "bitrate: 0", 10, "is no bit rate"),
    ("gop: 2", "gop: 2.01", 8, "a gop of 2.01 s is 50.25 pictures at 25 pictures a second"),
    ("gop: 2", "gop: 2.01", 8, "use 2"),
    ("segment: 4", "segment: 5", 7, "a segment of 5 s is no whole number of gops of 2 s"),
    ("segment: 4", "segment: 40", 3, "holds fewer than three segments"),
    ("bitrate: 800k", "bitrate: 800k, maxrate: 700k", 10, "has a maxrate of 700000 below its bitrate of 800000"),
    ("bitrate: 800k", "bitrate: 800k, bufsize: 10k", 10, "less than a tenth of a second"),
    ("bitrate: 800k", "bitrate: 800k, ten_bit: true", 10, "asks for 10 bits in h264"),
    ("source: in,", "source: out,", 13, "has no source 'out' to take live (it has: in)"),
    ("udp://127.0.0.1:5000", "foo://user:secret@h", 12, "no source can open 'foo:'"),
    ("udp://127.0.0.1:5000", "udp://127.0.0.1", 12, "names no port to listen on"),
    ("udp://127.0.0.1:5000", "udp://127.0.0.1:99999", 12, "has no valid port"),
    ("    live:", "    zone: Mars/Base\n    live:", 13, "the time zone 'Mars/Base' is not known"),
    ("    live:", "    schedule: {}\n    live:", 13, "exactly one of folder, file and items, but none is given"),
    ("    live:", "    schedule: {folder: a, file: b}\n    live:", 13, "but folder and file is given"),
    (
        "    live:",
        "    schedule: {items: [{source: nobody}]}\n    live:",
        13,
        "neither a source of channel one nor a path",
    ),
    ("    live:", "    schedule: {items: [{source: in, in: 5, out: 4}]}\n    live:", 13, "not after the in point"),
    ("    live:", "    schedule: {items: [{source: in, loop: true}]}\n    live:", 13, "needs a duration"),
    (
        "    live:",
        "    schedule: {items: [{source: in, start: '2026-11-21T07:00:00'}]}\n    live:",
        13,
        "no UTC offset",
    ),
    ("    live:", "    overlays: [{kind: logo}]\n    live:", 13, "the key 'image' is missing in channels.0.overlays.0"),
    ("    live:", "    overlays: [{kind: clock, sise: 1}]\n    live:", 13, "perhaps 'size' is meant"),
    ("    live:", "    hls: {containers: [ts], windw: 9}\n    live:", 13, "perhaps 'window' is meant"),
    ("    live:", "    hang: 0.1\n    live:", 13, "would kill a channel that is only busy"),
    ("      gop: 2\n", "      gop: 2\n      audio: [{id: v}]\n", 9, "two renditions have the id 'v'"),
    (
        "      gop: 2\n",
        "      gop: 2\n      audio: [{id: a, track: 1}]\n",
        9,
        "takes track 1, but channel one has only 1",
    ),
    ("      gop: 2\n", "      gop: 2\n      audio: [{id: a, codec: mp2, channels: 6}]\n", 9, "channels in mp2"),
    ("    live:", "    live: null\n    live:", 14, "the key 'live' is already set in line 13"),
    ("http:", "\thttp:", 1, "this is not YAML"),
    ("8081}", "8081", 1, "this is not YAML"),
    ("port: 8081", "port: '${HEADEND_TEST_NO_SUCH}'", 1, "the environment variable HEADEND_TEST_NO_SUCH is not set"),
]


@pytest.mark.parametrize(("old", "new", "line", "says"), MISTAKES, ids=[m[3][:40] for m in MISTAKES])
def test_a_mistake_is_one_sentence_with_its_line(tmp_path: Path, old: str, new: str, line: int, says: str) -> None:
    assert old in GOOD
    problems = refused(tmp_path, GOOD.replace(old, new, 1))
    found = [problem for problem in problems if says in problem.eng]
    assert found, [str(problem) for problem in problems]
    # Broken YAML is reported where the parser notices.
    assert found[0].line == line or "not YAML" in says
    assert str(found[0]).startswith(f"{tmp_path / 'c.yaml'}, line {found[0].line}: ")
    assert str(found[0]).endswith(".")
    assert "\n" not in str(found[0])
    assert found[0].zho
    assert found[0].sentence("zho").endswith("。")
    assert "secret" not in str(found[0])


def test_channels_with_one_name_or_one_port(tmp_path: Path) -> None:
    second = GOOD.partition("channels:\n")[2]
    problems = refused(tmp_path, GOOD + second)
    said = [(problem.line, problem.eng.partition(",")[0]) for problem in problems]
    assert (14, "two channels have the id 'one'") in said
    assert (15, "two channels have the name '一套'") in said
    assert any("both listen on UDP port 5000" in problem.eng and problem.line == 23 for problem in problems)
    other = second.replace("id: one", "id: two").replace("zho: 一套, eng: One", "zho: 二套, eng: Two")
    assert len(good(tmp_path, GOOD + other.replace("127.0.0.1", "239.0.0.1")).channels) == 2


@pytest.mark.parametrize("text", ["", "[]", "just words", "- 1", "\x00", "a: &a [*a]"])
def test_what_is_no_configuration(tmp_path: Path, text: str) -> None:
    assert len(refused(tmp_path, text)) == 1


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read \(No such file"):
        load_config(tmp_path / "none.yaml")
    (tmp_path / "c.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_config(tmp_path / "c.yaml")


def test_findings_do_not_refuse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HEADEND_TOKEN", raising=False)
    text = GOOD.replace("port: 8081", "host: 0.0.0.0").replace("width: 640", "width: 1920")
    said = [str(finding) for finding in good(tmp_path, text).findings]
    assert any("HEADEND_TOKEN is not set" in sentence and "line 1" in sentence for sentence in said)
    assert any("larger than the channel's 1280x720" in sentence and "line 10" in sentence for sentence in said)
    monkeypatch.setenv("HEADEND_TOKEN", "x" * 32)
    assert len(good(tmp_path, text).findings) == len(said) - 1


def test_a_frozen_configuration_is_the_same_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_PASSWORD", "pa55word")
    text = GOOD.replace("udp://127.0.0.1:5000", "rtsp://u:${STREAM_PASSWORD}@cam/1")
    text += "    schedule: {items: [{source: in, in: 1.5, out: 1 h, title: 早}]}\n    filler: [x.mp4]\n"
    text = text.replace("rate: 25", "rate: 30000/1001").replace("segment: 4", "segment: 2.002")
    text = text.replace("gop: 2\n", "gop: 1.001\n")
    first = good(tmp_path, text)
    elsewhere = tmp_path / "run"
    elsewhere.mkdir()
    (elsewhere / "config.json").write_bytes(first.frozen())
    monkeypatch.delenv("STREAM_PASSWORD")
    second = load_config(elsewhere / "config.json")
    assert second.model_dump() == first.model_dump()
    assert second.path == first.path
    for kind in ("clock", "hls", "origin", "api"):
        assert second.digest(kind) == first.digest(kind)
    assert second.digest("channel", "one") == first.digest("channel", "one")
    assert "pa55word" not in repr(first.channels[0].sources[0])
    assert first.channels[0].sources[0].redacted == "rtsp://***@cam/1"


def test_digests_change_with_what_a_worker_reads(tmp_path: Path) -> None:
    first = good(tmp_path)
    second = good(tmp_path, GOOD.replace("800k", "900k"))
    assert first.digest("channel", "one") != second.digest("channel", "one")
    assert first.digest("hls") != second.digest("hls")
    assert first.digest("origin") == second.digest("origin")
    assert first.digest("clock") == second.digest("clock")
    third = good(tmp_path, GOOD.replace("8081", "8082"))
    changed = [kind for kind in ("clock", "hls", "origin", "api") if third.digest(kind) != first.digest(kind)]
    assert changed == ["origin", "api"]
    with pytest.raises(KeyError, match="there is no channel 'two'"):
        first.channel("two")
