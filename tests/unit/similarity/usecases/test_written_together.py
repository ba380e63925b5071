"""Events of written notes that are handled together: the end is the same as one by one, for a few calls in all."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from services.similarity_service.ports import NodeText
from services.similarity_service.usecases.link_node import MOST_AT_ONCE
from shared.errors import Aborted, InvalidArgument, Unavailable
from shared.events.envelope import Event, new_event
from shared.events.handlers import BatchHandler
from shared.ids import UlidFactory
from shared.resilience.breaker import unreachable
from shared.revisions import Revision
from tests.support.similarity_fakes import FakeNodes
from tests.support.similarity_world import Process, U, World, burst, links_of


def event_of(world: World, note: NodeText, **data: Any) -> Event:
    return new_event(
        UlidFactory(world.clock),
        world.clock,
        type="node.created" if note.version == 1 else "node.updated",
        source="brain2.node",
        user_id=U,
        node_id=note.node_id,
        version=note.version,
        data={"incarnation": str(note.incarnation), "title": note.title, "content": note.text, **data},
    )


async def hear(process: Process, events: Sequence[Event]) -> Mapping[str, Exception]:
    """The errors by node id."""
    handler = process.handlers["node.created"]
    assert isinstance(handler, BatchHandler)
    errors = await handler.handle(events)
    return {event.node_id: errors[event.id] for event in events if event.id in errors}


def counted(calls: Counter[str], port: Any, *names: str) -> None:
    """Count the calls of a port's methods."""
    for name in names:
        method = getattr(port, name)

        def call(*args: Any, _name: str = name, _method: Any = method, **named: Any) -> Any:
            calls[_name] += 1
            return _method(*args, **named)

        setattr(port, name, call)


async def test_batches_end_with_the_same_links_as_single_events() -> None:
    texts = burst(60)
    world = World(2)
    rng = random.Random(3)
    left = [event_of(world, text) for text in texts]
    while left:
        size = rng.randint(1, 20)
        assert await hear(rng.choice(world.processes), left[:size]) == {}
        left = left[size:]
    await world.relink()
    assert world.graph.pairs(U) == await links_of(texts)
    assert {node_id for _, node_id in world.records.items} == {text.node_id for text in texts}


async def test_a_batch_takes_few_calls_whatever_its_size() -> None:
    world = World()
    calls: Counter[str] = Counter()
    await hear(world.processes[0], [event_of(world, burst(1)[0])])
    counted(calls, world.records, "put_many", "get", "get_many")
    counted(calls, world.log, "append", "since")
    counted(calls, world.graph, "link", "text_links", "link_texts")
    counted(calls, world.settings, "get")
    counted(calls, world.pending_relinks, "put")

    await hear(world.processes[0], [event_of(world, text) for text in burst(60)[1:]])

    assert calls["put_many"] == calls["append"] == 1
    assert calls["link"] == 0, "the links of many notes are left to relinking"
    assert calls["get"] == calls["get_many"] == calls["put"] == 0, "all is new, or known already"
    assert calls["text_links"] == calls["link_texts"] == 0, "no text has a link"
    assert calls["since"] <= 5, "one look at the log for each step"


async def test_relinking_a_burst_takes_one_read_and_one_write_of_links_for_a_hundred_notes() -> None:
    world = World()
    await hear(world.processes[0], [event_of(world, text) for text in burst(60)])
    calls: Counter[str] = Counter()
    counted(calls, world.graph, "related", "link", "unlink")
    counted(calls, world.log, "since")

    await world.processes[0].relinker.relink(U, [text.node_id for text in burst(60)])

    assert calls["related"] == calls["since"] == 1
    assert calls["link"] <= 1
    assert calls["unlink"] <= 1


async def test_a_malformed_event_fails_alone() -> None:
    world = World()
    good, bad = burst(2)
    errors = await hear(world.processes[0], [event_of(world, good), event_of(world, bad, content=["no text"])])
    assert {node_id: type(error) for node_id, error in errors.items()} == {bad.node_id: InvalidArgument}
    assert (U, good.node_id) in world.records.items


async def test_a_link_that_can_not_be_made_now_gives_back_the_events_of_its_notes() -> None:
    world = World()
    events = [event_of(world, text) for text in burst(40)]
    await hear(world.processes[0], events)
    await world.relink()
    (one, _), *_ = world.graph.pairs(U)
    few = [event for event in events if event.node_id == one] + events[:MOST_AT_ONCE]
    few = list({event.node_id: event for event in few}.values())[:MOST_AT_ONCE]
    world.graph.busy = {one}
    errors = await hear(world.processes[0], few)
    assert {node_id: type(error) for node_id, error in errors.items()} == {one: Aborted}
    assert not any(map(unreachable, errors.values())), "the events of other users are handled on"


@pytest.mark.parametrize(("count", "at_once"), [(MOST_AT_ONCE, True), (MOST_AT_ONCE + 1, False)])
async def test_few_notes_are_linked_at_once_and_many_by_relinking(count: int, at_once: bool) -> None:
    world = World()
    texts = [NodeText(f"n{n}", 1, 1, f"Tea {n}", f"green tea from Uji in a clay pot, own{n}", ()) for n in range(count)]

    assert await hear(world.processes[0], [event_of(world, text) for text in texts]) == {}

    assert bool(world.graph.pairs(U)) is at_once
    assert world.processes[0].relinker.pending == count
    assert len(world.pending_relinks.items) == 1, "another process relinks them if this one dies"
    await world.relink()
    assert world.graph.pairs(U) == await links_of(texts)


