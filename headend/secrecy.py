"""What must never be read in a log, a message or the API, and how it is blotted out: the engine's redaction, for
whole values.
"""

from __future__ import annotations

import re
from typing import Any, Final

from encoders.redact import HIDDEN
from encoders.redact import redact as _redact

_BEARER: Final = re.compile(r"(?P<front>\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE)
_SECRET_NAME: Final = re.compile(
    r"(?:^|[-_.])(?:pass(?:word|phrase|wd)?|pwd|secret|token|authorization|credentials?|api[-_]?key|stream[-_]?key|psk)$",
    re.IGNORECASE,
)


def redact(text: str) -> str:
    """The text without credentials of URLs and command lines, stream keys and bearer tokens.

    >>> redact("srt://203.0.113.5:9000?mode=caller&passphrase=very-secret")
    'srt://203.0.113.5:9000?mode=caller&passphrase=***'
    >>> redact("Authorization: Bearer abcdef012345")
    'Authorization: Bearer ***'
    """
    return _BEARER.sub(rf"\g<front>{HIDDEN}", _redact(text))


def redacted(value: Any) -> Any:
    """A JSON-able value with every text redacted, and every value whose key names a secret blotted out."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {
            key: HIDDEN if part and isinstance(part, str) and _SECRET_NAME.search(str(key)) else redacted(part)
            for key, part in value.items()
        }
    if isinstance(value, list | tuple):
        return [redacted(part) for part in value]
    return value
