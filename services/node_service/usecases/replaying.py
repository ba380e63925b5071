"""The events of a user's notes told again, from the notes: they are the truth, and published events aren't kept.

What is made again from it: the index, the automatic links, the graph's marks of hidden notes, pending deletions. Links
that people made or rejected don't come from events: they are the graph's own truth (docs/adr/0014).
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from services.node_service.model import Node, NodeEvent, NodeEventType
from services.node_service.ports import NodeStore, Teller
from services.node_service.usecases import rules
from shared.errors import Brain2Error, FieldViolation, InvalidArgument, Violations
from shared.ids import Clock, check_id
from shared.pages import decode_token, encode_token, fingerprint
from shared.resilience.retry import Sleep

DEFAULT_RATE = 200
MAX_RATE = 2000
# Notes read and told together: at most a few MB.
_PAGE = 50
# A bus that throttles gets so many chances, each after a longer pause.
_TRIES = 6


@dataclass(frozen=True, slots=True)
class Progress:
    """replayed: events told by this call. next_token: where to go on; "" when finished."""

    replayed: int
    next_token: str
    finished: bool


class Replaying:
    """replay(): for operators."""

    def __init__(self, store: NodeStore, teller: Teller, clock: Clock, *, sleep: Sleep = asyncio.sleep) -> None:
        self._store = store
        self._teller = teller
        self._clock = clock
        self._sleep = sleep

    async def replay(self, user_id: str, rate: int, token: str) -> AsyncIterator[Progress]:
        """Progress after each page of notes. rate: events a second at most, 0 = 200.

        InvalidArgument (PAGE_TOKEN_INVALID too), Unavailable: what the last progress says was told.
        """
        rules.require_ids(user_id)
        if rate < 0:
            why = FieldViolation("max_rate", "must not be negative")
            raise InvalidArgument("max_rate must not be negative", violations=[why])
        rate = min(rate or DEFAULT_RATE, MAX_RATE)
        bound = fingerprint("ReplayEvents", user_id)
        after = _position(decode_token(bound, token))
        began = self._clock.monotonic()
        replayed = 0
        # At a low rate smaller pages, so that a second never gets the events of many.
        while nodes := await self._store.all_from(user_id, after, min(_PAGE, rate)):
            await self._tell([self._event(node) for node in nodes])
            after = nodes[-1].node_id
            replayed += len(nodes)
            yield Progress(replayed, encode_token(bound, {"n": after}), False)
            ahead = replayed / rate - (self._clock.monotonic() - began)
            if ahead > 0:
                await self._sleep(ahead)
        yield Progress(replayed, "", True)

    async def _tell(self, events: list[NodeEvent]) -> None:
        """Some of them may be told twice: whoever hears them compares versions."""
        for attempt in range(_TRIES):
            try:
                await self._teller.tell(events)
                return
            except Brain2Error as error:
                if not error.transient or attempt == _TRIES - 1:
                    raise
                await self._sleep(max(error.retry_after or 0.0, 0.1 * 2**attempt))

    def _event(self, node: Node) -> NodeEvent:
        """What the note's state implies. A restored note counts as updated: its text and its version say it all."""
        living = NodeEventType.CREATED if node.version == 1 else NodeEventType.UPDATED
        event_type = NodeEventType.DELETED if node.deleted else living
        return NodeEvent(event_type=event_type, node=node, time_ms=self._clock.now_ms())


def _position(state: object) -> str:
    if state is None:
        return ""
    node_id = state.get("n") if isinstance(state, dict) else None
    violations = Violations()
    check_id("n", node_id if isinstance(node_id, str) else "", violations)
    if violations or not isinstance(node_id, str):
        why = FieldViolation("page_token", "is not one of ours")
        raise InvalidArgument("page_token is not one of ours", reason="PAGE_TOKEN_INVALID", violations=[why])
    return node_id
