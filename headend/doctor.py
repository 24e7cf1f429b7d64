"""`headend doctor`: what this machine can do, found out by doing it.

Every line of the report was tried a moment ago: encoders encoded, a multicast packet was sent and came back,
a file was written and synced. From the measured speeds follows which ladder fits these cores and how many
channels of it. Findings are sentences in Chinese and English; `--json` gives the same as one object.
"""

from __future__ import annotations

import json as jsonlib
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import psutil
from rich.console import Console
from rich.table import Table
from rich.text import Text

from encoders import capability
from headend.houseclock import system_synchronised
from headend.speed import LADDERS, Speed, channels_that_fit, measure, measure_pipeline

Level = Literal["ok", "warn", "bad"]

_MARKS: Final[dict[Level, tuple[str, str]]] = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "bad": ("✗", "red")}
_PROTOCOLS: Final = ("srt", "rist", "rtmp", "rtp", "udp", "https")
_MiB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    """A word for machines: ``encoders``, ``clock``, ``multicast`` ..."""
    level: Level
    """``warn``: something works less well; ``bad``: something a channel needs is missing."""
    chinese: str
    english: str
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Report:
    """What was found."""

    findings: list[Finding] = field(default_factory=list)

    @property
    def healthy(self) -> bool:
        """Whether a channel can go on air here."""
        return all(finding.level != "bad" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """One JSON object."""
        return {"healthy": self.healthy, "findings": [asdict(finding) for finding in self.findings]}


def examine(
    where: Path | None = None,
    *,
    interfaces: Iterable[str] | None = None,
    speeds: bool = True,
    progress: Callable[[str], None] = lambda step: None,
) -> Report:
    """Look at everything. Never raises: a check that fails is a finding.

    ``where``: the folder that will hold data (default: the current one); ``interfaces``: IPv4 addresses on
    which multicast is tried (default: all); ``speeds``: whether to measure encoders, which takes some seconds.
    """
    checks: list[tuple[str, Callable[[], list[Finding]]]] = [
        ("cores", _cores),
        ("encoders", _encoders),
        *([("speed", _speeds)] if speeds else []),
        ("clock", _clock),
        ("fonts", _fonts),
        ("multicast", lambda: _multicast(_addresses() if interfaces is None else list(interfaces))),
        ("disk", lambda: _disk(where or Path.cwd())),
        ("shared memory", _shared_memory),
        ("priority", _priority),
        ("gateway", _gateway),
    ]
    report = Report()
    for name, check in checks:
        progress(name)
        try:
            report.findings += check()
        except Exception as error:  # a doctor who falls over helps nobody
            report.findings.append(
                Finding(name, "warn", f"{name} 检查本身失败：{error}", f"the check of {name} itself failed: {error}")
            )
    return report


def _cores() -> list[Finding]:
    cores = len(os.sched_getaffinity(0))
    memory = psutil.virtual_memory()
    level: Level = "ok" if cores >= 2 and memory.available >= 1024 * _MiB else "warn"
    return [
        Finding(
            "cores",
            level,
            f"{cores} 个处理器核，可用内存 {memory.available // _MiB} MiB",
            f"{cores} processor cores, {memory.available // _MiB} MiB of memory free",
            {"cores": cores, "memory_free": memory.available, "memory": memory.total},
        )
    ]


def _encoders() -> list[Finding]:
    findings = []
    trials = capability.survey()
    for codec in (*capability.VIDEO, *capability.AUDIO):
        rows = [t for t in trials if t.codec == codec]
        working = [t.name for t in rows if t.works]
        # Why the others do not work matters to a reader only where nothing does; the facts have it always.
        failing = "" if working else "; ".join(f"{t.name}: {t.reason}" for t in rows)
        # A channel needs H.264 and AAC; the rest widens the choice.
        level: Level = "ok" if working else "bad" if codec in ("h264", "aac") else "warn"
        chinese = f"{codec}：{'、'.join(working)} 试编成功" if working else f"{codec}：没有可用的编码器"
        english = f"{codec}: works with {', '.join(working)}" if working else f"{codec}: no encoder works"
        findings.append(
            Finding(
                "encoders",
                level,
                chinese,
                english + (f" ({failing})" if failing else ""),
                {"codec": codec, "working": working, "failing": {t.name: t.reason for t in rows if not t.works}},
            )
        )
    return findings


def _speeds() -> list[Finding]:
    speeds = measure()
    pipeline = measure_pipeline()
    findings = [
        Finding(
            "speed",
            "ok",
            f"{s.encoder} {s.preset} {s.width}x{s.height}：每核每秒 {s.fps:.0f} 帧",
            f"{s.encoder} {s.preset} {s.width}x{s.height}: {s.fps:.0f} pictures a second per core",
            asdict(s),
        )
        for s in speeds
    ]
    return [*findings, _fit(speeds, pipeline)]


def _fit(speeds: list[Speed], pipeline: dict[int, float]) -> Finding:
    cores = len(os.sched_getaffinity(0))
    fits = {ladder.name: channels_that_fit(ladder, speeds, pipeline, cores) for ladder in LADDERS}
    best = next((ladder for ladder in LADDERS if fits[ladder.name] >= 1), None)
    if best is None:
        return Finding(
            "ladder",
            "bad",
            "本机连最小的码率阶梯也不能实时编码，请换更快的机器",
            "not even the smallest ladder can be encoded in real time here; use a faster machine",
            {"channels": fits},
        )
    return Finding(
        "ladder",
        "ok",
        f"合适的阶梯：{best.name}，可同时播出 {fits[best.name]} 个频道（留四分之一余量）",
        f"a ladder that fits: {best.name}; channels of it: {fits[best.name]} (a quarter of the cores kept free)",
        {"ladder": best.name, "renditions": [asdict(s) for s in best.steps], "channels": fits},
    )


def _clock() -> list[Finding]:
    keepers = {
        "chrony": Path("/run/chrony"),
        "systemd-timesyncd": Path("/run/systemd/timesync/synchronized"),
        "ntpd": Path("/run/ntpd.pid"),
    }
    found = [name for name, path in keepers.items() if path.exists()]
    synchronised = system_synchronised()
    by = f" ({', '.join(found)})" if found else ""
    if synchronised:
        return [
            Finding(
                "clock",
                "ok",
                f"系统时钟已同步{by}",
                f"the system's clock is synchronised{by}",
                {"synchronised": True, "keepers": found},
            )
        ]
    return [
        Finding(
            "clock",
            "warn",
            "系统时钟未同步，节目时间会与标准时间有偏差；请启用 chrony 或 systemd-timesyncd",
            "the system's clock is not synchronised, so programmes will start off time; "
            "start chrony or systemd-timesyncd",
            {"synchronised": False, "keepers": found},
        )
    ]


def _fonts() -> list[Finding]:
    from encoders.fonts import find_typeface

    try:
        face = find_typeface()
    except RuntimeError as error:
        return [
            Finding(
                "fonts", "warn", "没有中文字体，台标、时钟与滚动字幕不能显示汉字", f"there is no Chinese font: {error}"
            )
        ]
    return [
        Finding(
            "fonts",
            "ok",
            f"中文字体：{face.path.name}",
            f"Chinese font: {face.path.name} ({face.origin})",
            {"path": str(face.path), "origin": face.origin},
        )
    ]


def _addresses() -> list[str]:
    """IPv4 addresses of the interfaces that are up, loopback first."""
    up = {name for name, stats in psutil.net_if_stats().items() if stats.isup}
    found = {
        address.address
        for name, addresses in psutil.net_if_addrs().items()
        if name in up
        for address in addresses
        if address.family == socket.AF_INET
    }
    return sorted(found, key=lambda a: (not a.startswith("127."), a))


def _multicast(addresses: list[str]) -> list[Finding]:
    findings = []
    for address in addresses:
        reason = _multicast_fails(address)
        if reason:
            chinese = f"{address} 上组播不通：{reason}"
            english = f"multicast on {address} does not work ({reason}), so sources and outputs there cannot use it"
            findings.append(Finding("multicast", "warn", chinese, english, {"address": address, "works": False}))
        else:
            facts = {"address": address, "works": True}
            findings.append(
                Finding("multicast", "ok", f"{address} 上组播收发正常", f"multicast on {address} works", facts)
            )
    return findings or [Finding("multicast", "warn", "没有 IPv4 网络接口", "there is no interface with IPv4")]


def _multicast_fails(address: str, group: str = "239.255.77.1") -> str:
    """Send a datagram to a group and receive it, without leaving the machine; empty, or why that failed."""
    interface = socket.inet_aton(address)
    word = os.urandom(16)
    try:
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        ):
            receiver.bind((group, 0))
            receiver.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(group) + interface)
            receiver.settimeout(0.5)
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, interface)
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 0)
            sender.sendto(word, (group, receiver.getsockname()[1]))
            end = time.monotonic() + 1
            while time.monotonic() < end:
                if receiver.recv(64) == word:
                    return ""
            return "what came back was something else"
    except TimeoutError:
        return "nothing came back"
    except OSError as error:
        return error.strerror or str(error)


