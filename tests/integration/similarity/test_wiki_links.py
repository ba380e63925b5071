"""Wiki links on real stores: edges, mentions with their passages, renaming, and reading one's own write."""

import asyncio
import time
import unicodedata

import pytest

from protos.node.v1 import node_pb2
from protos.similarity.v1 import similarity_pb2 as pb
from shared import revisions
from shared.errors import Aborted, InvalidArgument, NotFound, Unavailable
from tests.support.similarity_peers import FakePeers
from tests.support.similarity_service import SimilarityService, event_of, running
from tests.support.stores import Stores
from tests.support.waiting import until

# The incarnation of the notes that the peers have.
BORN = 1_700_000_000_000


async def write(service: SimilarityService, user: str, node_id: str, title: str, text: str = "", *aliases: str) -> None:
    note = service.peers.note(user, node_id, title, text)
    note.aliases.extend(aliases)
    await service.hear(event_of(note))


async def mentions(service: SimilarityService, user: str, node_id: str, **fields: object) -> pb.ListMentionsResponse:
    answer: pb.ListMentionsResponse = await service.stub.ListMentions(
        pb.ListMentionsRequest(user_id=user, node_id=node_id, **fields)  # type: ignore[arg-type]
    )
    return answer


async def test_links_are_kept_in_the_records(
    stores: Stores, service: SimilarityService, peers: FakePeers, user: str
) -> None:
    await write(service, user, "a", "Diary", "[[Sencha]] and [[notes/pot]] and [[Waiting]]")
    await write(service, user, "t", "Green tea", "", "Sencha")
    note = peers.note(user, "p", "Clay pot")
    note.metadata["path"] = "notes/Pot.md"
    await service.hear(event_of(note))
    assert peers.arrows(user) == {"a>t", "a>p"}
    # Another process knows the names that wait, and the earlier ones, from the records.
    async with running(stores, peers) as other:
        await write(other, user, "t", "Green tea")
        await write(other, user, "w", "Waiting")
        assert peers.arrows(user) == {"a>t", "a>p", "a>w"}
        assert [each.node_id for each in (await mentions(other, user, "t")).mentions] == ["a"]


async def test_links_that_went_while_a_note_was_deleted_go_at_its_restore(
    service: SimilarityService, peers: FakePeers, user: str
) -> None:
    await write(service, user, "t", "Tea", "[[Cup]]")
    await write(service, user, "c", "Cup")
    await write(service, user, "a", "Diary", "[[Tea]]")
    await write(service, user, "b", "Log", "[[Tea]]")
    await service.hear(event_of(peers.note(user, "t", "Tea", "[[Cup]]"), "node.deleted"))
    peers.hidden.add("t")
    await write(service, user, "a", "Diary", "no link")
    assert peers.arrows(user) == {"t>c", "a>t", "b>t"}
    # Graph has not heard of the restore yet.
    await service.hear(event_of(peers.note(user, "t", "Tea", "[[Cup]]"), "node.restored"))
    assert peers.arrows(user) == {"t>c", "b>t"}


async def test_reindexing_makes_the_links_again(service: SimilarityService, peers: FakePeers, user: str) -> None:
    await write(service, user, "t", "Tea")
    await write(service, user, "a", "Diary", "[[Tea]]")
    peers.text_edges[user].clear()
    async for _ in service.stub.ReindexUser(pb.ReindexUserRequest(user_id=user)):
        pass
    assert peers.arrows(user) == {"a>t"}


async def test_who_links_and_who_mentions(service: SimilarityService, user: str) -> None:
    await write(service, user, "t", "Green tea", "Green tea is a drink.", "Sencha")
    await write(service, user, "l1", "Diary", "It rained. Then I drank [[Green tea|some tea]], hot! It was good.")
    await write(service, user, "l2", "Log", "`[[Green tea]]` is code; [[sencha]] is none.")
    await write(service, user, "m1", "Shop", "Bread and milk.\nTwo green teas, please? Thanks. Sencha too.")
    await write(service, user, "m2", "茶", "抹茶。Sencha。玉露。")
    await write(service, user, "x", "Garden", "The tea bush is green.")
    page = await mentions(service, user, "t")
    assert [(each.node_id, each.title, each.links) for each in page.mentions] == [
        ("l1", "Diary", True),
        ("l2", "Log", True),
        ("m1", "Shop", False),
        ("m2", "茶", False),
    ]
    assert (page.total_links, page.total_mentions, page.next_page_token) == (2, 2, "")
    shown = [[(p.text, p.text[p.highlight.start : p.highlight.end]) for p in each.passages] for each in page.mentions]
    assert shown == [
        [("Then I drank [[Green tea|some tea]], hot!", "[[Green tea|some tea]]")],
        [("`[[Green tea]]` is code; [[sencha]] is none.", "[[sencha]]")],
        [("Two green teas, please?", "green teas"), ("Sencha too.", "Sencha")],
        [("Sencha。", "Sencha")],
    ]


