"""Every RPC on a running service with real stores: answers, pages, limits, errors."""

from dataclasses import replace
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from protos.node.v1 import node_pb2
from protos.similarity.v1 import similarity_pb2 as pb
from services.similarity_service.adapters.dynamo import DynamoRecords
from shared.errors import Aborted, FailedPrecondition, InvalidArgument, NotFound, Unavailable
from shared.ids import SystemClock
from tests.integration.similarity.test_similarity_events import TOPICS
from tests.support.similarity_peers import FakePeers, pair_of
from tests.support.similarity_service import SimilarityService, event_of, running, table_of
from tests.support.stores import Stores
from tests.support.waiting import until


@pytest.fixture
async def shelf(service: SimilarityService, peers: FakePeers, user: str) -> str:
    """A user with five notes."""
    notes = [peers.note(user, node_id, *text, "food" if node_id in ("bread", "pizza") else "data")
             for node_id, text in TOPICS.items()]  # fmt: skip
    await service.hear(*(event_of(note) for note in notes))
    return user


async def test_extract_keywords(service: SimilarityService, shelf: str) -> None:
    answer = await service.stub.ExtractKeywords(pb.ExtractKeywordsRequest(user_id=shelf, node_id="bread", limit=3))
    assert answer.keywords[0].keyword == "Sourdough bread"
    assert answer.keywords[0].weight == 1
    assert len(answer.keywords) == 3
    of_text = pb.ExtractKeywordsRequest(user_id=shelf, title="Ferns", text="A database of ferns")
    found = {each.keyword: each for each in (await service.stub.ExtractKeywords(of_text)).keywords}
    assert found["ferns"].document_frequency == 0
    assert found["database"].document_frequency == 3


async def test_find_similar(service: SimilarityService, shelf: str) -> None:
    answer = await service.stub.FindSimilar(pb.FindSimilarRequest(user_id=shelf, node_id="pizza"))
    assert answer.method == "lexical/2"
    first = answer.nodes[0]
    assert (first.node_id, first.title, first.title_mention, first.near_duplicate) == (
        "bread", "Sourdough bread", True, False,
    )  # fmt: skip
    assert 0 < sum(each.contribution for each in first.shared_keywords) <= first.score + 1e-6
    text = pb.FindSimilarRequest(user_id=shelf, title="Sourdough bread", text=TOPICS["bread"][1], limit=1)
    same = (await service.stub.FindSimilar(text)).nodes
    assert [(each.node_id, each.near_duplicate) for each in same] == [("bread", True)]
    strict = pb.FindSimilarRequest(user_id=shelf, node_id="pizza", min_score=0.99)
    assert not (await service.stub.FindSimilar(strict)).nodes


async def test_explain_similarity(service: SimilarityService, shelf: str) -> None:
    request = pb.ExplainSimilarityRequest(user_id=shelf, node_id="pizza", other_node_id="bread")
    there = await service.stub.ExplainSimilarity(request)
    assert there.mentioned_title == "Sourdough bread"
    assert there.mentioned_by_title == ""
    assert there.score > there.threshold > 0
    assert sum(each.contribution for each in there.shared_keywords) == pytest.approx(there.score, abs=1e-5)
    request = pb.ExplainSimilarityRequest(user_id=shelf, node_id="bread", other_node_id="pizza")
    back = await service.stub.ExplainSimilarity(request)
    assert back.mentioned_by_title == "Sourdough bread"
    assert back.score == pytest.approx(there.score)
    request = pb.ExplainSimilarityRequest(user_id=shelf, node_id="bread", other_node_id="sqlite")
    unlike = await service.stub.ExplainSimilarity(request)
    assert unlike.score < unlike.threshold


async def test_suggest_links(service: SimilarityService, peers: FakePeers, shelf: str) -> None:
    assert pair_of("postgres", "sqlite") in peers.pairs(shelf)
    answer = await service.stub.SuggestLinks(pb.SuggestLinksRequest(user_id=shelf, node_id="sqlite"))
    suggested = [each.node_id for each in answer.nodes]
    linked = {each for pair in peers.pairs(shelf) if "sqlite" in pair for each in pair}
    assert not set(suggested) & linked
    peers.edges[shelf].clear()
    answer = await service.stub.SuggestLinks(pb.SuggestLinksRequest(user_id=shelf, node_id="sqlite", limit=2))
    assert {each.node_id for each in answer.nodes} == {"postgres", "relational"}
    # A person rejects the link: the note makes room for another one.
    peers.suppressed[shelf] = {pair_of("postgres", "sqlite")}
    answer = await service.stub.SuggestLinks(pb.SuggestLinksRequest(user_id=shelf, node_id="sqlite", limit=1))
    assert [each.node_id for each in answer.nodes] == ["relational"]


