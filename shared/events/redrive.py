"""`python -m shared.events.redrive`: looks at dead letters, and sends them back to the queue that they died in.

    redrive [--dry-run] [--reason R] [--limit N] [--queue URL] [--dlq URL]

In a service's image queue and dead-letter queue are the service's own (BRAIN2_QUEUE_URL, BRAIN2_DLQ_URL). One JSON
object a line for each letter, then the counts; exit code 0, or 1 when something couldn't be sent back. Letters that
come while this runs are left, so that a message that fails again is not sent again and again. A letter of EventBridge
names the queue that it missed, and is sent to that one only. A crash between the send and the delete leaves a
duplicate, which consumers ignore.

SQS's own StartMessageMoveTask moves only letters that SQS itself has put there, not those that a consumer sent.
"""

import argparse
import asyncio
import contextlib
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from shared import config
from shared.aws import AWS_ERRORS, Aws, translate
from shared.errors import Brain2Error, InvalidArgument
from shared.events.envelope import Event
from shared.ids import Clock, SystemClock

if TYPE_CHECKING:
    from types_aiobotocore_sqs import SQSClient

# The reason of a letter that SQS moved after its last receive. The consumer's log has the errors, if there were any.
WORN_OUT = "TOO_MANY_RECEIVES"
# Seconds for which letters are hidden, also from this command itself; extended at half of it while this runs. At its
# end they are made visible again.
_HIDDEN_SECONDS = 300
_WAIT_SECONDS = 2


@dataclass(frozen=True)
class RedriveConfig:
    """The queues, by the services' own variables."""

    region: str = config.env_field(env="AWS_REGION", why="the region of the queues")
    sqs_endpoint: str = config.env_field("", env="SQS_ENDPOINT", why="SQS's address; empty = AWS's own")
    queue_url: str = config.env_field("", env="BRAIN2_QUEUE_URL", why="where letters are sent")
    dlq_url: str = config.env_field("", env="BRAIN2_DLQ_URL", why="where they are")
    dynamodb_endpoint: str = ""
    eventbridge_endpoint: str = ""
    s3_endpoint: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Letter:
    """One dead message. sent_ms: when it was put where it is."""

    id: str
    body: str
    handle: str
    sent_ms: int
    attributes: dict[str, str]

    @property
    def reason(self) -> str:
        """The consumer's or EventBridge's, else WORN_OUT."""
        return self.attributes.get("reason") or self.attributes.get("ERROR_CODE") or WORN_OUT

    @property
    def missed_queue(self) -> str:
        """The name of the queue to which EventBridge could not deliver it; "" for a letter of a consumer or of SQS."""
        return self.attributes.get("TARGET_ARN", "").rpartition(":")[2]

    def describe(self) -> dict[str, Any]:
        """What an operator may see: ids and type of the event, never its content."""
        found: dict[str, Any] = {"message_id": self.id, "sent_ms": self.sent_ms, "reason": self.reason}
        if self.missed_queue:
            found["missed_queue"] = self.missed_queue
        found |= {name: self.attributes[name] for name in ("error", "service") if name in self.attributes}
        with contextlib.suppress(InvalidArgument):
            event = Event.from_body(self.body)
            found |= {"event_id": event.id, "type": event.type, "user_id": event.user_id, "node_id": event.node_id}
        return found


