"""Secrets are blotted out of texts and whole values."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.secrecy import redact, redacted


@pytest.mark.parametrize(
    "text",
    [
        "rtsp://admin:S3cret@10.0.0.1/cam",
        "rtsp://admin:p@S3cret@10.0.0.1/cam",
        "srt://h:9000?mode=caller&passphrase=S3cret",
        "rtmp://h/live/S3cret",
        "curl -H 'Authorization: Bearer S3cret0123'",
        "cannot open https://h/x.m3u8?token=S3cret: 403",
    ],
)
def test_no_secret_is_left(text: str) -> None:
    assert "S3cret" not in redact(text)


@pytest.mark.parametrize("text", ["udp://127.0.0.1:5000", "/media/a@b.mp4", "news 7:00 key picture", "http://h/a.m3u8"])
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


def test_values() -> None:
    value = {
        "token": "S3cret",
        "url": "http://u:S3cret@h",
        "rows": [{"api-key": "S3cret"}],
        "n": 5,
        "key": True,
        "no": None,
    }
    assert redacted(value) == {
        "token": "***",
        "url": "http://***@h",
        "rows": [{"api-key": "***"}],
        "n": 5,
        "key": True,
        "no": None,
    }


@given(st.recursive(st.none() | st.integers() | st.text(), lambda v: st.lists(v) | st.dictionaries(st.text(), v)))
def test_any_value_is_taken_and_once_is_enough(value: Any) -> None:
    assert redacted(redacted(value)) == redacted(value)
