"""The administrator's token: where it comes from, how it is compared, and how often a wrong one may be tried.

``HEADEND_TOKEN`` in the environment wins. Otherwise a token is made at first start and kept in ``data/token``,
readable by the head end's user alone; whoever starts the head end is told it once. It is sent as ``Authorization:
Bearer`` (RFC 6750).
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SHORTEST: Final = 16
"""Characters below which a token beyond loopback is called weak."""


@dataclass(frozen=True, slots=True)
class Token:
    """The secret, and whether it was made just now (then, and only then, it is shown to the user)."""

    secret: str
    fresh: bool = False

    def matches(self, offered: str) -> bool:
        """Compare in a time that tells nothing about the secret, not even its length."""
        return hmac.compare_digest(_digest(offered), _digest(self.secret))

    def __repr__(self) -> str:
        return "Token(secret=***)"


def obtain(data: Path, environment: Mapping[str, str] = os.environ) -> Token:
    """The token of this head end; made and stored with mode 0600 when there is none yet.

    Raises ValueError if the stored token is empty, OSError if it cannot be read or written.
    """
    if given := environment.get("HEADEND_TOKEN", "").strip():
        return Token(given)
    path = data / "token"
    try:
        secret = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return _make(path)
    if not secret:
        raise ValueError(
            f"{path} is empty, so no request could change anything; delete it and a new token is made at the next start"
        )
    if path.stat().st_mode & 0o077:
        path.chmod(0o600)
    return Token(secret)


def _make(path: Path) -> Token:
    path.parent.mkdir(parents=True, exist_ok=True)
    secret = secrets.token_urlsafe(32)
    draft = path.with_name(f".token-{os.getpid()}-{secrets.token_hex(4)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secret + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)  # unlike a rename, never replaces the token that another process has just made
    except FileExistsError:
        return Token(path.read_text(encoding="ascii").strip())
    finally:
        draft.unlink(missing_ok=True)
    return Token(secret, fresh=True)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


class Doorkeeper:
    """Counts wrong tokens per address and refuses an address that tries too many, right token or not.

    Each address may be wrong ``burst`` times, and once more every ``refill`` seconds. Other addresses never notice.
    """

    def __init__(
        self, burst: int = 10, refill: float = 6.0, remembered: int = 4096, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._burst = burst
        self._refill = refill
        self._remembered = remembered
        self._now = now
        self._spent: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self.failures = 0
        """Wrong tokens since the start."""
        self.refusals = 0
        """Requests refused because their address had been wrong too often."""

    def wait(self, address: str) -> float:
        """Seconds until this address may try again; 0 when it may try now."""
        spent = self._level(_key(address))
        over = spent - (self._burst - 1)
        if over <= 0:
            return 0.0
        self.refusals += 1
        return over * self._refill

    def failed(self, address: str) -> None:
        """Note a wrong token."""
        key = _key(address)
        self._spent[key] = (self._level(key) + 1, self._now())
        self._spent.move_to_end(key)
        while len(self._spent) > self._remembered:
            self._spent.popitem(last=False)
        self.failures += 1

    def _level(self, key: str) -> float:
        level, at = self._spent.get(key, (0.0, 0.0))
        return max(0.0, level - (self._now() - at) / self._refill)


def _key(address: str) -> str:
    """An IPv6 host owns its /64, so the whole of it counts as one address."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
