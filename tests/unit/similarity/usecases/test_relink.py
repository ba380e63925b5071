"""Links at once and relinked: the same in the end, whatever the order, and however many processes share the work."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from protos.node.v1 import node_pb2
from services.similarity_service.model import score
from services.similarity_service.model.links import RENEWED
from services.similarity_service.model.user_settings import SavedUserSettings, UserSettings
from services.similarity_service.ports import NodeText, Related
from shared.errors import Unavailable
from tests.support.similarity_service import event_of
from tests.support.similarity_world import U, World, burst, links_of


async def test_the_order_of_a_burst_does_not_matter() -> None:
    texts = burst(60)
    first = await links_of(texts)
    assert len(first) > 20
    assert await links_of(texts, seed=1) == first
    assert await links_of(texts, seed=2) == first


async def test_two_replicas_give_the_same_links_as_one() -> None:
    texts = burst(60)
    assert await links_of(texts, replicas=2, seed=3) == await links_of(texts)


async def test_a_pause_in_a_burst_does_not_matter() -> None:
    texts = burst(60)
    world = World(2)
    for number, text in enumerate(texts):
        await world.processes[number < 20].hear(text)
        if number in (19, 40):
            await world.relink()
    await world.relink()
    assert world.graph.pairs(U) == await links_of(texts)


async def test_relinking_explains_each_new_link_once_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    explained: list[object] = []
    explain = score.explain

    def counting(*args: Any) -> Any:
        explained.append(args)
        return explain(*args)

    monkeypatch.setattr(score, "explain", counting)
    texts = burst(60)
    world = World()
    process = world.processes[0]
    await process.index_node(U, texts)
    await process.relinker.relink(U, [text.node_id for text in texts])
    links = world.graph.auto[U]
    assert len(explained) == len(links) > 20
    assert all(link.contributions for link in links.values())
    await process.relinker.relink(U, [text.node_id for text in texts])
    assert len(explained) == len(links)


async def test_a_user_at_rest_is_dropped() -> None:
    world = World()
    await world.processes[0].hear(burst(1)[0])
    await world.relink()
    await world.clock.advance(60)
    await world.processes[0].relinker.relink_if_quiet(U)
    assert world.processes[0].relinker.users == []


async def test_few_notes_at_rest_have_the_links_that_a_clean_rebuild_makes() -> None:
    world = World()
    process = world.processes[0]
    for text in burst(60):
        await process.hear(text)
        await world.relink()
        await world.clock.advance(18)
    for node_id in ("n003", "n010", "n020"):
        await process.set_visibility(U, node_id, 2, visible=False)
        await process.relinker.schedule_after_removal(U, world.clock.now_ms())
        for pair in [pair for pair in world.graph.auto[U] if node_id in pair]:
            del world.graph.auto[U][pair]
    await world.relink()
    drifted = world.graph.pairs(U)
    await world.clock.advance(30)
    await process.relinker.relink_if_quiet(U)
    assert process.relinker.users == []
    at_rest = world.graph.pairs(U)
    await process.relinker.relink(U, list(await process.cache.query(U, lambda index: list(index.ids()))))
    assert world.graph.pairs(U) == at_rest != drifted


async def test_a_deletion_alone_gives_its_places_to_others() -> None:
    world = World(2)
    one, two = world.processes
    world.settings.items[U] = SavedUserSettings(UserSettings(max_links=1, link_threshold=0.05), "english")
    for node_id, text in (
        ("a", "graph tree node edge"),
        ("b", "graph tree node wind"),
        ("c", "graph tree node edge path"),
    ):
        await one.hear(NodeText(node_id, 1, 1, "", text, ()))
    await world.relink()
    await world.clock.advance(30)
    await one.relinker.relink_if_quiet(U)
    assert one.relinker.users == []
    before = world.graph.pairs(U)
    await one.set_visibility(U, "c", 2, visible=False)
    await one.relinker.schedule_after_removal(U, world.clock.now_ms())
    world.graph.auto[U].clear()
    # Its process dies; another gives the places.
    await world.clock.advance(61)
    await two.relinker.renew_and_take_over()
    world.processes.pop(0)
    await world.relink()
    await world.clock.advance(30)
    await two.relinker.relink_if_quiet(U)
    assert ("a", "b") in world.graph.pairs(U) != before


async def test_the_event_of_a_deletion_schedules_a_relink() -> None:
    world = World()
    process = world.processes[0]
    for text in burst(2):
        await process.index_node(U, [text])
    deleted = event_of(node_pb2.Node(user_id=U, node_id="n000", version=2, incarnation=1), "node.deleted")
    await process.handlers["node.deleted"](deleted)
    assert process.relinker.users == [U]
    assert [each.since_ms for each in world.pending_relinks.items.values()] == [deleted.time_ms]


async def test_a_user_without_notes_has_nothing_to_relink() -> None:
    world = World()
    (text,) = burst(1)
    await world.processes[0].index_node(U, [text])
    await world.processes[0].set_visibility(U, text.node_id, 2, visible=False)
    await world.processes[0].relinker.schedule_after_removal(U, world.clock.now_ms())
    assert world.pending_relinks.items == {}


async def test_after_a_long_relinking_notes_must_be_at_rest_for_longer() -> None:
    world = World()
    process = world.processes[0]
    related = world.graph.related

    async def slowly(user_id: str, node_ids: Sequence[str]) -> Mapping[str, Related]:
        world.clock.move(2.0)
        return await related(user_id, node_ids)

    world.graph.related = slowly  # type: ignore[method-assign]
    first, second = burst(2)
    await process.hear(first)
    await world.clock.advance(1.1)
    assert not await process.relinker.relink_if_quiet(U)  # sees the index for the first time
    await world.clock.advance(1.1)
    assert await process.relinker.relink_if_quiet(U), "it took two seconds"
    await process.hear(second)
    assert not await process.relinker.relink_if_quiet(U)
    await world.clock.advance(5.9)
    assert not await process.relinker.relink_if_quiet(U)
    await world.clock.advance(0.2)
    assert await process.relinker.relink_if_quiet(U)


async def test_linked_at_once() -> None:
    world = World()
    await world.processes[0].hear(NodeText("a", 1, 1, "Sourdough", "flour and water rest overnight", ()))
    await world.processes[0].hear(NodeText("b", 1, 1, "Pizza", "sourdough with tomatoes, rests overnight", ()))
    assert world.graph.pairs(U) == {("a", "b")}


async def test_an_update_removes_what_no_longer_holds_but_not_what_a_person_confirmed() -> None:
    world = World()
    process = world.processes[0]
    for node_id, title, text in (
        ("a", "Sourdough", "flour and water"),
        ("b", "Pizza", "sourdough with tomatoes"),
        ("c", "Bread", "sourdough in the oven"),
    ):
        await process.hear(NodeText(node_id, 1, 1, title, text, ()))
    await world.relink()
    assert {("a", "b"), ("a", "c")} <= world.graph.pairs(U)
    world.graph.firm[U] = {frozenset("ac")}
    world.graph.auto[U].pop(frozenset("ac"))
    await process.hear(NodeText("a", 1, 2, "Sailing", "wind and rope", ()))
    await world.relink()
    assert not any("a" in pair for pair in world.graph.pairs(U))
    assert world.graph.firm[U] == {frozenset("ac")}


async def test_a_link_that_stays_gets_its_new_reasons() -> None:
    world = World()
    process = world.processes[0]
    await process.hear(NodeText("a", 1, 1, "Sourdough", "flour and water rest overnight", ()))
    await process.hear(NodeText("b", 1, 1, "Pizza", "sourdough with tomatoes, rests overnight", ()))
    await world.relink()
    before = world.graph.auto[U][frozenset("ab")]
    await process.hear(NodeText("b", 1, 2, "Flour", "sourdough of flour and water", ()))
    await world.relink()
    after = world.graph.auto[U][frozenset("ab")]
    assert after.score > before.score + RENEWED
    assert "overnight" in {each.keyword for each in before.contributions}
    assert "overnight" not in {each.keyword for each in after.contributions}


async def test_links_of_a_burst_say_what_they_are_worth_in_the_end() -> None:
    world = World()
    process = world.processes[0]
    for text in burst(60):
        await process.hear(text)
    await world.relink()
    index = await process.cache.query(U, lambda index: index)
    for pair, link in world.graph.auto[U].items():
        one, other = (index.doc(node_id) for node_id in pair)
        assert abs(score.compare(index, one, other).score - link.score) < RENEWED


async def test_a_better_note_takes_the_place_of_a_worse_one() -> None:
    world = World()
    world.settings.items[U] = SavedUserSettings(UserSettings(max_links=1, link_threshold=0.05), "english")
    process = world.processes[0]
    await process.hear(NodeText("a", 1, 1, "", "graph tree node edge", ()))
    await process.hear(NodeText("b", 1, 1, "", "graph tree wind rope sail", ()))
    await process.hear(NodeText("d", 1, 1, "", "wind rope sail mast sea", ()))
    await world.relink()
    assert ("a", "b") in world.graph.pairs(U)
    await process.hear(NodeText("c", 1, 1, "", "graph tree node edge path", ()))
    await world.relink()
    assert world.graph.pairs(U) == {("a", "c"), ("b", "d")}


async def test_nothing_is_relinked_while_notes_keep_coming_but_not_for_ever() -> None:
    world = World()
    process = world.processes[0]
    texts = burst(40)
    relinked = 0
    for text in texts:
        await process.hear(text)
        await world.clock.advance(0.9)
        relinked += await process.relinker.relink_if_quiet(U)
    assert relinked == 1  # after 30 s


async def test_what_could_not_be_relinked_is_relinked_later() -> None:
    world = World()
    process = world.processes[0]
    await process.hear(NodeText("a", 1, 1, "Sourdough", "flour and water", ()))
    await process.hear(NodeText("b", 1, 1, "Pizza", "sourdough with tomatoes", ()))
    world.graph.auto.clear()
    world.graph.down = True
    await world.clock.advance(1.1)
    await process.relinker.relink_if_quiet(U)
    await world.clock.advance(1.1)
    with pytest.raises(Unavailable):
        await process.relinker.relink_if_quiet(U)
    assert process.relinker.pending == 2
    world.graph.down = False
    await world.relink()
    assert world.graph.pairs(U) == {("a", "b")}


async def test_auto_link_off() -> None:
    world = World()
    world.settings.items[U] = SavedUserSettings(UserSettings(auto_link=False), "english")
    for text in burst(10):
        await world.processes[0].hear(text)
    assert world.graph.pairs(U) == set()
    assert world.processes[0].relinker.pending == 0


async def test_a_contended_record_is_tried_again() -> None:
    world = World()
    world.records.contended = 3
    await world.processes[0].hear(NodeText("a", 1, 1, "Sourdough", "flour", ()))
    assert (await world.records.get(U, "a")).shown is not None
