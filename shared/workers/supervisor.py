"""The supervisor: starts the workers of a service, replaces those that end, and ends with them.

A worker that has served is replaced after a pause, which grows while it ends soon after its start. A worker that ends
before it has ever served would do so again: the supervisor ends, as the service itself would, with the same exit code.
So it does after _MOST_FAILED_STARTS starts in a row that failed. A worker whose event loop does not turn for
_SILENT_ASKS * _ASK_SECONDS is killed and replaced, since a probe reaches another worker each time.

The supervisor holds the service's addresses from its start to its end, without listening there. So no other process
can take part in the port, also while workers are replaced.

Health and reflection are the workers'. While one of them serves, the pod is ready: a worker that has ended has no part
of the port, and its connections go to the others.
"""

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NoReturn

import uvloop

from shared import lifecycle, logs
from shared.config import ConfigError, ServerConfig, host_port, load
from shared.lifecycle import Lifecycle
from shared.metrics import prometheus
from shared.metrics.merge import Merger
from shared.metrics.model import Family, Kind, Snapshot
from shared.metrics.transfer import decode
from shared.resilience.retry import Backoff, Sleep
from shared.resilience.singleflight import SingleFlight
from shared.resource import resource
from shared.workers.link import LONGEST_LINE, VARIABLE

log = logging.getLogger(__name__)

_MOST_FAILED_STARTS = 5
_PAUSE = Backoff(base=0.2, cap=30.0)
# A worker that has served so long is replaced without a pause.
_STABLE_SECONDS = 60.0
# Workers are asked so often whether they are alive, and have to answer one of so many asks in a row.
_ASK_SECONDS = 5.0
_SILENT_ASKS = 12
# Loading code takes many seconds on a busy machine.
_SILENT_ASKS_AT_START = 36
# Above the time that the registry gives to one store.
_METRICS_SECONDS = 6.0
# Above the limit of a worker's own drain (shared/lifecycle.py), below the pod's termination grace period.
_DRAIN_SECONDS = 65.0
# How a worker ends that was told to: by itself, or by a signal that came before it could handle it. A terminal sends
# SIGINT to all processes, to which the start of a worker is KeyboardInterrupt.
_ENDED_WELL = (0, -signal.SIGTERM, -signal.SIGINT, 130)
_WORKERS = Family("brain2.workers", Kind.GAUGE, "{process}", (), "Workers of this pod that serve.")
_REPLACED = Family("brain2.workers.replaced", Kind.COUNTER, "{process}", (), "Workers that ended and were replaced.")
Main = Callable[[Lifecycle], Awaitable[None]]


def run(config: type[ServerConfig], service: str, main: Callable[[], Main]) -> NoReturn:
    """Run a service's process: as itself, or as the supervisor of several workers (BRAIN2_WORKERS).

    config: the class of the service's configuration.
    service: its name in logs and metrics.
    main: imports and returns what lifecycle.run() runs; a supervisor doesn't call it.

    Exit codes are those of lifecycle.run(): 0 after a signal; 1 when a worker's drain failed or workers can't be kept
    running; 2 when the configuration is wrong.
    """
    if VARIABLE in os.environ:
        lifecycle.run(main())
    try:
        loaded = load(config)
        if loaded.workers == 1:
            lifecycle.run(main())
        check(loaded)
    except ConfigError as error:
        lifecycle.exit_misconfigured(error)
    logs.setup(loaded.log_level, service)
    try:
        code = uvloop.run(_supervise(loaded, service))
    except OSError as error:
        log.error("the service ends: %s", error)
        sys.exit(1)
    sys.exit(code)


def check(config: ServerConfig) -> None:
    """ConfigError: workers can't share these addresses."""
    problems = []
    if not hasattr(socket, "SO_REUSEPORT") or sys.platform != "linux":
        problems.append("BRAIN2_WORKERS: several workers need Linux, which shares a port among processes")
    for name, address in (("BRAIN2_LISTEN", config.listen), ("BRAIN2_HEALTH_LISTEN", config.health_listen)):
        if address and (host_port(address) is not None or address.endswith(":0")):
            problems.append(f"{name}: several workers need an address host:port with a port above 0")
    if problems:
        raise ConfigError(problems)


