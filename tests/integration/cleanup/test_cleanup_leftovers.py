"""What ReconcileUser does with events that were left in an outbox, on a real table."""

from collections.abc import Sequence
from typing import Any, cast

import pytest

from protos.table import outbox_partition
from services.cleanup_service.adapters.reconcile_store import DynamoReconcileStore
from shared.dynamo import Item
from shared.errors import Unavailable
from shared.events.bus import Bus, Refused
from shared.events.envelope import Event, new_event
from shared.ids import SystemClock, UlidFactory
from tests.support.cleanup_service import table_of
from tests.support.stores import Stores


class PickyBus:
    """Takes no event of the first note."""

    async def publish(self, events: Sequence[Event]) -> tuple[list[Event], list[Refused]]:
        taken = [event for event in events if event.node_id != "n0"]
        return taken, [Refused(event, "InternalFailure", permanent=False) for event in events if event.node_id == "n0"]


def left(events: Sequence[Event]) -> list[Item]:
    return [
        {"PK": outbox_partition("node", 0), "SK": event.id, "event": event.to_json(), "at": event.time_ms}
        for event in events
    ]


async def test_an_event_that_the_bus_refuses_holds_up_no_other(stores: Stores, user: str) -> None:
    ulids = UlidFactory(SystemClock())
    made: dict[str, Any] = {"source": "brain2.node", "type": "node.updated", "user_id": user, "version": 1, "data": {}}
    events = [new_event(ulids, SystemClock(), node_id=f"n{number}", **made) for number in range(25)]
    async with stores.fresh_table() as name, table_of(stores, BRAIN2_TABLE=name) as table:
        await table.batch_write(left(events))
        store = DynamoReconcileStore(table, cast(Bus, PickyBus()))
        with pytest.raises(Unavailable, match="InternalFailure"):
            await store.publish(user, [event.id for event in events])
        assert await store.unpublished(user, 2**62) == [(events[0].id, "node.updated")]


async def test_an_item_without_an_event_is_left_for_an_operator(
    stores: Stores, user: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody can tell whose it is, so it keeps nobody's events from being found."""
    made: dict[str, Any] = {"source": "brain2.node", "type": "node.updated", "user_id": user, "version": 1, "data": {}}
    event = new_event(UlidFactory(SystemClock()), SystemClock(), node_id="n1", **made)
    async with stores.fresh_table() as name, table_of(stores, BRAIN2_TABLE=name) as table:
        await table.batch_write([{"PK": outbox_partition("node", 0), "SK": "0", "event": "{", "at": 1}, *left([event])])
        store = DynamoReconcileStore(table, cast(Bus, PickyBus()))
        assert await store.unpublished(user, 2**62) == [(event.id, "node.updated")]
    assert "holds no event" in caplog.text
