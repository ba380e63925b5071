"""Quotas: how much a user may store in one service. They are off unless a limit is set.

What a user stores is counted in one item (protos/table.py), which the transaction of each write changes along with the
data. Its condition refuses the write that would exceed a limit. So the count is exact under concurrency and after a
crash, and a read costs nothing.

A write needs a count that is there and younger than a day. Without one nothing of the user can be written, until a
process has counted the stored items by a Query and stored the count. So no write can fall between the two. Deleting
the item is always safe. Replicas without quotas don't change the count: what they write while others have quotas, or
before quotas are set again, is counted within a day. This is the only error that the count can have.

The writes of a user to one count exclude each other: this process makes them one after the other, and those of other
processes are conflicts that are tried again (docs/adr/0067).
"""

import asyncio
import contextvars
import functools
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from weakref import WeakValueDictionary

from protos import table
from shared.dynamo import ABSENT, Condition, ConditionFailed, Item, Op, Table, TransactionCancelled, Update
from shared.errors import Aborted, Amounts, QuotaExceeded
from shared.ids import Clock

# Counts what is stored of a user, with consistent reads.
Count = Callable[[str], Awaitable[Amounts]]

_COUNT_SECONDS = 86_400
# How often a write is tried while its user is being counted.
_ATTEMPTS = 5


class Quotas:
    """The quotas of one service.

    limits: the most of each kind that a user may store; 0 = not limited.
    count: counts all kinds of `limits`.
    """

    def __init__(self, items: Table, service: str, clock: Clock, limits: Amounts, count: Count) -> None:
        self._table = items
        self._service = service
        self._clock = clock
        self._kinds = tuple(limits)
        self._limits = {kind: limit for kind, limit in limits.items() if limit}
        self._count = count
        self._counting: dict[str, asyncio.Task[None]] = {}
        self._writing: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def transact(self, user_id: str, ops: Sequence[Op], added: Amounts) -> None:
        """Table.transact(), at most 99 operations, which also counts what they add to (or, below 0, take from) a user.

        Raises QuotaExceeded, and what Table.transact() raises, whose reasons are those of `ops`.
        """
        if not self._limits or not any(added.values()):
            await self._table.transact(ops)
            return
        async with self._writing.setdefault(user_id, asyncio.Lock()):
            await self._transact(user_id, ops, added)

    async def _transact(self, user_id: str, ops: Sequence[Op], added: Amounts) -> None:
        for _ in range(_ATTEMPTS):
            try:
                await self._table.transact([*ops, self._change(user_id, added)])
            except TransactionCancelled as cancelled:
                *others, own = cancelled.reasons
                if not own.failed or any(reason.failed for reason in others):
                    # A request that is repeated gets its first answer, and a conflict its own error, whatever is used.
                    raise TransactionCancelled(others, reason=cancelled.reason) from None
                used = own.item
                if used is not None and used["expires_at"] > self._now():
                    raise QuotaExceeded({kind: used[kind] for kind in self._kinds}, self._limits, added) from None
                await self._recount(user_id, used)
            else:
                return
        raise Aborted("what the user stores is being counted", reason="CONTENTION", retry_after=0.5)

    def _change(self, user_id: str, added: Amounts) -> Update:
        """The operation that counts a write, on the condition that there is room for it."""
        names: dict[str, str] = {"#e": "expires_at", "#seq": "seq"}
        values: dict[str, Any] = {":now": self._now(), ":one": 1}
        adds = ["#seq :one"]
        room = ["#e > :now"]
        for number, kind in enumerate(self._kinds):
            change = added.get(kind, 0)
            names[f"#k{number}"] = kind
            values[f":k{number}"] = change
            adds.append(f"#k{number} :k{number}")
            if change > 0 and kind in self._limits:
                values[f":r{number}"] = self._limits[kind] - change
                room.append(f"#k{number} <= :r{number}")
        condition = Condition(" AND ".join(room))
        return Update(self._key(user_id), f"ADD {', '.join(adds)}", names=names, values=values, condition=condition)

    async def _recount(self, user_id: str, seen: Item | None) -> None:
        """Store a new count; another process may be the first.

        It goes on when the call ends: of a user with very many notes no call has the time for it.
        """
        task = self._counting.get(user_id)
        if task is None:
            # An empty context: the deadline of this call must not end it.
            task = asyncio.create_task(self._store_count(user_id, seen), context=contextvars.Context())
            self._counting[user_id] = task
            task.add_done_callback(functools.partial(self._counted, user_id))
        await asyncio.wait((task,))
        task.result()

    def _counted(self, user_id: str, task: "asyncio.Task[None]") -> None:
        self._counting.pop(user_id, None)
        if not task.cancelled():
            task.exception()  # read, also when every call that waited has ended

    async def _store_count(self, user_id: str, seen: Item | None) -> None:
        counted = await self._count(user_id)
        pk, sk = self._key(user_id)
        now = self._now()
        # A seq that no earlier count of the user has had: seq grows by one with each write, the time by more.
        item = {"PK": pk, "SK": sk, **counted, "seq": self._clock.now_ms(), "expires_at": now + _COUNT_SECONDS}
        unchanged = ABSENT if seen is None else Condition("#seq = :seq", {"#seq": "seq"}, {":seq": seen["seq"]})
        try:
            await self._table.put(item, condition=unchanged)
        except ConditionFailed:
            return

    def _key(self, user_id: str) -> table.Key:
        return table.usage_key(self._service, user_id)

    def _now(self) -> int:
        return self._clock.now_ms() // 1000