async def test_a_note_of_dendron_has_the_label_first(service: SimilarityService, peers: FakePeers, user: str) -> None:
    await write(service, user, "black", "Tea")
    await write(service, user, "soup", "Soup")
    note = peers.note(user, "a", "Diary", "I had [[Tea|soup]] and [[soup]].")
    note.metadata["wiki_links"] = "label|name"
    await service.hear(event_of(note))
    assert peers.arrows(user) == {"a>soup"}
    (mention,) = (await mentions(service, user, "soup")).mentions
    assert [p.text[p.highlight.start : p.highlight.end] for p in mention.passages] == ["[[Tea|soup]]"]
    for title, text in (("Hot soup", "[[Tea|Hot soup]] and [[Hot soup]]"), ("Tea", "[[Tea|soup]] and [[Tea|soup]]")):
        await rename(service, user, "soup", title, rewrite_links=True)
        await service.hear(*(event_of(peers.notes[user][each]) for each in ("soup", "a")))
        assert peers.notes[user]["a"].content == f"I had {text}."
    await rename(service, user, "soup", "x]]|y", rewrite_links=True)
    assert peers.notes[user]["a"].content == "I had [[Tea|soup]] and [[Tea|soup]]."


async def test_the_passages_of_a_text_in_decomposed_characters(service: SimilarityService, user: str) -> None:
    await write(service, user, "k", "Café")
    await write(service, user, "a", "Diary", unicodedata.normalize("NFD", "In the [[Café]] we met."))
    (mention,) = (await mentions(service, user, "k")).mentions
    assert [passage.text for passage in mention.passages] == ["In the [[Café]] we met."]


async def test_mentions_come_in_pages(service: SimilarityService, user: str) -> None:
    await write(service, user, "t", "Teapot")
    for number in range(7):
        await write(service, user, f"n{number}", f"N{number}", "[[Teapot]]" if number % 2 else "a teapot")
    found: list[str] = []
    token = ""
    while True:
        page = await mentions(service, user, "t", page_size=2, page_token=token)
        assert (page.total_links, page.total_mentions) == (3, 4)
        found += [each.node_id for each in page.mentions]
        token = page.next_page_token
        if not token:
            break
        if len(found) == 2:
            await write(service, user, "n0", "N0", "[[Teapot]], seen before its page or not at all")
            await write(service, user, "n0", "N0", "a teapot")
    assert found == ["n1", "n3", "n5", "n0", "n2", "n4", "n6"]
    first = (await mentions(service, user, "t", page_size=1)).next_page_token
    with pytest.raises(InvalidArgument):
        await mentions(service, user, "n1", page_token=first)
    with pytest.raises(NotFound):
        await mentions(service, user, "unknown")


async def test_a_long_passage_is_cut_at_words(service: SimilarityService, user: str) -> None:
    await write(service, user, "t", "Teapot")
    await write(service, user, "a", "Long", f"{'word ' * 400}[[Teapot]] {'word ' * 400}")
    (passage,) = (await mentions(service, user, "t")).mentions[0].passages
    assert passage.text.startswith("…word")
    assert passage.text.endswith("word…")
    assert len(passage.text) < 330
    assert passage.text[passage.highlight.start : passage.highlight.end] == "[[Teapot]]"


async def rename(
    service: SimilarityService, user: str, node_id: str, title: str, **fields: object
) -> pb.RenameNodeResponse:
    request = pb.RenameNodeRequest(user_id=user, node_id=node_id, title=title, **fields)  # type: ignore[arg-type]
    answer: pb.RenameNodeResponse = await service.stub.RenameNode(request)
    return answer


