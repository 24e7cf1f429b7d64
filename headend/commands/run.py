"""``headend run``: put a configuration on air."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headend.commands import CLEAN, in_sentences, screen
from headend.tongue import choose, current, tell

if TYPE_CHECKING:
    from headend.config import Config


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("run", epilog="Example: headend run /etc/headend/headend.yaml")(run)


@in_sentences
def run(config: Annotated[Path, typer.Argument(help="The configuration. 配置文件。", show_default=False)]) -> int:
    """开播；Ctrl-C 正常停止。 Put the head end on air; Ctrl-C stops it cleanly.

    When it was killed, what was on air stays on air; start it again and it takes that over.
    SIGHUP reads the configuration again. HEADEND_TOKEN in the environment is the administrator's token.
    """
    from headend import log
    from headend.config import load_config
    from headend.supervisor import Supervisor

    loaded = load_config(config)
    choose(loaded.language)
    log.set_up("supervisor", level=loaded.log.level, file=loaded.log.file)
    for finding in loaded.findings:
        log.get("supervisor").warning(finding.sentence(current()))
    supervisor = Supervisor(loaded)
    supervisor.on_start = lambda: announce_token(loaded)
    supervisor.on_ready = lambda: announce_address(loaded)
    asyncio.run(supervisor.run())
    return CLEAN


def announce_token(config: Config) -> None:
    """Print the administrator's token if it has just been made: this once, and on a screen, never in a log."""
    from headend.api.token import obtain
    from headend.paths import Paths
    from headend.supervisor import SupervisorError

    paths = Paths.of(config)
    paths.make()
    try:
        token = obtain(paths.data)
    except OSError as problem:
        raise SupervisorError(
            f"the administrator's token cannot be kept in {paths.data / 'token'} ({problem.strerror}), so nobody could "
            "command this head end; make room there and let this user write, or set HEADEND_TOKEN"
        ) from None
    if token.fresh:
        text = tell(
            f"首次启动，已生成管理员令牌（只显示一次，保存在 {paths.data / 'token'}）：{token.secret}",
            f"First start: the administrator's token, shown only once and kept in {paths.data / 'token'}: "
            f"{token.secret}",
        )
        screen().print(text, markup=False)


def announce_address(config: Config) -> None:
    """Print, on standard output, where the status page is."""
    host = config.http.host
    host = "127.0.0.1" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    address = f"http://{host}:{config.http.port}/"
    print(tell(f"已开播。状态页：{address}", f"On air. Status page: {address}"), flush=True)
