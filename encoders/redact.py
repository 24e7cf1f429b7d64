"""Keeping secrets out of messages: one function through which every address, command line and error text passes.

A source's address may carry a password (``rtsp://admin:secret@camera``), an SRT passphrase or stream id, a CDN
token or a stream key at the end of an RTMP path. Logs and status pages are read by more people than
may know these, and FFmpeg quotes addresses in its own error texts, so whole texts are searched, not addresses alone.
"""

from __future__ import annotations

import re
from typing import Final

HIDDEN: Final = "***"

_SECRET = (
    r"pass(?:wd|word|phrase)?|pwd|secret|streamid|srt_streamid|stream_?key|access_?key|api_?key|key|"
    r"(?:\w*_)?token|sign(?:ature)?|sig|auth\w*|credential|session(?:_?id)?|tx[Ss]ecret|ws[Ss]ecret|"
    r"x-amz-[\w-]+|policy|hdnts|hdnea|hmac|psk|user(?:name)?|login"
)
# Everything between "//" and the last "@" before the path: a password may itself hold an "@" or a "/" typed by hand.
_USERINFO = re.compile(r"(?P<scheme>[A-Za-z][\w+.-]*://)(?P<info>[^\s'\"?#]+)@(?=[\w\[.%-])")
_QUERY = re.compile(
    rf"(?P<name>(?:(?<=[?&;,|\s'\"])|^)(?:{_SECRET}))=(?P<value>(?:\"[^\"]*\"|'[^']*'|[^&\s'\"|]*))", re.I
)
_OPTION = re.compile(rf"(?P<name>(?<=\s)-(?:{_SECRET})\s+)(?P<value>\"[^\"]*\"|'[^']*'|\S+)", re.I)
_RTMP = re.compile(r"(?P<head>rtmp(?:e|s|t|te|ts)?://[^\s/'\"]+/[^\s/?'\"]+/)(?P<key>[^\s?'\"]+)", re.I)


def redact(text: str) -> str:
    """``text`` (an address, a command line, an error message) with every credential in it replaced by ``***``.

    Hidden are ``user:password@``, values of query parameters and command-line options that name a secret
    (passphrase, streamid, token, key, signature, ...), and the stream key of an RTMP path. Idempotent.

    >>> redact("srt://host:9000?mode=caller&passphrase=0123456789")
    'srt://host:9000?mode=caller&passphrase=***'
    >>> redact("rtsp://admin:pa@ss@10.0.0.1/live")
    'rtsp://***@10.0.0.1/live'
    """
    text = _USERINFO.sub(rf"\g<scheme>{HIDDEN}@", text)
    text = _RTMP.sub(rf"\g<head>{HIDDEN}", text)
    text = _QUERY.sub(rf"\g<name>={HIDDEN}", text)
    return _OPTION.sub(rf"\g<name>{HIDDEN}", text)
