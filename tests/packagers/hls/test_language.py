"""Language codes."""

from __future__ import annotations

import pytest

from packagers.hls.language import bcp47


@pytest.mark.parametrize(
    ("code", "tag"),
    [("zho", "zh"), ("chi", "zh"), ("eng", "en"), ("yue", "yue"), ("cmn", "cmn"), ("bod", "bo"), ("tib", "bo"),
     ("uig", "ug"), ("und", "und"), ("", "und"), ("ENG", "en"), ("mul", "mul"), ("zh", "zh")],
)  # fmt: skip
def test_the_shortest_code(code: str, tag: str) -> None:
    assert bcp47(code) == tag
