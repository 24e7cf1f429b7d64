"""The origin worker: serves the window to viewers on the configured address, and passes every other path on to the
API.
"""

from __future__ import annotations

import asyncio
import errno
from typing import Final

import uvloop

from headend.bus import Json, Refusal
from headend.worker import MISTAKE, STOPPED, Context
from packagers.hls.origin import Origin

_BEAT: Final = 0.5
"""Seconds between two signs of life of the event loop."""
_TRIES: Final = 20
"""Times a quarter of a second that a port may still be held by a predecessor that is just dying."""
_GRACE: Final = 2.0
"""Seconds that answers on their way have to end when the worker stops."""


def run(context: Context) -> int:
    """Serve until told to stop; returns the exit status."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(context))


async def _serve(context: Context) -> int:
    http = context.config.http
    origin = Origin(context.paths.hls, api_socket=context.paths.api, clock=context.clock)
    for tried in range(1, _TRIES + 1):
        try:
            await origin.start(http.host, http.port)
            break
        except OSError as problem:
            where = f"{http.host} port {http.port}"
            if problem.errno == errno.EADDRINUSE and tried < _TRIES and not context.stopping.is_set():
                await asyncio.sleep(0.25)
                continue
            context.log.error(
                f"the origin cannot listen on {where} ({problem.strerror}), so viewers get nothing; "
                "free that port or set another http.port"
            )
            return MISTAKE

    def answer(request: Json) -> Json:
        if request.get("do") != "state":
            raise Refusal(400, "Unknown request", f"the origin cannot do {request.get('do')!r}")
        return origin.state()

    context.bus.serve(answer)
    context.log.info("viewers are served", address=f"http://{http.host}:{http.port}/hls/")
    try:
        while not context.stopping.is_set():
            context.beat("serving")
            await asyncio.sleep(_BEAT)
    finally:
        await origin.stop(_GRACE)
    return STOPPED
