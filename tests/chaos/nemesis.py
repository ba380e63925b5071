"""The nemesis: a seeded sequence of faults against a running stack. What it breaks it also mends."""

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import Awaitable, Callable, Sequence

import redis.asyncio as redis

from deploy.local.console import LaunchError
from deploy.local.stack import SERVICES, Stack
from tests.chaos.history import History
from tests.chaos.proxy import Fault, HttpProxy, TcpProxy
from tests.support.valkey import Valkey

# Seconds in which a process ends after a signal: the limit of its drain, and some. A little later it would end itself.
_ENDS_WITHIN = 65.0


class Nemesis:
    """redis: the proxies in front of its servers; redis_urls: the servers themselves.
    masters: those of a cluster, which are killed, too.
    pause: mean seconds between two faults; several may be under way at once.
    """

    def __init__(
        self,
        stack: Stack,
        http: dict[str, HttpProxy],
        redis: Sequence[TcpProxy],
        redis_urls: Sequence[str],
        history: History,
        rng: random.Random,
        *,
        masters: Sequence[Valkey] = (),
        pause: float,
        kinds: dict[str, int] | None = None,
    ) -> None:
        self._stack = stack
        self._http = http
        self._redis = redis
        self._redis_urls = redis_urls
        self._masters = masters
        self._history = history
        self._rng = rng
        self._pause = pause
        self._busy: set[str] = set()
        self._running: set[asyncio.Task[None]] = set()
        kinds = kinds or {"kill": 14, "term": 8, "stop": 8, "flush": 4, "http": 50, "redis": 16}
        if masters:
            kinds = {**kinds, "master": 8}
        makers: dict[str, Callable[[], Awaitable[None]]] = {
            "kill": self._kill, "term": self._term, "stop": self._stop, "flush": self._flush, "http": self._http_fault,
            "redis": self._redis_fault, "slow": self._slow, "bus": self._bus, "master": self._master,
        }  # fmt: skip
        self._choices = [(makers[kind], weight) for kind, weight in kinds.items()]

    async def run(self, stop: asyncio.Event) -> None:
        """Faults until told to stop; then everything is mended before it returns."""
        while not stop.is_set():
            makers, weights = zip(*self._choices, strict=True)
            task = asyncio.ensure_future(self._rng.choices(makers, weights)[0]())
            self._running.add(task)
            task.add_done_callback(self._running.discard)
            try:
                await asyncio.wait_for(stop.wait(), self._pause * (0.5 + self._rng.random()))
            except TimeoutError:
                pass
        await asyncio.gather(*self._running)
        self.heal()

    def heal(self) -> None:
        for proxy in (*self._http.values(), *self._redis):
            proxy.heal()

    async def rolling_restart(self) -> None:
        """Each service in turn, as a deployment does."""
        for name in SERVICES:
            await self._restart(name, signal.SIGTERM)

    async def _kill(self) -> None:
        await self._take_down(signal.SIGKILL, "kill -9")

    async def _term(self) -> None:
        await self._take_down(signal.SIGTERM, "SIGTERM")

    async def _take_down(self, number: signal.Signals, what: str) -> None:
        name = self._free_service()
        if name is None:
            return
        self._busy.add(name)
        try:
            self._history.fault(what, name)
            await self._restart(name, number)
        finally:
            self._busy.discard(name)

    async def _restart(self, name: str, number: signal.Signals) -> None:
        child = self._stack.children[name]
        os.kill(child.pid, number)
        await asyncio.wait({child.ended}, timeout=_ENDS_WITHIN)
        if not child.ended.done():
            self._history.violation("HUNG", f"{name} did not end within {_ENDS_WITHIN:.0f} s of {number.name}")
            os.kill(child.pid, signal.SIGABRT)  # it writes where its threads are, and ends
            await asyncio.wait({child.ended})
        await asyncio.sleep(self._rng.random() * 0.5)
        while True:
            try:
                await self._stack.restart(name)
                return
            except LaunchError as error:
                # It needs its stores to start, and they may be in trouble just now.
                self._history.note(f"{name} did not start: {error}")
                await asyncio.sleep(0.5)

    async def _stop(self) -> None:
        name = self._free_service()
        if name is None:
            return
        self._busy.add(name)
        try:
            pid = self._stack.children[name].pid
            self._history.fault("SIGSTOP", name)
            os.kill(pid, signal.SIGSTOP)
            await asyncio.sleep(0.2 + self._rng.random() * 2.5)
            os.kill(pid, signal.SIGCONT)
        finally:
            self._busy.discard(name)

    async def _flush(self) -> None:
        self._history.fault("FLUSHALL", "redis")
        for url in self._redis_urls:
            async with redis.Redis.from_url(url) as client:
                with contextlib.suppress(redis.ConnectionError):  # a master that is down has lost its keys anyway
                    await client.flushall()

    async def _http_fault(self) -> None:
        proxy = self._rng.choices(list(self._http.values()), [6, 3, 3, 1])[0]
        kinds = [kind for kind in HttpProxy.KINDS if kind not in ("partial", "conflict") or proxy.name == "dynamodb"]
        if proxy.name == "events":
            kinds.append("partial")
        kind = self._rng.choice(kinds)
        rate = self._rng.choice((0.05, 0.2, 1.0)) if kind != "hang" else self._rng.choice((0.05, 0.3))
        seconds = 0.3 + self._rng.random() * (1.5 if rate == 1.0 else 3.0)
        await self._for_a_while(proxy, Fault(kind, rate, 0.2), seconds)

    async def _slow(self) -> None:
        """Answers of the table that come late, each by another while: what a stale read needs to do harm."""
        await self._for_a_while(self._http["dynamodb"], Fault("late", 0.5, 0.4), 2.0)

    async def _bus(self) -> None:
        """The bus takes nothing for longer than a publisher tries: what is left is left to the outbox."""
        await self._for_a_while(self._http["events"], Fault("cut"), 3.0)

    async def _redis_fault(self) -> None:
        kind = self._rng.choice(TcpProxy.TCP_KINDS)
        await self._for_a_while(self._rng.choice(self._redis), Fault(kind, 1.0, 0.1), 0.3 + self._rng.random() * 2.0)

    async def _master(self) -> None:
        """A master of the cluster is killed and comes back without its keys; meanwhile nobody serves its slots."""
        place = self._rng.randrange(len(self._masters))
        name = f"master {place}"
        if name in self._busy:
            return
        self._busy.add(name)
        try:
            self._history.fault("master killed", name)
            await self._masters[place].kill()
            await asyncio.sleep(self._rng.random() * 3.0)
            await self._masters[place].start(again=True)
        finally:
            self._busy.discard(name)

    async def _for_a_while(self, proxy: HttpProxy | TcpProxy, fault: Fault, seconds: float) -> None:
        if proxy.name in self._busy:
            return
        self._busy.add(proxy.name)
        try:
            self._history.fault(fault.kind, proxy.name)
            proxy.inject(fault)
            await asyncio.sleep(seconds)
            proxy.heal()
        finally:
            self._busy.discard(proxy.name)

    def _free_service(self) -> str | None:
        # At most one process is down at a time: two of them are an outage of everything for everybody.
        if self._busy & set(SERVICES):
            return None
        return self._rng.choice(SERVICES)
