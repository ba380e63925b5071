"""A request that carries a request_id is carried out once, however often it is sent, and answered alike each time.

A write that is one transaction includes record() in it: the answer is kept if and only if the write happened. A write
of several transactions holds a lease meanwhile: begin(), the work in steps that may be repeated, complete().
"""

import hashlib
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

from shared.dynamo import Condition, ConditionFailed, Item, Key, Put, Table, TransactionCancelled
from shared.errors import Aborted, AlreadyExists, InvalidArgument, Violations
from shared.ids import Clock, check_id, check_user_id

_MOST_LEASES = 10_000
MAX_RESPONSE_BYTES = 300_000
"""A larger answer isn't kept, only that the work was done; the same request again is ALREADY_EXISTS."""


class Once:
    """Calls of several steps that end in one answer: with a request_id the work is done once, and its answer kept.

    For servicers: the request has user_id and request_id. A failure is not kept: a repeat may try at once.
    """

    def __init__(self, idempotency: "Idempotency") -> None:
        self._idempotency = idempotency

    async def do(self, method: str, request: Any, work: Callable[[], Awaitable[bytes]]) -> bytes:
        """work()'s answer, or the one that was given to the same request before.

        InvalidArgument (a bad id; REQUEST_ID_REUSED), Aborted (REQUEST_IN_PROGRESS).
        """
        if not request.request_id:
            return await work()
        violations = Violations()
        check_user_id("user_id", request.user_id, violations)
        check_id("request_id", request.request_id, violations)
        violations.raise_if_any()
        body = method.encode() + b"\0" + request.SerializeToString(deterministic=True)
        claim = (request.user_id, request.request_id, self._idempotency.fingerprint(body))
        known = await self._idempotency.begin(*claim)
        if known is not None:
            return known
        try:
            answer = await work()
        except BaseException:  # a caller that went away, too
            await self._idempotency.forget(*claim)
            raise
        await self._idempotency.complete(*claim, answer)
        return answer


