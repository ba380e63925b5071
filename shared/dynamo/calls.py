"""Sends one request to DynamoDB: counts it, passes the breaker, translates errors, repeats it where safe."""

import asyncio
import random as _random
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

from shared.aws import AWS_ERRORS, error_code, translate
from shared.dynamo.marshal import unmarshal_item
from shared.dynamo.model import ConditionFailed, Reason, TransactionCancelled
from shared.errors import Aborted, Brain2Error, Internal, InvalidArgument, ResourceExhausted, Unavailable
from shared.resilience.breaker import Breaker
from shared.resilience.retry import Backoff, Rng, Sleep, retry

#: How often each operation was sent since the process began, retries included. A test asserts that it has no "Scan".
operations: Counter[str] = Counter()

_METHODS = {
    "BatchGetItem": "batch_get_item",
    "BatchWriteItem": "batch_write_item",
    "DeleteItem": "delete_item",
    "GetItem": "get_item",
    "PutItem": "put_item",
    "Query": "query",
    "TransactWriteItems": "transact_write_items",
    "UpdateItem": "update_item",
}
_BUSY = {"ThrottlingError", "ProvisionedThroughputExceeded", "RequestLimitExceeded"}


class Usage:
    """What one client's requests took, counted since the process began.

    units: capacity units by (operation, index); the index is "table" for the table itself. Reading operations take read
        units, the others write units.
    throttled: requests that were throttled, by operation.
    """

    def __init__(self) -> None:
        self.units: Counter[tuple[str, ...]] = Counter()
        self.throttled: Counter[str] = Counter(dict.fromkeys(_METHODS, 0))

    def add(self, operation: str, consumed: Any) -> None:
        """Count the ConsumedCapacity of an answer, which is one structure, or a list of them for several items."""
        for each in consumed if isinstance(consumed, list) else [consumed]:
            table = each.get("Table")
            self.units[operation, "table"] += each["CapacityUnits"] if table is None else table["CapacityUnits"]
            for name, index in each.get("GlobalSecondaryIndexes", {}).items():
                self.units[operation, name] += index["CapacityUnits"]


