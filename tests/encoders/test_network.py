"""Datagrams on their way in: RTP put in order, addresses understood, groups joined."""

from __future__ import annotations

import random
import socket
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders.network import DatagramFeed, PullFeed, RtpOrder
from headend.clock import SystemClock


def rtp(number: int, payload: bytes, *, sources: int = 0, extension: bytes = b"", padding: int = 0) -> bytes:
    flags = 0x80 | (0x20 if padding else 0) | (0x10 if extension else 0) | sources
    head = bytes([flags, 33]) + (number & 0xFFFF).to_bytes(2, "big") + bytes(8) + bytes(4 * sources)
    if extension:
        head += b"\0\1" + (len(extension) // 4).to_bytes(2, "big") + extension
    return head + payload + (bytes(padding - 1) + bytes([padding]) if padding else b"")


@given(st.integers(0, 65_535), st.randoms(use_true_random=False))
def test_reordered_datagrams_come_out_in_order(start: int, rng: random.Random) -> None:
    numbers = list(range(200))
    late = [n + (0 if n == 0 else rng.uniform(0, 20)) for n in numbers]
    order = RtpOrder()
    out = [
        payload for n in sorted(numbers, key=lambda n: late[n]) for payload in order.push(rtp(start + n, bytes([n])))
    ]
    assert out == [bytes([n]) for n in numbers]
    assert order.lost == order.late == order.malformed == 0


def test_loss_is_counted_and_not_waited_for_long() -> None:
    order = RtpOrder()
    out = [payload for n in range(300) if n not in (50, 51) for payload in order.push(rtp(n, n.to_bytes(2, "big")))]
    assert len(out) == 298
    assert order.lost == 2
    assert order.push(rtp(50, b"x")) == []
    assert order.late == 1


def test_restart_of_the_sequence_loses_nothing() -> None:
    order = RtpOrder()
    out = [p for n in [*range(10), *range(30_000, 30_010)] for p in order.push(rtp(n, n.to_bytes(2, "big")))]
    assert len(out) == 20


def test_header_extension_sources_and_padding_are_stripped() -> None:
    assert RtpOrder().push(rtp(1, b"payload", sources=2, extension=b"12345678", padding=4)) == [b"payload"]


@given(st.lists(st.binary(max_size=40), max_size=50))
def test_any_bytes_are_survived(datagrams: list[bytes]) -> None:
    order = RtpOrder()
    for datagram in datagrams:
        order.push(datagram)


@pytest.mark.parametrize(
    "url", ["udp://239.1.1.1", "udp://239.1.1.1:port", "rtp://239.1.1.1:99999", "udp://no.such.host.invalid:5000"]
)
def test_malformed_addresses_are_refused_in_a_sentence(url: str) -> None:
    with pytest.raises(ValueError, match="address"):
        DatagramFeed(url, SystemClock())


@pytest.mark.parametrize("scheme", ["udp", "rtp"])
def test_multicast_is_received_on_the_interface_named(scheme: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    feed = DatagramFeed(f"{scheme}://239.255.77.77:{port}?interface=127.0.0.1", SystemClock())
    try:
        with pytest.raises(TimeoutError):
            feed.open()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
            packet = b"G\x1f\xff\x10" + bytes(184)
            for n in range(10):
                sender.sendto(rtp(n, packet) if scheme == "rtp" else packet, ("239.255.77.77", port))
        deadline = time.monotonic() + 5
        while feed.state()["packets"] < 10 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert feed.state()["packets"] == 10
        assert feed.state()["bytes"] == 1880
    finally:
        feed.close()


def test_pull_feeds_know_their_kind_and_hide_secrets() -> None:
    assert PullFeed("https://host/live/index.m3u8?token=abc").kind == "hls"
    assert "abc" not in PullFeed("https://host/live/index.m3u8?token=abc").url
    assert PullFeed("rtsp://host/1").paced
    assert not PullFeed("http://host/file.ts").paced
