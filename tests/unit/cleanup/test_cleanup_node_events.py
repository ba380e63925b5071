"""node.deleted and node.restored: saga made, cancelled, or left alone."""

from services.cleanup_service.model.saga import Restore, State
from services.cleanup_service.usecases.node_events import on_node_deleted, on_node_restored
from tests.support.cleanup_world import World


async def test_a_deletion_without_retention_is_offered_at_once() -> None:
    world = World()
    world.add_note("now")
    world.add_note("later")
    await on_node_deleted(world.deletions(), world.delete("now"))
    await on_node_deleted(world.deletions(), world.delete("later", retention=1000))
    assert world.offered == [("u", "now")]


async def test_duplicates_and_late_deletions_change_nothing() -> None:
    world = World()
    world.add_note("n")
    first = world.delete("n", retention=1000)
    await on_node_deleted(world.deletions(), first)
    saga = world.sagas["u", "n"]
    assert await on_node_deleted(world.deletions(), first) is None
    assert world.sagas["u", "n"] == saga
    version = world.restore("n")
    assert version is not None
    await on_node_restored(world.deletions(), Restore("u", "n", version))
    assert await on_node_deleted(world.deletions(), first) is None
    assert world.sagas["u", "n"].state is State.CANCELLED


async def test_a_user_who_is_being_erased_gets_no_new_sagas() -> None:
    world = World(erasing={"u"})
    world.add_note("n")
    assert await on_node_deleted(world.deletions(), world.delete("n")) is None
    assert await on_node_restored(world.deletions(), Restore("u", "n", 9)) is None
    assert world.sagas == {}