class Worker:
    """A worker's process and the connection to it.

    serving: set when the worker has reported that its start is complete.
    unanswered: asks in a row that got no answer.
    """

    def __init__(self, process: subprocess.Popen[bytes], end: socket.socket) -> None:
        self._process = process
        self._socket = end
        self._writer: asyncio.StreamWriter | None = None
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._asked = 0
        self.pid = process.pid
        self.serving = asyncio.Event()
        self.began = time.monotonic()
        self.unanswered = 0

    async def ended(self) -> int:
        """Read what the worker reports until it ends; its exit code, negative after a signal."""
        reader, self._writer = await asyncio.open_connection(sock=self._socket, limit=LONGEST_LINE)
        with contextlib.suppress(ConnectionError):
            # A line without an end is what the worker was writing when it was killed.
            while (line := await reader.readline()).endswith(b"\n"):
                self._heard(json.loads(line))
        self._writer.close()
        for waiting in self._waiting.values():
            waiting.cancel()
        # A process closes its descriptors before it ends, so this is short; not so for one that was stopped by SIGSTOP.
        return await asyncio.to_thread(self._process.wait)

    def ask_alive(self) -> None:
        """Ask whether the event loop turns; whatever the worker sends afterwards is the answer."""
        self.unanswered += 1
        self._ask("alive")

    async def metrics(self, timeout: float) -> Snapshot | None:
        """The metrics of the worker; None when it can't read them, doesn't answer within timeout seconds, or ends."""
        number = self._ask("metrics")
        if number is None:
            return None
        waiting = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            await asyncio.wait({waiting}, timeout=timeout)
        finally:
            del self._waiting[number]
        answer = waiting.result() if waiting.done() and not waiting.cancelled() else {}
        return decode(answer["metrics"]) if "metrics" in answer else None

    def _ask(self, what: str) -> int | None:
        """The number of the question; None when the worker is not connected."""
        if self._writer is None or self._writer.is_closing():
            return None
        self._asked += 1
        self._writer.write(json.dumps({"ask": what, "id": self._asked}).encode() + b"\n")
        return self._asked

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, if it still runs."""
        self._process.send_signal(number)

    def _heard(self, message: dict[str, Any]) -> None:
        self.unanswered = 0
        if "serving" in message:
            self.serving.set()
        waiting = self._waiting.get(message.get("id", 0))
        if waiting is not None and not waiting.done():
            waiting.set_result(message)


class Supervisor:
    """Keeps `count` workers running.

    command: what each worker executes, with the environment of this process.
    pause: the wait before a worker that ended soon after its start is replaced.
    ask_seconds: how often each worker is asked whether it is alive.
    drain_seconds: how long the workers may take to end after SIGTERM.
    sleep: waits until the workers are asked again.
    """

    def __init__(
        self,
        command: Sequence[str],
        count: int,
        *,
        pause: Backoff = _PAUSE,
        ask_seconds: float = _ASK_SECONDS,
        drain_seconds: float = _DRAIN_SECONDS,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._command = command
        self._count = count
        self._pause = pause
        self._ask_seconds = ask_seconds
        self._drain_seconds = drain_seconds
        self._sleep = sleep
        self._running: dict[int, Worker] = {}
        self._stop = asyncio.Event()
        self._served = False
        self._code = 0
        self._merger = Merger()
        self._readings: SingleFlight[None] = SingleFlight()
        self._replaced = 0

    @property
    def workers(self) -> list[Worker]:
        """The workers that run now."""
        return list(self._running.values())

    def stop(self) -> None:
        """End all workers by SIGTERM; they drain together."""
        self._stop.set()

    def kill(self) -> None:
        """End all workers at once."""
        self._stop.set()
        for worker in self.workers:
            worker.signal(signal.SIGKILL)

    @property
    def stopping(self) -> bool:
        return self._stop.is_set()

    async def run(self) -> int:
        """Run until stop() is called or the workers can't be kept running; the exit code of this process."""
        keeping = [asyncio.create_task(self._keep(number), name=f"worker {number}") for number in range(self._count)]
        watching = asyncio.create_task(self._watch(), name="asks")
        stopped = asyncio.create_task(self._stop.wait())
        try:
            # The others end before that only by an error, such as no memory for another process.
            await asyncio.wait((stopped, watching, *keeping), return_when=asyncio.FIRST_COMPLETED)
            self.stop()
            for worker in self.workers:
                worker.signal(signal.SIGTERM)
                worker.signal(signal.SIGCONT)  # one that was stopped by SIGSTOP drains, too
            _, late = await asyncio.wait(keeping, timeout=self._drain_seconds)
            if late:
                log.error("workers did not end in time and are killed", extra={"workers": len(late)})
                self._code = self._code or 1
                self.kill()
            for result in await asyncio.gather(*keeping, return_exceptions=True):
                if isinstance(result, BaseException):
                    raise result
            if watching.done():
                watching.result()
        finally:
            watching.cancel()
            stopped.cancel()
            self.kill()
        return self._code

    async def snapshot(self) -> Snapshot:
        """The metrics of all workers as those of one process, and those of the supervisor."""
        # Scrapes at the same time share one reading: an answer to the earlier one may be the later to come.
        await self._readings.do("metrics", self._read_all)
        serving = sum(worker.serving.is_set() for worker in self.workers)
        own: Snapshot = [(_WORKERS, {(): serving}), (_REPLACED, {(): self._replaced})]
        return [*self._merger.snapshot(), *own]

    async def _read_all(self) -> None:
        await asyncio.gather(*(self._read(worker) for worker in self.workers))

    async def _read(self, worker: Worker) -> None:
        found = await worker.metrics(_METRICS_SECONDS)
        # Of a worker that has ended since, the last snapshot counts already.
        if found is not None and worker in self.workers:
            self._merger.update(worker, found)

    async def _keep(self, number: int) -> None:
        """Run one worker, and the next one when it ends."""
        soon, failed = 0, 0
        while not self._stop.is_set():
            worker = self._start()
            self._running[number] = worker
            code = await worker.ended()
            del self._running[number]
            self._merger.ended(worker)
            served = worker.serving.is_set()
            self._served |= served
            how = {"worker": number, "pid": worker.pid, "exit_code": code}
            if self._stop.is_set():
                if code not in _ENDED_WELL:
                    log.error("a worker did not end well", extra=how)
                    self._code = self._code or 1
                return
            failed = 0 if served else failed + 1
            if failed >= _MOST_FAILED_STARTS or not self._has_served():
                log.error("a worker can't be started; the service ends", extra=how)
                self._code = code if code > 0 else 1
                self.stop()
                return
            soon = 0 if time.monotonic() - worker.began >= _STABLE_SECONDS else soon + 1
            wait = self._pause.delay(soon - 1) if soon else 0.0
            log.error("a worker has ended and is replaced", extra={**how, "seconds": round(wait, 3)})
            self._replaced += 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._stop.wait()

    def _has_served(self) -> bool:
        """Whether any worker has ever served: if so, they can be started."""
        return self._served or any(worker.serving.is_set() for worker in self.workers)

    def _start(self) -> Worker:
        ours, theirs = socket.socketpair()
        with theirs:
            environment = {**os.environ, VARIABLE: str(theirs.fileno())}
            process = subprocess.Popen(self._command, env=environment, pass_fds=[theirs.fileno()])
        ours.setblocking(False)
        return Worker(process, ours)

    async def _watch(self) -> None:
        """Kill workers whose event loop does not turn; they are replaced then."""
        while True:
            await self._sleep(self._ask_seconds)
            for worker in self.workers:
                most = _SILENT_ASKS if worker.serving.is_set() else _SILENT_ASKS_AT_START
                if worker.unanswered < most:
                    worker.ask_alive()
                else:
                    log.error("a worker has not answered for too long and is killed", extra={"pid": worker.pid})
                    worker.signal(signal.SIGKILL)
                    worker.unanswered = 0


