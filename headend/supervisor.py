"""The supervisor: starts the workers, watches them, starts them again; itself it touches no media.

- A worker that dies is started again at once; one that dies young again and again is given longer and longer pauses,
  up to half a minute.
- A worker whose heartbeat is too old is stuck: it is killed and started again.
- One spare interpreter waits, imports done, to become whichever worker dies.
- When the supervisor itself is killed, the workers stay on air. Its successor reads their records in ``run/workers``,
  adopts those that read the same configuration, and replaces the others.
- SIGHUP reads the configuration again: workers whose part of it changed are replaced, new channels are started, old
  ones ended. A configuration that is refused changes nothing.
- SIGTERM or SIGINT: every worker is told to stop, killed after five seconds, and the run directory is removed.

Its state is in ``run/supervisor.json`` each second, and ``worker.NAME`` on the bus tells every change.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from headend import heartbeat, log
from headend.bus import Bus, Json, Refusal
from headend.clock import TICKS_PER_SECOND, to_iso
from headend.config import Config, ConfigError, load_config
from headend.houseclock import HouseClock
from headend.paths import Paths, write_whole
from headend.process import GRACE, Process, end_all, how
from headend.roster import Status, Worker, wanted
from headend.spare import Spare
from headend.systemd import Notifier
from headend.worker import MISTAKE, TWICE, Record, worker_name

TICK: Final = 0.1
"""Seconds between two looks at the workers; the end of one is noticed at once."""
STARTING: Final = 30.0
"""Seconds that a worker may take until its first heartbeat."""


class SupervisorError(RuntimeError):
    """The head end cannot be started; the message is a sentence for the operator."""


class Supervisor:
    """Keeps the workers of one configuration running. ``spare``: whether a spare interpreter is kept."""

    def __init__(
        self,
        config: Config,
        *,
        spare: bool = True,
        notifier: Notifier | None = None,
        program: Sequence[str] = (sys.executable, "-m", "headend.worker"),
    ) -> None:
        """``program``: the command line of a worker, before its kind."""
        self.config = config
        self._program = list(program)
        self.paths = Paths.of(config)
        self.notifier = notifier or Notifier.of()
        self.workers: dict[str, Worker] = {}
        self.on_start: Callable[[], None] | None = None
        """Called once, when it is certain that the head end can be started."""
        self.on_ready: Callable[[], None] | None = None
        """Called once, when every worker has given its first sign of life, or failed to."""
        self._log = log.get("supervisor")
        self._spare = Spare([*self._program, "--wait"], self._log, keep=spare)
        self._stop = asyncio.Event()
        self._lock = -1
        self._bus: Bus | None = None
        self._clock: HouseClock | None = None
        self._looked = 0.0
        self._patience = 0.0
        """``time.monotonic()`` until which no heartbeat is judged: the machine itself was asleep."""
        self._reloading = False
        self._ready = False

    # -- life ------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT, or :meth:`stop`.

        Raises SupervisorError if the head end cannot be started, PathsError if its directories cannot be used.
        """
        self._claim()
        try:
            if self.on_start is not None:
                self.on_start()
            self._freeze()
            self._clock = HouseClock(self.paths.clock)
            self._bus = Bus(self.paths.run, "supervisor")
            self._bus.serve(self._answer)
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self.stop)
            loop.add_signal_handler(signal.SIGHUP, self.reload)
            await self._adopt()
            self._looked = time.monotonic()
            await self._watch()
            await self._finish()
        finally:
            # Whatever else ended it, a refusal or a mistake in this program: what is on air stays on air for a
            # successor.
            self._let_go()

    def check(self) -> None:
        """Whether the head end could be started now; starts nothing. Raises as :meth:`run`."""
        self._claim()
        if not any(record.alive for record in self._records()):
            self.paths.clear()
        os.close(self._lock)
        self._lock = -1

    def _claim(self) -> None:
        """Be the one supervisor of the run directory, with a port to listen on."""
        self.paths.make()
        self._take_lock()
        try:
            self._check_port()
        except SupervisorError:
            if not any(record.alive for record in self._records()):
                self.paths.clear()
            os.close(self._lock)
            self._lock = -1
            raise

    def _records(self) -> list[Record]:
        found = (Record.read(path) for path in self.paths.workers.glob("[!.]*.json"))
        return [record for record in found if record is not None]

    def stop(self) -> None:
        """Begin a clean stop."""
        self._stop.set()

    def reload(self) -> None:
        """Read the configuration again, soon."""
        self._reloading = True

    def _freeze(self) -> None:
        """Write the configuration that workers read. Raises SupervisorError if it cannot be."""
        frozen = self.config.frozen()
        with contextlib.suppress(OSError):
            # A successor finds it there already, and must be able to adopt even when the memory is full.
            if self.paths.config.read_bytes() == frozen:
                return
        try:
            write_whole(self.paths.config, frozen, mode=0o600)
        except OSError as problem:
            raise SupervisorError(
                f"{self.paths.config} cannot be written ({problem.strerror}), so no worker could read the "
                "configuration; make room in the run directory"
            ) from None

    def _take_lock(self) -> None:
        path = self.paths.run / "supervisor.lock"
        while True:
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                owner = os.pread(lock, 32, 0).decode(errors="replace").strip()
                os.close(lock)
                raise SupervisorError(
                    f"this head end is already running (process {owner or 'unknown'}, in {self.paths.run}), so a "
                    "second one would destroy its signal; stop that one first, or use another configuration file"
                ) from None
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.stat(path), os.fstat(lock)):
                    break
            # A predecessor that stopped cleanly has just removed it.
            os.close(lock)
            self.paths.make()
        self._lock = lock
        with contextlib.suppress(OSError):
            # Whoever is refused is told the number; a full tmpfs must not keep it from being adopted for that.
            os.ftruncate(lock, 0)
            os.pwrite(lock, str(os.getpid()).encode(), 0)

    def _check_port(self) -> None:
        """Refuse at once what would otherwise be a worker that dies again and again."""
        record = Record.read(self.paths.worker("origin"))
        if record is not None and record.alive:
            return
        http = self.config.http
        try:
            with socket.create_server((http.host, http.port), family=_family(http.host)):
                return
        except OSError as problem:
            where = f"{http.host} port {http.port}"
            if problem.errno == errno.EADDRINUSE:
                why, mend = "another program is listening there", "stop that program or set another http.port"
            elif problem.errno == errno.EACCES:
                why, mend = "this user may not use ports below 1024", "set an http.port of 1024 or more"
            else:
                why, mend = problem.strerror or str(problem), "set http.host to an address of this machine"
            raise SupervisorError(f"the head end cannot listen on {where}: {why}; {mend}") from None

    async def _adopt(self) -> None:
        """Take over what a killed predecessor left on air, end what is not wanted any more, plan the rest."""
        now = time.monotonic()
        strangers: list[Process] = []
        found: dict[str, Process] = {}
        rows = {worker_name(kind, id): (kind, id, limit) for kind, id, limit in wanted(self.config)}
        for path in self.paths.workers.glob("[!.]*.json"):
            record = Record.read(path)
            process = Process.adopt(record) if record else None
            if record is None or process is None:
                path.unlink(missing_ok=True)
            elif record.name in rows and record.digest == self.config.digest(record.kind, record.id):
                found[record.name] = process
            else:
                strangers.append(process)
        for process in strangers:
            self._log.warning("ending a worker whose configuration has changed", pid=process.pid)
        await end_all(strangers)
        for name, (kind, id, limit) in rows.items():
            worker = self.workers[name] = Worker(kind, id, limit, due=now)
            if name in found:
                self._log.info(f"adopted {name}, which was on air all the time", pid=found[name].pid)
                record = Record.read(self.paths.worker(name))
                worker.started = record.started if record else None
                self._took(worker, found[name])

    async def _watch(self) -> None:
        written = 0.0
        while not self._stop.is_set():
            now = time.monotonic()
            if now - self._looked > 2.0:
                self._log.warning(
                    f"the machine stood still for {now - self._looked:.1f} s; heartbeats are judged again soon"
                )
                self._patience = now + 10.0
            self._looked = now
            for worker in list(self.workers.values()):
                self._look_after(worker, now)
            self._check_ready()
            self._spare.look_after(now)
            if self._reloading:
                self._reloading = False
                await self._reload()
            if now - written >= 1.0:
                written = now
                self._report()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), TICK)

    def _look_after(self, worker: Worker, now: float) -> None:
        if worker.process is None:
            if worker.wanted and now >= worker.due:
                self._start(worker)
            return
        if worker.status == "stopping":
            if worker.kill_at is not None and now >= worker.kill_at:
                worker.kill_at = None
                worker.process.kill()
            return
        beat = heartbeat.read(self.paths.heartbeat(worker.name))
        if beat is None or not beat.count:
            limit, age = STARTING, now - worker.since
        else:
            limit, age = worker.limit, beat.age
            if worker.status == "starting":
                worker.message = ""
                self._change(worker, "running", "")
        if age > limit and now > self._patience:
            worker.hung += 1
            what = f" (the last was: {beat.what})" if beat and beat.what else ""
            self._log.error(f"{worker.name} has not got on for {age:.1f} s{what}, so it is killed and started again")
            worker.message = f"hung for {age:.1f} s"
            self._change(worker, "stopping", worker.message)
            worker.process.kill()

    # -- workers ---------------------------------------------------------------------------------

    def _start(self, worker: Worker) -> None:
        self.paths.heartbeat(worker.name).unlink(missing_ok=True)
        process = self._spare.become(worker.kind, worker.id, self.paths.config)
        try:
            process = process or Process.spawn(self._command(worker))
        except OSError as problem:
            worker.due = time.monotonic() + worker.pause(0.0)
            worker.message = f"cannot be started: {problem.strerror}"
            self._log.error(f"{worker.name} cannot be started ({problem.strerror}); it is tried again")
            return
        worker.started = to_iso(self._now())
        self._took(worker, process)

    def _command(self, worker: Worker) -> list[str]:
        id = [worker.id] if worker.id else []
        return [*self._program, worker.kind, *id, "--config", str(self.paths.config)]

    def _took(self, worker: Worker, process: Process) -> None:
        worker.process = process
        worker.since = time.monotonic()
        worker.kill_at = None
        worker.ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(process.fd, self._ended, worker)
        self._change(worker, "starting", worker.message)

    def _ended(self, worker: Worker) -> None:
        process = worker.process
        assert process is not None
        asyncio.get_running_loop().remove_reader(process.fd)
        process.reap()
        worker.process = None
        worker.ended.set()
        lived = time.monotonic() - worker.since
        if not worker.wanted:
            self.workers.pop(worker.name, None)
            self._change(worker, "pausing", "ended")
            return
        if process.status == TWICE:
            # A worker that a killed predecessor had started, but that had not yet left its record when we looked.
            record = Record.read(self.paths.worker(worker.name))
            other = Process.adopt(record) if record else None
            if other is not None:
                self._log.info(f"adopted {worker.name}, which had just been started", pid=other.pid)
                self._took(worker, other)
                return
        replaced = worker.status == "stopping" and not worker.message.startswith("hung")
        pause = 0.0 if replaced else worker.pause(lived)
        worker.due = time.monotonic() + pause
        worker.restarts += 1
        ending = how(process.status)
        if not replaced:
            when = f"in {pause:g} s" if pause else "at once"
            self._log.error(f"{worker.name} {ending} after {lived:.1f} s; it is started again {when}")
            worker.message = worker.message if worker.message.startswith("hung") else ending
        if process.status == MISTAKE:
            worker.message = f"{ending}: see the log for what to mend"
        self._change(worker, "pausing", worker.message)
        if not pause and not self._stop.is_set():
            self._start(worker)
            worker.message = ""

    def _replace(self, worker: Worker) -> None:
        """Stop a worker so that it is started again at once."""
        if worker.process is None or worker.status == "stopping":
            return
        worker.message = "replaced"
        worker.kill_at = time.monotonic() + GRACE
        self._change(worker, "stopping", worker.message)
        worker.process.signal(signal.SIGTERM)

    def _change(self, worker: Worker, status: Status, message: str) -> None:
        worker.status = status
        if self._bus is not None:
            self._bus.publish(f"worker.{worker.name}", {**self._row(worker), "message": message})

    def _check_ready(self) -> None:
        # A channel that is beyond help must not keep the others from being announced.
        if not self._ready and all(worker.status == "running" or worker.restarts for worker in self.workers.values()):
            self._ready = True
            self.notifier.ready()
            down = [worker.name for worker in self.workers.values() if worker.status != "running"]
            self._log.info(f"started, but these fail: {', '.join(down)}" if down else "every worker is running")
            if self.on_ready is not None:
                self.on_ready()

    # -- configuration ---------------------------------------------------------------------------

    async def _reload(self) -> None:
        """Read the configuration again and bring the workers in line with it; a refused one changes nothing."""
        self.notifier.reloading(time.monotonic_ns() // 1000)
        try:
            config = await asyncio.to_thread(load_config, self.config.path)
        except ConfigError as refused:
            for problem in refused.problems:
                self._log.error(f"the configuration is refused and the one on air stays: {problem}")
            self.notifier.ready()
            return
        if Paths.of(config) != self.paths:
            self._log.error(
                "'data' and 'run' cannot be changed while on air; the configuration on air stays. Stop and start "
                "instead"
            )
            self.notifier.ready()
            return
        old, self.config = self.config, config
        try:
            self._freeze()
        except SupervisorError as refused:
            self.config = old
            self._log.error(f"the configuration on air stays: {refused}")
            self.notifier.ready()
            return
        rows = {worker_name(kind, id): (kind, id, limit) for kind, id, limit in wanted(config)}
        for name, worker in list(self.workers.items()):
            if name not in rows:
                self._log.info(f"{name} is not in the configuration any more, so it is ended")
                worker.wanted = False
                if worker.process is None:
                    del self.workers[name]
                else:
                    self._replace(worker)
        for name, (kind, id, limit) in rows.items():
            known = self.workers.get(name)
            if known is None or not known.wanted:
                if known is not None:
                    known.wanted = True
                    continue
                self.workers[name] = Worker(kind, id, limit, due=time.monotonic())
                continue
            known.limit = limit
            if config.digest(kind, id) != old.digest(kind, id):
                self._log.info(f"the configuration of {name} has changed, so it is started again")
                self._replace(known)
        self._log.info("the configuration was read again", path=str(config.path))
        self.notifier.ready()

    # -- reports ---------------------------------------------------------------------------------

    def _now(self) -> int:
        assert self._clock is not None
        return self._clock.now()

    def _row(self, worker: Worker) -> Json:
        beat = heartbeat.read(self.paths.heartbeat(worker.name)) if worker.process else None
        last = to_iso(self._now() - round(beat.age * TICKS_PER_SECOND)) if beat and beat.count else None
        return {
            "name": worker.name,
            "kind": worker.kind,
            "id": worker.id,
            "pid": worker.process.pid if worker.process else None,
            "state": worker.status,
            "adopted": bool(worker.process and worker.process.adopted),
            "started": worker.started,
            "restarts": worker.restarts,
            "hung": worker.hung,
            "last_beat": last,
            "doing": beat.what if beat else "",
            "message": worker.message,
        }

    def state(self) -> Json:
        """The supervisor, its spare and its workers."""
        return {
            "pid": os.getpid(),
            "time": to_iso(self._now()),
            "config": str(self.config.path),
            "ready": self._ready,
            "spare": self._spare.pid,
            "workers": {name: self._row(worker) for name, worker in list(self.workers.items())},
        }

    def _report(self) -> None:
        state = self.state()
        with contextlib.suppress(OSError):
            # A full tmpfs must not hurt the watching.
            write_whole(self.paths.supervisor, json.dumps(state, ensure_ascii=False).encode())
        running = sum(worker.status == "running" for worker in self.workers.values())
        age = self.last_frame_age()
        if age is None or self.notifier.watchdog is None or age < self.notifier.watchdog:
            self.notifier.alive()
        told = "no picture yet" if age is None else f"last picture {age:.1f} s ago"
        self.notifier.status(f"{running} of {len(self.workers)} workers running, {told}")

    def last_frame_age(self) -> float | None:
        """Seconds since any channel sent a picture; None while none has had the time to.

        The youngest counts: when one channel of many is beyond help, starting everything anew would hurt the others.
        """
        ages: list[float] = []
        for worker in self.workers.values():
            if worker.kind == "channel":
                beat = heartbeat.read(self.paths.heartbeat(worker.name))
                if beat is not None and beat.count:
                    ages.append(beat.age)
        if ages:
            return min(ages)
        oldest = max((time.monotonic() - worker.since for worker in self.workers.values() if worker.since), default=0.0)
        return oldest if oldest > 2 * STARTING else None

    def _answer(self, request: Json) -> Any:
        match request.get("do"):
            case "state":
                return self.state()
            case "restart":
                worker = self.workers.get(str(request.get("worker")))
                if worker is None:
                    raise Refusal(404, "No such worker", f"there is no worker {request.get('worker')!r}")
                self._log.info(f"{worker.name} is started again because an operator asked for it")
                if worker.process is not None:
                    # The bus answers in its own thread; a signal needs no loop.
                    worker.process.signal(signal.SIGTERM)
                return {"worker": worker.name}
        raise Refusal(400, "Unknown request", f"the supervisor cannot do {request.get('do')!r}")

    # -- end -------------------------------------------------------------------------------------

    async def _finish(self) -> None:
        """Stop every worker, reap it, and remove the run directory."""
        self.notifier.stopping()
        loop = asyncio.get_running_loop()
        processes = [worker.process for worker in self.workers.values() if worker.process is not None]
        for process in processes:
            loop.remove_reader(process.fd)
        if (spare := self._spare.take()) is not None:
            processes.append(spare)
        await end_all(processes)
        self.workers.clear()
        if self._bus is not None:
            await asyncio.to_thread(self._bus.close)
        self.paths.clear()
        self._log.info("stopped; every worker has ended")

    def _let_go(self) -> None:
        """Give up the lock and every handle; touches no process."""
        loop = asyncio.get_running_loop()
        for worker in self.workers.values():
            if worker.process is not None:
                loop.remove_reader(worker.process.fd)
                worker.process.release()
        if (spare := self._spare.take()) is not None:
            spare.release()
        if self._bus is not None:
            self._bus.close()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.remove_signal_handler(number)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
