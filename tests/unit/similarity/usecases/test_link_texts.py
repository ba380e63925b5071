"""Wiki links become edges, follow what is written, and end the same whatever the order and whoever does the work."""

import itertools
import random
import re
from dataclasses import replace

import pytest

from services.similarity_service.ports import Announcement, Direction, NodeText, TextLink
from services.similarity_service.usecases.list_mentions import ListMentions
from shared.errors import Aborted, NotFound
from shared.events.envelope import Event, new_event
from shared.ids import UlidFactory
from tests.support.similarity_world import U, World


def text(node_id: str, title: str, content: str = "", version: int = 1, *aliases: str) -> NodeText:
    return NodeText(node_id, 1, version, title, content, (), aliases)


def event_of(world: World, note: NodeText, kind: str = "") -> Event:
    kind = kind or ("node.created" if note.version == 1 else "node.updated")
    data: dict[str, object] = {"incarnation": str(note.incarnation)}
    if kind != "node.deleted":
        data |= {"title": note.title, "content": note.text, "aliases": list(note.aliases)}
    return new_event(
        UlidFactory(world.clock),
        world.clock,
        type=kind,
        source="brain2.node",
        user_id=U,
        node_id=note.node_id,
        version=note.version,
        data=data,
    )


class Vault:
    """A world whose replicas hear of what is written in turn."""

    def __init__(self, replicas: int = 1) -> None:
        self.world = World(replicas)
        self.turn = itertools.cycle(range(replicas))

    async def hear(self, note: NodeText, kind: str = "") -> None:
        event = event_of(self.world, note, kind)
        await self.world.processes[next(self.turn)].handlers[event.type](event)

    @property
    def arrows(self) -> set[str]:
        return self.world.graph.arrows(U)


@pytest.fixture(params=[1, 2])
def vault(request: pytest.FixtureRequest) -> Vault:
    return Vault(request.param)


async def test_a_link_is_made_when_its_note_is_there_or_comes(vault: Vault) -> None:
    await vault.hear(text("a", "Diary", "I drink [[Tea]] from the [[Pot|old pot]]"))
    assert vault.arrows == set()
    await vault.hear(text("t", "tea"))
    assert vault.arrows == {"a>t"}
    await vault.hear(text("p", "x", "", 1, "Pot"))
    assert vault.arrows == {"a>t", "a>p"}


async def test_a_link_goes_when_the_text_no_longer_has_it(vault: Vault) -> None:
    await vault.hear(text("t", "Tea"))
    await vault.hear(text("a", "Diary", "[[Tea]] [[Tea#part|again]]"))
    assert vault.arrows == {"a>t"}
    await vault.hear(text("a", "Diary", "`[[Tea]]`", 2))
    assert vault.arrows == set()


async def test_two_notes_that_link_each_other_have_one_edge(vault: Vault) -> None:
    await vault.hear(text("a", "A", "[[B]]"))
    await vault.hear(text("b", "B", "[[A]]"))
    assert vault.arrows == {"a-b"}
    await vault.hear(text("a", "A", "nothing", 2))
    assert vault.arrows == {"b>a"}
    await vault.hear(text("a", "A", "[[B]]", 3))
    await vault.hear(text("b", "B", "", 2))
    assert vault.arrows == {"a>b"}


async def test_a_link_follows_a_renamed_note_until_another_has_the_name(vault: Vault) -> None:
    await vault.hear(text("t", "Tea"))
    await vault.hear(text("a", "Diary", "[[Tea]]"))
    await vault.hear(text("t", "Green tea", "", 2))
    assert vault.arrows == {"a>t"}
    await vault.hear(text("new", "Tea"))
    assert vault.arrows == {"a>new"}
    await vault.hear(text("new", "Black tea", "", 2))
    assert vault.arrows == {"a>new"}, "both had the name, and the smaller id wins"


async def test_an_alias_that_moves_takes_its_links_along(vault: Vault) -> None:
    await vault.hear(text("x", "X", "", 1, "Tea"))
    await vault.hear(text("y", "Y", "", 1, "tea"))
    await vault.hear(text("a", "Diary", "[[Tea]]"))
    assert vault.arrows == {"a>x"}
    await vault.hear(text("x", "X", "", 2))
    assert vault.arrows == {"a>y"}


