"""What systemd is told: that the head end is ready, that it lives, that it stops (sd_notify(3), without its
library).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping


class Notifier:
    """Speaks to NOTIFY_SOCKET; without one, every call does nothing. Never raises and never blocks."""

    def __init__(self, address: str | None, watchdog: float | None) -> None:
        self._address = "\0" + address[1:] if address and address.startswith("@") else address
        self.watchdog = watchdog
        """Seconds within which :meth:`alive` is expected; None: no watchdog."""
        self.failed = 0

    @classmethod
    def of(cls, environment: Mapping[str, str] = os.environ) -> Notifier:
        """From NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID."""
        watchdog: float | None = None
        try:
            if environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid()):
                watchdog = int(environment["WATCHDOG_USEC"]) / 1e6
        except (KeyError, ValueError):
            watchdog = None
        return cls(environment.get("NOTIFY_SOCKET") or None, watchdog)

    def _send(self, text: str) -> None:
        if self._address is None:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as out:
                out.sendto(text.encode(), self._address)
        except OSError:
            self.failed += 1

    def ready(self) -> None:
        """Everything is started."""
        self._send("READY=1")

    def status(self, text: str) -> None:
        """One line for ``systemctl status``."""
        self._send(f"STATUS={text.splitlines()[0] if text else ''}")

    def alive(self) -> None:
        """Feed the watchdog."""
        if self.watchdog is not None:
            self._send("WATCHDOG=1")

    def reloading(self, monotonic_us: int) -> None:
        """A new configuration is being read; :meth:`ready` follows."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={monotonic_us}")

    def stopping(self) -> None:
        """A clean stop has begun."""
        self._send("STOPPING=1")