async def test_values_of_metadata_and_names_of_files_are_searched(
    service: SimilarityService, peers: FakePeers, user: str
) -> None:
    note = peers.note(user, "book", "Deep work", "A text about focus.")
    note.metadata.update({"author": "Ana Quartz", "url": "https://example.org/deep", "path": "books/Focus first.md"})
    await service.hear(event_of(note))
    await service.hear(event_of(peers.note(user, "quartz", "Minerals", "Focus: quartz first, quartz second. A book.")))
    assert await service.search(user, '"Ana Quartz"') == ["book"]
    for query in ("Ana Quartz", "focus first", "Focus first.md", "books/focus first", "example.org"):
        assert (await service.search(user, query))[0] == "book", query
    # A title that has no words for the analysis is a name all the same.
    await service.hear(event_of(peers.note(user, "net", ".NET", "A runtime.")))
    assert (await service.search(user, ".net"))[0] == "net"
    # They are no reason for a link and no keyword.
    request = pb.ExtractKeywordsRequest(user_id=user, node_id="book")
    keywords = {each.keyword for each in (await service.stub.ExtractKeywords(request)).keywords}
    assert not keywords & {"Ana", "Quartz", "first", "example"}
    # Another value is found as soon as it is written, the earlier one is not.
    metadata = dict(note.metadata) | {"author": "Rosa Marble"}
    note = peers.note(user, "book", "Deep work", "A text about focus.")
    note.metadata.update(metadata)
    await service.hear(event_of(note))
    assert await service.search(user, "ana") == []
    assert await service.search(user, "marble") == ["book"]


async def test_records_of_an_earlier_release_are_analysed_again(
    stores: Stores, service: SimilarityService, peers: FakePeers, user: str
) -> None:
    note = peers.note(user, "book", "Deep work", "A text about focus.")
    await service.hear(event_of(note), event_of(peers.note(user, "diary", "Diary", "[[Focus book]]")))
    async with table_of(stores) as table:
        records = DynamoRecords(table, SystemClock())
        new = await records.get(user, "book")
        assert new.note is not None
        old = replace(new, note=replace(new.note, analysis_version=1), revision=new.revision + 1)
        assert await records.put(user, "book", new, old)
    # What the earlier release did not look at: an alias and the metadata.
    note.aliases.append("Focus book")
    note.metadata["author"] = "Ana Quartz"
    async with running(stores, peers) as other, running(stores, peers) as third:
        assert await other.search(user, "deep") == await third.search(user, "deep") == ["book"]

        async def is_new() -> bool:
            return await other.search(user, "quartz") == await third.search(user, "quartz") == ["book"]

        await until(is_new, what="records that are analysed again")
        await until(lambda: peers.arrows(user) == {"diary>book"}, what="a link to the alias")


async def test_keywords_and_their_notes(service: SimilarityService, shelf: str) -> None:
    tokens = [""]
    counts: dict[str, int] = {}
    while True:
        request = pb.ListKeywordsRequest(user_id=shelf, page_size=7, page_token=tokens[-1])
        answer = await service.stub.ListKeywords(request)
        counts |= {each.keyword: each.nodes for each in answer.keywords}
        assert len(answer.keywords) <= 7
        if not answer.next_page_token:
            break
        tokens.append(answer.next_page_token)
    assert list(counts.values()) == sorted(counts.values(), reverse=True)
    for keyword, nodes in list(counts.items())[:5]:
        listed = pb.ListNodesByKeywordRequest(user_id=shelf, keyword=keyword)
        assert len((await service.stub.ListNodesByKeyword(listed)).nodes) == nodes
    prefixed = await service.stub.ListKeywords(pb.ListKeywordsRequest(user_id=shelf, prefix="Sour"))
    assert [each.keyword.lower() for each in prefixed.keywords] == ["sourdough"]


async def test_nodes_by_keyword_in_pages(service: SimilarityService, peers: FakePeers, user: str) -> None:
    await service.hear(*(event_of(peers.note(user, f"n{n}", "Ferns", f"fern number w{n}")) for n in range(5)))
    seen: list[str] = []
    token = ""
    while True:
        request = pb.ListNodesByKeywordRequest(user_id=user, keyword="FERN", page_size=2, page_token=token)
        answer = await service.stub.ListNodesByKeyword(request)
        seen += [each.node_id for each in answer.nodes]
        assert all(0 < each.weight <= 1 for each in answer.nodes)
        token = answer.next_page_token
        if not token:
            break
    assert seen == [f"n{n}" for n in range(5)]


