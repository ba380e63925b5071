"""One table. Every read is a GetItem, a BatchGetItem or a Query; there is no scan (docs/adr/0007)."""

import asyncio
import hashlib
import random as _random
import secrets
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from functools import partial
from typing import Literal

from shared.aws_dynamo import DynamoClient
from shared.dynamo import batch, request
from shared.dynamo.calls import Caller, operations
from shared.dynamo.marshal import marshal_item, unmarshal_item
from shared.dynamo.model import INDEXES, Condition, Item, Key, Op, QueryPage, Update
from shared.resilience.breaker import Breaker
from shared.resilience.retry import Backoff, Rng, Sleep
from shared.resilience.slices import in_slices

__all__ = ["Table", "operations"]

_TRANSACTION_LIMIT = 100


class Table:
    """Plain values in, plain values out.

    Every method raises Unavailable when DynamoDB doesn't answer, ResourceExhausted when it throttles (both after
    retries with jitter), InvalidArgument (ITEM_TOO_LARGE) over 400 KB, Internal for a request that it finds malformed.

    breaker: each operation gets one with these settings (`breakers`).
    measure: count the consumed capacity in `usage`.
    """

    def __init__(
        self,
        client: DynamoClient,
        name: str,
        *,
        breaker: Breaker | None = None,
        indexes: Mapping[str, tuple[str, str]] = INDEXES,
        attempts: int = 6,
        measure: bool = False,
        backoff: Backoff | None = None,
        sleep: Sleep = asyncio.sleep,
        rng: Rng = _random,
    ) -> None:
        self.name = name
        self._indexes = indexes
        self._caller = Caller(
            client, breaker=breaker, attempts=attempts, measure=measure, backoff=backoff, sleep=sleep, rng=rng
        )
        self.usage = self._caller.usage
        self.breakers: Sequence[Breaker] = tuple(self._caller.breakers.values())

    async def get(self, key: Key, *, consistent: bool = False, attributes: Sequence[str] | None = None) -> Item | None:
        """The item, or None. consistent: see every write acknowledged before; attributes: only these (top level)."""
        asked = {"TableName": self.name, "Key": request.key_of(key), "ConsistentRead": consistent}
        answer = await self._caller.send("GetItem", request.add_projection(asked, attributes), again=True)
        item = answer.get("Item")
        return unmarshal_item(item) if item else None

    async def put(self, item: Item, *, condition: Condition | None = None, return_old: bool = False) -> Item | None:
        """Write the item; the one it replaced with return_old. ConditionFailed carries what is stored.

        A conditional write whose answer got lost isn't repeated (it would meet itself): that is Unavailable.
        """
        asked = request.add_condition({"TableName": self.name, "Item": marshal_item(item)}, condition)
        if return_old:
            asked["ReturnValues"] = "ALL_OLD"
        answer = await self._caller.send("PutItem", asked, again=condition is None and not return_old)
        old = answer.get("Attributes")
        return unmarshal_item(old) if old else None

    async def update(self, u: Update, *, returns: Literal["NONE", "ALL_NEW", "ALL_OLD"] = "NONE") -> Item | None:
        """Apply one update; the item as it is then (or was), if asked. Not repeated when the answer got lost."""
        asked = {"TableName": self.name, **request.update_request(u), "ReturnValues": returns}
        answer = await self._caller.send("UpdateItem", asked, again=False)
        item = answer.get("Attributes")
        return unmarshal_item(item) if item else None

    async def delete(self, key: Key, *, condition: Condition | None = None, return_old: bool = False) -> Item | None:
        """Remove the item, if it is there; the one removed with return_old."""
        asked = request.add_condition({"TableName": self.name, "Key": request.key_of(key)}, condition)
        if return_old:
            asked["ReturnValues"] = "ALL_OLD"
        answer = await self._caller.send("DeleteItem", asked, again=condition is None and not return_old)
        old = answer.get("Attributes")
        return unmarshal_item(old) if old else None

    async def query(
        self,
        pk: str,
        *,
        begins_with: str | None = None,
        between: tuple[str, str] | None = None,
        after: str | None = None,
        before: str | None = None,
        index: str | None = None,
        descending: bool = False,
        limit: int | None = None,
        start: Item | None = None,
        consistent: bool = False,
        attributes: Sequence[str] | None = None,
        count: bool = False,
    ) -> QueryPage:
        """ONE page of DynamoDB's: at most `limit` items and at most 1 MB of them, in order of the sort key.

        begins_with, between (inclusive), after and before (exclusive) may be combined; the keys they name need not
        exist. start: the next_start of the page before. A page may be empty and still have a next_start.
        """
        asked = request.query_request(
            pk,
            key_names=("PK", "SK") if index is None else self._indexes[index],
            begins_with=begins_with,
            between=between,
            after=after,
            before=before,
            index=index,
            descending=descending,
            limit=limit,
            start=start,
            consistent=consistent,
            attributes=attributes,
            count=count,
        )
        if asked is None:
            return QueryPage((), None, 0)
        asked["TableName"] = self.name
        answer = await self._caller.send("Query", asked, again=True)
        items, next_start = await request.page_of(answer)
        return QueryPage(items, next_start, answer.get("Count", len(items)))

    async def query_pages(
        self, pk: str, *, begins_with: str, limit: int | None = None, attributes: Sequence[str] | None = None
    ) -> AsyncIterator[Sequence[Item]]:
        """All that is under a prefix, read consistently, in pages of DynamoDB's that aren't empty; see query()."""
        start: Item | None = None
        while True:
            page = await self.query(
                pk, begins_with=begins_with, limit=limit, start=start, consistent=True, attributes=attributes
            )
            if page.items:
                yield page.items
            start = page.next_start
            if start is None:
                return

    async def query_all(
        self,
        pk: str,
        *,
        begins_with: str | None = None,
        between: tuple[str, str] | None = None,
        after: str | None = None,
        before: str | None = None,
        index: str | None = None,
        descending: bool = False,
        limit: int | None = None,
        start: Item | None = None,
        consistent: bool = False,
        attributes: Sequence[str] | None = None,
    ) -> AsyncIterator[Item]:
        """Every item of a query, page after page, one page in memory. limit: how many items in all."""
        left = limit
        while left is None or left > 0:
            page = await self.query(
                pk,
                begins_with=begins_with,
                between=between,
                after=after,
                before=before,
                index=index,
                descending=descending,
                limit=left,
                start=start,
                consistent=consistent,
                attributes=attributes,
            )
            for item in page.items:
                yield item
            start = page.next_start
            if start is None:
                return
            if left is not None:
                left -= len(page.items)

    async def transact(self, ops: Sequence[Op], *, token: str | None = None) -> None:
        """All of the operations or none; at most 100, each on an item of its own.

        TransactionCancelled, with a reason for each operation, when a condition doesn't hold; meeting another
        transaction is tried again with jitter, then raised as TransactionCancelled with reason TRANSACTION_CONFLICT.
        token: the same token within 10 minutes does the work once. One is made when none is given, so that a lost
        answer can be asked for again.
        """
        if not ops:
            return
        if len(ops) > _TRANSACTION_LIMIT:
            raise ValueError(f"a transaction takes {_TRANSACTION_LIMIT} operations, not {len(ops)}")
        keys = [request.op_key(op) for op in ops]
        if len(set(keys)) < len(keys):
            raise ValueError("a transaction can't name an item twice")
        asked = {
            "TransactItems": await in_slices(partial(request.transact_item, self.name), ops),
            "ClientRequestToken": _token(token),
        }
        await self._caller.send("TransactWriteItems", asked, again=True)

    async def batch_get(
        self, keys: Iterable[Key], *, consistent: bool = False, attributes: Sequence[str] | None = None
    ) -> dict[Key, Item]:
        """Any number of items by key; those that don't exist are absent. With attributes, PK and SK come too.

        Unprocessed (a ResourceExhausted that lists the keys) when DynamoDB keeps handing some back.
        """
        return await batch.batch_get(self._caller, self.name, keys, consistent=consistent, attributes=attributes)

    async def batch_write(self, puts: Iterable[Item] = (), deletes: Iterable[Key] = ()) -> None:
        """Any number of puts and deletes, without conditions and not as one: after an error some are done.

        The last put of a key wins, and a put wins over a delete. Unprocessed as for batch_get; safe to do again.
        """
        await batch.batch_write(self._caller, self.name, puts, deletes)


def _token(token: str | None) -> str:
    """DynamoDB takes at most 36 characters; a longer token is replaced by its digest."""
    if token is None:
        return secrets.token_hex(16)
    return token if 1 <= len(token) <= 36 else hashlib.sha256(token.encode()).hexdigest()[:36]
