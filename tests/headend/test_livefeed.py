"""The live feed: a constant-rate stream without a seam, paced by its own clock references, stopped by a signal."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest

from headend.clock import TICKS_PER_SECOND, FakeClock
from headend.livefeed import DATAGRAM, LIVE, LiveFeed, TransportStream, main


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1.28 s: 32 pictures and 60 audio frames, so that a loop has no seam. Picture n of it has a luma of 20 + 6 n."""
    path = tmp_path_factory.mktemp("live") / "clip.mp4"
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=25, options={"preset": "ultrafast", "g": "8", "bf": "2", "crf": "10"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = out.add_stream("aac", rate=48_000)
        for n in range(32):
            frame = av.VideoFrame.from_ndarray(
                np.concatenate([np.full((48, 64), 20 + 6 * n, np.uint8), np.full((24, 64), 128, np.uint8)]),
                format="yuv420p",
            )
            frame.pts, frame.time_base = n, Fraction(1, 25)
            out.mux(video.encode(frame))
        for n in range(60):
            sound = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
            sound.sample_rate, sound.pts = 48_000, n * 1024
            out.mux(audio.encode(sound))
        out.mux(video.encode(None))
        out.mux(audio.encode(None))
    return path


def packets(stream: TransportStream, seconds: float) -> np.ndarray:
    """So many seconds of the stream, shape (n, 188)."""
    datagrams = list(islice(stream.datagrams(), round(seconds * stream.rate / 8 / DATAGRAM)))
    assert {len(d) for d in datagrams} == {DATAGRAM}
    return np.frombuffer(b"".join(datagrams), np.uint8).reshape(-1, 188)


def references(rows: np.ndarray) -> Iterator[tuple[int, int]]:
    """Packet number and PCR (ISO/IEC 13818-1, 2.4.3.5)."""
    for number, row in enumerate(rows):
        if row[3] & 0x20 and row[4] and row[5] & 0x10:
            base = int.from_bytes(row[6:11].tobytes(), "big") >> 7
            yield number, base * 300 + (int(row[10] & 1) << 8 | int(row[11]))


def test_pcrs_say_that_the_rate_is_constant(clip: Path) -> None:
    stream = TransportStream(clip)
    rows = packets(stream, 6)
    assert np.all(rows[:, 0] == 0x47)
    found = list(references(rows))
    first, zero = found[0]
    for number, pcr in found:
        assert abs(pcr - zero - (number - first) * 1504 * TICKS_PER_SECOND / stream.rate) < 2
    gaps = np.diff([pcr for _, pcr in found]) / TICKS_PER_SECOND
    assert gaps.max() <= 0.1


def test_continuity_counters_run_over_the_loop(clip: Path) -> None:
    stream = TransportStream(clip)
    last: dict[int, int] = {}
    for row in packets(stream, 6):
        pid = int(row[1] & 31) << 8 | int(row[2])
        if pid != 0x1FFF and row[3] & 0x10:
            assert pid not in last or int(row[3] & 15) == (last[pid] + 1) % 16
            last[pid] = int(row[3] & 15)
    assert stream.loops > 3
    assert len(last) >= 4  # PAT, PMT, video, audio


def test_ffmpeg_plays_it_without_a_seam(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "out.ts").write_bytes(packets(TransportStream(clip), 6).tobytes())
    times: dict[str, list[Fraction]] = {"video": [], "audio": []}
    shades = []
    with av.open(str(tmp_path / "out.ts")) as container:
        for frame in container.decode(container.streams.video[0], container.streams.audio[0]):
            kind = "video" if isinstance(frame, av.VideoFrame) else "audio"
            assert frame.pts is not None
            assert frame.time_base is not None
            times[kind].append(frame.pts * frame.time_base)
            if isinstance(frame, av.VideoFrame):
                shades.append(round((float(frame.to_ndarray(format="gray").mean()) * 219 / 255 + 16 - 20) / 6))
    assert len(times["video"]) > 120
    steps = {later - earlier for earlier, later in zip(times["video"], times["video"][1:], strict=False)}
    assert steps == {Fraction(1, 25)}
    for earlier, later in zip(times["audio"], times["audio"][1:], strict=False):
        assert abs(later - earlier - Fraction(1024, 48_000)) < Fraction(1, 5000)
    wrong = [(n, s) for n, s in enumerate(shades[:-4]) if s != (shades[0] + n) % 32]
    assert not wrong, wrong[:5]


def test_it_is_paced_by_the_clock(clip: Path) -> None:
    clock = FakeClock()
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind(("127.0.0.1", 0))
    stream = TransportStream(clip, rate=800_000)
    feed = LiveFeed(stream, f"udp://127.0.0.1:{receiver.getsockname()[1]}", clock)
    begin = clock.now()

    class Ending(threading.Event):
        """Is set once the clock has gone on for two seconds."""

        def is_set(self) -> bool:
            return clock.now() - begin >= 2 * TICKS_PER_SECOND

    feed.run(Ending())
    state = feed.state()
    assert abs(state["sent"] - 2 * 800_000 / 8 / DATAGRAM) <= 3
    assert state["failed"] == 0
    assert receiver.recv(2000)[0] == 0x47
    receiver.close()


def test_after_a_sleep_it_goes_on_from_now(clip: Path) -> None:
    clock = FakeClock()
    stream = TransportStream(clip, rate=800_000)
    feed = LiveFeed(stream, "udp://127.0.0.1:9", clock)
    begin = clock.now()
    slept = False

    class Sleeping(threading.Event):
        def is_set(self) -> bool:
            nonlocal slept
            if not slept and clock.now() - begin > TICKS_PER_SECOND // 2:
                slept = True
                clock.advance(100 * TICKS_PER_SECOND)
            return clock.now() - begin >= 102 * TICKS_PER_SECOND

    feed.run(Sleeping())
    state = feed.state()
    assert state["restarts"] == 1
    assert state["sent"] + state["failed"] < 4 * 800_000 / 8 / DATAGRAM


def test_the_length_of_the_demos_loop_has_no_seam() -> None:
    assert (LIVE.seconds * LIVE.rate).denominator == 1
    assert LIVE.seconds * LIVE.sample_rate % 1024 == 0


def test_what_cannot_be_sent_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.mp4").write_text("no film")
    for url, file, said in (
        ("udp://127.0.0.1:5", tmp_path / "text.mp4", "cannot be opened"),
        ("udp://127.0.0.1:5", tmp_path / "missing.mp4", "cannot be opened"),
    ):
        assert main(["--url", url, "--file", str(file)]) == 2
        assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    "url", ["udp://127.0.0.1", "http://127.0.0.1:5000", "udp://:5000", "udp://a:99999", "x", "udp://a:1?ttl=x"]
)
def test_an_address_that_is_none_is_refused(url: str, clip: Path) -> None:
    with pytest.raises(ValueError, match="no address to send to"):
        LiveFeed(TransportStream(clip), url, FakeClock())


def test_secrets_are_not_told(clip: Path) -> None:
    with pytest.raises(ValueError, match="no address") as told:
        LiveFeed(TransportStream(clip), "http://user:secret@host:1", FakeClock())
    assert "secret" not in str(told.value)


def test_sigterm_stops_the_process_cleanly(clip: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(30)
        url = f"udp://127.0.0.1:{receiver.getsockname()[1]}"
        process = subprocess.Popen(
            [sys.executable, "-m", "headend.livefeed", "--url", url, "--file", str(clip)],
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parent.parent.parent,
            env=os.environ,
        )
        try:
            for _ in range(5):
                assert len(receiver.recv(2000)) == DATAGRAM
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=20)
        finally:
            process.kill()
            process.wait()
    assert process.returncode == 0
    assert "Traceback" not in said
