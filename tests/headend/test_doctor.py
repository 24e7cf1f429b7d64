"""The doctor: tries everything, survives everything, and answers in two languages and in JSON."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest
from rich.console import Console

from encoders import capability
from headend import doctor
from headend.doctor import Finding, Report, doctor_command, examine, render


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return examine(tmp_path_factory.mktemp("data"), interfaces=["127.0.0.1"], speeds=False)


def of(report: Report, subject: str) -> list[Finding]:
    return [finding for finding in report.findings if finding.subject == subject]


def test_everything_is_looked_at(report: Report) -> None:
    subjects = {finding.subject for finding in report.findings}
    assert subjects == {
        "cores",
        "encoders",
        "clock",
        "fonts",
        "multicast",
        "disk",
        "shared memory",
        "priority",
        "gateway",
    }
    assert all(finding.chinese and finding.english for finding in report.findings)
    assert not [f for f in report.findings if "itself failed" in f.english]


def test_encoders_are_those_that_work(report: Report) -> None:
    found = {f.facts["codec"]: f for f in of(report, "encoders")}
    assert set(found) == {*capability.VIDEO, *capability.AUDIO}
    assert "libx264" in found["h264"].facts["working"]
    assert all(capability.try_video(n, "h264").works for n in found["h264"].facts["working"])
    assert report.healthy


def test_multicast_really_goes_round(report: Report) -> None:
    assert [f.facts for f in of(report, "multicast")] == [{"address": "127.0.0.1", "works": True}]


def test_an_interface_that_is_not_there_is_a_finding() -> None:
    finding = doctor._multicast(["203.0.113.77"])[0]
    assert (finding.level, finding.facts["works"]) == ("warn", False)
    assert "203.0.113.77" in finding.english


def test_the_disk_is_written_and_left_clean(tmp_path: Path) -> None:
    finding = doctor._disk(tmp_path)[0]
    assert finding.facts["fsync_worst_ms"] >= finding.facts["fsync_ms"] > 0
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_bad() -> None:
    finding = doctor._disk(Path("/proc"))[0]  # not even by root
    assert finding.level == "bad"
    assert "cannot be written" in finding.english


def test_priority_is_given_back(report: Report) -> None:
    assert os.sched_getscheduler(0) == os.SCHED_OTHER
    assert of(report, "priority")[0].facts["fifo"] in (True, False)


def test_the_gateway_speaks_srt_and_rist(report: Report) -> None:
    assert {"srt", "rist"} <= set(of(report, "gateway")[0].facts["protocols"])


def test_a_check_that_falls_over_is_a_finding(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken() -> bool:
        raise OSError("no clock at all")

    monkeypatch.setattr(doctor, "system_synchronised", broken)
    report = examine(tmp_path, interfaces=[], speeds=False)
    finding = of(report, "clock")[0]
    assert finding.level == "warn"
    assert "no clock at all" in finding.english
    assert of(report, "gateway")


@pytest.mark.parametrize(("synchronised", "level"), [(True, "ok"), (False, "warn")])
def test_the_clock(monkeypatch: pytest.MonkeyPatch, synchronised: bool, level: str) -> None:
    monkeypatch.setattr(doctor, "system_synchronised", lambda: synchronised)
    assert doctor._clock()[0].level == level


def test_without_h264_nothing_goes_on_air(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        capability, "survey", lambda: [capability.Trial("libx264", "h264", False, "it is broken"), *working()]
    )
    findings = doctor._encoders()
    assert not Report(findings).healthy
    assert "libx264: it is broken" in next(f for f in findings if f.level == "bad").english


def working() -> list[capability.Trial]:
    return [capability.Trial("aac", "aac", True, "")]


def test_json_is_one_object_on_stdout(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    found = Report([Finding("disk", "bad", "磁盘已满", "the disk is full", {"free": 0})])
    monkeypatch.setattr(doctor, "examine", lambda **options: found)
    assert doctor_command(json=True) == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer == {
        "healthy": False,
        "findings": [
            {
                "subject": "disk",
                "level": "bad",
                "chinese": "磁盘已满",
                "english": "the disk is full",
                "facts": {"free": 0},
            }
        ],
    }


def test_people_read_both_languages_whole(report: Report) -> None:
    """Nothing is cut off on a narrow terminal."""
    paper = io.StringIO()
    render(report, Console(file=paper, width=60))
    text = "".join(paper.getvalue().split())
    for finding in report.findings:
        assert "".join(finding.chinese.split()) in text
        assert "".join(finding.english.split()) in text


def test_the_command_ends_well_on_a_healthy_machine(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], report: Report
) -> None:
    monkeypatch.setattr(doctor, "examine", lambda **options: report)
    assert doctor_command() == 0
    assert "可以播出" in capsys.readouterr().out
