"""A BatchCreateEdges whose caller goes away leaves nothing behind that would refuse the same request."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from services.graph_service.model.edge import NewEdge
from services.graph_service.usecases.batch_create_edges import BatchCreateEdges
from shared.idempotent import IdempotentRequest
from tests.support.clock import ManualClock, run_ready


async def test_a_cancelled_call_gives_the_lease_of_its_request_back() -> None:
    held: set[str] = set()

    async def begin(request: IdempotentRequest) -> None:
        held.add(request.request_id)

    async def release(request: IdempotentRequest) -> None:
        held.discard(request.request_id)

    async def hidden(user_id: str) -> Any:
        await asyncio.Event().wait()  # a store that does not answer

    store: Any = SimpleNamespace(begin_request=begin, release_request=release)
    edges: Any = SimpleNamespace(lookup=SimpleNamespace(hidden=hidden))
    unused: Any = None
    request: Any = SimpleNamespace(request_id="r1")
    creates = BatchCreateEdges(store, unused, edges, ManualClock())
    call = asyncio.create_task(creates.batch_create_edges("u", [NewEdge("a", "b", weight=0.5)], request))
    await run_ready()
    assert held == {"r1"}
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert held == set()
