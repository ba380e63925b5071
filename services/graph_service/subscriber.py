"""Passes the events of the node service to their use case."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence

from services.graph_service import convert
from services.graph_service.usecases.node_events import NodeEvents
from shared.events.envelope import Event
from shared.events.handlers import BatchHandler, Handler, in_turn
from shared.ids import Clock

# The lists of more notes of one burst than this are not warmed: they are an import's, and change at once when their
# links are made.
_MOST_WARMED = 10
# A burst of a user's notes is over when none has come for so many seconds.
_REST_SECONDS = 1.0
# Users whose bursts are counted; above this many the least recent is dropped.
_MOST_USERS = 10_000


class Bursts:
    """Counts the notes that a user has created without a rest. Events of an import come in small groups, too."""

    def __init__(self, clock: Clock) -> None:
        self._now = clock.monotonic
        # Of each user: when the latest notes came, in seconds, and how many have come in the burst.
        self._users: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def add(self, user_id: str, notes: int) -> int:
        """Returns how many notes have come in the user's burst, with these."""
        now = self._now()
        latest, count = self._users.pop(user_id, (now, 0))
        count = notes if now - latest >= _REST_SECONDS else count + notes
        self._users[user_id] = (now, count)
        if len(self._users) > _MOST_USERS:
            self._users.popitem(last=False)
        return count


def handlers(node_events: NodeEvents, clock: Clock) -> Mapping[str, Handler | BatchHandler]:
    """The handler of each type of event. Created notes take no call as a rule, so many are handled in turn.

    Then the lists of a few of them are put into the caches together: not those of an import, nor those of a replay,
    whose notes have existed for long.
    """
    bursts = Bursts(clock)

    async def created(event: Event) -> None:
        title, incarnation = convert.node_created(event.data)
        await node_events.node_created(event.user_id, event.node_id, title, incarnation)

    in_turn_created = in_turn(created)

    async def all_created(events: Sequence[Event]) -> Mapping[str, Exception]:
        failed = await in_turn_created.handle(events)
        new = [event.node_id for event in events if event.id not in failed and not event.replay]
        if new and bursts.add(events[0].user_id, len(new)) <= _MOST_WARMED:
            await node_events.warm(events[0].user_id, new)
        return failed

    async def updated(event: Event) -> None:
        await node_events.node_updated(event.user_id, event.node_id, event.version, convert.incarnation(event.data))

    async def deleted(event: Event) -> None:
        await node_events.node_deleted(event.user_id, event.node_id, event.version, convert.incarnation(event.data))

    async def restored(event: Event) -> None:
        await node_events.node_restored(event.user_id, event.node_id, event.version, convert.incarnation(event.data))

    async def purged(event: Event) -> None:
        await node_events.node_purged(event.user_id, event.node_id, event.version, convert.incarnation(event.data))

    return {
        "node.created": BatchHandler(all_created),
        "node.updated": updated,
        "node.deleted": deleted,
        "node.restored": restored,
        "node.purged": purged,
    }
