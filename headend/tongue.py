"""In which language an operator is spoken to: Chinese or English, as the configuration or else LANG says."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Literal

Tongue = Literal["zho", "eng"]

_chosen: Tongue | None = None


def of_environment(environment: Mapping[str, str] = os.environ) -> Tongue:
    """From LC_ALL, LC_MESSAGES and LANG, in the order in which they overrule each other."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if value := environment.get(name):
            return "zho" if value.lower().startswith("zh") else "eng"
    return "eng"


def choose(tongue: Tongue | None) -> None:
    """Speak this from now on; None: as the environment says."""
    global _chosen
    _chosen = tongue


def current() -> Tongue:
    """What is spoken now."""
    return _chosen or of_environment()


def tell(zho: str, eng: str) -> str:
    """The one of two sentences that the operator reads."""
    return zho if current() == "zho" else eng