async def _supervise(config: ServerConfig, service: str) -> int:
    supervisor = Supervisor([sys.executable, *sys.orig_argv[1:]], config.workers)
    loop = asyncio.get_running_loop()

    def stop(name: str) -> None:
        if supervisor.stopping:
            log.warning("a second signal: all workers end at once", extra={"signal": name})
            supervisor.kill()
            os._exit(130)
        log.info("stopping", extra={"signal": name, "workers": len(supervisor.workers)})
        supervisor.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number.name)

    described = resource(service)

    async def scrape(open_metrics: bool) -> str:
        return prometheus.render(await supervisor.snapshot(), described, open_metrics=open_metrics)

    async with contextlib.AsyncExitStack() as stack:
        if not config.reuse_port:
            await _hold(config, supervisor, stack)
        if config.metrics_listen:
            endpoint = prometheus.Endpoint(config.metrics_listen, scrape)
            port = await endpoint.start()
            stack.push_async_callback(endpoint.stop)
            log.info("metrics of all workers are served", extra={"path": "/metrics", "port": port})
        return await supervisor.run()


async def _hold(config: ServerConfig, supervisor: Supervisor, stack: contextlib.AsyncExitStack) -> None:
    """Hold the addresses of the workers until the stack is closed. OSError when another process has one of them.

    It waits for BRAIN2_DRAIN_SECONDS: the workers of a supervisor that was killed may still drain.
    """
    began = time.monotonic()
    waits = False
    for name, address in (("BRAIN2_LISTEN", config.listen), ("BRAIN2_HEALTH_LISTEN", config.health_listen)):
        while address and not supervisor.stopping:
            try:
                stack.enter_context(held(address))
                break
            except OSError as error:
                if time.monotonic() - began >= config.drain_seconds:
                    raise OSError(f"cannot listen on {address} ({name}): {error.strerror}") from error
                if not waits:
                    log.warning("waiting for an address", extra={"address": address, "why": error.strerror})
                waits = True
                await asyncio.sleep(0.2)


def held(address: str) -> socket.socket:
    """A socket that holds host:port for processes that share it: others can't listen there as long as it is open.

    OSError when a process has the address, also one that would share it.
    """
    host, _, port = address.rpartition(":")
    family, kind, _, _, found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)[0]
    holding = socket.socket(family, kind)
    try:
        # A port whose last connections are still in TIME_WAIT is free.
        holding.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holding.bind(found)
        # From here on other servers can't listen there, and the workers can. With SO_REUSEPORT bind() itself would have
        # shared the address with whoever has it.
        holding.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        holding.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    except OSError:
        holding.close()
        raise
    return holding
