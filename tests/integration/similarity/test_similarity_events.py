"""From the notes' events to index, links and answers, on real stores."""

from protos.similarity.v1 import similarity_pb2 as pb
from tests.support.similarity_peers import FakePeers
from tests.support.similarity_service import SimilarityService, event_of, publish
from tests.support.stores import Stores
from tests.support.waiting import until

TOPICS = {
    "postgres": ("PostgreSQL", "PostgreSQL is a relational database with transactions, written in C."),
    "sqlite": ("SQLite", "SQLite is a small relational database in one file, used where PostgreSQL would be too much."),
    "relational": ("Relational database", "Tables, keys and joins: the relational model of Codd, with transactions."),
    "bread": ("Sourdough bread", "Flour, water, salt and patience; the dough rests overnight before baking."),
    "pizza": ("Pizza", "A thin sourdough bread with tomatoes and cheese, baked very hot; the dough rests overnight."),
}


async def test_from_event_to_links(stores: Stores, service: SimilarityService, peers: FakePeers, user: str) -> None:
    notes = [peers.note(user, node_id, *text) for node_id, text in TOPICS.items()]
    await publish(stores, [event_of(note) for note in notes])

    def linked() -> bool:
        return {("postgres", "sqlite"), ("postgres", "relational"), ("bread", "pizza")} <= peers.pairs(user)

    await until(linked, what="links")
    await service.relinked()
    assert not any({a, b} & {"bread", "pizza"} and {a, b} & {"postgres", "sqlite"} for a, b in peers.pairs(user))
    edge = peers.edge(user, "postgres", "sqlite")
    assert edge.metadata.auto_generated
    assert edge.metadata.method == "lexical/2"
    assert edge.weight == edge.metadata.score
    assert 0 < edge.weight <= 1
    words = {each.keyword.lower() for each in edge.metadata.shared_keywords}
    assert "postgresql" in words
    assert "database" in words
    assert sum(each.contribution for each in edge.metadata.shared_keywords) <= edge.metadata.score + 1e-6


async def test_a_deleted_note_leaves_every_answer_and_comes_back(
    service: SimilarityService, peers: FakePeers, user: str
) -> None:
    notes = {node_id: peers.note(user, node_id, *text) for node_id, text in TOPICS.items()}
    await service.hear(*(event_of(note) for note in notes.values()))
    assert "sqlite" in await service.similar(user, "postgres")

    gone = peers.notes[user].pop("sqlite")
    gone.version += 1
    peers.has(user, "sqlite", gone.version, hidden=True)
    answer = await service.stub.SetNodeVisibility(
        pb.SetNodeVisibilityRequest(user_id=user, node_id="sqlite", version=gone.version, visible=False)
    )
    assert answer.applied
    assert "sqlite" not in await service.similar(user, "postgres")
    assert "sqlite" not in await service.search(user, "sqlite")
    keyword = pb.ListNodesByKeywordRequest(user_id=user, keyword="SQLite")
    assert [each.node_id for each in (await service.stub.ListNodesByKeyword(keyword)).nodes] == []
    assert not await service.indexed(user, "sqlite")

    # The event says the same again; then the note is restored.
    await service.hear(event_of(gone, "node.deleted"))
    gone.version += 1
    peers.notes[user]["sqlite"] = gone
    await service.hear(event_of(gone, "node.restored"))
    assert "sqlite" in await service.similar(user, "postgres")
    assert [each.node_id for each in (await service.stub.ListNodesByKeyword(keyword)).nodes] == ["sqlite"]
