"""A folder of media as people have them: what can be played is found in natural order, and what cannot says why."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from headend.media import examine, natural, scan_media


def clip(path: Path, title: str = "", video: bool = True, audio: bool = True) -> Path:
    """Half a second of media."""
    with av.open(str(path), "w") as out:
        if title:
            out.metadata["title"] = title
        streams = []
        if video:
            v = out.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
            v.width, v.height, v.pix_fmt = 64, 48, "yuv420p"
            streams.append(v)
        if audio:
            a = out.add_stream("aac", rate=48_000)
            streams.append(a)
        if video:
            for n in range(12):
                frame = av.VideoFrame.from_ndarray(np.full((72, 64), 16 + n, np.uint8), format="yuv420p")
                frame.pts, frame.time_base = n, Fraction(1, 25)
                out.mux(v.encode(frame))
        if audio:
            for n in range(23):
                sound = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
                sound.sample_rate, sound.pts = 48_000, n * 1024
                out.mux(a.encode(sound))
        for stream in streams:
            out.mux(stream.encode(None))
    return path


def test_what_can_be_played_is_found_in_natural_order(tmp_path: Path) -> None:
    (tmp_path / "第二部").mkdir()
    clip(tmp_path / "集10.mp4")
    clip(tmp_path / "集2.mp4", title="第二集")
    clip(tmp_path / "第二部" / "a.mkv", audio=False)
    clip(tmp_path / "song.m4a", video=False)
    Image.new("RGB", (30, 20)).save(tmp_path / "photo.jpg")
    found = scan_media(tmp_path)
    assert [f.path.name for f in found] == ["photo.jpg", "song.m4a", "a.mkv", "集2.mp4", "集10.mp4"]
    by_name = {f.path.name: f for f in found}
    assert all(not f.problem for f in found)
    assert (by_name["集2.mp4"].title, by_name["集10.mp4"].title) == ("第二集", "集10")
    assert (by_name["a.mkv"].video, by_name["a.mkv"].audio) == (True, False)
    assert (by_name["song.m4a"].video, by_name["song.m4a"].audio) == (False, True)
    assert by_name["photo.jpg"].still
    assert by_name["photo.jpg"].duration is None
    assert abs((by_name["集10.mp4"].duration or 0) - Fraction(1, 2)) < Fraction(1, 10)


def test_what_cannot_be_played_says_why(tmp_path: Path) -> None:
    whole = clip(tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "whole.mp4").unlink()
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_text("this is no film\n" * 50)
    (tmp_path / "truncated.mp4").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "noise.ts").write_bytes(np.random.default_rng(1).integers(0, 256, 60_000, dtype=np.uint8).tobytes())
    (tmp_path / "photo.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    found = scan_media(tmp_path)
    assert len(found) == 7
    for file in found:
        assert file.problem.startswith(f"{file.path.name} is left out, because "), file
        assert file.problem.endswith("take it away")
        assert str(tmp_path) not in file.problem
        assert not file.video


def test_what_lies_beside_media_is_not_tried(tmp_path: Path) -> None:
    clip(tmp_path / "a.mp4")
    for name in ("a.srt", "a.nfo", ".hidden.mp4", "list.m3u8", "Thumbs.db"):
        (tmp_path / name).write_text("#EXTM3U\nhttp://127.0.0.1:9/x.ts\n")
    (tmp_path / ".trash").mkdir()
    (tmp_path / ".trash" / "b.mp4").write_bytes(b"x")
    assert [f.path.name for f in scan_media(tmp_path)] == ["a.mp4"]


def test_a_file_cannot_make_us_open_an_address(tmp_path: Path) -> None:
    (tmp_path / "playlist.mp4").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nhttp://127.0.0.1:9/x.ts\n")
    (file,) = scan_media(tmp_path)
    assert file.problem


def test_a_missing_folder_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no folder that can be read"):
        scan_media(tmp_path / "missing")
    assert scan_media(tmp_path) == []


def test_one_file_is_described_as_its_folder_would(tmp_path: Path) -> None:
    assert [examine(clip(tmp_path / "a.mp4"))] == scan_media(tmp_path)
    assert "left out" in examine(tmp_path / "missing.mp4").problem


def test_natural_order() -> None:
    names = ["a10", "a2", "A1", "10", "9", "第3集", "第20集"]
    assert sorted(names, key=natural) == ["9", "10", "A1", "a2", "a10", "第3集", "第20集"]
