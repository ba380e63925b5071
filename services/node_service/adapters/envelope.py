"""Puts an event of a note into its envelope, with the content if it fits."""

from collections.abc import Callable, Mapping

from services.node_service import convert
from services.node_service.model import Node, NodeEvent
from shared.events.envelope import Event, new_event
from shared.ids import IdFactory

# EventBridge and SQS take 256 KB, and their own envelope must fit in, too.
MAX_EVENT_BYTES = 200_000
# A content up to this size always fits: JSON makes at most six bytes of one, and the other fields have about 15 KB.
SURELY_FITS_BYTES = 30_000


class Enveloper:
    """Makes the envelopes.

    carrier: returns the headers of the current trace (telemetry.inject).
    replay: whether the envelopes are marked as replayed.
    """

    def __init__(self, ids: IdFactory, carrier: Callable[[], Mapping[str, str]], *, replay: bool = False) -> None:
        self._ids = ids
        self._carrier = carrier
        self._replay = replay

    def __call__(self, event: NodeEvent) -> Event:
        node = event.node
        size = node.content_bytes if isinstance(node, Node) else 0
        if size <= SURELY_FITS_BYTES:
            return self._make(event, with_content=True)
        if size < MAX_EVENT_BYTES:
            made = self._make(event, with_content=True)
            if len(made.to_json().encode()) < MAX_EVENT_BYTES:
                return made
        return self._make(event, with_content=False)

    def _make(self, event: NodeEvent, *, with_content: bool) -> Event:
        return new_event(
            self._ids,
            event.time_ms,
            type=event.event_type.value,
            source="brain2.node",
            user_id=event.node.user_id,
            node_id=event.node.node_id,
            version=event.node.version,
            data=convert.event_data(event, with_content=with_content),
            carrier=self._carrier(),
            replay=self._replay,
        )
