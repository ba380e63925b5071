"""An event as an item of an outbox: its JSON, compressed where that saves a write unit.

event     the JSON as text, or
event_zip the JSON, compressed by zlib
at        when the event happened, in milliseconds since 1970
"""

import logging
import zlib
from collections.abc import Mapping
from typing import Any

from shared.dynamo.model import Item
from shared.dynamo.size import UNIT_BYTES
from shared.errors import InvalidArgument
from shared.events.envelope import Event

log = logging.getLogger(__name__)

# What a reader of the event asks for.
EVENT_ATTRIBUTES = ("event", "event_zip")
# The key and `at` take about this many bytes of the first write unit.
_OVERHEAD = 100
_ZLIB_LEVEL = 1


def event_item(event: Event, text: str) -> Item:
    """The attributes of an outbox item besides its key. text: the event's JSON."""
    data = text.encode()
    if len(data) + _OVERHEAD > UNIT_BYTES:
        return {"event_zip": zlib.compress(data, _ZLIB_LEVEL), "at": event.time_ms}
    return {"event": text, "at": event.time_ms}


def stored_event(item: Mapping[str, Any]) -> Event:
    """The event of an outbox item. InvalidArgument when the item holds none."""
    try:
        if "event_zip" in item:
            return Event.from_json(zlib.decompress(bytes(item["event_zip"])))
        return Event.from_json(item["event"])
    except (KeyError, TypeError, zlib.error) as error:
        raise InvalidArgument("an outbox item holds no event", reason="EVENT_UNREADABLE") from error


def readable_event(item: Mapping[str, Any]) -> Event | None:
    """The event of an outbox item; None, and a log record for an operator, when the item holds none."""
    try:
        return stored_event(item)
    except InvalidArgument:
        log.exception("an outbox item holds no event and is left for an operator", extra={"id": item["SK"]})
        return None
