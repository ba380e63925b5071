"""A vault that nobody has changed is imported as the same notes and links, whatever the user has written in them."""

from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploy.local.importer.items import Item, Link, Note, Problem, Rejection, has_control
from deploy.local.importer.main import open_source
from protos.graph.v1 import graph_pb2
from protos.node.v1 import node_pb2
from tests.support.exports import CREATED, export, note_record

# Everything that a file, Markdown, YAML, a tool for notes or a file system treats in its own way.
TITLES = [
    "a/b/../c", "...", ".hidden", "x.md", "x", "X", "Ä", "A\u0308", "ß", "ss", "null", "~", "true", "007", "2026-01-01",
    "[[wiki]]", "[[wiki|label]]", "a | b", "# heading", "#tag",
    "`code`", "$x$", "&amp;", "<b>", "*a* _b_", "- item",
    "'single' \"double\"", "title: x", "con", "COM1", " two  spaces ", "100%25", "%2e%2e", "a___b",
    "🍵", "日本語", "שלום",
    "!!!", "x" * 512, "{}", "a\u00a0b", "\u200bx", "dendron.yml", "2024_05_01",
    "---", "%%", "", "x\\y", "^block",
]  # fmt: skip
TEXTS = [
    "plain", "---\ntitle: no\ntags: [no]\n---\nfront-matter-like",
    "+++\nx = 1\n+++\n",
    "\n\n  blanks around  \n\n", "x\n",
    "\r\nDOS\r\n", "old Mac\rlines", "tags:: a, b\nid:: other\n\ntext", "#tag in the text [[x]] and ![[a | b]]",
    "\ufeffBOM",
    "zero \0 byte", "[[nobody]]",
    "`[[x]]`", "\u2028separator", "x" * 262_144, "\t", "brain2: x", "trailing \\", "😀" * 9,
]  # fmt: skip


def _edge(source: str, target: str, **other: Any) -> dict[str, Any]:
    return {"kind": "edge", "source_id": source, "target_id": target, "type": "related", "weight": 1.0, **other}


def _imported(path: Path) -> list[Item]:
    return list(open_source(path))


def _wanted(record: dict[str, Any]) -> node_pb2.NewNode:
    node = node_pb2.NewNode(node_id=record["id"], title=record["title"], content=record["text"])
    node.tags.extend(record["tags"])
    node.aliases.extend(record["aliases"])
    node.metadata.update(record["metadata"])
    node.create_time.FromDatetime(datetime.fromisoformat(CREATED).astimezone(UTC))
    return node


def _notes(items: list[Item]) -> dict[str, node_pb2.NewNode]:
    return {item.node.node_id: item.node for item in items if isinstance(item, Note)}


def _links(items: list[Item]) -> dict[tuple[str, str, str], graph_pb2.NewEdge]:
    edges = [item.edge for item in items if isinstance(item, Link)]
    assert len({(edge.source_id, edge.target_id, edge.type) for edge in edges}) == len(edges)
    return {(edge.source_id, edge.target_id, edge.type): edge for edge in edges}


@pytest.mark.parametrize("to", ["vault", "vault.zip", "logseq"])
async def test_hostile_titles_texts_and_links_come_back(tmp_path: Path, to: str) -> None:
    notes = [note_record(f"n{n}", title, f"text {n}") for n, title in enumerate(TITLES)]
    notes += [note_record(f"t{n}", f"title {n}", text) for n, text in enumerate(TEXTS)]
    notes.append(note_record("T1", "", "no title"))
    ids = [note["id"] for note in notes]
    edges = [_edge(one, other) for one, other in pairwise(ids)]
    edges += [_edge(ids[0], other, type="links_to", directed=True, weight=0.25) for other in ids[2:]]
    items = _imported(await export(tmp_path / to, "markdown", *notes, *edges))
    found = _notes(items)
    assert found.keys() == set(ids)
    for note in notes:
        assert found[note["id"]] == _wanted(note), note["title"]
    assert not [item for item in items if isinstance(item, Problem)]
    links = _links(items)
    assert {key: (edge.directed, edge.weight) for key, edge in links.items()} == {
        (edge["source_id"], edge["target_id"], edge["type"]): (edge.get("directed", False), edge["weight"])
        for edge in edges
    }


