"""Requests a second of the origin against nginx: the same bytes, the same core, alternating runs, medians.

The servers are pinned to one core and take turns there, the load generator (wrk, one thread, 64 kept-alive connections)
is pinned to another. nginx serves with sendfile from the same tmpfs, its open-file cache on and its access log off.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SECONDS = 3
ROUNDS = 5
GATES = {"playlist": 0.5, "segment": 0.45}
FILES = {"playlist": "/hls/bench/v/index.m3u8", "segment": "/hls/bench/v/1.m4s"}
ORIGIN = """
import asyncio, sys, uvloop
from pathlib import Path
from packagers.hls.origin import Origin
async def main():
    await Origin(Path(sys.argv[1])).start(port=int(sys.argv[2]))
    await asyncio.Event().wait()
uvloop.run(main())
"""
NGINX = """
worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/error.log warn;
events {{ worker_connections 1024; }}
http {{
    access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000; open_file_cache max=100;
    types {{ application/vnd.apple.mpegurl m3u8; video/iso.segment m4s; }}
    client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
    uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
    server {{ listen 127.0.0.1:{port}; location /hls/ {{ alias {window}/; add_header Cache-Control max-age=1; }} }}
}}
"""


def need(program: str, package: str) -> str:
    """Path of a program; without it a skip, or in CI, where it must be installed, a failure."""
    found = shutil.which(program) or shutil.which(f"/usr/sbin/{program}")
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"needs {program}: install Debian's package {package}")
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def await_answer(url: str) -> bytes:
    """The body of ``url``, waiting up to ten seconds for a server to begin."""
    end = time.monotonic() + 10
    while True:
        try:
            with urllib.request.urlopen(url, timeout=1) as answer:
                return bytes(answer.read())
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, str]]:
    """Addresses of both servers, on one core."""
    nginx, _ = need("nginx", "nginx-light"), need("wrk", "wrk")
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        pytest.skip("needs two cores: one for the server, one for the load")
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as name:
        folder = Path(name)
        folder.chmod(0o755)  # nginx started by root serves as another user
        media = folder / "window" / "bench" / "v"
        media.mkdir(parents=True)
        (media / "1.m4s").write_bytes(os.urandom(200_000))
        rows = "".join(f"#EXTINF:6.000000,\n{900_000_000 + i}.m4s\n" for i in range(10))
        (media / "index.m3u8").write_text("#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:6\n" + rows)
        ports = {"origin": free_port(), "nginx": free_port()}
        config = folder / "nginx.conf"
        config.write_text(NGINX.format(folder=folder, window=folder / "window", port=ports["nginx"]))
        pin = ["taskset", "-c", str(cores[0])]
        log = (folder / "log").open("wb")
        running = [
            subprocess.Popen([*pin, nginx, "-c", str(config), "-e", str(folder / "error.log")], stdout=log, stderr=log),
            subprocess.Popen(
                [*pin, sys.executable, "-c", ORIGIN, str(folder / "window"), str(ports["origin"])],
                stdout=log,
                stderr=log,
            ),
        ]
        try:
            yield {server: f"http://127.0.0.1:{port}" for server, port in ports.items()}
        finally:
            for process in running:
                process.terminate()
            for process in running:
                process.wait(10)
            log.close()


def load(url: str) -> float:
    """Requests a second that wrk gets answered."""
    core = sorted(os.sched_getaffinity(0))[1]
    text = subprocess.run(
        ["taskset", "-c", str(core), "wrk", "-t1", "-c64", f"-d{SECONDS}", url],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    assert "Non-2xx" not in text, text
    assert "Socket errors" not in text, text
    found = re.search(r"Requests/sec:\s*([\d.]+)", text)
    assert found is not None, text
    return float(found[1])


@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", ["playlist", "segment"])
def test_origin_keeps_up_with_nginx(kind: str, servers: dict[str, str], figures: Any) -> None:
    path = FILES[kind]
    bodies = {name: await_answer(base + path) for name, base in servers.items()}
    assert bodies["origin"] == bodies["nginx"]
    rates: dict[str, list[float]] = {"origin": [], "nginx": []}
    for _ in range(ROUNDS):
        for name, base in servers.items():
            rates[name].append(load(base + path))
    ours, theirs = statistics.median(rates["origin"]), statistics.median(rates["nginx"])
    size = len(bodies["origin"])
    figures.add(f"origin: {kind} of {size} bytes, one core", ours, "req/s", peer=f"nginx {theirs:.0f} req/s")
    figures.add(f"origin: {kind} against nginx", ours / theirs, "x", goal=f">= {GATES[kind]}", peer="nginx, same core")
    assert ours >= GATES[kind] * theirs