async def test_search(service: SimilarityService, peers: FakePeers, shelf: str) -> None:
    answer = await service.stub.SearchNodes(pb.SearchNodesRequest(user_id=shelf, query='"relational database" small'))
    assert [each.node_id for each in answer.hits] == ["sqlite", "relational", "postgres"]
    assert answer.total == 3
    hit = answer.hits[0]
    marked = {hit.snippet[mark.start : mark.end].lower() for mark in hit.highlights}
    assert marked == {"relational", "database", "small"}
    assert await service.search(shelf, "database tag:food") == []
    assert set(await service.search(shelf, "dough", tags=["food"])) == {"bread", "pizza"}
    assert await service.search(shelf, "postgre*") == ["postgres", "sqlite"]
    first = await service.stub.SearchNodes(pb.SearchNodesRequest(user_id=shelf, query="database", page_size=2))
    rest = pb.SearchNodesRequest(user_id=shelf, query="database", page_size=2, page_token=first.next_page_token)
    assert {each.node_id for each in [*first.hits, *(await service.stub.SearchNodes(rest)).hits]} == {
        "postgres", "sqlite", "relational",
    }  # fmt: skip


async def test_search_goes_on_without_the_texts(service: SimilarityService, peers: FakePeers, shelf: str) -> None:
    peers.trouble = lambda name: Unavailable("down") if name == "BatchGetNodes" else None
    try:
        answer = await service.stub.SearchNodes(pb.SearchNodesRequest(user_id=shelf, query="pizza"))
    finally:
        peers.trouble = lambda _: None
    assert [(each.node_id, each.title, each.snippet) for each in answer.hits] == [("pizza", "Pizza", "")]


async def test_remove_node(service: SimilarityService, peers: FakePeers, shelf: str) -> None:
    peers.known[shelf, "pizza"] = peers.notes[shelf]["pizza"]
    with pytest.raises(Aborted) as caught:
        await service.stub.RemoveNode(pb.RemoveNodeRequest(user_id=shelf, node_id="pizza", version=0))
    assert caught.value.reason == "VERSION_MISMATCH"
    # A note that is removed never comes back, so that of a live one is refused, whatever version is claimed.
    for version in (1, 2, 10**15):
        with pytest.raises(FailedPrecondition) as unknown:
            await service.stub.RemoveNode(pb.RemoveNodeRequest(user_id=shelf, node_id="pizza", version=version))
        assert unknown.value.reason == "VERSION_UNKNOWN"
    assert await service.indexed(shelf, "pizza")
    peers.notes[shelf]["pizza"].version = 2
    peers.notes[shelf]["pizza"].delete_time.GetCurrentTime()
    with pytest.raises(FailedPrecondition):
        await service.stub.RemoveNode(pb.RemoveNodeRequest(user_id=shelf, node_id="pizza", version=3))
    request = pb.RemoveNodeRequest(user_id=shelf, node_id="pizza", version=2)
    answer = await service.stub.RemoveNode(request)
    assert answer.removed
    assert "Pizza" in {each.keyword for each in answer.keywords}
    assert not (await service.stub.RemoveNode(request)).removed
    assert not await service.indexed(shelf, "pizza")
    # Late news of the purged note change nothing; a new note of that id does.
    await service.hear(event_of(peers.notes[shelf]["pizza"]))
    assert not await service.indexed(shelf, "pizza")
    peers.notes[shelf]["pizza"].incarnation += 1
    await service.hear(event_of(peers.notes[shelf]["pizza"]))
    assert await service.indexed(shelf, "pizza")


async def claim(
    service: SimilarityService, user: str, node_id: str, version: int, visible: bool, incarnation: int = 0
) -> bool:
    """SetNodeVisibility, whatever the owner knows."""
    request = pb.SetNodeVisibilityRequest(
        user_id=user, node_id=node_id, version=version, visible=visible, incarnation=incarnation
    )
    return bool((await service.stub.SetNodeVisibility(request)).applied)


async def test_visibility_compares_versions(service: SimilarityService, peers: FakePeers, shelf: str) -> None:
    peers.has(shelf, "bread", 3, hidden=True)
    assert await claim(service, shelf, "bread", 3, False)
    assert not await claim(service, shelf, "bread", 2, True)
    assert not await service.indexed(shelf, "bread")
    peers.has(shelf, "bread", 4, hidden=False)
    assert await claim(service, shelf, "bread", 4, True)
    assert await service.indexed(shelf, "bread")