_ONE_LINE = st.text(st.characters(codec="utf-8"), max_size=40).filter(
    lambda text: not has_control(text) and any(char.isprintable() and not char.isspace() for char in text)
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    title=_ONE_LINE,
    text=st.text(st.characters(codec="utf-8"), min_size=1, max_size=200),
    tags=st.lists(_ONE_LINE.filter(lambda tag: len(tag.encode()) <= 64), unique=True, max_size=4),
    aliases=st.lists(_ONE_LINE, unique=True, max_size=4),
    metadata=st.dictionaries(_ONE_LINE, st.text(st.characters(codec="utf-8"), max_size=40), max_size=4),
)
async def test_every_note_comes_back(
    tmp_path_factory: pytest.TempPathFactory,
    title: str,
    text: str,
    tags: list[str],
    aliases: list[str],
    metadata: dict[str, str],
) -> None:
    note = note_record("n", title, text, tags=tags, aliases=aliases, metadata=metadata)
    items = _imported(await export(tmp_path_factory.mktemp("vault") / "v", "markdown", note))
    assert _notes(items) == {"n": _wanted(note)}
    assert not [item for item in items if isinstance(item, Problem)]


async def test_every_kind_of_link_comes_back(tmp_path: Path) -> None:
    automatic = {
        "auto_generated": True, "score": 0.5, "method": "lexical/2", "confirmed": True, "labels": {"k": "v"},
        "shared_keywords": [{"keyword": "tea", "contribution": 0.25}],
    }  # fmt: skip
    notes = [note_record(node_id, f"note {node_id}", "text") for node_id in "abc"]
    edges = [
        _edge("a", "b", weight=0.0),
        _edge("a", "b", type="cools", directed=True, metadata=automatic, weight=0.5),
        _edge("b", "a", type="cools_too", directed=True, weight=1e-9),
        _edge("a", "c", type="links_to", directed=True, metadata={"labels": {"source": "text"}}),
    ]
    rejection = {"kind": "rejection", "source_id": "b", "target_id": "c", "type": "related"}
    items = _imported(await export(tmp_path / "vault", "markdown", *notes, *edges, rejection))
    found = _links(items)
    assert len(found) == 4
    for edge in edges:
        got = found[edge["source_id"], edge["target_id"], edge["type"]]
        assert (got.directed, got.weight) == (edge.get("directed", False), edge["weight"])
    metadata = found["a", "b", "cools"].metadata
    assert (metadata.auto_generated, metadata.score, metadata.method, metadata.confirmed) == (
        True,
        0.5,
        "lexical/2",
        True,
    )
    assert [(each.keyword, each.contribution) for each in metadata.shared_keywords] == [("tea", 0.25)]
    assert [item.edge.weight for item in items if isinstance(item, Link) and item.zero] == [0.0]
    [rejected] = [item for item in items if isinstance(item, Rejection)]
    assert (rejected.source_id, rejected.target_id, rejected.edge_type) == ("b", "c", "related")


async def test_a_hub_of_many_thousand_links_stays_a_note(tmp_path: Path) -> None:
    notes = [note_record("hub", "Hub", "the text"), *(note_record(f"n{n}", f"Note {n}", "x") for n in range(2500))]
    edges = [_edge("hub", f"n{n}", metadata={"labels": {"long": "x" * 400}}) for n in range(2500)]
    items = _imported(await export(tmp_path / "vault.zip", "markdown", *notes, *edges))
    assert _notes(items)["hub"].content == "the text"
    assert len(_links(items)) == 2500


async def test_a_deleted_note_is_imported_as_a_deleted_one(tmp_path: Path) -> None:
    gone = note_record("gone", "Gone", "text", delete_time="2026-02-01T00:00:00Z", purge_time="2026-03-01T00:00:00Z")
    items = _imported(await export(tmp_path / "vault", "markdown", note_record("live", "Live", "text"), gone))
    assert {item.node.node_id: item.deleted for item in items if isinstance(item, Note)} == {
        "live": False,
        "gone": True,
    }


async def test_what_a_person_changes_in_the_files_counts(tmp_path: Path) -> None:
    notes = [
        note_record("a", "A", "See [[C]]", tags=["old"], metadata={"k": "v"}),
        note_record("b", "B", "b"),
        note_record("c", "C", "c"),
    ]
    vault = await export(tmp_path / "vault", "markdown", *notes, _edge("a", "b"))
    # The text is as it was exported, and its link is not among the links: the user has removed it.
    assert _links(_imported(vault)).keys() == {("a", "b", "related")}
    path = vault / "A.md"
    text = path.read_text().replace('"old"', '"old"\n  - new').replace("See [[C]]", "See [[C]], #inline\n")
    path.write_text(text.replace('  - "[[B]]"\n', "").replace("links:\n", "status: done\nlinks: []\n"))
    items = _imported(vault)
    found = _notes(items)["a"]
    assert found.content == "See [[C]], #inline\n"
    assert list(found.tags) == ["old", "new"]
    assert dict(found.metadata) == {"k": "v", "status": "done"}
    assert _links(items).keys() == {("a", "c", "links_to")}
