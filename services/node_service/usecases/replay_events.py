"""ReplayEvents: publish again, for each note of a user, the event that its present state implies.

Published events are not kept, and the notes hold all that is needed. What consumers can rebuild from the events, and
what they cannot (edges that people made or rejected), is listed in docs/adr/0014.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial

from services.node_service.model import NodeEvent, NodeEventType, Summary
from services.node_service.usecases.notes import Notes
from services.node_service.usecases.validation import DEFAULT_REPLAY_RATE, check_replay_events
from shared.resilience.retry import Backoff, Sleep, retry
from shared.tokens import NODE_ID, PAGE, TokenCodec, fingerprint

# Notes that are read and published together: at most a few MB.
_PAGE = 50
# Calls to a bus that throttles or is away, with longer and longer pauses between them.
_ATTEMPTS = 6
_BACKOFF = Backoff(base=0.2, cap=5.0)
_TOKENS = TokenCodec(PAGE, str, {"n": NODE_ID})


@dataclass(frozen=True, slots=True)
class ReplayProgress:
    """replayed: events published by this call. next_token: where to go on; "" when finished."""

    replayed: int
    next_token: str
    finished: bool


async def replay_events(
    notes: Notes, user_id: str, rate: int, token: str, *, sleep: Sleep = asyncio.sleep
) -> AsyncIterator[ReplayProgress]:
    """Yield the progress after each page of notes.

    rate: events a second at most; 0 = DEFAULT_REPLAY_RATE.
    Raises InvalidArgument (PAGE_TOKEN_INVALID too), Unavailable: all events up to the last progress were published.
    """
    check_replay_events(user_id, rate)
    rate = rate or DEFAULT_REPLAY_RATE
    bound = fingerprint("ReplayEvents", user_id)
    after = _TOKENS.decode(bound, token) or ""
    began = notes.clock.monotonic()
    replayed = 0
    # At a low rate the pages are smaller, so that no second has the events of several.
    while page := await notes.store.all_from(user_id, after, min(_PAGE, rate)):
        events = [_event(node, notes.clock.now_ms()) for node in page]
        # A retry may publish some of them twice. Consumers compare versions.
        await retry(partial(notes.publisher.publish, events), attempts=_ATTEMPTS, backoff=_BACKOFF, sleep=sleep)
        after = page[-1].node_id
        replayed += len(page)
        yield ReplayProgress(replayed, _TOKENS.encode(bound, after), False)
        ahead = replayed / rate - (notes.clock.monotonic() - began)
        if ahead > 0:
            await sleep(ahead)
    yield ReplayProgress(replayed, "", True)


def _event(node: Summary, now_ms: int) -> NodeEvent:
    """What the note's state implies. A restored note counts as updated: consumers need its text and version alone."""
    live = NodeEventType.CREATED if node.version == 1 else NodeEventType.UPDATED
    return NodeEvent(event_type=NodeEventType.DELETED if node.deleted else live, node=node, time_ms=now_ms)
