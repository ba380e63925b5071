"""Publishes by PutEvents: at most ten entries and 256 KB a call, each entry with an outcome of its own."""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared import telemetry
from shared.aws import AWS_ERRORS, translate
from shared.errors import Brain2Error
from shared.events.envelope import Event
from shared.resilience.breaker import Breaker

if TYPE_CHECKING:
    from types_aiobotocore_events import EventBridgeClient

log = logging.getLogger(__name__)

CALL_ENTRIES = 10
CALL_BYTES = 256 * 1024
# Error codes that an entry will get each time it is sent.
_PERMANENT = {"InvalidArgument", "MalformedDetail", "InvalidAccountIdException", "NotAuthorizedForSourceException"}


@dataclass(frozen=True, slots=True)
class Refused:
    """One event that the bus did not take.

    code: EventBridge's for the entry, or the reason of the error of the whole call.
    permanent: it would be refused again.
    """

    event: Event
    code: str
    permanent: bool


def entry_bytes(event: Event) -> int:
    """What an event counts against CALL_BYTES: detail, detail type and source, in UTF-8."""
    return len(event.to_json().encode()) + len(event.type.encode()) + len(event.source.encode())


def calls(events: Sequence[Event]) -> Iterator[list[Event]]:
    """The events, in order, in as few calls as the limits allow."""
    chunk: list[Event] = []
    size = 0
    for event in events:
        more = entry_bytes(event)
        if chunk and (len(chunk) == CALL_ENTRIES or size + more > CALL_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(event)
        size += more
    if chunk:
        yield chunk


class Bus:
    """Publishes to one event bus: detail-type = the event's type, source = its source, detail = the envelope."""

    def __init__(self, client: "EventBridgeClient", name: str, breaker: Breaker) -> None:
        self._client: Any = client
        self._name = name
        self.breaker = breaker

    async def publish(self, events: Sequence[Event]) -> tuple[list[Event], list[Refused]]:
        """Publish the events of one call (see calls()): those that the bus took, and those that it did not."""
        try:
            answer = await self._put(events)
        except Brain2Error as error:
            if not error.transient and len(events) > 1:
                # One malformed entry fails the whole call.
                return await self._one_by_one(events)
            return [], [Refused(event, error.reason, permanent=not error.transient) for event in events]
        if not answer.get("FailedEntryCount"):
            return list(events), []
        taken, refused = [], []
        for event, result in zip(events, answer["Entries"], strict=True):
            code = result.get("ErrorCode")
            if code:
                refused.append(Refused(event, code, permanent=code in _PERMANENT))
            else:
                taken.append(event)
        return taken, refused

    async def _one_by_one(self, events: Sequence[Event]) -> tuple[list[Event], list[Refused]]:
        taken, refused = [], []
        for event in events:
            one = await self.publish([event])
            taken += one[0]
            refused += one[1]
        return taken, refused

    async def _put(self, events: Sequence[Event]) -> Any:
        entries = [
            {"EventBusName": self._name, "Source": event.source, "DetailType": event.type, "Detail": event.to_json()}
            for event in events
        ]
        sampled = [event for event in events if telemetry.is_sampled(event.traceparent)]
        with self.breaker.enter(), contextlib.ExitStack() as spans:
            for event in sampled:
                spans.enter_context(_producer_span(event, self._name))
            if len(sampled) > 1:
                spans.enter_context(_batch_span(sampled, self._name))
            try:
                return await self._client.put_events(Entries=entries)
            except AWS_ERRORS as error:
                raise translate(error, "EventBridge PutEvents") from error


def _batch_span(events: Sequence[Event], bus: str) -> Any:
    """The call belongs to no single trace of its events, so it has one of its own that is linked to theirs."""
    return telemetry.span(
        f"send {bus}",
        kind="producer",
        links=[event.carrier for event in events],
        root=True,
        attributes={
            "messaging.system": "aws.eventbridge",
            "messaging.operation.name": "send",
            "messaging.operation.type": "send",
            "messaging.destination.name": bus,
            "messaging.batch.message_count": len(events),
        },
    )


def _producer_span(event: Event, bus: str) -> Any:
    return telemetry.span(
        f"publish {event.type}",
        kind="producer",
        carrier=event.carrier,
        attributes={
            "messaging.system": "aws.eventbridge",
            "messaging.operation.name": "publish",
            "messaging.operation.type": "create",
            "messaging.destination.name": bus,
            "messaging.message.id": event.id,
        },
    )
