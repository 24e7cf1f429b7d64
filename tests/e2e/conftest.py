"""The demo head end as a user starts it, and real players in front of it.

Players run side by side and report the same three things: how far their clock went, how often they
stalled, and what they complained about.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import imageio_ffmpeg
import psutil
import pytest
from aiohttp import web

ROOT = Path(__file__).parent.parent.parent
HARMLESS = (
    "Found duplicated MOOV Atom",  # ffmpeg reads the init segment again at each reload of fragmented MP4
    "Last message repeated",
    "Resumed reading at pts",  # -readrate catching up with its own start
    "Padname sink is not unique",  # fpsdisplaysink built on a gst-launch line
    "No volume control found",  # fakesink has none
)
CHROMIUM_FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--mute-audio",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--disable-renderer-backgrounding",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--remote-debugging-port=0",
]


@dataclass
class HeadEnd:
    """A running demo: its address, its process and what it wrote."""

    url: str
    process: subprocess.Popen[bytes]
    data: Path
    log: Path

    def get(self, path: str) -> Any:
        """JSON of an API call; raises urllib's HTTPError."""
        with urllib.request.urlopen(self.url + path, timeout=5) as answer:
            return json.load(answer)

    def text(self, path: str) -> str:
        with urllib.request.urlopen(self.url + path, timeout=5) as answer:
            return str(answer.read().decode())

    def post(self, path: str, body: dict[str, Any]) -> Any:
        request = urllib.request.Request(
            self.url + path,
            json.dumps(body).encode(),
            {"Content-Type": "application/json", "Authorization": "Bearer e2e-token-of-the-tests"},
            method="POST",
        )
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.load(answer)

    def worker(self, name: str) -> int:
        """The process of a worker (``channel-news``)."""
        return int(next(row["pid"] for row in self.get("/api/v1/workers")["workers"] if row["name"] == name))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(what: str, check: Any, seconds: float) -> Any:
    """Poll ``check`` until it answers something true; the failure says what was awaited."""
    end = time.monotonic() + seconds
    trouble: object = None
    while time.monotonic() < end:
        try:
            if answer := check():
                return answer
        except (OSError, ValueError, KeyError, StopIteration) as error:
            trouble = str(error)
            if isinstance(error, urllib.error.HTTPError):
                error.close()
        time.sleep(0.1)
    raise AssertionError(f"{what} did not happen within {seconds} s ({trouble})")


def start(folder: Path, *arguments: str) -> HeadEnd:
    """``headend demo`` on a free port with its data in ``folder``."""
    port = free_port()
    log = folder / "log.txt"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "headend", "demo", "--port", str(port), "--data", str(folder / "data"), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env={**os.environ, "HEADEND_TOKEN": "e2e-token-of-the-tests"},
            start_new_session=True,
        )
    return HeadEnd(f"http://127.0.0.1:{port}", process, folder / "data", log)


def stop(head: HeadEnd) -> None:
    """Ctrl-C, and nothing may be left behind."""
    family = [head.process.pid, *(c.pid for c in psutil.Process(head.process.pid).children(recursive=True))]
    head.process.send_signal(signal.SIGINT)
    try:
        head.process.wait(20)
        gone = True
    except subprocess.TimeoutExpired:
        gone = False
    left = [p for p in family if psutil.pid_exists(p) and psutil.Process(p).status() != psutil.STATUS_ZOMBIE]
    names = {}
    for pid in left:
        with contextlib.suppress(psutil.Error):
            names[pid] = " ".join(psutil.Process(pid).cmdline())
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert gone, f"the head end did not stop within 20 s of Ctrl-C; its log ends: {head.log.read_text()[-2000:]}"
    assert not names, f"left behind after the stop: {names}"


