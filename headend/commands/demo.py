"""``headend demo``: a head end with two channels that needs no media, or plays a folder of the user's own.

It makes its programmes at first start, writes the configuration that it runs to ``DATA/demo.yaml``, and keeps a
second process that sends the live channel's transport stream as long as it runs itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from headend.commands import CLEAN, MISTAKE, complain, in_sentences, screen
from headend.tongue import tell

if TYPE_CHECKING:
    from headend.config import Config

_TIED: Final = (
    "import ctypes, runpy; ctypes.CDLL(None).prctl(1, 15); runpy.run_module('headend.livefeed', run_name='__main__')"
)
"""The sender of the live stream; unlike a worker it must not outlive the demo (prctl: PR_SET_PDEATHSIG, SIGTERM)."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo", epilog="Example: headend demo --media /srv/films --port 8080")(demo)


@in_sentences
def demo(
    media: Annotated[
        Path | None,
        typer.Option(help="Play the files of this folder instead. 改为播放此文件夹中的文件。", show_default=False),
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="TCP port of the status page. 状态页端口。")] = 8080,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 is every network. 监听地址。")] = "127.0.0.1",
    feed_port: Annotated[
        int, typer.Option(min=1, max=65535, help="UDP port of the live stream. 直播流的 UDP 端口。")
    ] = 5000,
    data: Annotated[Path, typer.Option(help="Where programmes and state are kept. 节目与状态的存放处。")] = Path("var"),
) -> int:
    """演示：无需素材即可开播两个频道。 Put two channels on air without any media: one from files, one live with "
    "fallback."""
    from headend import log
    from headend.commands.run import announce_address, announce_token
    from headend.supervisor import Supervisor

    data = data.absolute()
    if media is not None and not media.is_dir():
        complain(
            tell(
                f"{media} 不是文件夹，没有可播的内容；请指定存放节目的文件夹。",
                f"{media} is no folder, so there is nothing to play; name the folder that holds the programmes.",
            )
        )
        return MISTAKE
    folder = media.absolute() if media else data / "programmes"
    config = _configure(data, folder, host, port, feed_port)
    supervisor = Supervisor(config)
    # Before the minute that the programmes take.
    supervisor.check()
    if media is None:
        _make_programmes(folder)
    live = _make_live(data / "live")
    log.set_up("supervisor", level=config.log.level, file=config.log.file)
    supervisor.on_start = lambda: announce_token(config)
    supervisor.on_ready = lambda: announce_address(config)

    async def both() -> None:
        feed = asyncio.create_task(_feed(live, feed_port))
        try:
            await supervisor.run()
        finally:
            feed.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await feed

    asyncio.run(both())
    return CLEAN


def _make_programmes(folder: Path) -> None:
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    from headend.demo import make_programmes

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=screen(), transient=True) as bar:
        task = bar.add_task(tell("制作演示节目", "making the demo's programmes"), total=None)

        def progress(done: int, total: int, what: str) -> None:
            bar.update(task, completed=done, total=total, description=what)

        make_programmes(folder, progress=progress)


def _make_live(folder: Path) -> Path:
    from headend.livefeed import generate

    with screen().status(tell("准备直播画面", "making the live picture")):
        return generate(folder)


def template() -> Path:
    """The demo's configuration, beside the package in a checkout or in it when installed."""
    package = Path(__file__).parent.parent
    for path in (package.parent / "configs" / "demo.yaml", package / "configs" / "demo.yaml"):
        if path.is_file():
            return path
    raise FileNotFoundError(
        2, "the demo's configuration is not installed; install the package again", "configs/demo.yaml"
    )


def _configure(data: Path, folder: Path, host: str, port: int, feed_port: int) -> Config:
    """The template with the user's choices in it, written to a file and read from there like any other."""
    import json

    from headend import document
    from headend.config import load_config
    from headend.paths import write_whole

    value: dict[str, Any] = {k: v for k, v in document.load(template()).value.items() if not k.startswith("x-")}
    value["http"] = {"host": host, "port": port}
    value["data"] = str(data)
    for channel in value["channels"]:
        channel["schedule"]["folder"] = str(folder)
        for source in channel.get("sources", []):
            source["url"] = source["url"].replace(":5000", f":{feed_port}")
    data.mkdir(parents=True, exist_ok=True)
    path = data / "demo.yaml"
    # JSON is YAML.
    write_whole(path, json.dumps(value, ensure_ascii=False, indent=2).encode())
    return load_config(path)


async def _feed(file: Path, port: int) -> None:
    """Keep the sender of the live stream running until cancelled; it is started again when it ends."""
    arguments = ["-c", _TIED, "--url", f"udp://127.0.0.1:{port}", "--file", str(file)]
    while True:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            await process.wait()
        finally:
            if process.returncode is None:
                process.terminate()
                try:
                    await asyncio.wait_for(process.wait(), 3)
                except TimeoutError:
                    process.kill()
                    await process.wait()
        await asyncio.sleep(2)
