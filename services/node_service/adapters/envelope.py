"""Puts an event of a note into its envelope, with the content if it is small."""

from collections.abc import Callable, Mapping

from services.node_service import convert
from services.node_service.model import EVENT_CONTENT_BYTES, Node, NodeEvent
from shared.events.envelope import Event, new_event
from shared.ids import IdFactory


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
        with_content = isinstance(node, Node) and node.content_bytes <= EVENT_CONTENT_BYTES
        return self._make(event, with_content=with_content)

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
