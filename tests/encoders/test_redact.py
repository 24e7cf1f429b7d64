"""No secret survives, wherever it stands in an address or a text; everything else does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders.redact import HIDDEN, redact

SECRET = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.~%!$", min_size=8, max_size=24).filter(
    lambda s: "***" not in s
)


@given(SECRET, st.sampled_from(["rtsp", "http", "https", "rtmp", "srt", "ftp"]))
def test_user_and_password(secret: str, scheme: str) -> None:
    text = redact(f"cannot open '{scheme}://admin:{secret}@camera.example:554/live': timed out")
    assert secret not in text
    assert "admin" not in text
    assert "camera.example:554" in text
    assert "timed out" in text


@given(
    SECRET,
    st.sampled_from(
        ["passphrase", "streamid", "token", "key", "access_token", "sign", "password", "secret", "wsSecret", "hdnts"]
    ),
    st.booleans(),
)
def test_query_parameters(secret: str, name: str, first: bool) -> None:
    url = f"srt://host:9000?{name}={secret}&mode=caller" if first else f"srt://host:9000?mode=caller&{name}={secret}"
    text = redact(url)
    assert secret not in text
    assert f"{name}={HIDDEN}" in text
    assert "mode=caller" in text


@given(SECRET)
def test_stream_keys_and_options(secret: str) -> None:
    assert secret not in redact(f"rtmp://host/live/{secret}")
    assert secret not in redact(f"ffmpeg -passphrase {secret} -i srt://host:1")
    assert secret not in redact(f"ffmpeg -i 'srt://host:1?mode=caller&passphrase={secret}' -f data")


@given(st.text(max_size=200))
def test_idempotent_on_anything(text: str) -> None:
    once = redact(text)
    assert redact(once) == once


@pytest.mark.parametrize(
    "harmless",
    [
        "udp://@239.1.1.1:5000?interface=eth0",
        "/media/key=1/news.mp4",
        "https://host/live/index.m3u8?start=5",
        "srt://host:9000?mode=listener&latency=200000",
    ],
)
def test_what_is_no_secret_stays(harmless: str) -> None:
    assert redact(harmless) == harmless
