"""The packagers of all channels in one worker: trouble with one is told, tried again, and costs the others nothing."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from headend import log, packaging
from headend.accessunit import StreamFormat
from headend.clock import FakeClock
from headend.config import load_config
from headend.packaging import Packaging
from headend.paths import Paths
from headend.ring import RingWriter


class Broken:
    """A packager that fails as it is told."""

    at = "step"

    def __init__(self, *_: Any, **__: Any) -> None:
        self.needed_from = None
        if Broken.at == "making":
            raise KeyError("init")

    def step(self) -> list[Any]:
        raise ZeroDivisionError("no samples")

    def state(self) -> dict[str, Any]:
        return {}


@pytest.fixture
def made(config_file: Path, monkeypatch: pytest.MonkeyPatch) -> Packaging:
    monkeypatch.setattr(packaging, "Packager", Broken)
    monkeypatch.setattr(packaging, "_AGAIN", 0.05)
    config = load_config(config_file)
    paths = Paths.of(config)
    paths.make()
    published: list[Any] = []
    context: Any = SimpleNamespace(
        paths=paths, clock=FakeClock(), log=log.get("test"), bus=SimpleNamespace(publish=published.append)
    )
    return Packaging(context, config.channels[0])


@pytest.fixture
def rings(made: Packaging) -> Callable[[], None]:
    def write() -> None:
        ladder = made._channel.ladder
        rows: list[Any] = [*ladder.video, *ladder.audio]
        for row in rows:
            path = made._context.paths.ring("one", row.id)
            path.parent.mkdir(parents=True, exist_ok=True)
            kind: Any = "video" if row in ladder.video else "audio"
            RingWriter(path, StreamFormat(kind, row.codec, rate=Fraction(25)), capacity=1 << 16, units=16).close()

    return write


def test_it_waits_for_the_rings(made: Packaging) -> None:
    made.step()
    assert made.state() == {"message": "waits for the channel's first picture", "failures": 0}


@pytest.mark.parametrize(
    ("at", "says"), [("step", "made anew: ZeroDivisionError"), ("making", "one cannot be packaged: KeyError: 'init'")]
)
def test_whatever_fails_is_tried_again_after_a_pause(
    at: str, says: str, made: Packaging, rings: Callable[[], None], eventually: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    rings()
    monkeypatch.setattr(Broken, "at", at)

    def failed(times: int) -> bool:
        made.step()
        return bool(made.state()["failures"] >= times)

    eventually(lambda: failed(1))
    assert says in made.state()["message"]
    assert made._readers == []
    assert made._packager is None
    made._next += 3600
    for _ in range(5):
        made.step()  # not again at once, which would flood the log
    assert made.state()["failures"] == 1
    made._next = 0.0
    eventually(lambda: failed(2))