async def test_renaming_rewrites_the_links_that_name_the_note(
    service: SimilarityService, peers: FakePeers, user: str
) -> None:
    await write(service, user, "t", "Tea", "Myself: [[tea]].", "Chai")
    texts = {
        "a": "[[Tea]], [[tea#Brewing|how]], ![[Tea|pic]] | [[Tea\\|x]] | `[[Tea]]` [[Chai]] [[Teapot]]",
        "b": "nothing about it: Tea",
        "c": "[[t]]",
    }
    for node_id, text in texts.items():
        await write(service, user, node_id, node_id.upper(), text)
    answer = await rename(service, user, "t", "Green tea", rewrite_links=True)
    notes = peers.notes[user]
    assert (answer.done, answer.rewritten, list(answer.failures)) == (True, 1, [])
    assert (answer.version, answer.etag) == (notes["t"].version, notes["t"].etag)
    assert (notes["t"].title, list(notes["t"].aliases)) == ("Green tea", ["Chai"])
    assert notes["t"].content == "Myself: [[Green tea]]."
    assert notes["a"].content == (
        "[[Green tea]], [[Green tea#Brewing|how]], ![[Green tea|pic]] | [[Green tea\\|x]] |"
        " `[[Tea]]` [[Chai]] [[Teapot]]"
    )
    assert {each: notes[each].content for each in "bc"} == {each: texts[each] for each in "bc"}
    await service.hear(*(event_of(notes[each]) for each in "at"))
    assert peers.arrows(user) == {"a>t", "c>t"}
    before = dict(service.peers.notes[user])
    again = await rename(service, user, "t", "Green tea", rewrite_links=True)
    assert (again.done, again.rewritten) == (True, 0)
    assert {each: note.version for each, note in before.items()} == {each: n.version for each, n in notes.items()}


async def test_renaming_alone_leaves_the_texts_and_the_links_follow(
    service: SimilarityService, peers: FakePeers, user: str
) -> None:
    await write(service, user, "t", "Tea")
    await write(service, user, "a", "A", "[[Tea]]")
    answer = await rename(service, user, "t", "Green tea")
    await service.hear(event_of(peers.notes[user]["t"]))
    assert peers.notes[user]["a"].content == "[[Tea]]"
    assert peers.arrows(user) == {"a>t"}
    assert revisions.decode(answer.consistency_token) == {"t": (BORN, answer.version)}
    # The links that still say the old title can be rewritten later.
    assert (await rename(service, user, "t", "Green tea", rewrite_links=True)).rewritten == 1
    assert peers.notes[user]["a"].content == "[[Green tea]]"


@pytest.mark.parametrize("title", ["Taken", "a]] b", "a|b", "x.pdf"])
async def test_a_title_that_cannot_name_the_note_gives_way_to_its_id(
    service: SimilarityService, peers: FakePeers, user: str, title: str
) -> None:
    await write(service, user, "a-taken", "Taken")
    await write(service, user, "t", "Tea")
    await write(service, user, "z", "Z", "[[Tea]] [[Tea#x|label]]")
    await rename(service, user, "t", title, rewrite_links=True)
    await service.hear(*(event_of(peers.notes[user][each]) for each in "tz"))
    label = "" if title == "a]] b" else f"|{title}"
    assert peers.notes[user]["z"].content == f"[[t{label}]] [[t#x|label]]"
    assert peers.arrows(user) == {"z>t"}