class DeadLetters:
    """The letters of one dead-letter queue."""

    def __init__(self, client: "SQSClient", dlq_url: str, clock: Clock) -> None:
        self._client: Any = client
        self._url = dlq_url
        self._clock = clock

    async def redrive(
        self, queue_url: str, *, dry_run: bool = False, reason: str = "", limit: int = 0
    ) -> AsyncIterator[tuple[Letter, bool]]:
        """Each letter with that reason ("" = any) that may go to the queue, and whether it was sent to it.

        queue_url: "" in a dry run that shows the letters for all queues.
        limit: letters in all; 0 = no limit. Letters that are not sent become visible again at the end.
        """
        began = self._clock.now_ms()
        name = queue_url.rpartition("/")[2]
        # Those that were received and not sent, and since when they are hidden, the earliest first.
        kept: dict[Letter, float] = {}
        done = 0
        try:
            while not limit or done < limit:
                await self._keep_hidden(kept)
                found = await self._receive(min(10, limit - done) if limit else 10)
                if not found:
                    return
                kept.update(dict.fromkeys(found, self._clock.monotonic()))
                for letter in found:
                    if letter.sent_ms > began or (reason and letter.reason != reason):
                        continue
                    if name and letter.missed_queue not in ("", name):
                        continue
                    if not dry_run:
                        await self._call("send_message", QueueUrl=queue_url, MessageBody=letter.body)
                        await self._call("delete_message", QueueUrl=self._url, ReceiptHandle=letter.handle)
                        del kept[letter]
                    done += 1
                    yield letter, not dry_run
        finally:
            await self._hide(list(kept), 0)

    async def _keep_hidden(self, kept: dict[Letter, float]) -> None:
        now = self._clock.monotonic()
        due = list(takewhile(lambda letter: now - kept[letter] >= _HIDDEN_SECONDS / 2, kept))
        await self._hide(due, _HIDDEN_SECONDS)
        for letter in due:
            del kept[letter]
            kept[letter] = now

    async def _hide(self, letters: Sequence[Letter], seconds: int) -> None:
        """Hide letters for so long from now. One that is no longer hidden is left as it is."""
        for at in range(0, len(letters), 10):
            entries = [
                {"Id": str(n), "ReceiptHandle": letter.handle, "VisibilityTimeout": seconds}
                for n, letter in enumerate(letters[at : at + 10])
            ]
            await self._call("change_message_visibility_batch", QueueUrl=self._url, Entries=entries)

    async def _receive(self, most: int) -> list[Letter]:
        answer = await self._call(
            "receive_message",
            QueueUrl=self._url,
            MaxNumberOfMessages=most,
            WaitTimeSeconds=_WAIT_SECONDS,
            VisibilityTimeout=_HIDDEN_SECONDS,
            AttributeNames=["SentTimestamp"],
            MessageAttributeNames=["All"],
        )
        return [
            Letter(
                id=one["MessageId"],
                body=one["Body"],
                handle=one["ReceiptHandle"],
                sent_ms=int(one["Attributes"].get("SentTimestamp", 0)),
                attributes={
                    name: value.get("StringValue", "") for name, value in one.get("MessageAttributes", {}).items()
                },
            )
            for one in answer.get("Messages", ())
        ]

    async def _call(self, method: str, **request: Any) -> Any:
        try:
            return await getattr(self._client, method)(**request)
        except AWS_ERRORS as error:
            raise translate(error, f"SQS {method}") from error


def main(arguments: Sequence[str]) -> int:
    """Runs the command; answers its exit code."""
    parser = argparse.ArgumentParser(prog="python -m shared.events.redrive", description=__doc__)
    parser.add_argument("--dry-run", action="store_true", help="only look")
    parser.add_argument("--reason", default="", help=f"only letters with this reason, e.g. {WORN_OUT}")
    parser.add_argument("--limit", type=int, default=0, help="so many at most (default: all)")
    parser.add_argument("--queue", default="", help="where to (default: BRAIN2_QUEUE_URL)")
    parser.add_argument("--dlq", default="", help="where from (default: BRAIN2_DLQ_URL)")
    options = parser.parse_args(arguments)
    try:
        variables = config.load(RedriveConfig)
    except config.ConfigError as error:
        parser.error(str(error))
    queue, dlq = options.queue or variables.queue_url, options.dlq or variables.dlq_url
    if not dlq or not (queue or options.dry_run):
        parser.error("--queue and --dlq are required where BRAIN2_QUEUE_URL and BRAIN2_DLQ_URL aren't set")
    return asyncio.run(_run(variables, queue, dlq, options))


async def _run(variables: RedriveConfig, queue: str, dlq: str, options: argparse.Namespace) -> int:
    counts: Counter[str] = Counter()
    try:
        async with Aws(variables, use=("sqs",)) as aws:
            letters = DeadLetters(aws.sqs, dlq, SystemClock())
            redriven = letters.redrive(queue, dry_run=options.dry_run, reason=options.reason, limit=options.limit)
            async for letter, sent in redriven:
                counts["found"] += 1
                counts["sent"] += sent
                print(json.dumps(letter.describe() | {"sent_back": sent}, ensure_ascii=False), flush=True)
    except Brain2Error as error:
        print(json.dumps({**counts, "error": str(error)}, ensure_ascii=False))
        return 1
    print(json.dumps({"found": counts["found"], "sent": counts["sent"]}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