def _disk(where: Path) -> list[Finding]:
    """Space and the time that a synced write takes: journals are synced once a segment."""
    usage = shutil.disk_usage(where)
    name = where / f".doctor-{os.getpid()}"
    took = []
    try:
        with open(name, "wb", buffering=0) as file:
            for _ in range(20):
                begun = time.perf_counter()
                file.write(b"\0" * 4096)
                os.fsync(file.fileno())
                took.append((time.perf_counter() - begun) * 1000)
    except OSError as error:
        return [
            Finding(
                "disk",
                "bad",
                f"不能在 {where} 写文件：{error.strerror}",
                f"{where} cannot be written ({error.strerror}), so journals and schedules cannot be kept",
                {"path": str(where)},
            )
        ]
    finally:
        name.unlink(missing_ok=True)
    median, worst = statistics.median(took), max(took)
    free = usage.free / 1024**3
    level: Level = "bad" if free < 0.2 else "warn" if free < 5 or worst > 500 else "ok"
    return [
        Finding(
            "disk",
            level,
            f"{where} 剩余 {free:.1f} GiB；同步写 4 KiB 中位 {median:.1f} ms，最慢 {worst:.1f} ms",
            f"{where} has {free:.1f} GiB free; a synced write takes {median:.1f} ms (worst of 20: {worst:.1f} ms)",
            {"path": str(where), "free": usage.free, "fsync_ms": round(median, 3), "fsync_worst_ms": round(worst, 3)},
        )
    ]


