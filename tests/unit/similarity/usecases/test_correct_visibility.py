"""A record is replaced by its owner's state only if it is ahead of that, not if the answer is older than the record."""

import pytest

from services.similarity_service.model.stored import Stored
from services.similarity_service.ports import NodeState, NodeText
from tests.support.similarity_world import U, World

N, INCARNATION = "n", 5


def text(version: int) -> NodeText:
    return NodeText(N, INCARNATION, version, "Tea", f"leaves of spring {version}", ())


async def shown_at(version: int) -> World:
    """A note that was deleted at version 2, restored, and changed; the event of the deletion is still on its way."""
    world = World()
    await world.processes[0].index_node(U, [text(version)])
    return world


async def hear_of_the_deletion(world: World) -> None:
    await world.processes[0].set_visibility(U, N, 2, visible=False, incarnation=INCARNATION, probably_known=True)


def stored(world: World) -> Stored:
    return world.records.items[U, N]


async def test_a_note_that_changes_after_its_owner_was_asked_keeps_the_change() -> None:
    world = await shown_at(3)

    async def change() -> None:
        world.nodes.states[N] = NodeState(incarnation=INCARNATION, version=4, visible=True)
        await world.processes[0].index_node(U, [text(4)])

    world.nodes.states[N] = NodeState(incarnation=INCARNATION, version=3, visible=True)
    world.nodes.on_state = change
    await hear_of_the_deletion(world)
    assert (stored(world).version, stored(world).state_version, stored(world).visible) == (4, 4, True)
    assert stored(world).note is not None


@pytest.mark.parametrize("visible", [True, False])
async def test_an_owner_whose_cache_is_older_than_the_record_is_asked_for_what_the_record_has(visible: bool) -> None:
    world = await shown_at(4)
    world.nodes.states[N] = NodeState(incarnation=INCARNATION, version=4, visible=True)
    world.nodes.cached[N] = NodeState(incarnation=INCARNATION, version=3, visible=visible)
    await hear_of_the_deletion(world)
    assert (stored(world).version, stored(world).state_version, stored(world).visible) == (4, 4, True)
    assert stored(world).note is not None


async def test_a_version_that_the_note_never_had_is_corrected() -> None:
    world = await shown_at(10**9)
    world.nodes.states[N] = NodeState(incarnation=INCARNATION, version=2, visible=False)
    await hear_of_the_deletion(world)
    assert (stored(world).state_version, stored(world).visible) == (2, False)
