"""The newest figures of every benchmark as a table in both READMEs.

``python benchmarks/figures.py`` reads ``benchmarks/results/latest.json`` and rewrites what stands between the two
``figures`` marks of README.md and README.zh-CN.md; with ``--print`` it writes the English table to standard output and
changes nothing. Exit status 2: the results cannot be read, or a README has lost its marks.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parent.parent
RESULTS: Final = Path(__file__).parent / "results" / "latest.json"
BEGIN: Final = "<!-- figures: begin -->"
END: Final = "<!-- figures: end -->"
HEADS: Final = {
    "README.md": ("What", "Figure", "Goal", "Peer", "Command"),
    "README.zh-CN.md": ("项目", "结果", "目标", "对照", "命令"),
}


def short(value: float) -> str:
    """A figure with three significant digits, whole numbers and everything from 100 on without a fraction."""
    if not math.isfinite(value):
        return str(value)
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    digits = 2 - math.floor(math.log10(abs(value)))
    return f"{value:.{min(digits, 4)}f}"


def table(rows: Sequence[dict[str, Any]], heads: Sequence[str]) -> str:
    """Rows of ``latest.json`` as a Markdown table, sorted by name. Raises KeyError on a row of another shape."""
    lines = ["| " + " | ".join(heads) + " |", "|---|---:|---|---|---|"]
    for row in sorted(rows, key=lambda row: str(row["name"])):
        figure = f"{short(row['figure'])} {row['unit']}".strip()
        command = f"`{row['command']}`" if row["command"] else ""
        cells = [str(row["name"]), figure, str(row["goal"]), str(row["peer"]), command]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def rewrite(text: str, inside: str) -> str:
    """``text`` with ``inside`` between its marks. Raises ValueError if it does not have both, once and in order."""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"the marks {BEGIN} and {END} are not both there once, so there is no place for the figures")
    head, _, rest = text.partition(BEGIN)
    return f"{head}{BEGIN}\n{inside}\n{END}{rest.partition(END)[2]}"


def main(arguments: Sequence[str], root: Path = ROOT, results: Path = RESULTS) -> int:
    """Do it; returns the exit status."""
    try:
        rows = json.loads(results.read_text(encoding="utf-8"))
        if "--print" in arguments:
            print(table(rows, HEADS["README.md"]))
            return 0
        # Both are made before either is written: a half-done change would let them disagree.
        texts = {}
        for name, heads in HEADS.items():
            try:
                texts[name] = rewrite((root / name).read_text(encoding="utf-8"), table(rows, heads))
            except ValueError as error:
                raise ValueError(f"{name}: {error}; put them back") from None
        for name, text in texts.items():
            (root / name).write_text(text, encoding="utf-8")
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"the figures were not written: {error!r}" if isinstance(error, KeyError) else error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