def real_media(folder: Path) -> Path:
    """A folder as a user has it: the real captures that lie beside the project, or else odd files made here."""
    shared = ROOT.parent / "shared" / "media"
    if shared.is_dir():
        return shared
    ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    for name, picture, sound, more in (
        ("upright.mp4", "testsrc2=s=360x640:r=30:d=11", "sine=f=300:d=11", ["-c:a", "aac"]),
        ("film.mkv", "smptebars=s=1280x534:r=24:d=13", "sine=f=400:r=44100:d=12", ["-c:a", "ac3"]),
        (
            "interlaced.ts",
            "testsrc2=s=720x576:r=25:d=12",
            "sine=f=500:d=12",
            ["-flags", "+ildct+ilme", "-c:v", "mpeg2video"],
        ),
        ("fifty.mp4", "testsrc2=s=640x360:r=50:d=9", "sine=f=600:d=5", ["-c:a", "aac"]),
    ):
        command = [ffmpeg, "-v", "error", "-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound, *more]
        subprocess.run([*command, "-pix_fmt", "yuv420p", str(folder / name)], check=True)
    (folder / "notes.mp4").write_text("not a film at all\n" * 100)
    (folder / "nothing.mkv").touch()
    return folder


@pytest.fixture(scope="module", params=["own programmes", "real media"])
def demo(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HeadEnd]:
    """The demo, ready: both channels have playlists. Once with its own programmes, once with a folder of real media."""
    more = [] if request.param == "own programmes" else ["--media", str(real_media(tmp_path_factory.mktemp("media")))]
    head = start(tmp_path_factory.mktemp("demo"), "--feed-port", str(free_port()), *more)
    try:
        wait_for("readiness of the demo", lambda: head.text("/readyz"), 150)
        for channel in ("news", "live"):
            wait_for(
                f"three segments of {channel}",
                lambda c=channel: head.text(f"/hls/{c}/360p/index.m3u8").count("#EXTINF") >= 3,
                60,
            )
        yield head
    except AssertionError as error:
        raise AssertionError(f"{error}; the log ends: {head.log.read_text()[-3000:]}") from error
    finally:
        stop(head)


@dataclass
class Report:
    """What a player says of its minutes in front of the picture."""

    player: str
    url: str
    wall: float = 0.0
    played: float = 0.0
    stalls: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def verdict(self, seconds: float, slack: float = 6.0) -> list[str]:
        """Every reason why this is not two minutes of unbroken television.

        ``slack``: on two busy cores eight players share what is left, and Chromium's clock of sound runs a little slow
        then (116 s of 120 s were seen) without ever standing still, which would be in ``stalls``.
        """
        reasons = [f"stalled: {s}" for s in self.stalls] + [f"complained: {c}" for c in self.complaints]
        if self.played < seconds - slack:
            reasons.append(f"played {self.played:.1f} s of {seconds:.1f} s")
        return [f"{self.player} on {self.url}: {r}" for r in reasons]


PAGE = """<!doctype html><meta charset=utf-8><title>players</title><body><script src=/hls.js></script><script>
function watch(how, src) {
  const v = document.createElement('video'); v.muted = true; v.playsInline = true; v.width = 320;
  document.body.append(v);
  const out = {stalls: [], complaints: [], started: 0, first: 0, at: 0};
  let playing = false, last = 0, since = performance.now();
  v.addEventListener('playing', () => {
    if (!playing) { playing = true; since = out.started = performance.now(); last = out.first = v.currentTime; } });
  v.addEventListener('waiting', () => {
    if (playing && !v.seeking && v.currentTime > out.first + 0.5) out.stalls.push('waiting at ' + v.currentTime); });
  v.addEventListener('error', () => out.complaints.push('video error ' + (v.error && v.error.message)));
  setInterval(() => { const now = performance.now();
    if (v.currentTime !== last) { last = v.currentTime; since = now; }
    else if (playing && now - since > 1000) { out.stalls.push('no progress for 1 s at ' + last); since = now; }
    out.at = v.currentTime; }, 100);
  if (how === 'hlsjs') {
    const hls = new Hls({lowLatencyMode: false, startLevel: 0, autoLevelCapping: 0});
    hls.on(Hls.Events.ERROR, (e, d) => out.complaints.push(
      d.type + ' ' + d.details + ' fatal=' + d.fatal + ' ' + (d.reason || d.error || '')));
    hls.on(Hls.Events.MANIFEST_PARSED, () => v.play());
    hls.loadSource(src); hls.attachMedia(v);
  } else { v.src = src; v.play(); }
  return out;
}
window.outs = JSON.parse(new URLSearchParams(location.search).get('play')).map(([how, src]) => watch(how, src));
</script>"""


def find_hls_js() -> Path:
    path = ROOT / "headend/console/node_modules/hls.js/dist/hls.min.js"
    assert path.exists(), "hls.js is not there: run python build_console.py"
    return path


class Chromium:
    """Headless Chromium by its DevTools protocol, one tab per player."""

    def __init__(self, port: int, session: aiohttp.ClientSession) -> None:
        self.pages = f"http://127.0.0.1:{port}"
        self.session = session
        self.profile = tempfile.mkdtemp(prefix="headend-chromium-")
        self.process: asyncio.subprocess.Process | None = None
        self.devtools = ""

    async def start(self) -> None:
        binary = shutil.which("chromium")
        assert binary
        self.process = await asyncio.create_subprocess_exec(
            binary,
            *CHROMIUM_FLAGS,
            f"--user-data-dir={self.profile}",
            "about:blank",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        port_file = Path(self.profile) / "DevToolsActivePort"
        for _ in range(300):
            if port_file.exists() and port_file.read_text().count("\n"):
                break
            await asyncio.sleep(0.1)
        self.devtools = f"http://127.0.0.1:{port_file.read_text().split()[0]}"

    async def stop(self) -> None:
        if self.process and self.process.returncode is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.process.wait(), 10)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            await self.process.wait()
        shutil.rmtree(self.profile, ignore_errors=True)

    async def open(self, address: str) -> Tab:
        async with self.session.put(f"{self.devtools}/json/new?{quote(address, safe='')}") as answer:
            target = await answer.json()
        tab = Tab(await self.session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0))
        await tab.call("Runtime.enable")
        await tab.call("Log.enable")
        await tab.call("Page.enable")
        return tab

    async def play(self, what: list[tuple[str, str]], seconds: float) -> list[Report]:
        """Play addresses, ``("hlsjs" | "native", address)``, side by side on one page (a hidden tab would not play),
        until each has had ``seconds`` of wall time since its first picture."""
        tab = await self.open(f"{self.pages}/player?play={quote(json.dumps(what))}")
        begun = time.monotonic()
        outs: list[dict[str, Any]] = []
        while time.monotonic() - begun < seconds + 30:
            await tab.pump(1.0)
            outs = json.loads(await tab.value("JSON.stringify(outs.map(o => ({...o, now: performance.now()})))"))
            if all(out["started"] and out["now"] - out["started"] > seconds * 1000 for out in outs):
                break
        await tab.close()
        return [
            Report(
                f"chromium-{how}",
                url,
                (out["now"] - out["started"]) / 1000 if out["started"] else 0.0,
                out["at"] - out["first"],
                out["stalls"],
                out["complaints"] + tab.complaints,
            )
            for (how, url), out in zip(what, outs, strict=True)
        ]