@pytest.mark.parametrize("visible", [False, True])
async def test_a_state_that_the_note_never_had_is_refused(
    service: SimilarityService, peers: FakePeers, shelf: str, visible: bool
) -> None:
    known = peers.notes[shelf]["bread"].incarnation
    # At version 2 the note is what the call does not say; it never had the others.
    peers.has(shelf, "bread", 2, hidden=visible)
    unknown = [(2, 0), (3, 0), (1_000, 0), (10**15, 0), (10**15, known), (10**15, known + 1), (1, 9_999_999_999_999)]
    for version, incarnation in unknown:
        with pytest.raises(FailedPrecondition) as caught:
            await claim(service, shelf, "bread", version, visible, incarnation)
        assert caught.value.reason == "VERSION_UNKNOWN"
    with pytest.raises(FailedPrecondition):
        await claim(service, shelf, "pizza", 1, False)  # of a note that the owner does not know
    assert await service.indexed(shelf, "bread")
    # Nothing is left of them: the next state of the note counts.
    peers.has(shelf, "bread", 3, hidden=True)
    assert await claim(service, shelf, "bread", 3, False, known)
    assert not await service.indexed(shelf, "bread")
    # A likely version needs no question.
    del peers.known[shelf, "bread"]
    assert await claim(service, shelf, "bread", 4, True, known)
    assert await service.indexed(shelf, "bread"), "its text is still known"


async def test_a_stored_version_that_the_note_never_had_is_corrected_by_its_owner(
    service: SimilarityService, peers: FakePeers, shelf: str
) -> None:
    wrong = node_pb2.Node()
    wrong.CopyFrom(peers.notes[shelf]["bread"])
    wrong.version = 10**15
    await service.hear(event_of(wrong, "node.deleted"))
    assert not await service.indexed(shelf, "bread")
    peers.has(shelf, "bread", 3, hidden=False)
    assert await claim(service, shelf, "bread", 3, True)
    assert await service.indexed(shelf, "bread")


async def test_settings(service: SimilarityService, user: str) -> None:
    async def read() -> pb.UserSettings:
        found: pb.UserSettings = (await service.stub.GetUserSettings(pb.GetUserSettingsRequest(user_id=user))).settings
        return found

    assert await read() == pb.UserSettings(language="english", auto_link=True)
    request = pb.UpdateUserSettingsRequest(
        user_id=user,
        settings=pb.UserSettings(language="german", max_links=3),
        update_mask=FieldMask(paths=["max_links"]),
    )
    answer = await service.stub.UpdateUserSettings(request)
    assert answer.settings == pb.UserSettings(language="english", auto_link=True, max_links=3)
    assert answer.update_time.seconds > 0
    request.update_mask.Clear()
    request.settings.auto_link = False
    await service.stub.UpdateUserSettings(request)
    assert await read() == pb.UserSettings(language="german", auto_link=False, max_links=3)
    request.request_id = "once"
    request.settings.max_links = 4
    first = await service.stub.UpdateUserSettings(request)
    await service.stub.UpdateUserSettings(pb.UpdateUserSettingsRequest(user_id=user))
    assert await service.stub.UpdateUserSettings(request) == first
    assert (await read()).max_links == 0


async def test_reindexing_in_another_language(service: SimilarityService, peers: FakePeers, user: str) -> None:
    texts = {"a": ("Häuser", "Die Häuser am Fluss"), "b": ("Haus", "Ein Haus am See"), "c": ("Boot", "Boote im Fluss")}
    await service.hear(*(event_of(peers.note(user, node_id, *text)) for node_id, text in texts.items()))
    assert await service.search(user, "Haus") == ["b"]
    settings = pb.UserSettings(language="german", link_threshold=0.05)
    await service.stub.UpdateUserSettings(pb.UpdateUserSettingsRequest(user_id=user, settings=settings))
    peers.edges.pop(user, None)
    progress = [each async for each in service.stub.ReindexUser(pb.ReindexUserRequest(user_id=user, relink=True))]
    assert progress[0] == pb.ReindexUserResponse(done=0, total=3)
    assert progress[-1] == pb.ReindexUserResponse(done=3, total=3, finished=True)
    assert not any(each.finished for each in progress[:-1])
    assert set(await service.search(user, "Haus")) == {"a", "b"}
    assert pair_of("a", "b") in peers.pairs(user)


