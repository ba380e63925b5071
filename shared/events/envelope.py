"""The envelope of every event: CloudEvents 1.0 as JSON (https://github.com/cloudevents/spec), with W3C trace context.

Pure. The extension attributes are brain2user, brain2version and brain2replay: CloudEvents allows lower-case letters and
digits only.

Library considered: cloudevents, whose event is an untyped dict of attributes.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from shared.errors import InvalidArgument
from shared.ids import Clock, IdFactory

MAX_BYTES: Final = 240_000
"""An envelope's JSON in UTF-8. EventBridge and SQS take 262,144 bytes, and EventBridge adds an envelope of its own."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Event:
    """A fact that has happened to one note. new_event() makes one.

    type: for example "node.created".
    source: for example "brain2.node".
    version: the note's version after it.
    time_ms: when it happened, ms since 1970.
    data: the JSON form of the message in protos/<context>/v1/events.proto.
    replay: it was published before, and is published again for consumers that have lost it.
    """

    id: str
    type: str
    source: str
    user_id: str
    node_id: str
    version: int
    time_ms: int
    data: Mapping[str, Any]
    traceparent: str = ""
    tracestate: str = ""
    replay: bool = False
    _json: list[str] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def carrier(self) -> dict[str, str]:
        """The trace context for telemetry.span(carrier=...)."""
        carrier = {}
        if self.traceparent:
            carrier["traceparent"] = self.traceparent
        if self.tracestate:
            carrier["tracestate"] = self.tracestate
        return carrier

    def to_json(self) -> str:
        """Compact JSON; made once, since the outbox item and the published entry both carry it."""
        if not self._json:
            envelope: dict[str, Any] = {
                "specversion": "1.0",
                "id": self.id,
                "type": self.type,
                "source": self.source,
                "subject": self.node_id,
                "time": _time(self.time_ms),
                "datacontenttype": "application/json",
                **self.carrier,
                "brain2user": self.user_id,
                "brain2version": self.version,
                **({"brain2replay": True} if self.replay else {}),
                "data": self.data,
            }
            text = json.dumps(envelope, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
            # SQS refuses these two; json escapes the control characters that it refuses, too.
            self._json.append(text.replace("\ufffe", "\\ufffe").replace("\uffff", "\\uffff"))
        return self._json[0]

    @staticmethod
    def from_json(body: str | bytes | Mapping[str, Any]) -> "Event":
        """The event in a JSON text or an already parsed object; unknown attributes are ignored.

        InvalidArgument (EVENT_MALFORMED) names what is missing or wrong; another try can't help.
        """
        try:
            envelope = body if isinstance(body, Mapping) else json.loads(body)
            if not isinstance(envelope, Mapping):
                raise TypeError("not a JSON object")
            if envelope["specversion"] != "1.0":
                raise ValueError(f"specversion {envelope['specversion']!r} isn't 1.0")
            version = envelope["brain2version"]
            if isinstance(version, bool) or not isinstance(version, int):
                raise TypeError("brain2version isn't an integer")
            data = envelope["data"]
            if not isinstance(data, Mapping):
                raise TypeError("data isn't a JSON object")
            return Event(
                id=_text(envelope, "id"),
                type=_text(envelope, "type"),
                source=_text(envelope, "source"),
                user_id=_text(envelope, "brain2user"),
                node_id=_text(envelope, "subject"),
                version=version,
                time_ms=_time_ms(_text(envelope, "time")),
                data=data,
                traceparent=str(envelope.get("traceparent") or ""),
                tracestate=str(envelope.get("tracestate") or ""),
                replay=envelope.get("brain2replay") is True,
            )
        except KeyError as error:
            raise InvalidArgument(f"not an event: {error.args[0]} is missing", reason="EVENT_MALFORMED") from error
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise InvalidArgument(f"not an event: {error}", reason="EVENT_MALFORMED") from error

    @classmethod
    def from_body(cls, body: str) -> "Event":
        """The event in a message's body: EventBridge puts its own envelope around ours, unless the rule's InputPath
        takes it off. InvalidArgument (reason EVENT_MALFORMED)."""
        try:
            found: Any = json.loads(body)
        except (ValueError, RecursionError) as error:  # also of a number that is too long for int()
            raise InvalidArgument(f"not JSON: {error}", reason="EVENT_MALFORMED") from error
        if isinstance(found, dict) and "detail" in found and "specversion" not in found:
            found = found["detail"]
        if not isinstance(found, dict):
            raise InvalidArgument("not an event: no JSON object", reason="EVENT_MALFORMED")
        return cls.from_json(found)


def new_event(
    ids: IdFactory,
    when: Clock | int,
    *,
    source: str,
    type: str,
    user_id: str,
    node_id: str,
    version: int,
    data: Mapping[str, Any],
    carrier: Mapping[str, str] | None = None,
    replay: bool = False,
) -> Event:
    """An event with a new id; the parameters that are not listed here are those of Event.

    when: when it happened: a clock (now), or ms since 1970.
    carrier: the trace context, as telemetry.inject() gives it.
    """
    carrier = carrier or {}
    return Event(
        id=ids.new_id(),
        type=type,
        source=source,
        user_id=user_id,
        node_id=node_id,
        version=version,
        time_ms=when if isinstance(when, int) else when.now_ms(),
        data=data,
        traceparent=carrier.get("traceparent", ""),
        tracestate=carrier.get("tracestate", ""),
        replay=replay,
    )


def _text(envelope: Mapping[str, Any], name: str) -> str:
    value = envelope[name]
    if not isinstance(value, str) or not value:
        raise TypeError(f"{name} isn't a text")
    return value


def _time(ms: int) -> str:
    """RFC 3339 in UTC with milliseconds; integers all the way, a float would be off by one now and then."""
    return (_EPOCH + ms * _MILLISECOND).strftime("%Y-%m-%dT%H:%M:%S.") + f"{ms % 1000:03d}Z"


def _time_ms(text: str) -> int:
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError(f"time {text} has no zone")
    return (time - _EPOCH) // _MILLISECOND