class Idempotency:
    """Records of one service, kept for ttl_seconds. A record that has expired counts as absent, removed or not."""

    def __init__(self, table: Table, service: str, clock: Clock, ttl_seconds: int = 86_400) -> None:
        self._table = table
        self._service = service
        self._clock = clock
        self._ttl = ttl_seconds
        # The leases that this process holds: (user, request_id) -> (owner, until_ms).
        self._leases: dict[tuple[str, str], tuple[str, int]] = {}

    def fingerprint(self, request_bytes: bytes) -> str:
        """What tells two requests apart that carry one request_id.

        Give bytes that are equal for equal requests: message.SerializeToString(deterministic=True), not those off the
        wire.
        """
        return hashlib.sha256(request_bytes).hexdigest()[:32]

    def key(self, user: str, request_id: str) -> Key:
        """Where the record of a request is."""
        return f"IDEMP#{self._service}#{user}", request_id

    async def find(self, user: str, request_id: str, fingerprint: str) -> bytes | None:
        """The answer that was given, None when the request is new (or a lease on it has run out).

        InvalidArgument (REQUEST_ID_REUSED): the id was used for another request. Aborted (REQUEST_IN_PROGRESS, with
        retry_after): it is being carried out just now. AlreadyExists (RESPONSE_NOT_KEPT): done, the answer was too
        large.
        """
        return self.read(await self._table.get(self.key(user, request_id), consistent=True), fingerprint)

    def read(self, item: Item | None, fingerprint: str) -> bytes | None:
        """What find() makes of a stored record; for adapters that were handed one by a cancelled transaction."""
        now = self._clock.now_ms()
        if item is None or item["expires_at"] <= now // 1000:
            return None
        if item["fingerprint"] != fingerprint:
            raise InvalidArgument("this request_id was used for another request", reason="REQUEST_ID_REUSED")
        if item["state"] == "running":
            left = item["lease_until_ms"] - now
            if left <= 0:
                return None
            raise Aborted(
                "the same request is being carried out", reason="REQUEST_IN_PROGRESS", retry_after=min(left / 1000, 1.0)
            )
        if "response" not in item:
            raise AlreadyExists(
                "the request was carried out; its answer was too large to keep", reason="RESPONSE_NOT_KEPT"
            )
        response: bytes = item["response"]
        return response

    def replayed(self, cancelled: TransactionCancelled, position: int, fingerprint: str) -> bytes | None:
        """After a transaction with record() at `position` was cancelled: the answer of the twin that came first, or
        None when the record isn't what failed. Raises as find()."""
        reason = cancelled.reasons[position]
        return self.read(reason.item, fingerprint) if reason.failed else None

    def record(self, user: str, request_id: str, fingerprint: str, response: bytes) -> Put:
        """The operation that keeps the answer, for the write's own transaction; it fails if there is a record
        already."""
        now = self._clock.now_ms() // 1000
        absent = Condition("attribute_not_exists(PK) OR #e <= :now", {"#e": "expires_at"}, {":now": now})
        return Put(self._done(user, request_id, fingerprint, response), absent)

    async def begin(self, user: str, request_id: str, fingerprint: str, *, lease_seconds: float = 30.0) -> bytes | None:
        """For writes of several transactions: the answer if it was given before; None = carry it out, you hold the
        lease.

        Raises as find(). End it with complete() or forget(). A holder that dies leaves the lease to run out; who
        takes it over then repeats the steps, so each of them must be idempotent by itself.
        """
        now = self._clock.now_ms()
        owner = secrets.token_hex(8)
        until_ms = now + int(lease_seconds * 1000)
        running = {
            **self._base(user, request_id, fingerprint),
            "state": "running",
            "owner": owner,
            "lease_until_ms": until_ms,
        }
        free = Condition(
            "attribute_not_exists(PK) OR #e <= :s OR (#state = :running AND #until <= :ms AND #f = :f)",
            {"#e": "expires_at", "#state": "state", "#until": "lease_until_ms", "#f": "fingerprint"},
            {":s": now // 1000, ":running": "running", ":ms": now, ":f": fingerprint},
        )
        try:
            await self._table.put(running, condition=free)
        except ConditionFailed as failed:
            answer = self.read(failed.item, fingerprint)
            if answer is None:
                # It ran out, or was forgotten, between the write and now.
                raise Aborted(
                    "the same request was being carried out", reason="REQUEST_IN_PROGRESS", retry_after=0.1
                ) from failed
            return answer
        self._remember(user, request_id, owner, until_ms)
        return None

    def completion(self, user: str, request_id: str, fingerprint: str, response: bytes) -> Put:
        """complete() as an operation for the last transaction of the work; fails when the lease was taken over."""
        return Put(self._done(user, request_id, fingerprint, response), self._held_by_us(user, request_id))

    async def complete(self, user: str, request_id: str, fingerprint: str, response: bytes) -> None:
        """Keep the answer and end the lease. Aborted (REQUEST_LEASE_LOST) when it ran out and another took over."""
        put = self.completion(user, request_id, fingerprint, response)
        try:
            await self._table.put(put.item, condition=put.condition)
        except ConditionFailed as failed:
            there = failed.item or {}
            # Our own first try, whose answer got lost, or a twin that came to the same end: as good as ours.
            if there.get("fingerprint") != fingerprint or there.get("response") != response:
                raise Aborted("another has taken over this request", reason="REQUEST_LEASE_LOST") from failed
        self._leases.pop((user, request_id), None)

    async def forget(self, user: str, request_id: str, fingerprint: str) -> None:
        """The work failed and may be begun anew at once. Does nothing when the lease is no longer ours."""
        try:
            await self._table.delete(self.key(user, request_id), condition=self._held_by_us(user, request_id))
        except ConditionFailed:
            pass  # taken over, or gone already
        self._leases.pop((user, request_id), None)

    def _remember(self, user: str, request_id: str, owner: str, until_ms: int) -> None:
        if len(self._leases) >= _MOST_LEASES:
            # Work that ended without a word; its leases have run out in the table, too.
            now = self._clock.now_ms()
            self._leases = {key: held for key, held in self._leases.items() if held[1] > now}
        self._leases[user, request_id] = (owner, until_ms)

    def _held_by_us(self, user: str, request_id: str) -> Condition:
        owner, _ = self._leases.get((user, request_id), ("", 0))
        return Condition("#owner = :owner", {"#owner": "owner"}, {":owner": owner})

    def _base(self, user: str, request_id: str, fingerprint: str) -> Item:
        pk, sk = self.key(user, request_id)
        return {"PK": pk, "SK": sk, "fingerprint": fingerprint, "expires_at": self._clock.now_ms() // 1000 + self._ttl}

    def _done(self, user: str, request_id: str, fingerprint: str, response: bytes) -> Item:
        item = {**self._base(user, request_id, fingerprint), "state": "done"}
        if len(response) <= MAX_RESPONSE_BYTES:
            item["response"] = response
        return item
