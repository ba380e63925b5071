"""Work that grows with a user's index, or with the texts of a page, leaves the event loop and has an end."""

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from services.similarity_service.model import search
from services.similarity_service.model.analysis import Analyser
from services.similarity_service.ports import NodeText, NodeUpdate, WrittenNode
from services.similarity_service.usecases import index_node, list_keywords, list_mentions, rename_node, search_nodes
from services.similarity_service.usecases.index_cache import IndexCache
from services.similarity_service.usecases.list_keywords import ListKeywords
from services.similarity_service.usecases.list_mentions import ListMentions
from services.similarity_service.usecases.rename_node import RenameNode
from services.similarity_service.usecases.search_nodes import SearchNodes
from services.similarity_service.usecases.text_worker import LONG_TEXT
from services.similarity_service.usecases.user_settings import UserSettingsCache
from services.similarity_service.usecases.validation import MAX_TEXT_BYTES
from tests.support.clock import ManualClock
from tests.support.similarity_fakes import FakeLog, FakeNodes, FakeRecords, FakeUserSettings, note
from tests.support.similarity_world import World

U = "u"
TEXTS = {
    "t": ("Tea", "Hot."),
    "a": ("A", "I like tea."),
    "b": ("B", "Much [[Tea]] is drunk."),
    "c": ("C", "Tea, tea, and tea."),
}


class Writable(FakeNodes):
    async def update(self, user_id: str, node_id: str, etag: str, change: NodeUpdate) -> WrittenNode:
        known = self.items[user_id][node_id]
        values = {name: getattr(change, name) for name in ("title", "aliases") if getattr(change, name) is not None}
        text = known.text if change.content is None else change.content
        assert len(text.encode()) <= MAX_TEXT_BYTES, "the node service would refuse the message"
        fields = {"title": known.title, "aliases": known.aliases} | values
        self.items[user_id][node_id] = NodeText(node_id, 1, known.version + 1, text=text, tags=(), **fields)
        return WrittenNode(known.version + 1, "", "")


class Shelf:
    """Notes in one process."""

    def __init__(self) -> None:
        self.records, self.nodes = FakeRecords(), Writable()
        clock = ManualClock()
        cache = IndexCache(self.records, FakeLog(), clock, max_bytes=1 << 30)
        self.mentions = ListMentions(cache, self.nodes)
        self.search = SearchNodes(cache, UserSettingsCache(FakeUserSettings(), clock), self.nodes)
        self.keywords = ListKeywords(cache)
        self.rename = RenameNode(cache, self.nodes, lambda: None)

    async def put(self, node_id: str, title: str, text: str) -> None:
        old = await self.records.get(U, node_id)
        new = old.written(note(node_id, title, text, version=old.version + 1))
        assert new is not None
        assert await self.records.put(U, node_id, old, new)
        self.nodes.items.setdefault(U, {})[node_id] = NodeText(node_id, 1, new.version, title, text, ())


@pytest.fixture
async def shelf() -> Shelf:
    found = Shelf()
    for node_id, (title, text) in TEXTS.items():
        await found.put(node_id, title, text)
    return found


