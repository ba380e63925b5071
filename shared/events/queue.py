"""The operations of SQS that the consumer needs: receive one batch; delete, hide and give back in batches of ten.

Library considered: aiobotocore has the calls only. The batches and the retries of partly failed ones are ours.
"""

import asyncio
import logging
import random as _random
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.aws import AWS_ERRORS, translate
from shared.errors import Brain2Error, Unavailable
from shared.resilience import foreground
from shared.resilience.retry import Backoff, Rng, Sleep, retry

if TYPE_CHECKING:
    from types_aiobotocore_sqs import SQSClient

log = logging.getLogger(__name__)

BATCH = 10
# Calls that hide messages, at once: ten thousand messages take a thousand calls.
_HIDE_AT_ONCE = 8
_DELETE_ATTEMPTS = 4


@dataclass(slots=True, eq=False)
class Message:
    """One received message.

    handle: the receipt handle.
    receives: how often it was received, this time included.
    extend_at: when it must be hidden for longer; seconds of Clock.monotonic().
    event_ms: when its event happened, ms since 1970; None until the body was parsed.
    """

    body: str
    handle: str
    id: str
    receives: int
    extend_at: float = 0.0
    event_ms: int | None = None


class Queue:
    """One SQS queue. Its calls are background work, which stands back behind callers (shared/resilience/foreground.py);
    receive() leaves that to its caller.

    Errors of the client are raised as Brain2 errors, except where a method logs them.
    """

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
        self._to_delete: deque[Message] = deque()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._deleting = 0

    async def receive(self, most: int, wait: int) -> list[Message]:
        """At most ten messages, waiting up to `wait` seconds for the first (long poll).

        The caller has waited for its turn behind callers, so that the call is sent at once.
        """
        answer = await self._call(
            "receive_message",
            MaxNumberOfMessages=min(BATCH, most),
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
        """Delete with the next batch of run_deleter()."""
        self._to_delete.append(message)
        self._idle.clear()
        self._wake.set()

    async def run_deleter(self) -> None:
        """Delete the messages of delete_soon() until cancelled. A message that can't be deleted is received again."""
        while True:
            while not self._to_delete:
                self._wake.clear()
                await self._wake.wait()
            await foreground.turn()
            batch = [self._to_delete.popleft() for _ in range(min(BATCH, len(self._to_delete)))]
            self._deleting += 1
            try:
                await self._delete(batch)
            finally:
                self._deleting -= 1
                if not self._to_delete and not self._deleting:
                    self._idle.set()

    async def deleted(self) -> None:
        """Wait until every message of delete_soon() was deleted or given up."""
        await self._idle.wait()

    async def hide(self, seconds: Mapping[Message, float]) -> None:
        """Hide each message for so many seconds from now; 0 makes it visible at once. Failures are logged only."""
        messages = list(seconds.items())
        batches = [messages[at : at + BATCH] for at in range(0, len(messages), BATCH)]
        for at in range(0, len(batches), _HIDE_AT_ONCE):
            await asyncio.gather(*map(self._hide, batches[at : at + _HIDE_AT_ONCE]))

    async def _hide(self, batch: Sequence[tuple[Message, float]]) -> None:
        entries = [
            {"Id": str(n), "ReceiptHandle": message.handle, "VisibilityTimeout": round(seconds)}
            for n, (message, seconds) in enumerate(batch)
        ]
        await foreground.turn()
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

    async def send_to_dead_letters(self, dlq_url: str, message: Message, attributes: dict[str, str]) -> None:
        """Put a copy with these attributes on the dead-letter queue. The caller deletes the original."""
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

        async def delete() -> None:
            nonlocal left
            entries = [{"Id": str(n), "ReceiptHandle": message.handle} for n, message in enumerate(left)]
            answer = await self._call("delete_message_batch", Entries=entries)
            left = [left[int(one["Id"])] for one in answer.get("Failed", ())]
            if left:
                raise Unavailable("SQS did not delete some of the messages", reason="QUEUE_UNPROCESSED")

        try:
            await retry(
                delete,
                attempts=_DELETE_ATTEMPTS,
                on=(Brain2Error,),
                backoff=self._backoff,
                sleep=self._sleep,
                rng=self._rng,
            )
        except Brain2Error as error:
            log.warning(
                "handled messages can't be deleted and will be received again",
                extra={"messages": len(left), "error": str(error)},
            )

    async def _call(self, method: str, **request: Any) -> Any:
        request.setdefault("QueueUrl", self._url)
        try:
            return await getattr(self._client, method)(**request)
        except AWS_ERRORS as error:
            raise translate(error, f"SQS {method}") from error
