"""ReindexUser hides the notes that are gone, and no others."""

import pytest

from services.similarity_service.ports import NodeState, NodeText
from services.similarity_service.usecases.reindex_user import ReindexUser
from services.similarity_service.usecases.user_settings import UserSettingsCache
from tests.support.similarity_world import U, World


@pytest.mark.parametrize("gone", [True, False])
async def test_a_note_is_hidden_if_it_is_gone_and_not_if_a_cache_is_older_than_its_record(gone: bool) -> None:
    world = World()
    process = world.processes[0]
    restored = NodeText("n", 5, 3, "Tea", "leaves", ())
    await process.index_node(U, [restored])
    # It came back after the live notes were listed, or is deleted since and the event is on its way.
    world.nodes.cached["n"] = NodeState(incarnation=5, version=4 if gone else 2, visible=False)
    world.nodes.items[U] = {"n": restored}
    world.nodes.listed = ()
    settings = UserSettingsCache(world.settings, world.clock)
    reindex = ReindexUser(
        world.records,
        process.cache,
        settings,
        world.nodes,
        process.index_node,
        process.set_visibility,
        process.link_texts,
        process.relinker,
    )
    assert [progress async for progress in reindex(U, False)][-1].finished
    stored = world.records.items[U, "n"]
    assert (stored.state_version, stored.visible) == ((4, False) if gone else (3, True))
