"""A request that carries a request_id is carried out once, however often it is sent, and is answered alike each time.

A write that is one transaction includes record() in it: the answer is stored if and only if the write happened. A write
of several transactions holds a lease meanwhile: begin(), the work in steps that may be repeated, then complete() or
abandon(); run() does the three.

Library considered: the idempotency utility of aws-lambda-powertools has the same records and the same lease, but it is
synchronous, and it can't put a record into the transaction of the write.
"""

import asyncio
import zlib
from collections.abc import Awaitable, Callable

from protos import table
from shared.dynamo import Condition, ConditionFailed, Item, Key, Put, Table
from shared.dynamo.size import UNIT_BYTES
from shared.errors import Aborted, AlreadyExists, InvalidArgument
from shared.idempotent import IdempotentRequest
from shared.ids import Clock

__all__ = ["MAX_PLAIN_BYTES", "Idempotency", "IdempotentRequest"]

MAX_PLAIN_BYTES = 300_000
"""What has more bytes than this, compressed where that makes it smaller, is stored in pieces of this size."""

# An answer above this many bytes, compressed, stays out of the transaction of its write, where it would cost twice.
_BESIDE_BYTES = 4 * 1024

# The key and the other attributes of a record take about this many bytes of the first write unit.
_OVERHEAD = 200
# Compressing more bytes than this takes long enough to be done in a thread.
_THREAD_BYTES = 32 * 1024

# Digits of a fingerprint that are compared: some records have longer ones.
_DIGITS = 32


