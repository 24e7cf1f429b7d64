"""A YAML document that remembers on which line each key stands.

PyYAML's loader forgets positions, keeps the last of two equal keys without a word, and turns ``no`` into False and
``12:30:00`` into 45 000. A configuration must do none of that: the document is composed into nodes, and built here.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

Key = str | int
Place = tuple[Key, ...]
"""The way to a value: keys of mappings and positions in lists."""

_SIZE_LIMIT: Final = 4 * 1024 * 1024
_VARIABLE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class DocumentError(ValueError):
    """The text is not the YAML that was asked for. ``line`` counts from 1."""

    def __init__(self, line: int, eng: str, zho: str) -> None:
        super().__init__(eng)
        self.line = line
        self.eng = eng
        self.zho = zho


class _Loader(yaml.SafeLoader):
    """YAML's safe schema, less what surprises people: sexagesimal numbers and dates stay text, only true and false
    are boolean.
    """


_KEPT = {"tag:yaml.org,2002:null", "tag:yaml.org,2002:merge"}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in rows if tag in _KEPT]
    for first, rows in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false|True|False)$"), list("tfTF"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9][0-9]*)$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+\.[0-9]*(?:[eE][-+]?[0-9]+)?$"), list("-+0123456789")
)


@dataclass(slots=True)
class Document:
    """The value of a YAML file and where each part of it stands."""

    path: Path
    value: dict[str, Any]
    lines: dict[Place, int]

    def line(self, place: Place) -> int:
        """The line of a place, or of the nearest thing around it that is written down."""
        while place not in self.lines and place:
            place = place[:-1]
        return self.lines.get(place, 1)


def load(path: Path) -> Document:
    """Read a YAML file whose top level is a mapping. ``${NAME}`` in a value is taken from the environment.

    Raises OSError if the file cannot be read, DocumentError if it is not such YAML, holds a key twice, or names a
    variable that is not set.
    """
    if path.stat().st_size > _SIZE_LIMIT:
        raise DocumentError(
            1, "the file is larger than 4 MiB, so it is no configuration", "文件超过 4 MiB，不是配置文件"
        )
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise DocumentError(1, "the file is not UTF-8 text", "文件不是 UTF-8 文本") from None
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark or problem.context_mark
        what = problem.problem or "it cannot be read"
        raise DocumentError(
            mark.line + 1 if mark else 1, f"this is not YAML: {what}", f"这里不是合法的 YAML：{what}"
        ) from None
    except yaml.YAMLError as problem:
        what = str(problem).splitlines()[0]
        raise DocumentError(1, f"this is not YAML: {what}", f"这里不是合法的 YAML：{what}") from None
    if not isinstance(node, yaml.MappingNode):
        raise DocumentError(1, "the file holds no keys; it must be a mapping", "文件中没有任何键，顶层必须是映射")
    lines: dict[Place, int] = {}
    # One builder for the whole document: anchors are shared between its parts.
    value = _Builder(lines).build(node, (), 0)
    assert isinstance(value, dict)
    return Document(path, value, lines)


class _Builder:
    def __init__(self, lines: dict[Place, int]) -> None:
        self._lines = lines
        self._made = 0

    def build(self, node: yaml.Node, place: Place, depth: int) -> Any:
        line = node.start_mark.line + 1
        self._made += 1
        # Anchors that refer to anchors can make a short file endless.
        if depth > 40 or self._made > 100_000:
            raise DocumentError(line, "the document is nested too deeply", "文件嵌套过深")
        self._lines.setdefault(place, line)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*place, number), depth + 1) for number, item in enumerate(node.value)]
        return self._scalar(node, line)

    def _mapping(self, node: yaml.MappingNode, place: Place, depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag == "tag:yaml.org,2002:merge":
                # "<<: *anchor": what is written beside it wins.
                for part in value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]:
                    value = self.build(part, place, depth + 1)
                    if isinstance(value, dict):
                        merged = {**value, **merged}
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                raise DocumentError(line, "a key must be a word", "键必须是一个词")
            key = str(key_node.value)
            if key in result:
                first = self._lines[(*place, key)]
                raise DocumentError(
                    line,
                    f"the key '{key}' is already set in line {first}; remove one of the two",
                    f"键“{key}”已在第 {first} 行设置，请删除其中一个",
                )
            self._lines[(*place, key)] = line
            result[key] = self.build(value_node, (*place, key), depth + 1)
        return {**merged, **result}

    def _scalar(self, node: yaml.Node, line: int) -> Any:
        text = str(node.value)
        try:
            return self._value(node.tag, text, line)
        except ValueError as problem:
            if isinstance(problem, DocumentError):
                raise
            raise DocumentError(line, f"'{text}' is no number", f"“{text}”不是数") from None

    def _value(self, tag: str, text: str, line: int) -> Any:
        match tag:
            case "tag:yaml.org,2002:null":
                return None
            case "tag:yaml.org,2002:bool":
                return text.lower() == "true"
            case "tag:yaml.org,2002:int":
                return int(text)
            case "tag:yaml.org,2002:float":
                return float(text)
            case "tag:yaml.org,2002:str":
                return _VARIABLE.sub(lambda found: _variable(found[1], line), text)
        raise DocumentError(line, f"the tag {tag} is not known here", f"此处不支持标签 {tag}")


def _variable(name: str, line: int) -> str:
    value = os.environ.get(name)
    if value is None:
        raise DocumentError(
            line,
            f"the environment variable {name} is not set, so this value is unknown; set it or write the value here",
            f"环境变量 {name} 未设置，无法得到此处的值；请设置它，或直接写出该值",
        )
    return value
