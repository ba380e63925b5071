"""Clients of AWS that fail, or end the process, at the moment a test chooses."""

import asyncio
import inspect
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Literal

from botocore.exceptions import ClientError, EndpointConnectionError

Answer = Callable[[dict[str, Any]], Any]


def throttled() -> ClientError:
    return ClientError({"Error": {"Code": "ThrottlingException", "Message": "slow down"}}, "Op")


def unreachable() -> EndpointConnectionError:
    return EndpointConnectionError(endpoint_url="http://127.0.0.1:1")


class Faulty:
    """A client whose calls of one method can be answered, failed or changed; all others go through.

    faults[method] is called with the request and may raise, return an answer (or an awaitable of one), or return None
    to let the call through.
    """

    def __init__(self, client: Any, **faults: Answer) -> None:
        self._client = client
        self.faults: dict[str, Answer] = dict(faults)
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        async def call(**request: Any) -> Any:
            self.calls[name] += 1
            fault = self.faults.get(name)
            if fault is not None:
                answer = fault(request)
                if inspect.isawaitable(answer):
                    answer = await answer
                if answer is not None:
                    return answer
            return await getattr(self._client, name)(**request)

        return call


class Death:
    """A process that dies at its n-th call of a store, "before" it is sent or "after" it has taken effect, or at die().

    After it, nothing that the process would do happens any more: every call waits for ever.
    """

    def __init__(self, at: int = 0, when: Literal["before", "after"] = "before") -> None:
        self._at = at
        self._when = when
        self._calls = 0
        self.dead = asyncio.Event()

    def client(self, client: Any) -> Any:
        """The same client as the doomed process sees it."""
        return _Mortal(client, self)

    async def call(self, method: Callable[..., Awaitable[Any]], request: dict[str, Any]) -> Any:
        self._calls += 1
        mine = self._calls == self._at
        if self.dead.is_set() or (mine and self._when == "before"):
            await self.die()
        answer = await method(**request)
        if self.dead.is_set() or mine:
            await self.die()
        return answer

    async def die(self) -> None:
        """Now; never returns."""
        self.dead.set()
        await asyncio.get_running_loop().create_future()

    async def run(self, process: Coroutine[Any, Any, object]) -> bool:
        """Run the process until it ends (False) or dies (True); then nothing of it is left."""
        running, dying = asyncio.ensure_future(process), asyncio.ensure_future(self.dead.wait())
        await asyncio.wait((running, dying), return_when=asyncio.FIRST_COMPLETED)
        died = self.dead.is_set()
        if not died:
            await running
        # Once is not enough: cleaning up, it calls a store and waits for ever again.
        while not running.done():
            running.cancel()
            await asyncio.sleep(0)
        dying.cancel()
        return died


class _Mortal:
    def __init__(self, client: Any, death: Death) -> None:
        self._client = client
        self._death = death

    def __getattr__(self, name: str) -> Any:
        async def call(**request: Any) -> Any:
            return await self._death.call(getattr(self._client, name), request)

        return call
