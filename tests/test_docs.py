"""The documents say what is so: configurations load, links lead somewhere, names exist, both languages agree."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from encoders.schedule import Schedule
from headend.api.models import SchedulePatch, SchedulePut
from headend.api.operations import OPERATIONS
from headend.cli import COMMANDS
from headend.config import Channel, Config, load_config

ROOT = Path(__file__).parent.parent
ENGLISH, CHINESE = ROOT / "README.md", ROOT / "README.zh-CN.md"
PAGES = [ENGLISH, CHINESE, ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
BASE: dict[str, Any] = {
    "channels": [
        {
            "id": "base",
            "name": "Base",
            "ladder": {"video": [{"id": "v", "width": 640, "height": 360, "bitrate": "700k"}]},
        }
    ]
}
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)


def blocks(page: Path, *kinds: str) -> list[str]:
    """Fenced blocks of a page, of some kinds or of all."""
    found = FENCE.findall(page.read_text(encoding="utf-8"))
    return [text for kind, text in found if not kinds or kind in kinds]


def of_all(*kinds: str) -> list[Any]:
    return [
        pytest.param(text, id=f"{page.name}-{number}")
        for page in PAGES
        for number, text in enumerate(blocks(page, *kinds), 1)
    ]


def headings(page: Path) -> list[str]:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    return re.findall(r"^(#+) ", text, re.M)


@pytest.mark.parametrize("text", of_all("yaml"))
def test_configurations_load(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block without channels is a part: of the whole, or of a channel."""
    for name in re.findall(r"\$\{(\w+)\}", text):
        monkeypatch.setenv(name, "a-secret")
    value = yaml.safe_load(text)
    assert isinstance(value, dict)
    if "channels" not in value:
        whole = {key: part for key, part in value.items() if key in Config.model_fields}
        channel = {key: part for key, part in value.items() if key not in whole}
        assert set(channel) <= set(Channel.model_fields), f"neither of the whole nor of a channel: {sorted(channel)}"
        value = {**BASE, **whole, "channels": [{**BASE["channels"][0], **channel}]}
        text = yaml.safe_dump(value, allow_unicode=True)
    (tmp_path / "doc.yaml").write_text(text, encoding="utf-8")
    assert load_config(tmp_path / "doc.yaml").channels


@pytest.mark.parametrize("text", of_all("json"))
def test_schedules_are_accepted(text: str) -> None:
    row = json.loads(text)
    if "items" in row:
        SchedulePut.model_validate_json(text)
        Schedule.from_json({"zone": "Asia/Shanghai", **row})
    else:
        SchedulePatch.model_validate_json(text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_resolve(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:", link):
            path, _, anchor = link.partition("#")
            target = page.parent / path if path else page
            assert target.exists(), link
            if anchor:
                titles = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.M)
                slugs = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
                assert anchor in slugs, link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_requests_exist(page: Path) -> None:
    """Every path below /api/v1 that is named is one of the API's."""
    known = [re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(op.path))) for op in OPERATIONS]
    for path in re.findall(r"/api/v1/[\w/{}-]+", page.read_text(encoding="utf-8")):
        assert any(pattern.fullmatch(path) for pattern in known), path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_metrics_exist(page: Path) -> None:
    source = (ROOT / "headend" / "api" / "metrics.py").read_text(encoding="utf-8")
    counts = re.findall(r'^    "(\w+)": "', source, re.M)
    known = set(re.findall(r'"(headend_\w+)"', source)) | {f"headend_channel_{name}" for name in counts}
    for name in re.findall(r"\bheadend_[a-z_]+", page.read_text(encoding="utf-8")):
        assert name.removesuffix("_total") in known, name


@pytest.mark.parametrize("text", of_all("sh"))
def test_commands_exist(text: str) -> None:
    commands = {name.replace("_", "-") for name in COMMANDS}
    for word in re.findall(r"^(?:\S*/)?headend (\S+)", text, re.M):
        assert word in commands or word == "--help", word
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    for target in re.findall(r"^make ([a-z]\w*)", text, re.M):
        assert target in targets, target


def test_both_readmes_have_the_same_shape() -> None:
    assert headings(ENGLISH) == headings(CHINESE)
    assert blocks(ENGLISH, "sh", "yaml", "json") == blocks(CHINESE, "sh", "yaml", "json")
    assert len(blocks(ENGLISH)) == len(blocks(CHINESE))
    links = [re.findall(r"\]\((docs/[^)]+)\)", page.read_text(encoding="utf-8")) for page in (ENGLISH, CHINESE)]
    assert links[0] == links[1]


def test_every_page_is_linked_from_the_readme() -> None:
    text = ENGLISH.read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert f"(docs/{page.name})" in text


def test_every_configuration_is_named() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs").glob("*.md"))
    for path in (ROOT / "configs").rglob("*.*"):
        assert str(path.relative_to(ROOT)) in text, path


def test_every_benchmark_is_explained() -> None:
    text = (ROOT / "docs" / "tests.md").read_text(encoding="utf-8")
    for path in (ROOT / "benchmarks").glob("test_*.py"):
        assert f"benchmarks/{path.name}" in text, path


def test_every_key_of_a_configuration_is_explained() -> None:
    """``configs/full.yaml`` shows every key, with what it means."""
    text = (ROOT / "configs" / "full.yaml").read_text(encoding="utf-8")
    names: set[str] = set()

    def collect(model: Any) -> None:
        for name, field in getattr(model, "model_fields", {}).items():
            names.add(field.alias or name)
            visit(field.annotation)

    def visit(annotation: Any) -> None:
        collect(annotation)
        for part in getattr(annotation, "__args__", ()):
            visit(part)

    collect(Config)
    for name in names:
        assert re.search(rf"\b{name.replace('_', '[_-]')}:", text), name