class Tab:
    """One page of Chromium; console errors and failed loads gather in ``complaints``."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.complaints: list[str] = []
        self.number = 0

    def note(self, message: dict[str, Any]) -> None:
        method, p = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.complaints.append("exception: " + p["exceptionDetails"].get("exception", {}).get("description", "?"))
        elif method == "Runtime.consoleAPICalled" and p["type"] in ("error", "assert"):
            self.complaints.append("console: " + " ".join(str(a.get("value", a.get("description"))) for a in p["args"]))
        elif (
            method == "Log.entryAdded" and p["entry"]["level"] == "error" and "favicon" not in p["entry"].get("url", "")
        ):
            self.complaints.append(f"log: {p['entry']['text']} {p['entry'].get('url', '')}")

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        self.number += 1
        await self.socket.send_json({"id": self.number, "method": method, "params": params})
        while True:
            message = await self.socket.receive_json(timeout=20)
            if message.get("id") == self.number:
                assert "error" not in message, message
                return dict(message["result"])
            self.note(message)

    async def value(self, expression: str) -> Any:
        result = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def pump(self, seconds: float) -> None:
        """Let ``seconds`` pass while the page's messages are read."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            with contextlib.suppress(asyncio.TimeoutError, TimeoutError):
                self.note(await self.socket.receive_json(timeout=left))

    async def close(self) -> None:
        with contextlib.suppress(Exception):
            await self.call("Page.close")
        await self.socket.close()