async def test_renaming_goes_on_after_a_failure_and_meets_other_writers(
    service: SimilarityService, peers: FakePeers, user: str
) -> None:
    await write(service, user, "t", "Tea")
    for number in range(20):
        await write(service, user, f"n{number:02}", f"N{number}", "[[Tea]]")
    updates = 0

    def fail(name: str) -> Unavailable | None:
        nonlocal updates
        updates += name == "UpdateNode"
        if name == "UpdateNode" and updates == 10:
            # Somebody else writes another note of the list at the same moment.
            other = peers.note(user, "n15", "N15", "changed meanwhile: [[Tea]]")
            assert other.version == 2
        return Unavailable("down") if name == "UpdateNode" and updates >= 19 else None

    async def renamed() -> pb.RenameNodeResponse | None:
        try:
            return await rename(service, user, "t", "Green tea", rewrite_links=True)
        except Unavailable:
            return None

    peers.trouble = fail
    try:
        with pytest.raises(Unavailable):
            await rename(service, user, "t", "Green tea", rewrite_links=True)
        assert peers.notes[user]["t"].title == "Tea", "the title is changed last"
        peers.trouble = lambda _: None
        answer = await until(renamed, what="the breaker of UpdateNode letting calls pass again")
    finally:
        peers.trouble = lambda _: None
    assert answer is not None
    assert answer.done
    notes = peers.notes[user]
    assert (notes["t"].title, list(notes["t"].aliases)) == ("Green tea", [])
    assert notes["n15"].content == "changed meanwhile: [[Green tea]]"
    assert {notes[f"n{number:02}"].content for number in range(15)} == {"[[Green tea]]"}


async def test_renaming_checks_the_etag_and_the_title(service: SimilarityService, user: str) -> None:
    await write(service, user, "t", "Tea")
    with pytest.raises(Aborted) as caught:
        await rename(service, user, "t", "x", etag='"7"')
    assert caught.value.reason == "ETAG_MISMATCH"
    with pytest.raises(InvalidArgument):
        await rename(service, user, "t", "  ")
    with pytest.raises(NotFound):
        await rename(service, user, "unknown", "x")


async def test_a_request_waits_for_the_write_of_its_token(
    service: SimilarityService, peers: FakePeers, user: str
) -> None:
    await write(service, user, "a", "Alpha", "[[Zebra]] about stripes")
    note = peers.note(user, "z", "Zebra", "An animal with stripes")
    token = revisions.encode({"z": (BORN, 1)})
    asked = [
        asyncio.ensure_future(call)
        for call in (
            service.stub.SearchNodes(pb.SearchNodesRequest(user_id=user, query="animal", consistency_token=token)),
            service.stub.FindSimilar(pb.FindSimilarRequest(user_id=user, node_id="z", consistency_token=token)),
            service.stub.ListNodesByKeyword(
                pb.ListNodesByKeywordRequest(user_id=user, keyword="animal", consistency_token=token)
            ),
            mentions(service, user, "z", consistency_token=token),
        )
    ]
    done, _ = await asyncio.wait(asked, timeout=0.3)
    assert not done
    await service.hear(event_of(note))
    found, similar, listed, linking = await asyncio.gather(*asked)
    assert [hit.node_id for hit in found.hits] == ["z"]
    assert [each.node_id for each in similar.nodes] == ["a"]
    assert [each.node_id for each in listed.nodes] == ["z"]
    assert [each.node_id for each in linking.mentions] == ["a"]


async def test_a_request_whose_write_is_not_indexed_in_time_says_when_to_come_again(
    service: SimilarityService, user: str
) -> None:
    await write(service, user, "a", "Alpha")
    token = revisions.encode({"a": (BORN, 2)})
    began = time.monotonic()
    with pytest.raises(Unavailable) as caught:
        await service.stub.SearchNodes(
            pb.SearchNodesRequest(user_id=user, query="alpha", consistency_token=token), timeout=3, idempotent=False
        )
    assert (caught.value.reason, caught.value.metadata["node_ids"]) == ("INDEX_BEHIND", "a")
    assert caught.value.retry_after
    assert time.monotonic() - began < 3
    with pytest.raises(InvalidArgument) as refused:
        await service.stub.SearchNodes(pb.SearchNodesRequest(user_id=user, query="a", consistency_token="x"))
    assert refused.value.reason == "CONSISTENCY_TOKEN_INVALID"


async def test_a_token_of_a_note_that_was_deleted_since_does_not_wait(
    service: SimilarityService, peers: FakePeers, user: str
) -> None:
    await write(service, user, "a", "Alpha")
    gone = peers.notes[user].pop("a")
    deleted = node_pb2.Node()
    deleted.CopyFrom(gone)
    deleted.version = 3
    await service.hear(event_of(deleted, "node.deleted"))
    token = revisions.encode({"a": (BORN, 2)})
    assert await service.search(user, "alpha", consistency_token=token) == []
