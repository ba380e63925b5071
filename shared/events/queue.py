"""What the consumer needs of SQS: receive, and in tens: delete, extend, release."""

import asyncio
import logging
import random as _random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.aws import AWS_ERRORS, translate
from shared.errors import Brain2Error
from shared.resilience.retry import Backoff, Rng, Sleep

if TYPE_CHECKING:
    from types_aiobotocore_sqs import SQSClient

log = logging.getLogger(__name__)

TEN = 10
_DELETE_TRIES = 4


@dataclass(slots=True, eq=False)
class Message:
    """One message in hand. receives: how often it has been received, this time included.

    event_ms: when the event in it happened, once it was read.
    """

    body: str
    handle: str
    id: str
    receives: int
    extend_at: float = 0.0
    event_ms: int | None = None


class Queue:
    """One SQS queue. Errors of the client come out as Brain2 errors, save where it says otherwise."""

    def __init__(
        self,
        client: "SQSClient",
        url: str,
        *,
        visibility: float,
        backoff: Backoff,
        sleep: Sleep = asyncio.sleep,
        rng: Rng = _random,
    ) -> None:
        self._client: Any = client
        self._url = url
        self._visibility = visibility
        self._backoff = backoff
        self._sleep = sleep
        self._rng = rng
        self._done: deque[Message] = deque()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._deleting = 0

    async def receive(self, most: int, wait: int) -> list[Message]:
        """At most ten messages, waiting up to `wait` seconds for the first (long poll)."""
        answer = await self._call(
            "receive_message",
            MaxNumberOfMessages=min(TEN, most),
            WaitTimeSeconds=wait,
            VisibilityTimeout=int(self._visibility),
            AttributeNames=["ApproximateReceiveCount"],
        )
        return [
            Message(
                body=one["Body"],
                handle=one["ReceiptHandle"],
                id=one["MessageId"],
                receives=int(one.get("Attributes", {}).get("ApproximateReceiveCount", 1)),
            )
            for one in answer.get("Messages", ())
        ]

    def delete_soon(self, message: Message) -> None:
        """Delete with the next ten; run_deleter() does it."""
        self._done.append(message)
        self._idle.clear()
        self._wake.set()

    async def run_deleter(self) -> None:
        """Delete what delete_soon() gave, in tens, until cancelled. What can't be deleted comes back, a duplicate."""
        while True:
            while not self._done:
                self._wake.clear()
                await self._wake.wait()
            batch = [self._done.popleft() for _ in range(min(TEN, len(self._done)))]
            self._deleting += 1
            try:
                await self._delete(batch)
            finally:
                self._deleting -= 1
                if not self._done and not self._deleting:
                    self._idle.set()

    async def deleted(self) -> None:
        """Wait until all that delete_soon() gave is dealt with."""
        await self._idle.wait()

    async def extend(self, messages: Sequence[Message], seconds: float) -> None:
        """Hide the messages for `seconds` from now; 0 gives them back. A message that can't be is logged and left."""
        for at in range(0, len(messages), TEN):
            entries = [
                {"Id": str(n), "ReceiptHandle": message.handle, "VisibilityTimeout": round(seconds)}
                for n, message in enumerate(messages[at : at + TEN])
            ]
            try:
                answer = await self._call("change_message_visibility_batch", Entries=entries)
                if failed := answer.get("Failed"):
                    log.warning("messages kept their visibility", extra={"codes": [one.get("Code") for one in failed]})
            except Brain2Error as error:
                log.warning("messages kept their visibility", extra={"error": str(error)})

    async def depth(self, url: str = "") -> dict[str, int]:
        """Approximate counts: visible, in flight, delayed. url: of another queue."""
        names = {
            "visible": "ApproximateNumberOfMessages",
            "in_flight": "ApproximateNumberOfMessagesNotVisible",
            "delayed": "ApproximateNumberOfMessagesDelayed",
        }
        answer = await self._call(
            "get_queue_attributes", QueueUrl=url or self._url, AttributeNames=list(names.values())
        )
        return {short: int(answer["Attributes"].get(name, 0)) for short, name in names.items()}

    async def bury(self, dlq_url: str, message: Message, attributes: dict[str, str]) -> None:
        """Put a copy with these attributes on the dead-letter queue; the original is the caller's to delete."""
        await self._call(
            "send_message",
            QueueUrl=dlq_url,
            MessageBody=message.body,
            MessageAttributes={
                name: {"DataType": "String", "StringValue": value} for name, value in attributes.items() if value
            },
        )

    async def _delete(self, batch: Sequence[Message]) -> None:
        left = list(batch)
        for attempt in range(_DELETE_TRIES):
            if attempt:
                await self._sleep(self._backoff.delay(attempt - 1, self._rng))
            entries = [{"Id": str(n), "ReceiptHandle": message.handle} for n, message in enumerate(left)]
            try:
                answer = await self._call("delete_message_batch", Entries=entries)
            except Brain2Error as error:
                log.warning("can't delete messages", extra={"error": str(error), "messages": len(left)})
                continue
            left = [left[int(one["Id"])] for one in answer.get("Failed", ())]
            if not left:
                return
        log.warning("handled messages stay on the queue and will come again", extra={"messages": len(left)})

    async def _call(self, method: str, **request: Any) -> Any:
        request.setdefault("QueueUrl", self._url)
        try:
            return await getattr(self._client, method)(**request)
        except AWS_ERRORS as error:
            raise translate(error, f"SQS {method}") from error