async def test_a_deleted_note_gives_its_links_to_the_next_of_the_name_and_takes_them_back(vault: Vault) -> None:
    await vault.hear(text("t1", "Tea"))
    await vault.hear(text("t2", "Tea"))
    await vault.hear(text("a", "Diary", "[[Tea]]"))
    assert vault.arrows == {"a>t1"}
    await vault.hear(text("t1", "Tea", "", 2), "node.deleted")
    # The edge to the deleted note is hidden in graph, and is compared with the texts when the note is back.
    assert vault.arrows == {"a>t1", "a>t2"}
    await vault.hear(text("t1", "Tea", "", 3), "node.restored")
    assert vault.arrows == {"a>t1"}


async def test_a_link_that_was_written_while_its_note_was_deleted_is_made_at_the_restore(vault: Vault) -> None:
    await vault.hear(text("t", "Tea"))
    await vault.hear(text("t", "Tea", "", 2), "node.deleted")
    await vault.hear(text("a", "Diary", "[[Tea]]"))
    assert vault.arrows == set()
    # The node service shows the note by a call, before its event comes.
    await vault.world.processes[0].set_visibility(U, "t", 3, visible=True)
    await vault.hear(text("t", "Tea", "", 3), "node.restored")
    assert vault.arrows == {"a>t"}


@pytest.mark.parametrize("shown", [True, False])
async def test_a_link_that_was_removed_while_its_note_was_deleted_is_removed_at_the_restore(
    vault: Vault, shown: bool
) -> None:
    graph = vault.world.graph
    await vault.hear(text("t", "Tea"))
    await vault.hear(text("a", "Diary", "[[Tea]]"))
    await vault.hear(text("t", "Tea", "", 2), "node.deleted")
    graph.hidden.add("t")
    await vault.hear(text("a", "Diary", "", 2))
    assert vault.arrows == {"a>t"}, "hidden edges are compared at the restore"
    if shown:  # graph has heard of the restore first
        graph.hidden.clear()
    await vault.hear(text("t", "Tea", "", 3), "node.restored")
    assert vault.arrows == set()


async def test_a_restored_note_is_linked_also_if_graph_has_not_heard_of_its_restore() -> None:
    vault = Vault()
    graph = vault.world.graph
    tea = text("tea", "Green tea", "green tea in a clay teapot")
    await vault.hear(tea)
    await vault.hear(replace(tea, version=2), "node.deleted")
    graph.hidden.add("tea")
    await vault.hear(text("pot", "Clay teapot", "a clay teapot keeps green tea warm"))
    assert graph.pairs(U) == set()
    await vault.hear(replace(tea, version=3), "node.restored")
    assert graph.pairs(U) == {("pot", "tea")}


async def test_an_automatic_link_is_not_asked_for_beside_a_link_of_the_text() -> None:
    vault = Vault()
    await vault.hear(text("pot", "Clay teapot", "a clay teapot keeps green tea warm"))
    await vault.hear(text("tea", "Green tea", "green tea, steeped in a [[Clay teapot]]"))
    vault.world.graph.auto.clear()
    await vault.world.relink()
    assert vault.world.graph.pairs(U) == set()
    assert vault.arrows == {"tea>pot"}


async def test_notes_without_links_cost_no_call_of_graph() -> None:
    vault = Vault()
    await vault.hear(text("a", "Diary", "see [[Nowhere]]"))
    asked: list[str] = []

    async def ask(user: str, node_id: str) -> dict[str, Direction]:
        asked.append(node_id)
        return {}

    vault.world.graph.text_links = ask  # type: ignore[method-assign,assignment]
    await vault.hear(text("b", "Tea", "no links"))
    await vault.hear(text("b", "Tea", "no links at all", 2))
    await vault.hear(text("b", "Tea", "", 3), "node.deleted")
    assert asked == []


async def test_what_a_crash_left_undone_is_done_when_the_event_comes_again() -> None:
    vault = Vault()
    await vault.hear(text("t", "Tea"))
    await vault.hear(text("a", "Diary", "[[Tea]]"))
    process = vault.world.processes[0]
    await process.index_node(U, [text("a", "Diary", "", 2)])
    vault.world.crash(0)
    assert vault.arrows == {"a>t"}
    await vault.hear(text("a", "Diary", "", 2))
    assert vault.arrows == set()


async def test_a_text_that_is_written_while_the_edges_are_made_wins() -> None:
    vault = Vault(2)
    await vault.hear(text("t", "Tea"))
    first, second = vault.world.processes
    graph = vault.world.graph

    once = iter([True])

    async def overtake() -> None:
        if not next(once, False):
            return
        graph.texts[U].clear()  # the other process does not see the edge yet
        await second.handlers["node.updated"](event_of(vault.world, text("a", "Diary", "", 2)))
        graph.texts[U][("a", "t")] = TextLink("a", "t", True)

    graph.on_link = overtake
    await first.handlers["node.created"](event_of(vault.world, text("a", "Diary", "[[Tea]]")))
    assert vault.arrows == set()