async def test_reindexing_repairs(service: SimilarityService, peers: FakePeers, shelf: str) -> None:
    # The node service has forgotten one note, and knows one that was never heard of.
    del peers.notes[shelf]["bread"]
    peers.note(shelf, "fern", "Ferns", "Ferns grow by spores")
    _ = [each async for each in service.stub.ReindexUser(pb.ReindexUserRequest(user_id=shelf))]
    assert not await service.indexed(shelf, "bread")
    assert await service.search(shelf, "spores") == ["fern"]


U = "somebody"


BAD: list[tuple[str, Any, str]] = [
    ("FindSimilar", pb.FindSimilarRequest(user_id=U), "node_id"),
    ("FindSimilar", pb.FindSimilarRequest(user_id=U, node_id="a", text="b"), "node_id"),
    ("FindSimilar", pb.FindSimilarRequest(user_id="", node_id="a"), "user_id"),
    ("FindSimilar", pb.FindSimilarRequest(user_id=U, node_id="a#b"), "node_id"),
    ("FindSimilar", pb.FindSimilarRequest(user_id=U, text="a", limit=101), "limit"),
    ("FindSimilar", pb.FindSimilarRequest(user_id=U, text="a", min_score=2), "min_score"),
    ("ExtractKeywords", pb.ExtractKeywordsRequest(user_id=U, text="ä" * 131_073), "text"),
    ("ExtractKeywords", pb.ExtractKeywordsRequest(user_id=U, text="a", limit=-1), "limit"),
    ("SearchNodes", pb.SearchNodesRequest(user_id=U, query=" "), "query"),
    ("SearchNodes", pb.SearchNodesRequest(user_id=U, query="a" * 1025), "query"),
    ("SearchNodes", pb.SearchNodesRequest(user_id=U, query="a", page_token="x"), "page_token"),
    ("SearchNodes", pb.SearchNodesRequest(user_id=U, query="a", page_size=-1), "page_size"),
    ("ListNodesByKeyword", pb.ListNodesByKeywordRequest(user_id=U, keyword="..."), "keyword"),
    ("ListKeywords", pb.ListKeywordsRequest(user_id=U, page_token="x"), "page_token"),
    ("SuggestLinks", pb.SuggestLinksRequest(user_id=U, node_id=""), "node_id"),
    ("ExplainSimilarity", pb.ExplainSimilarityRequest(user_id=U, node_id="a"), "other_node_id"),
    ("RemoveNode", pb.RemoveNodeRequest(user_id=U), "node_id"),
    ("SetNodeVisibility", pb.SetNodeVisibilityRequest(user_id=U), "node_id"),
    (
        "UpdateUserSettings",
        pb.UpdateUserSettingsRequest(user_id=U, settings=pb.UserSettings(language="klingon")),
        "settings.language",
    ),
    (
        "UpdateUserSettings",
        pb.UpdateUserSettingsRequest(user_id=U, settings=pb.UserSettings(link_threshold=2)),
        "settings.link_threshold",
    ),
    (
        "UpdateUserSettings",
        pb.UpdateUserSettingsRequest(user_id=U, update_mask=FieldMask(paths=["colour"])),
        "update_mask",
    ),
]


@pytest.mark.parametrize(
    ("rpc", "request_", "field"), BAD, ids=[f"{rpc}-{field}-{number}" for number, (rpc, _, field) in enumerate(BAD)]
)
async def test_bad_requests_say_which_field(service: SimilarityService, rpc: str, request_: Any, field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await getattr(service.stub, rpc)(request_)
    assert field in {each.field for each in caught.value.violations}


@pytest.mark.parametrize(
    ("rpc", "request_"),
    [
        ("FindSimilar", pb.FindSimilarRequest(user_id=U, node_id="a")),
        ("ExtractKeywords", pb.ExtractKeywordsRequest(user_id=U, node_id="a")),
        ("ExplainSimilarity", pb.ExplainSimilarityRequest(user_id=U, node_id="a", other_node_id="b")),
        ("SuggestLinks", pb.SuggestLinksRequest(user_id=U, node_id="a")),
    ],
)
async def test_unknown_notes(service: SimilarityService, rpc: str, request_: Any) -> None:
    with pytest.raises(NotFound):
        await getattr(service.stub, rpc)(request_)


async def test_a_user_without_notes(service: SimilarityService, user: str) -> None:
    assert await service.search(user, "anything") == []
    assert not (await service.stub.FindSimilar(pb.FindSimilarRequest(user_id=user, text="x"))).nodes
    assert not (await service.stub.ListKeywords(pb.ListKeywordsRequest(user_id=user))).keywords
    progress = [each async for each in service.stub.ReindexUser(pb.ReindexUserRequest(user_id=user))]
    assert progress[-1].finished
