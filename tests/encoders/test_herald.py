"""Telling without harm."""

from __future__ import annotations

from typing import Any

from encoders.herald import REASONS, Herald


def test_a_listener_that_raises_is_counted() -> None:
    def listener(topic: str, payload: dict[str, Any]) -> None:
        raise RuntimeError(topic)

    herald = Herald(listener)
    herald.tell("onair", {})
    herald.alarm("it rains")
    assert herald.event_errors == 2
    assert herald.messages == ["it rains"]


def test_the_same_alarm_is_told_once() -> None:
    told: list[str] = []
    herald = Herald(lambda topic, payload: told.append(payload["message"]))
    for _ in range(100):
        herald.alarm("it rains")
    herald.alarm("it pours")
    assert told == herald.messages == ["it rains", "it pours"]
    for number in range(100):
        herald.alarm(str(number))
    assert len(herald.messages) == 20


def test_an_unexpected_exception_becomes_a_sentence_without_secrets() -> None:
    herald = Herald()

    def fall() -> None:
        raise OSError("rtsp://admin:secret@camera fell over")

    herald.guard(fall)
    assert herald.errors == 1
    assert herald.messages[0].startswith("OSError in fall, line ")
    assert "secret" not in herald.messages[0]


def test_a_reason_explains_the_next_change_for_a_while() -> None:
    herald = Herald()
    herald.remark("a was skipped", 100)
    assert herald.reason(99, 75) == ""
    assert herald.reason(101, 75) == "a was skipped"
    assert herald.reason(102, 75) == "", "it is told once"
    herald.remark("b was skipped", 200)
    assert herald.reason(300, 75) == "", "too long ago"
    for slot in range(2 * REASONS):
        herald.remark("x", slot)
    assert len(herald._reasons) == REASONS