async def test_a_link_that_graph_refuses_is_tried_again_with_the_event() -> None:
    vault = Vault()
    await vault.hear(text("a", "Diary", "[[Tea]]"))
    vault.world.graph.unknown.add("t")
    with pytest.raises(Aborted) as caught:
        await vault.hear(text("t", "Tea"))
    assert caught.value.reason == "LINKS_CONTENDED"
    vault.world.graph.unknown.clear()
    await vault.hear(text("t", "Tea"))
    assert vault.arrows == {"a>t"}


@pytest.mark.parametrize("stale", [False, True])
async def test_no_edge_follows_from_a_deletion_that_is_announced_and_then_refused(stale: bool) -> None:
    vault = Vault()
    cache, graph = vault.world.processes[0].cache, vault.world.graph
    await vault.hear(text("t", "Tea"))
    await vault.hear(text("c", "Cup", "", 1, "Tea"))
    await vault.hear(text("b", "Book", "[[Tea]]"))
    assert vault.arrows == {"b>t"}
    assert await cache.announce(U, "t", Announcement("x", 2), visible=False, incarnation=1)
    graph.unknown.add("t")  # it is hidden there, too
    if stale:
        cache.mark_all_stale()
    with pytest.raises(Aborted):
        await vault.hear(text("a", "Diary", "[[Tea]]"))
    mentions = ListMentions(cache, vault.world.processes[0].nodes)
    with pytest.raises(NotFound):
        await mentions(U, "t", 0, "")
    assert await cache.announce(U, "b", Announcement("y", 2), visible=False, incarnation=1)
    assert await cache.announce(U, "t", Announcement("x", 2, withdrawn=True), visible=True, incarnation=1)
    assert [each.node_id for each in (await mentions(U, "t", 0, "")).mentions] == ["a"]
    graph.unknown.clear()
    await vault.hear(text("a", "Diary", "[[Tea]]"))
    assert vault.arrows == {"b>t", "a>t"}


@pytest.mark.parametrize("seed", range(12))
async def test_the_edges_follow_from_the_texts_alone(seed: int) -> None:
    """Random writes, deletions and restores, heard in a shuffled order by two replicas, some of them twice."""
    rng = random.Random(seed)
    # Many links to few names, or few links to many.
    names, most = (["Tea", "tea", "Pot", "Cup", "n1", "n2"], 2) if seed % 2 else ([f"n{n}" for n in range(6)], 1)
    latest: dict[str, NodeText] = {}
    deleted: set[str] = set()
    events: list[tuple[NodeText, str]] = []
    vault = Vault(2)
    for _ in range(60):
        node_id = f"n{rng.randrange(6)}"
        before = latest.get(node_id)
        version = 1 if before is None else before.version + 1
        if before is not None and (node_id in deleted or rng.random() < 0.2):
            note, kind = replace(before, version=version), "restored" if node_id in deleted else "deleted"
            deleted ^= {node_id}
        else:
            said = " ".join(f"[[{rng.choice(names)}]]" for _ in range(rng.randint(0, most)))
            aliases = rng.sample(names, rng.randrange(most))
            note = text(node_id, rng.choice(["Tea", "Pot", "x", "y"]), said, version, *aliases)
            kind = "created" if before is None else "updated"
        latest[node_id] = note
        events.append((note, f"node.{kind}"))
    window = [(at + rng.random() * 6, *event) for at, event in enumerate(events)]
    window += [(at + 3 + rng.random() * 6, *event) for at, event in enumerate(events) if rng.random() < 0.3]
    for _, note, kind in sorted(window, key=lambda each: each[0]):
        await vault.hear(note, kind)
    live = sorted(latest.keys() - deleted)
    index = await vault.world.processes[0].cache.query_links(U, lambda index: index)
    expected = set()
    for a, b in itertools.combinations(live, 2):
        forth, back = b in index.targets(a), a in index.targets(b)
        if forth or back:
            expected.add(f"{a}-{b}" if forth and back else f"{a}>{b}" if forth else f"{b}>{a}")
    # Edges at deleted notes are hidden.
    assert {arrow for arrow in vault.arrows if set(re.split("[>-]", arrow)) <= set(live)} == expected