def _shared_memory() -> list[Finding]:
    path = Path("/dev/shm")
    if not path.is_dir():
        return [Finding("shared memory", "bad", "没有 /dev/shm", "there is no /dev/shm, where rings and windows live")]
    usage = shutil.disk_usage(path)
    free = usage.free // _MiB
    # A four-rendition channel needs about 100 MiB of rings and window.
    level: Level = "bad" if free < 64 else "warn" if free < 512 else "ok"
    mend = "" if level == "ok" else "; a container needs --shm-size=1g"
    return [
        Finding(
            "shared memory",
            level,
            f"共享内存剩余 {free} MiB" + ("" if level == "ok" else "；容器请加 --shm-size=1g"),
            f"{free} MiB of shared memory are free{mend}",
            {"free": usage.free, "size": usage.total},
        )
    ]


def _priority() -> list[Finding]:
    """Ask for real-time priority, and give it back."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except OSError:
        return [
            Finding(
                "priority",
                "warn",
                "没有实时优先级权限，机器繁忙时输出会有抖动；请设置 LimitRTPRIO 或 CAP_SYS_NICE",
                "real-time priority is refused, so outputs jitter when the machine is busy; "
                "grant LimitRTPRIO or CAP_SYS_NICE",
                {"fifo": False},
            )
        ]
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    return [Finding("priority", "ok", "可以使用实时优先级", "real-time priority is granted", {"fifo": True})]


def _gateway() -> list[Finding]:
    """The ffmpeg binary that carries SRT and RIST."""
    import imageio_ffmpeg

    program = imageio_ffmpeg.get_ffmpeg_exe()
    done = subprocess.run(
        [program, "-hide_banner", "-protocols"], capture_output=True, text=True, timeout=10, check=True
    )
    have = set(done.stdout.split())
    missing = [name for name in _PROTOCOLS if name not in have]
    facts = {"program": program, "protocols": [p for p in _PROTOCOLS if p in have], "missing": missing}
    if missing:
        names = ", ".join(missing)
        return [
            Finding("gateway", "warn", f"网关 ffmpeg 缺少协议：{names}", f"the gateway's ffmpeg has no {names}", facts)
        ]
    names = ", ".join(_PROTOCOLS)
    return [Finding("gateway", "ok", f"网关 ffmpeg 支持 {names}", f"the gateway's ffmpeg speaks {names}", facts)]


def render(report: Report, console: Console) -> None:
    """Print a report as a table, Chinese first."""
    table = Table(show_header=False, box=None, padding=(0, 1))
    table.add_column(width=1)
    table.add_column(overflow="fold")
    for finding in report.findings:
        mark, colour = _MARKS[finding.level]
        sentences = Text.assemble(finding.chinese, "\n", (finding.english, "dim"))
        table.add_row(Text(mark, style=colour), sentences)
    console.print(table)
    if report.healthy:
        console.print(Text("本机可以播出。 This machine can go on air.", style="green"))
    else:
        console.print(Text("请先解决带 ✗ 的问题。 Mend what is marked ✗ first.", style="red"))


def doctor_command(json: bool = False) -> int:
    """The command: results on stdout, progress on stderr; 0 when a channel can go on air here, else 1."""
    stderr = Console(stderr=True)
    with stderr.status("检查中 … looking") as status:
        report = examine(progress=lambda step: status.update(f"检查 {step} … looking at {step}"))
    if json:
        sys.stdout.write(jsonlib.dumps(report.to_json(), ensure_ascii=False, indent=2) + "\n")
    else:
        render(report, Console())
    return 0 if report.healthy else 1