class Caller:
    """Sends requests of one client.

    breaker: each operation gets one with these settings, so that one that is slow keeps no call of another out.
    attempts: tries in all for a request that was throttled or met another transaction.
    measure: ask DynamoDB for the consumed capacity of each request, which adds some 100 bytes to its answer.
    """

    def __init__(
        self,
        client: Any,
        *,
        breaker: Breaker | None = None,
        attempts: int = 6,
        measure: bool = False,
        backoff: Backoff | None = None,
        sleep: Sleep = asyncio.sleep,
        rng: Rng = _random,
    ) -> None:
        self._client = client
        self.breakers = {} if breaker is None else {operation: breaker.another() for operation in _METHODS}
        self._attempts = attempts
        self._measured = {"ReturnConsumedCapacity": "INDEXES"} if measure else {}
        self.usage = Usage()
        self._backoff = backoff or Backoff(base=0.02, cap=1.0)
        self._sleep = sleep
        self._rng = rng

    async def send(self, operation: str, request: Mapping[str, Any], *, again: bool) -> Mapping[str, Any]:
        """The answer to one request.

        again: whether it may be done twice, and so be sent again when no answer came. A request that was throttled, or
        that met another transaction, was not done at all, and is always sent again, with full jitter. These two errors
        are raised only if no earlier try is without its answer, so that they always mean that nothing was done.
        """
        unanswered: Unavailable | None = None

        async def once() -> Mapping[str, Any]:
            nonlocal unanswered
            try:
                return await self._once(operation, request)
            except Unavailable as error:
                unanswered = error
                raise

        def worth_another(error: BaseException, made: int) -> bool:
            if isinstance(error, Unavailable):
                # A connection that the server closed while it was idle deserves a second try, a dead store no sixth.
                return again and error.reason != "BREAKER_OPEN" and made < 3
            return _not_done(error)

        try:
            return await retry(
                once,
                attempts=self._attempts,
                on=(Unavailable, ResourceExhausted, Aborted),
                when=worth_another,
                backoff=self._backoff,
                heed_retry_after=False,  # the backoff is made for DynamoDB's own pace; retry_after is for our callers
                sleep=self._sleep,
                rng=self._rng,
            )
        except (ResourceExhausted, Aborted) as error:
            if unanswered is not None and _not_done(error):
                raise unanswered from error  # DynamoDB may have done that try, or may still be at it
            raise

    async def pause(self, attempt: int) -> None:
        """Wait before the retry that follows `attempt` (0 = the first try)."""
        await self._sleep(self._backoff.delay(attempt, self._rng))

    async def _once(self, operation: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
        breaker = self.breakers.get(operation)
        with breaker.enter() if breaker is not None else nullcontext():
            operations[operation] += 1
            try:
                answer: Mapping[str, Any] = await getattr(self._client, _METHODS[operation])(
                    **request, **self._measured
                )
            except AWS_ERRORS as error:
                meaning = meaning_of(error, operation)
                if isinstance(meaning, ResourceExhausted):
                    self.usage.throttled[operation] += 1
                raise meaning from error
        if consumed := answer.get("ConsumedCapacity"):
            self.usage.add(operation, consumed)
        return answer


def _not_done(error: BaseException) -> bool:
    """Whether the request was throttled, or met another transaction: then it was not done at all."""
    if isinstance(error, Aborted):
        return error.reason == "TRANSACTION_CONFLICT"
    return isinstance(error, ResourceExhausted)


def meaning_of(error: BaseException, operation: str) -> Brain2Error:
    """The Brain2 error for an error of the client: that of shared.aws.translate, or one of DynamoDB's own."""
    code = error_code(error)
    response: Mapping[str, Any] = getattr(error, "response", {})
    if code == "ConditionalCheckFailedException":
        item = response.get("Item")
        return ConditionFailed(unmarshal_item(item) if item else None)
    if code == "TransactionCanceledException":
        return _cancelled(response.get("CancellationReasons", ()), str(error))
    if code in ("TransactionConflictException", "TransactionInProgressException"):
        return Aborted(f"DynamoDB {operation} met another transaction", reason="TRANSACTION_CONFLICT", retry_after=0.05)
    if code == "IdempotentParameterMismatchException":
        return InvalidArgument("this transaction token was used for another transaction", reason="TOKEN_REUSED")
    if code == "ValidationException":
        return _invalid(str(error), operation)
    return translate(error, f"DynamoDB {operation}")


def _invalid(message: str, operation: str) -> Brain2Error:
    text = message.lower()
    if ("item size" in text and "exceeded" in text) or "size limit" in text:
        return InvalidArgument("too large to store: an item holds at most 400 KB", reason="ITEM_TOO_LARGE")
    if "starting key" in text or "exclusive start key" in text:
        return InvalidArgument("the page token doesn't belong to this list", reason="PAGE_TOKEN_INVALID")
    return Internal(f"DynamoDB {operation} was malformed: {message}", reason="STORE_REFUSED")


def _cancelled(found: Sequence[Mapping[str, Any]], message: str) -> Brain2Error:
    reasons = [
        Reason(str(one.get("Code") or "None"), unmarshal_item(one["Item"]) if one.get("Item") else None)
        for one in found
    ]
    codes = {reason.code for reason in reasons} - {"None"}
    if "ConditionalCheckFailed" in codes or not codes:
        return TransactionCancelled(reasons)
    if "ValidationError" in codes:
        messages = [str(one.get("Message")) for one in found if one.get("Code") == "ValidationError"]
        return _invalid("; ".join(messages) or message, "TransactWriteItems")
    if "TransactionConflict" in codes:
        return TransactionCancelled(reasons, reason="TRANSACTION_CONFLICT")
    if codes <= _BUSY:
        return ResourceExhausted("DynamoDB TransactWriteItems is throttled", reason="STORE_THROTTLED", retry_after=0.2)
    return TransactionCancelled(reasons)
