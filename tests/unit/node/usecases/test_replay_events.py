"""ReplayEvents: which events it publishes, at which rate, and how it continues."""

import pytest

from services.node_service.model import Cascade, Draft, NodeEventType
from services.node_service.usecases.create_node import create_node
from services.node_service.usecases.delete_node import delete_node
from services.node_service.usecases.replay_events import ReplayProgress, replay_events
from services.node_service.usecases.restore_node import restore_node
from services.node_service.usecases.update_node import update_node
from shared.errors import InvalidArgument, Unavailable
from tests.support.node_fakes import World


async def add(world: World, *node_ids: str) -> None:
    for node_id in node_ids:
        await create_node(world.notes, "u", Draft(node_id=node_id, content="C"), None)


async def replay(world: World, rate: int = 0, token: str = "", user: str = "u") -> list[ReplayProgress]:
    async def sleep(seconds: float) -> None:
        world.clock.seconds += seconds

    return [progress async for progress in replay_events(world.notes, user, rate, token, sleep=sleep)]


@pytest.fixture
def world() -> World:
    return World()


async def test_each_note_has_the_event_that_its_present_state_implies(world: World) -> None:
    await add(world, "changed", "deleted", "new", "restored")
    await update_node(world.notes, "u", "changed", Draft(content="D"), ["content"], "", None)
    for node_id in ("deleted", "restored"):
        await delete_node(world.notes, "u", node_id, "", Cascade.ORPHANS, None)
    await restore_node(world.notes, "u", "restored", None)
    await create_node(world.notes, "other", Draft(node_id="new", content="C"), None)
    before = dict(world.store.notes)
    assert (await replay(world))[-1] == ReplayProgress(4, "", True)
    assert [(event.node.node_id, event.event_type, event.node.version) for event in world.publisher.published] == [
        ("changed", NodeEventType.UPDATED, 2),
        ("deleted", NodeEventType.DELETED, 2),
        ("new", NodeEventType.CREATED, 1),
        ("restored", NodeEventType.UPDATED, 3),
    ]
    assert world.publisher.published[1].node.cascade is Cascade.ORPHANS
    assert world.store.notes == before
    assert (await replay(world, user="nobody")) == [ReplayProgress(0, "", True)]


async def test_a_replay_goes_on_where_it_ended(world: World) -> None:
    ids = [f"n{number:03d}" for number in range(120)]
    await add(world, *ids)
    stopped = (await replay(world, rate=2000))[0]
    assert not stopped.finished
    world.publisher.published.clear()
    await replay(world, token=stopped.next_token)
    assert [event.node.node_id for event in world.publisher.published] == ids[stopped.replayed :]


async def test_the_rate_is_kept(world: World) -> None:
    await add(world, *(f"n{number:03d}" for number in range(120)))
    await replay(world, rate=10)
    assert world.clock.seconds == pytest.approx(12)


async def test_a_bus_that_throttles_is_asked_again_and_one_that_is_away_ends_it(world: World) -> None:
    await add(world, "a", "b")
    world.publisher.failures = 3
    assert (await replay(world))[-1].replayed == 2
    world.publisher.failures = 100
    with pytest.raises(Unavailable):
        await replay(world)


@pytest.mark.parametrize(("rate", "token"), [(-1, ""), (2001, ""), (0, "garbled")])
async def test_what_cant_be_replayed(world: World, rate: int, token: str) -> None:
    with pytest.raises(InvalidArgument):
        await replay(world, rate, token)


async def test_a_token_belongs_to_its_user(world: World) -> None:
    await add(world, *(f"n{number:03d}" for number in range(60)))
    token = (await replay(world))[0].next_token
    with pytest.raises(InvalidArgument) as refused:
        await replay(world, user="other", token=token)
    assert refused.value.reason == "PAGE_TOKEN_INVALID"
