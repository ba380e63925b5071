"""Handlers of events: of one event, or of several events of one user together."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from shared.events.envelope import Event
from shared.resilience.breaker import unreachable

log = logging.getLogger(__name__)

Handler = Callable[[Event], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class BatchHandler:
    """Handles events of one user together, each of another note, in any order.

    handle: returns the error of each event that failed, by event id; the others are handled. An error that it raises
        concerns all of them.
    most: events that are handled together, at most.
    at_once: batches of one user that are handled at the same time. Meanwhile the user's next events gather.
    """

    handle: Callable[[Sequence[Event]], Awaitable[Mapping[str, Exception]]]
    most: int = 100
    at_once: int = 1

    async def __call__(self, event: Event) -> None:
        """Handle one event by itself, or raise its error."""
        for error in (await self.handle([event])).values():
            raise error

    async def errors(self, events: Sequence[Event], seconds: float) -> Mapping[str, Exception]:
        """The error of each event that failed, by event id.

        seconds: how long one call may take.

        When a call for several events raises, they are handled one by one, so that one bad event does not keep the
        others from being handled; but not when a dependency is down. So what a throttled store takes is done, too.
        """
        try:
            async with asyncio.timeout(seconds):
                return await self.handle(events)
        except Exception as error:
            if len(events) == 1 or unreachable(error):
                return {event.id: error for event in events}
            log.info("events are handled one by one", extra={"events": len(events), "error": repr(error)})
        found: dict[str, Exception] = {}
        for event in events:
            found |= await self.errors([event], seconds)
        return found


def in_turn(handler: Handler, *, most: int = 100, at_once: int = 1) -> BatchHandler:
    """A handler of one event as a batch handler: one event after the other. Several together suit short work."""

    async def handle(events: Sequence[Event]) -> Mapping[str, Exception]:
        failed: dict[str, Exception] = {}
        for event in events:
            try:
                await handler(event)
            except Exception as error:
                failed[event.id] = error
        return failed

    return BatchHandler(handle, most=most, at_once=at_once)
