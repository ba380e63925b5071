"""EventPublisher (port) on the event bus, without an outbox."""

from collections.abc import Sequence

from services.node_service.adapters.dynamo import Envelopes
from services.node_service.model import NodeEvent
from shared.errors import Unavailable
from shared.events.bus import Bus, calls


class BusEventPublisher:
    """Publishes with as few PutEvents calls as hold the events, and retries none of them: the caller does."""

    def __init__(self, bus: Bus, envelope: Envelopes) -> None:
        self._bus = bus
        self._envelope = envelope

    async def publish(self, events: Sequence[NodeEvent]) -> None:
        for batch in calls([self._envelope(event) for event in events]):
            _, refused = await self._bus.publish(batch)
            if refused:
                raise Unavailable(
                    f"the bus didn't take {len(refused)} events: {refused[0].code}", reason="BUS_UNAVAILABLE"
                )
