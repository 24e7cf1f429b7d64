"""The command line: help with examples, results on standard output, sentences instead of tracebacks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from headend import tongue
from headend.cli import COMMANDS, build
from headend.commands import demo

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    tongue.choose(None)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name: str) -> None:
    done = CliRunner().invoke(build(), [name.replace("_", "-"), "--help"], env={"COLUMNS": "160"})
    assert done.exit_code == 0
    assert "Example: headend " in done.output


def test_check_config(config_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = CliRunner().invoke(build(), ["check-config", str(config_file)])
    assert done.exit_code == 0
    assert done.stdout == f"{config_file}: it can go on air.\n"
    config_file.write_text(config_file.read_text().replace("hang: 1", "hnag: 1"))
    done = CliRunner().invoke(build(), ["check-config", str(config_file)])
    assert done.exit_code == 2
    sentence = f"{config_file}, line 9: the key 'hnag' is not known in channels.0; perhaps 'hang' is meant.\n"
    assert done.stdout == sentence
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    done = CliRunner().invoke(build(), ["check-config", str(config_file)])
    assert "第 9 行" in done.stdout
    done = CliRunner().invoke(build(), ["check-config", str(config_file), "--json"])
    row = json.loads(done.stdout)
    assert (row["ok"], row["problems"][0]["line"], row["problems"][0]["severity"]) == (False, 9, "refused")


def test_a_missing_file_is_a_finding_that_fails_the_check(config_file: Path) -> None:
    config_file.write_text(config_file.read_text() + "    filler: none.mp4\n")
    done = CliRunner().invoke(build(), ["check-config", str(config_file), "--json"])
    assert done.exit_code == 2
    assert json.loads(done.stdout)["problems"][0]["severity"] == "missing"


def test_run_refuses_in_a_sentence(tmp_path: Path) -> None:
    done = CliRunner().invoke(build(), ["run", str(tmp_path / "none.yaml")])
    assert done.exit_code == 2
    assert done.stdout == ""
    assert "cannot be read (No such file or directory)" in done.stderr
    assert "Traceback" not in done.output


def test_demo_refuses_a_folder_that_is_none(tmp_path: Path) -> None:
    done = CliRunner().invoke(build(), ["demo", "--media", str(tmp_path / "none"), "--data", str(tmp_path)])
    assert done.exit_code == 2
    assert "is no folder" in done.stderr


def test_the_demo_is_the_example_with_the_users_choices(tmp_path: Path) -> None:
    config = demo._configure(tmp_path / "var", tmp_path / "films", "127.0.0.1", 8123, 5123)
    assert config.http.port == 8123
    assert config.data == tmp_path / "var"
    assert {channel.schedule.folder for channel in config.channels if channel.schedule} == {tmp_path / "films"}
    assert config.channels[1].sources[0].url == "udp://127.0.0.1:5123"
    assert config.path == tmp_path / "var" / "demo.yaml"


def test_version_and_start_up_without_heavy_imports() -> None:
    script = (
        "import sys; from headend.cli import build; build();"
        "print([name for name in ('av', 'numpy', 'aiohttp', 'pydantic') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, cwd=ROOT)
    assert done.stdout == "[]\n", done.stderr
    versions = json.loads(CliRunner().invoke(build(), ["version", "--json"]).stdout)
    assert versions["av"]
    assert versions["headend"]


@pytest.mark.parametrize(
    ("environment", "speaks"),
    [
        ({"LANG": "zh_CN.UTF-8"}, "zho"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, "eng"),
        ({"LC_MESSAGES": "zh_TW", "LANG": "en_GB"}, "zho"),
        ({}, "eng"),
        ({"LC_ALL": "", "LANG": "zh"}, "zho"),
    ],
)
def test_the_language_of_an_operator(environment: dict[str, str], speaks: str) -> None:
    assert tongue.of_environment(environment) == speaks


def test_a_chosen_language_wins() -> None:
    tongue.choose("zho")
    assert tongue.tell("好", "good") == "好"
    tongue.choose(None)
    assert tongue.tell("好", "good") == "good"