async def test_a_user_of_whom_all_notes_were_relinked_is_not_relinked_once_more() -> None:
    world = World()
    process = world.processes[0]
    texts = burst(30)
    await hear(process, [event_of(world, text) for text in texts])
    await world.relink()
    calls: Counter[str] = Counter()
    counted(calls, world.graph, "related")
    await world.clock.advance(21)
    await process.relinker.relink_if_quiet(U)
    assert process.relinker.users == []
    assert calls["related"] == 0

    await hear(process, [event_of(world, NodeText("new", 1, 1, "New", "flour water salt dough", ()))])
    await world.relink()
    await world.clock.advance(21)
    calls.clear()
    await process.relinker.relink_if_quiet(U)
    assert process.relinker.users == []
    assert calls["related"] > 0, "the others were not relinked since the new one came"


async def test_a_text_that_is_left_out_is_read_once_for_all_and_fails_alone() -> None:
    world = World()
    process = world.processes[0]
    small, large = burst(2)
    errors = await hear(process, [event_of(world, small), event_of(world, large, contentOmitted=True)])
    assert errors == {}, "a note that was deleted meanwhile is left to its deletion"
    assert {node_id for _, node_id in world.records.items} == {small.node_id}


async def test_large_texts_are_read_a_few_at_a_time_and_fail_alone() -> None:
    world = World()
    process = world.processes[0]
    asked: list[list[str]] = []

    class Nodes(FakeNodes):
        async def texts(
            self, user_id: str, node_ids: Sequence[str], seen: Mapping[str, Revision] | None = None
        ) -> Mapping[str, NodeText]:
            asked.append(list(node_ids))
            assert seen is not None
            assert {seen[each] for each in node_ids} == {(1, 1)}, "they must be as new as their events"
            if len(asked) == 2:
                raise Unavailable("the node service is slow")
            return {each.node_id: each for each in texts if each.node_id in node_ids}

    texts = burst(25)
    process.nodes = Nodes()
    errors = await hear(process, [event_of(world, text, content="", contentOmitted=True) for text in texts])
    assert [len(each) for each in asked] == [10, 10, 5]
    assert errors.keys() == {text.node_id for text in texts[10:20]}
    assert {node_id for _, node_id in world.records.items} == {each.node_id for each in texts} - errors.keys()


async def test_an_old_version_in_a_batch_changes_nothing_and_is_handled() -> None:
    world = World()
    process = world.processes[0]
    first, other = burst(2)
    await hear(process, [event_of(world, NodeText(first.node_id, 1, 3, "Newest", "newest text", ()))])

    errors = await hear(process, [event_of(world, first), event_of(world, other)])

    assert errors == {}
    assert world.records.items[U, first.node_id].version == 3
    assert (U, other.node_id) in world.records.items


async def test_a_batch_that_comes_again_is_published_and_repaired_again() -> None:
    world = World(2)
    one, two = world.processes
    events = [event_of(world, text) for text in burst(5)]
    assert await two.cache.query(U, len) == 0
    world.log.down = True
    await one.index_node(U, burst(5))
    world.log.down = False
    world.records.reads.clear()

    assert await hear(two, events) == {}

    assert world.records.reads.count("repair_postings") == 5
    assert await two.cache.query(U, len) == 5


async def test_a_record_that_another_writer_changed_meanwhile_is_changed_by_itself() -> None:
    world = World()
    world.records.contended = 1
    assert await hear(world.processes[0], [event_of(world, text) for text in burst(5)]) == {}
    assert len(world.records.items) == 5


async def test_wiki_links_between_notes_of_one_batch() -> None:
    world = World(2)
    notes = [
        NodeText("a", 1, 1, "A", "[[B]] and [[C]]", ()),
        NodeText("b", 1, 1, "B", "[[A]]", ()),
        NodeText("c", 1, 1, "C", "", ()),
    ]
    assert await hear(world.processes[0], [event_of(world, note) for note in notes]) == {}
    assert world.graph.arrows(U) == {"a-b", "a>c"}

    changed = [NodeText("a", 1, 2, "A", "[[C]]", ()), NodeText("c", 1, 2, "See", "", ())]
    assert await hear(world.processes[1], [event_of(world, note) for note in changed]) == {}
    assert world.graph.arrows(U) == {"b>a", "a>c"}, "a link follows the note that it led to by its former name"


async def test_of_wiki_links_that_graph_refuses_only_their_notes_are_given_back() -> None:
    world = World()
    world.graph.unknown = {"b"}
    notes = [
        NodeText("a", 1, 1, "A", "[[B]]", ()),
        NodeText("b", 1, 1, "B", "", ()),
        NodeText("c", 1, 1, "C", "[[D]]", ()),
        NodeText("d", 1, 1, "D", "", ()),
    ]
    errors = await hear(world.processes[0], [event_of(world, note) for note in notes])
    assert set(errors) == {"a", "b"}
    assert world.graph.arrows(U) == {"c>d"}