def threads(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> list[bool]:
    """For each call of the function: whether it ran in another thread than the event loop's."""
    found: list[bool] = []
    work: Callable[..., Any] = getattr(module, name)

    def watched(*args: Any, **more: Any) -> Any:
        found.append(threading.current_thread() is not threading.main_thread())
        return work(*args, **more)

    monkeypatch.setattr(module, name, watched)
    return found


async def test_many_mentions_are_found_in_a_thread(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    found = threads(monkeypatch, list_mentions, "_find")
    before = await shelf.mentions(U, "t", 10, "")
    monkeypatch.setattr(list_mentions, "_MANY_NOTES", 3)
    assert await shelf.mentions(U, "t", 10, "") == before
    assert found == [False, True]
    assert [(each.node_id, each.links) for each in before.mentions] == [("b", True), ("a", False), ("c", False)]


async def test_passages_of_long_texts_are_found_in_a_thread(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    found = threads(monkeypatch, list_mentions, "_passages")
    await shelf.mentions(U, "t", 10, "")
    await shelf.put("a", "A", "word " * LONG_TEXT + "tea")
    page = await shelf.mentions(U, "t", 10, "")
    assert [each.passages[-1].text[-3:] for each in page.mentions if each.node_id == "a"] == ["tea"]
    assert found == [False] * 3 + [True] * 3


async def test_of_the_texts_of_a_page_no_more_is_read_than_a_million_characters(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(list_mentions, "_MOST_TEXT", 100)
    await shelf.put("a", "A", "word " * 100 + "tea")
    page = await shelf.mentions(U, "t", 10, "")
    assert [(each.node_id, len(each.passages)) for each in page.mentions] == [("b", 1), ("a", 0), ("c", 1)]


async def test_one_sentence_full_of_mentions_ends(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = threads(monkeypatch, list_mentions, "passage")
    await shelf.put("c", "C", "tea " * 50_000)
    page = await shelf.mentions(U, "t", 10, "")
    assert len(page.mentions) == 3
    assert len(looked) <= 3 * list_mentions._MOST_PLACES


async def test_a_deadline_ends_the_search_for_passages(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    began, spans = threading.Event(), Analyser.spans

    def endless(self: Analyser, text: str) -> Any:
        began.set()
        while True:
            yield from (each for each in spans(self, "word " * 1000) if each.term == "")

    monkeypatch.setattr(Analyser, "spans", endless)
    await shelf.put("a", "A", "word " * LONG_TEXT + "tea")
    call = asyncio.create_task(shelf.mentions(U, "t", 10, ""))
    while not began.is_set():
        await asyncio.sleep(0.001)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_keywords_of_many_terms_are_counted_in_a_thread(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    found = threads(monkeypatch, list_keywords, "_counts")
    before = await shelf.keywords(U, "", 10, "")
    monkeypatch.setattr(list_keywords, "_MANY_TERMS", 3)
    assert await shelf.keywords(U, "", 10, "") == before
    assert found == [False, True]


@pytest.mark.parametrize(
    ("query", "tags", "limit", "long"),
    [
        ("tea", (), "_MANY_TERMS", False),
        ("te*", (), "_MANY_TERMS", True),
        ("tag:x", (), "_MANY_TERMS", True),
        ("tea", ("x",), "_MANY_TERMS", True),
        ("tea", (), "_MANY_NOTES", True),
        ("tea " * 30, (), "", True),
    ],
)
async def test_searches_of_large_indexes_run_in_a_thread(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, query: str, tags: Sequence[str], limit: str, long: bool
) -> None:
    found = threads(monkeypatch, search, "search")
    if limit:
        await shelf.search(U, query, tags, 10, "")
        monkeypatch.setattr(search_nodes, limit, 3)
    await shelf.search(U, query, tags, 10, "")
    assert found == ([False, long] if limit else [long])


async def test_links_in_a_long_text_are_rewritten_in_a_thread(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    found = threads(monkeypatch, rename_node, "rewritten")
    await shelf.put("a", "A", "word " * LONG_TEXT + "[[Tea]]")
    assert (await shelf.rename(U, "t", "Coffee", True, "")).rewritten == 2
    assert shelf.nodes.items[U]["a"].text.endswith("[[Coffee]]")
    assert sorted(found) == [False, True]


async def test_a_text_that_would_become_too_large_keeps_its_links(shelf: Shelf) -> None:
    links = "[[Tea]] " * (MAX_TEXT_BYTES // 8)
    await shelf.put("a", "A", links)
    await shelf.put("t", "Tea", links)
    renaming = await shelf.rename(U, "t", "A" * 500, True, "")
    assert (renaming.done, renaming.rewritten) == (True, 1)
    assert [(each.node_id, each.reason) for each in renaming.failures] == [
        ("a", "INVALID_ARGUMENT"),
        ("t", "INVALID_ARGUMENT"),
    ]
    known: Mapping[str, NodeText] = shelf.nodes.items[U]
    assert (known["t"].title, known["t"].text, known["a"].text) == ("A" * 500, links, links)
    assert known["b"].text == f"Much [[{'A' * 500}]] is drunk."


async def test_the_analyses_of_many_texts_are_let_go_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    paused = 0

    class Counted:
        async def pause(self) -> None:
            nonlocal paused
            paused += 1

    monkeypatch.setattr(index_node, "Slices", Counted)
    notes = [NodeText(f"n{number}", 1, 1, f"n{number}", "some text", ()) for number in range(40)]
    assert len(await World(1).processes[0].index_node(U, notes)) == 40
    assert paused >= 40
