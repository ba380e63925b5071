"""Which events a replay tells, at which rate, and how it is gone on with."""

from collections.abc import Sequence

import pytest

from services.node_service.model import Cascade, Draft, NodeEvent, NodeEventType
from services.node_service.usecases.life import Life
from services.node_service.usecases.replaying import Progress, Replaying
from services.node_service.usecases.writing import Writing
from shared.errors import InvalidArgument, Unavailable
from tests.support.node_fakes import CountingIds, FakeClock, FakeRetentions, FakeStore, FakeVisibility, optimist


class World:
    """Use cases over fakes; told: what the bus took. refusals: calls that it refuses first."""

    def __init__(self) -> None:
        self.store, self.clock = FakeStore(), FakeClock()
        self.writing = Writing(self.store, self.clock, CountingIds(), optimist())
        self.life = Life(self.store, FakeRetentions(), FakeVisibility(), self.clock, optimist())
        self.replaying = Replaying(self.store, self, self.clock, sleep=self.sleep)
        self.told: list[NodeEvent] = []
        self.refusals = 0

    async def tell(self, events: Sequence[NodeEvent]) -> None:
        if self.refusals:
            self.refusals -= 1
            raise Unavailable("throttled", reason="BUS_UNAVAILABLE")
        self.told += events

    async def sleep(self, seconds: float) -> None:
        self.clock.seconds += seconds

    async def add(self, *node_ids: str) -> None:
        for node_id in node_ids:
            await self.writing.create_node("u", Draft(node_id=node_id, content="C"), None)

    async def replay(self, rate: int = 0, token: str = "", user: str = "u") -> list[Progress]:
        return [progress async for progress in self.replaying.replay(user, rate, token)]


@pytest.fixture
def world() -> World:
    return World()


async def test_each_note_tells_what_its_present_state_implies(world: World) -> None:
    await world.add("changed", "deleted", "new", "restored")
    await world.writing.update_node("u", "changed", Draft(content="D"), ["content"], "", None)
    for node_id in ("deleted", "restored"):
        await world.life.delete_node("u", node_id, "", Cascade.ORPHANS, None)
    await world.life.restore_node("u", "restored", None)
    await world.writing.create_node("other", Draft(node_id="new", content="C"), None)
    before = dict(world.store.notes)
    assert (await world.replay())[-1] == Progress(4, "", True)
    assert [(event.node.node_id, event.event_type, event.node.version) for event in world.told] == [
        ("changed", NodeEventType.UPDATED, 2),
        ("deleted", NodeEventType.DELETED, 2),
        ("new", NodeEventType.CREATED, 1),
        ("restored", NodeEventType.UPDATED, 3),
    ]
    assert world.told[1].node.cascade is Cascade.ORPHANS
    assert world.store.notes == before
    assert (await world.replay(user="nobody")) == [Progress(0, "", True)]


async def test_a_replay_goes_on_where_it_ended(world: World) -> None:
    ids = [f"n{number:03d}" for number in range(120)]
    await world.add(*ids)
    stopped = (await world.replay(rate=2000))[0]
    assert not stopped.finished
    world.told.clear()
    await world.replay(token=stopped.next_token)
    assert [event.node.node_id for event in world.told] == ids[stopped.replayed :]


async def test_the_rate_is_kept(world: World) -> None:
    await world.add(*(f"n{number:03d}" for number in range(120)))
    await world.replay(rate=10)
    assert world.clock.seconds == pytest.approx(12)


async def test_a_bus_that_throttles_is_asked_again_and_one_that_is_away_ends_it(world: World) -> None:
    await world.add("a", "b")
    world.refusals = 3
    assert (await world.replay())[-1].replayed == 2
    assert world.clock.seconds >= 0.7
    world.refusals = 100
    with pytest.raises(Unavailable):
        await world.replay()


@pytest.mark.parametrize(("rate", "token"), [(-1, ""), (0, "garbled")])
async def test_what_cant_be_replayed(world: World, rate: int, token: str) -> None:
    with pytest.raises(InvalidArgument):
        await world.replay(rate, token)


async def test_a_token_belongs_to_its_user(world: World) -> None:
    await world.add(*(f"n{number:03d}" for number in range(60)))
    token = (await world.replay())[0].next_token
    with pytest.raises(InvalidArgument) as refused:
        await world.replay(user="other", token=token)
    assert refused.value.reason == "PAGE_TOKEN_INVALID"
