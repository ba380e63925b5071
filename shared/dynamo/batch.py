"""Reads and writes any number of items, in chunks that DynamoDB takes; unprocessed ones are sent again."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from shared.dynamo.calls import Caller
from shared.dynamo.marshal import marshal_item, unmarshal_item
from shared.dynamo.model import Item, Key
from shared.dynamo.request import Request, add_projection, key_of
from shared.errors import ResourceExhausted
from shared.resilience.slices import in_slices

GET_CHUNK = 100
WRITE_CHUNK = 25
# Chunks under way at once: they hide the round trip and leave connections to other calls.
_PARALLEL = 4
# Attempts in a row without progress, after which Unprocessed is raised.
_FRUITLESS = 8


class Unprocessed(ResourceExhausted):
    """DynamoDB returned these keys as unprocessed each time; all others were done. left: the keys, in any order.

    That is how it throttles a part of a batch, so it says nothing of other partitions.
    """

    def __init__(self, operation: str, left: Sequence[Key]) -> None:
        named = ", ".join(f"{pk} / {sk}" for pk, sk in left[:10])
        super().__init__(
            f"{operation} left {len(left)} undone: {named}{' ...' if len(left) > 10 else ''}",
            reason="STORE_UNPROCESSED",
            metadata={"left": str(len(left))},
            retry_after=1.0,
        )
        self.left = list(left)


async def batch_get(
    caller: Caller, table: str, keys: Iterable[Key], *, consistent: bool, attributes: Sequence[str] | None
) -> dict[Key, Item]:
    """The items that exist, by key. With attributes, PK and SK are always among them."""
    found: dict[Key, Item] = {}

    async def get(chunk: Sequence[Key]) -> None:
        left: list[Any] = [key_of(key) for key in chunk]
        fruitless = 0
        while left:
            request = add_projection({"Keys": left, "ConsistentRead": consistent}, attributes, ("PK", "SK"))
            answer = await caller.send("BatchGetItem", {"RequestItems": {table: request}}, again=True)
            for item in await in_slices(unmarshal_item, answer.get("Responses", {}).get(table, ())):
                found[item["PK"], item["SK"]] = item
            before, left = len(left), answer.get("UnprocessedKeys", {}).get(table, {}).get("Keys", [])
            if left:
                fruitless = 0 if len(left) < before else fruitless + 1
                if fruitless >= _FRUITLESS:
                    raise Unprocessed("BatchGetItem", [(key["PK"]["S"], key["SK"]["S"]) for key in left])
                await caller.pause(fruitless)

    await _in_chunks(list(dict.fromkeys(keys)), GET_CHUNK, get)
    return found


async def batch_write(caller: Caller, table: str, puts: Iterable[Item], deletes: Iterable[Key]) -> None:
    """Write all, with one request for each key: the last put wins, and a put wins over a delete."""
    requests: dict[Key, Request] = {key: {"DeleteRequest": {"Key": key_of(key)}} for key in deletes}
    for item in puts:
        requests[item["PK"], item["SK"]] = {"PutRequest": {"Item": marshal_item(item)}}

    async def write(chunk: Sequence[Request]) -> None:
        left: Sequence[Request] = chunk
        fruitless = 0
        while left:
            answer = await caller.send("BatchWriteItem", {"RequestItems": {table: left}}, again=True)
            before, left = len(left), answer.get("UnprocessedItems", {}).get(table, [])
            if left:
                fruitless = 0 if len(left) < before else fruitless + 1
                if fruitless >= _FRUITLESS:
                    raise Unprocessed("BatchWriteItem", [_written(request) for request in left])
                await caller.pause(fruitless)

    await _in_chunks(list(requests.values()), WRITE_CHUNK, write)


def _written(request: Request) -> Key:
    key = request["PutRequest"]["Item"] if "PutRequest" in request else request["DeleteRequest"]["Key"]
    return key["PK"]["S"], key["SK"]["S"]


async def _in_chunks(all_: list[Any], size: int, work: Callable[[Sequence[Any]], Awaitable[None]]) -> None:
    """Do the chunks, some at once. All others are done when some are left unprocessed; one error lists those."""
    if len(all_) <= size:
        if all_:
            await work(all_)
        return
    chunks = iter([all_[at : at + size] for at in range(0, len(all_), size)])
    failures: list[Exception] = []

    async def worker() -> None:
        for chunk in chunks:
            try:
                await work(chunk)
            except Exception as error:
                failures.append(error)
                if not isinstance(error, Unprocessed):
                    return

    # A TaskGroup cancels and awaits every worker when this call is cancelled.
    async with asyncio.TaskGroup() as group:
        for _ in range(min(_PARALLEL, -(-len(all_) // size))):
            group.create_task(worker())
    if failures:
        left = [key for error in failures if isinstance(error, Unprocessed) for key in error.left]
        others = [error for error in failures if not isinstance(error, Unprocessed)]
        raise others[0] if others else Unprocessed("the batch", left)
