"""Finding a typeface with Chinese, and refusing a text that it cannot draw."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFont

from encoders import fonts
from encoders.fonts import PROBE, Typeface, find_typeface, missing_glyphs, refuse_missing

CHINESE = "国家应急广播 龘 Emergency 0123"


@pytest.fixture(scope="module")
def face() -> Typeface:
    return find_typeface()


def inked(face: Typeface, text: str) -> bytes:
    """The pixels of a text."""
    return bytes(face.sized(32).getmask(text))


def test_the_typeface_found_has_chinese(face: Typeface) -> None:
    assert missing_glyphs(PROBE + CHINESE, face) == []
    assert face.has("警")
    assert inked(face, "警") != inked(face, "报")


def test_the_simplified_face_of_the_package_is_taken() -> None:
    packaged = fonts._packaged()
    assert packaged is not None
    assert packaged.sized(20).getname()[0].endswith(" SC")


def test_weight_makes_letters_heavier(face: Typeface) -> None:
    packaged = fonts._packaged()
    assert packaged is not None
    assert sum(packaged.sized(40, 900).getmask("警")) > sum(packaged.sized(40, 100).getmask("警"))


@pytest.mark.parametrize(
    ("text", "missing"), [("天气😀预报😀", ["😀"]), ("a\u200db\n\tc", []), ("\U0010fffd", ["\U0010fffd"])]
)
def test_missing_glyphs_are_named_once_and_unseen_characters_do_not_count(
    face: Typeface, text: str, missing: list[str]
) -> None:
    assert missing_glyphs(text, face) == missing


@settings(max_examples=200, deadline=None)
@given(st.characters(codec="utf-8", exclude_categories=("Cc", "Cf", "Cs", "Co", "Cn", "Mn", "Me", "Zs", "Zl", "Zp")))
def test_the_character_map_agrees_with_what_freetype_draws(character: str) -> None:
    face = find_typeface()
    # Without shaping, which would put a missing letter together from its parts.
    font = ImageFont.truetype(str(face.path), 32, index=face.index, layout_engine=ImageFont.Layout.BASIC)
    # U+10FFFE is never assigned, so FreeType draws the box of a missing glyph for it.
    drawn = bytes(font.getmask(character)) != bytes(font.getmask("\U0010fffe"))
    assert drawn == (missing_glyphs(character, face) == [])


def test_a_text_with_a_missing_glyph_is_refused_in_a_sentence(face: Typeface) -> None:
    with pytest.raises(ValueError, match=r"the crawl of channel 1 .*😀 \(U\+1F600\).*boxes on air.*configure a font"):
        refuse_missing("预报😀", face, "the crawl of channel 1")
    refuse_missing(CHINESE, face, "the crawl")


def test_a_configured_file_that_is_no_font_is_refused(tmp_path: Path) -> None:
    for name, data in (("a.ttf", b"not a font"), ("b.ttc", b"ttcf" + bytes(3)), ("c.otf", b"")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ValueError, match=r"the font file .* cannot be used"):
            find_typeface(tmp_path / name)
    with pytest.raises(ValueError, match=r"the font file .* cannot be used"):
        find_typeface(tmp_path / "missing.ttf")


def test_a_configured_font_is_used(face: Typeface) -> None:
    chosen = find_typeface(str(face.path))
    assert (chosen.path, chosen.origin) == (face.path, "configured")
    assert missing_glyphs(CHINESE, chosen) == []


def test_fuzzed_fonts_never_raise_anything_else(tmp_path: Path, face: Typeface) -> None:
    import random

    head = face.path.read_bytes()[:200_000]
    chance = random.Random(4)
    for number in range(40):
        data = bytearray(head[: chance.randrange(8, len(head))])
        for _ in range(20):
            data[chance.randrange(min(len(data), 4000))] = chance.randrange(256)
        path = tmp_path / f"{number}.ttc"
        path.write_bytes(bytes(data))
        with pytest.raises(ValueError, match="cannot be used"):
            find_typeface(path)


def test_without_a_chinese_font_the_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "_candidates", lambda: iter(()))
    monkeypatch.setattr(fonts, "_packaged", lambda: None)
    fonts._found.cache_clear()
    try:
        with pytest.raises(RuntimeError, match=r"no Chinese font .* install"):
            find_typeface()
    finally:
        fonts._found.cache_clear()


def test_a_latin_only_system_font_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("fc-match") is None:
        pytest.skip("needs fontconfig: install Debian's package fontconfig")
    latin = [(path, index) for path, index in fonts._candidates() if "DejaVu" in path.name]
    for path, index in latin:
        assert missing_glyphs("中", Typeface(path, index, "system")) == ["中"]
    assert missing_glyphs("中", find_typeface()) == []


def test_sizes_draw(face: Typeface) -> None:
    image = Image.new("L", (64, 64))
    for size in (0, 5, 40):
        assert face.sized(size).getbbox("中")[2] > 0
    assert image.getbbox() is None
