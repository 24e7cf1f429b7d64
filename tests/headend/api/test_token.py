"""The token: who may change things, and how often one may guess."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest

from headend.api.token import Doorkeeper, Token, obtain


def test_the_environment_wins(tmp_path: Path) -> None:
    assert obtain(tmp_path, {"HEADEND_TOKEN": " chosen \n"}) == Token("chosen")
    assert list(tmp_path.iterdir()) == []


def test_a_token_is_made_once_and_kept_for_its_owner_only(tmp_path: Path) -> None:
    first = obtain(tmp_path / "data", {})
    assert first.fresh
    assert len(first.secret) >= 40
    path = tmp_path / "data" / "token"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in path.parent.iterdir()] == ["token"]
    path.chmod(0o644)
    again = obtain(tmp_path / "data", {})
    assert (again.secret, again.fresh) == (first.secret, False)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_empty_token_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("\n")
    with pytest.raises(ValueError, match="delete it"):
        obtain(tmp_path, {})


def test_a_token_does_not_show_itself() -> None:
    assert "secret-value" not in repr(Token("secret-value"))


def test_tokens_of_any_characters_are_compared() -> None:
    assert Token("口令").matches("口令")
    assert not Token("口令").matches("口令 ")
    assert not Token("a").matches("\udcff")


async def test_changing_needs_the_token_and_reading_does_not_on_loopback(start: Any) -> None:
    head = await start()
    assert (await head.call("GET", "/api/v1/channels", token=None)).status == 200
    assert (await head.call("GET", "/metrics", token=None)).status == 200
    for method, path in (("POST", "skip"), ("POST", "take"), ("PUT", "schedule"), ("PUT", "crawl")):
        response = await head.call(method, f"/api/v1/channels/news/{path}", {}, token=None)
        assert response.status == 401
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert not [body for _, body in head.bus.asked if body["do"] != "state"]


async def test_beyond_loopback_reading_needs_the_token_too(start: Any) -> None:
    head = await start(loopback=False)
    for path in ("/api/v1/channels", "/api/v1/state", "/api/v1/events", "/metrics"):
        assert (await head.call("GET", path, token=None)).status == 401
    assert (await head.call("GET", "/api/v1/channels")).status == 200
    for path in ("/healthz", "/readyz", "/api/openapi.json"):
        assert (await head.call("GET", path, token=None)).status == 200


async def test_whoever_guesses_is_refused_for_a_while(start: Any) -> None:
    head = await start()
    url = "/api/v1/channels/news/skip"
    answers = [(await head.call("POST", url, token=f"guess {n}")).status for n in range(12)]
    assert answers == [401] * 10 + [429] * 2
    refused = await head.call("POST", url)
    assert refused.status == 429, "the right token as well, or guessing would still tell"
    assert int(refused.headers["Retry-After"]) >= 1
    assert (await head.call("GET", "/api/v1/channels", token=None)).status == 200
    assert not head.bus.commands("skip")


def test_other_addresses_are_not_touched_and_time_heals() -> None:
    now = [0.0]
    door = Doorkeeper(burst=3, refill=10, now=lambda: now[0])
    for _ in range(3):
        assert door.wait("192.0.2.1") == 0
        door.failed("192.0.2.1")
    assert door.wait("192.0.2.1") == 10
    assert door.wait("::ffff:192.0.2.1") == 10, "the same host, written in IPv6"
    assert door.wait("192.0.2.2") == 0
    now[0] = 10.1
    assert door.wait("192.0.2.1") == 0
    assert (door.failures, door.refusals) == (3, 2)


def test_a_whole_ipv6_network_is_one_address_and_the_table_is_bounded() -> None:
    door = Doorkeeper(burst=2, remembered=10)
    for n in range(2):
        door.failed(f"2001:db8::{n}")
    assert door.wait("2001:db8::ffff") > 0
    for n in range(100):
        door.failed(f"198.51.100.{n}")
    assert len(door._spent) == 10