@pytest.fixture
async def chromium() -> AsyncIterator[Chromium]:
    """Chromium with a page that plays what it is told to."""

    async def page(_: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    async def script(_: web.Request) -> web.FileResponse:
        return web.FileResponse(find_hls_js())

    app = web.Application()
    app.add_routes([web.get("/player", page), web.get("/hls.js", script)])
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    async with aiohttp.ClientSession() as session:
        browser = Chromium(port, session)
        try:
            await browser.start()
            yield browser
        finally:
            await browser.stop()
            await runner.cleanup()


async def play_ffmpeg(url: str, seconds: float) -> Report:
    """ffmpeg as a player: reads at the speed of time, decodes everything, complains on stderr."""
    report = Report("ffmpeg", url)
    process = await asyncio.create_subprocess_exec(
        imageio_ffmpeg.get_ffmpeg_exe(),
        *(
            "-hide_banner",
            "-nostdin",
            "-v",
            "warning",
            "-stats_period",
            "0.25",
            "-progress",
            "pipe:1",
            "-readrate",
            "1",
        ),
        *("-i", url, "-map", "0:v", "-map", "0:a", "-t", str(seconds), "-f", "null", "-"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout
    assert process.stderr

    async def progress(stream: asyncio.StreamReader) -> None:
        first = moved = None
        async for line in stream:
            if match := re.match(rb"out_time_us=(\d+)", line):
                at, now = int(match[1]) / 1e6, time.monotonic()
                if first is None:
                    first = now
                if at > report.played:
                    if moved is not None and now - moved > 2.0:
                        report.stalls.append(f"no progress for {now - moved:.1f} s at {report.played:.1f}")
                    report.played, moved = at, now
        report.wall = time.monotonic() - (first or time.monotonic())

    async def complaints(stream: asyncio.StreamReader) -> None:
        async for line in stream:
            text = line.decode(errors="replace").strip()
            if not any(phrase in text for phrase in HARMLESS):
                report.complaints.append(text)

    try:
        await asyncio.wait_for(
            asyncio.gather(progress(process.stdout), complaints(process.stderr), process.wait()), seconds + 40
        )
    except TimeoutError:
        report.stalls.append("did not finish in time")
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    return report


async def play_gstreamer(url: str, seconds: float) -> Report:
    """GStreamer's playbin3; its sinks keep time, its frame counter tells how far it went."""
    report = Report("gstreamer", url)
    process = await asyncio.create_subprocess_exec(
        "gst-launch-1.0",
        *("-v", "playbin3", f"uri={url}", "flags=audio+video"),
        "video-sink=fpsdisplaysink name=screen video-sink=fakesink text-overlay=false fps-update-interval=500",
        "audio-sink=fakesink sync=true",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    assert process.stdout
    begun: float | None = None
    moved = time.monotonic()
    shown = 0
    end = time.monotonic() + seconds + 40
    try:
        while time.monotonic() < end and (begun is None or time.monotonic() - begun < seconds):
            try:
                line = (await asyncio.wait_for(process.stdout.readline(), 5)).decode(errors="replace")
            except TimeoutError:
                continue
            if not line:
                report.complaints.append("ended by itself")
                break
            now = time.monotonic()
            if match := re.search(r"rendered: (\d+), dropped: (\d+)", line):
                if int(match[1]) > shown:
                    begun = begun or now
                    if now - moved > 2.0 and shown:
                        report.stalls.append(f"no picture for {now - moved:.1f} s after {shown}")
                    shown, moved = int(match[1]), now
            elif any(w in line for w in ("ERROR", "WARNING", "CRITICAL")) and not any(h in line for h in HARMLESS):
                report.complaints.append(line.strip())
        report.wall = time.monotonic() - (begun or time.monotonic())
        report.played = shown / 25
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    return report


class Players:
    """The players that are programs of their own."""

    ffmpeg = staticmethod(play_ffmpeg)
    gstreamer = staticmethod(play_gstreamer)


@pytest.fixture
def players() -> Players:
    return Players()