class Idempotency:
    """The idempotency records of one service, kept for ttl_seconds. An expired record counts as absent.

    A record (protos/table.py) has fingerprint, state ("running" or "done") and expires_at. When running it has owner
    and lease_until_ms. When done it has one of
    - response: the bytes of the answer;
    - compressed: the same, compressed by zlib where that saves write units;
    - pieces and pieces_of: in how many items the compressed bytes are, and the owner in their keys. They are
      written before the record that refers to them, and expire with it.
    """

    def __init__(self, items: Table, service: str, clock: Clock, ttl_seconds: int = 86_400) -> None:
        self._table = items
        self._service = service
        self._clock = clock
        self._ttl = ttl_seconds

    async def find(self, request: IdempotentRequest) -> bytes | None:
        """The answer that was given; None when the request is new, or a lease on it has run out.

        InvalidArgument (REQUEST_ID_REUSED): the id was used for another request.
        Aborted (REQUEST_IN_PROGRESS, with retry_after): it is being carried out.
        AlreadyExists (RESPONSE_NOT_KEPT): it was carried out, but its answer is not stored; see record().
        """
        return await self._answer(await self._table.get(self.key(request), consistent=True), request)

    def record(self, request: IdempotentRequest, answer: bytes) -> Put:
        """The operation that stores the answer, for the write's own transaction. It fails if there is a record already.

        An answer above MAX_PLAIN_BYTES when compressed is not stored, only that the work was done: a transaction can't
        hold it. Use record_of_any_size() or run() for requests with such answers.
        """
        ((name, packed),) = _packed(answer).items()
        return self._record(request, {name: packed} if len(packed) <= MAX_PLAIN_BYTES else {})

    async def record_of_any_size(self, request: IdempotentRequest, answer: bytes) -> Put:
        """record(), also for large answers: these are stored here, in items of their own, which expire as the record.

        So they don't cost twice in the write's transaction. Should that fail, nothing refers to them.
        """
        return self._record(request, await self._stored(request, answer, _BESIDE_BYTES))

    def _record(self, request: IdempotentRequest, stored: Item) -> Put:
        now = self._clock.now_ms() // 1000
        absent = Condition("attribute_not_exists(PK) OR #e <= :now", {"#e": "expires_at"}, {":now": now})
        return Put(self._base(request) | {"state": "done"} | stored, absent)

    async def run(self, request: IdempotentRequest | None, work: Callable[[], Awaitable[bytes]]) -> bytes:
        """The answer of work(), or the one that was given to the same request before.

        request: None = work() is done whatever was done before.
        A failure is not stored: the request may be sent again at once.
        Errors: those of find(), complete() and work().
        """
        if request is None:
            return await work()
        known = await self.begin(request)
        if known is not None:
            return known
        try:
            answer = await work()
        except BaseException:  # the caller went away, too
            await self.abandon(request)
            raise
        await self.complete(request, answer)
        return answer

    async def begin(self, request: IdempotentRequest, *, lease_seconds: float = 30.0) -> bytes | None:
        """The answer if it was given before. None: carry it out, request.owner holds the lease for lease_seconds.

        Errors: those of find(). A holder that dies leaves the lease to run out. Who takes it over then repeats the
        steps, so each of them must be idempotent by itself.
        """
        now = self._clock.now_ms()
        running = self._base(request) | {
            "state": "running",
            "owner": request.owner,
            "lease_until_ms": now + int(lease_seconds * 1000),
        }
        free = Condition(
            "attribute_not_exists(PK) OR #e <= :s OR (#state = :running AND #until <= :ms AND begins_with(#f, :f))",
            {"#e": "expires_at", "#state": "state", "#until": "lease_until_ms", "#f": "fingerprint"},
            {":s": now // 1000, ":running": "running", ":ms": now, ":f": request.fingerprint[:_DIGITS]},
        )
        try:
            await self._table.put(running, condition=free)
        except ConditionFailed as failed:
            answer = await self._answer(failed.item, request)
            if answer is None:
                # The lease ran out, or was given back, after the write had failed.
                raise Aborted(
                    "the same request was being carried out", reason="REQUEST_IN_PROGRESS", retry_after=0.1
                ) from failed
            return answer
        return None

    async def complete(self, request: IdempotentRequest, answer: bytes) -> None:
        """Store the answer, of any size, and end the lease.

        Aborted (REQUEST_LEASE_LOST): the lease ran out and another arrival of the request has taken over.
        """
        stored = await self._stored(request, answer, MAX_PLAIN_BYTES)
        try:
            done = self._base(request) | {"state": "done"} | stored
            await self._table.put(done, condition=_held_by(request))
        except ConditionFailed as failed:
            # The record is ours if the answer to our first try got lost; a twin's equal answer is as good.
            there = failed.item or {}
            same = there.get("state") == "done" and there["fingerprint"][:_DIGITS] == request.fingerprint[:_DIGITS]
            if not same or await self._answer(failed.item, request) != answer:
                raise Aborted("another has taken over this request", reason="REQUEST_LEASE_LOST") from failed

    async def abandon(self, request: IdempotentRequest) -> None:
        """End the lease without an answer: the request may be carried out anew at once. Without the lease, nothing."""
        try:
            await self._table.delete(self.key(request), condition=_held_by(request))
        except ConditionFailed:
            return

    async def _answer(self, item: Item | None, request: IdempotentRequest) -> bytes | None:
        """What find() answers for a stored record."""
        now = self._clock.now_ms()
        if item is None or item["expires_at"] <= now // 1000:
            return None
        if item["fingerprint"][:_DIGITS] != request.fingerprint[:_DIGITS]:
            raise InvalidArgument("this request_id was used for another request", reason="REQUEST_ID_REUSED")
        if item["state"] == "running":
            left = item["lease_until_ms"] - now
            if left <= 0:
                return None
            raise Aborted(
                "the same request is being carried out", reason="REQUEST_IN_PROGRESS", retry_after=min(left / 1000, 1.0)
            )
        if "response" in item:
            response: bytes = item["response"]
            return response
        compressed: bytes | None = item.get("compressed")
        if "pieces" in item:
            keys = self._piece_keys(request, item["pieces_of"], item["pieces"])
            found = await self._table.batch_get(keys, consistent=True)
            compressed = b"".join(found[key]["piece"] for key in keys) if len(found) == len(keys) else None
        if compressed is None:
            raise AlreadyExists("the request was carried out; its answer is not stored", reason="RESPONSE_NOT_KEPT")
        if _is_long(compressed):
            return await asyncio.to_thread(zlib.decompress, compressed)
        return zlib.decompress(compressed)

    async def _stored(self, request: IdempotentRequest, answer: bytes, most: int) -> Item:
        """The attributes of a record that give its answer. Above `most` bytes, compressed, it is written in pieces."""
        packed = await asyncio.to_thread(_packed, answer) if _is_long(answer) else _packed(answer)
        if sum(map(len, packed.values())) <= most:
            return packed
        compressed: bytes
        if "compressed" in packed:
            compressed = packed["compressed"]
        else:
            compressed = await asyncio.to_thread(zlib.compress, answer, 1)
        pieces = [compressed[at : at + MAX_PLAIN_BYTES] for at in range(0, len(compressed), MAX_PLAIN_BYTES)]
        await self._table.batch_write(puts=self._pieces(request, pieces))
        return {"pieces": len(pieces), "pieces_of": request.owner}

    def _pieces(self, request: IdempotentRequest, pieces: list[bytes]) -> list[Item]:
        expires_at = self._expires_at()
        keys = self._piece_keys(request, request.owner, len(pieces))
        return [
            {"PK": pk, "SK": sk, "piece": piece, "expires_at": expires_at}
            for (pk, sk), piece in zip(keys, pieces, strict=True)
        ]

    def _piece_keys(self, request: IdempotentRequest, owner: str, count: int) -> list[Key]:
        ids = (self._service, request.user_id, request.request_id)
        return [table.idempotency_piece_key(*ids, owner, number) for number in range(count)]

    def key(self, request: IdempotentRequest) -> Key:
        """The key of the request's record."""
        return table.idempotency_key(self._service, request.user_id, request.request_id)

    def _base(self, request: IdempotentRequest) -> Item:
        pk, sk = self.key(request)
        return {"PK": pk, "SK": sk, "fingerprint": request.fingerprint, "expires_at": self._expires_at()}

    def _expires_at(self) -> int:
        return self._clock.now_ms() // 1000 + self._ttl


def _held_by(request: IdempotentRequest) -> Condition:
    return Condition("#owner = :owner", {"#owner": "owner"}, {":owner": request.owner})


def _is_long(answer: bytes) -> bool:
    """Whether compressing an answer holds the event loop for long."""
    return len(answer) > _THREAD_BYTES


def _packed(answer: bytes) -> Item:
    """The attribute that holds an answer: compressed where that saves a write unit, and above MAX_PLAIN_BYTES."""
    if len(answer) + _OVERHEAD > UNIT_BYTES:
        compressed = zlib.compress(answer, 1)
        if len(compressed) < len(answer) or len(answer) > MAX_PLAIN_BYTES:
            return {"compressed": compressed}
    return {"response": answer}
