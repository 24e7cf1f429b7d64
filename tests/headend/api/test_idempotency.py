"""Commands that are sent again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from headend.api.idempotency import Answer, Answers
from headend.api.problem import Problem

TAKE = "/api/v1/channels/news/take"


async def test_a_repeated_command_is_answered_again_and_not_done_again(head: Any) -> None:
    first = await head.call("POST", TAKE, {"source": "studio"}, Idempotency_Key="k1")
    again = await head.call("POST", TAKE, {"source": "studio"}, Idempotency_Key="k1")
    assert (first.status, again.status) == (200, 200)
    assert await first.read() == await again.read()
    assert (first.headers["Idempotency-Replayed"], again.headers["Idempotency-Replayed"]) == ("false", "true")
    assert len(head.bus.commands("take")) == 1


async def test_another_key_or_another_channel_is_another_command(head: Any) -> None:
    await head.call("POST", TAKE, {"source": "studio"}, Idempotency_Key="k1")
    await head.call("POST", TAKE, {"source": "studio"}, Idempotency_Key="k2")
    await head.call("POST", TAKE.replace("news", "live"), {"source": "studio"}, Idempotency_Key="k1")
    await head.call("POST", TAKE, {"source": "studio"})
    assert len(head.bus.commands("take")) == 4


async def test_one_key_for_two_bodies_is_refused(head: Any) -> None:
    await head.call("POST", TAKE, {"source": "studio"}, Idempotency_Key="k1")
    response = await head.call("POST", TAKE, {"source": "camera"}, Idempotency_Key="k1")
    assert (response.status, (await response.json())["type"]) == (422, "urn:headend:problem:idempotency-key")
    assert [body["source"] for body in head.bus.commands("take")] == ["studio"]


async def test_a_refusal_is_replayed_and_a_failure_is_tried_again(head: Any) -> None:
    head.bus.refusals["take"] = {"status": 409, "title": "Not now", "detail": "the studio sends nothing at the moment"}
    for _ in range(2):
        assert (await head.call("POST", TAKE, {"source": "studio"}, Idempotency_Key="k1")).status == 409
    assert len(head.bus.commands("take")) == 1
    head.bus.refusals.clear()

    head.bus.silent.add("channel-news")
    assert (await head.call("POST", TAKE, {"source": "studio"}, Idempotency_Key="k2")).status == 504
    head.bus.silent.clear()
    assert (await head.call("POST", TAKE, {"source": "studio"}, Idempotency_Key="k2")).status == 200


async def test_a_repetition_during_the_first_waits_for_it(head: Any) -> None:
    head.bus.held = asyncio.Event()
    calls = [asyncio.create_task(head.call("POST", TAKE, {"source": "studio"}, Idempotency_Key="k1")) for _ in range(3)]
    await asyncio.wait_for(head.bus.arrived.wait(), 5)
    head.bus.held.set()
    assert [response.status for response in await asyncio.gather(*calls)] == [200] * 3
    assert len(head.bus.commands("take")) == 1


async def test_a_command_whose_client_hangs_up_is_still_remembered() -> None:
    answers, gate, done = Answers(), asyncio.Event(), []

    async def act() -> Answer:
        await gate.wait()
        done.append(1)
        return Answer(200, {}, b"first")

    first = asyncio.create_task(answers.once("k", "POST /x", b"", act))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    gate.set()
    answer, again = await answers.once("k", "POST /x", b"", act)
    assert (answer.body, again, done) == (b"first", True, [1])


async def test_the_store_is_bounded_and_forgets_the_oldest() -> None:
    answers, acts = Answers(capacity=5), []

    async def act() -> Answer:
        acts.append(1)
        return Answer(200, {}, b"")

    for n in range(20):
        await answers.once(f"k{n}", "POST /x", b"", act)
    assert (len(answers._kept), answers.forgotten) == (5, 15)
    await answers.once("k19", "POST /x", b"", act)
    await answers.once("k0", "POST /x", b"", act)
    assert len(acts) == 21


async def test_too_many_at_once_are_refused_and_leave_nothing_behind() -> None:
    answers, gate = Answers(capacity=2), asyncio.Event()

    async def act() -> Answer:
        await gate.wait()
        return Answer(200, {}, b"")

    running = [asyncio.create_task(answers.once(f"k{n}", "POST /x", b"", act)) for n in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Problem) as refused:
        await answers.once("k2", "POST /x", b"", act)
    assert refused.value.status == 503
    gate.set()
    await asyncio.gather(*running)
    await answers.once("k2", "POST /x", b"", act)


@pytest.mark.parametrize("key", ["", "x" * 256])
async def test_a_key_that_is_none_is_refused(head: Any, key: str) -> None:
    response = await head.call("POST", TAKE, {"source": "studio"}, Idempotency_Key=key)
    assert response.status == 400
    assert not head.bus.commands("take")
