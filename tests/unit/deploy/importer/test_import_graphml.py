"""GraphML: an export comes back as the same notes and links, other tools' files are read, hostile ones do no harm."""

import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploy.local.importer.graphml import GraphmlFile
from deploy.local.importer.items import Item, Link, Note, Problem, Rejection, has_control
from deploy.local.importer.jsonlines import item_of
from deploy.local.importer.main import open_source
from tests.support.exports import export, note_record

_HEAD = '<graphml xmlns="http://graphml.graphdrawing.org/xmlns">'


def _read(path: Path, text: str | bytes) -> list[Item]:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return list(GraphmlFile(path))


def _problems(items: list[Item]) -> list[str]:
    return [item.reason for item in items if isinstance(item, Problem) and item.fatal]


async def test_an_export_comes_back_as_the_same_notes_links_and_rejections(tmp_path: Path) -> None:
    metadata = {
        "auto_generated": True, "confirmed": True, "score": 0.75, "method": "lexical/2", "labels": {"k": "v"},
        "shared_keywords": [{"keyword": "tea, green", "contribution": 0.5}],
    }  # fmt: skip
    records: list[dict[str, Any]] = [
        note_record(
            "tea", "Green <tea> & \"more\"", "One\r\ntwo\rthree\n\n\ttab ]]> &amp; <b>", tags=["a", "b, c", " d"]
        ),
        note_record("pot", "", "\x00\x0bcontrol \ufffe", aliases=["Kyusu", "x, y"], metadata={"k": "\u2028"}),
        note_record("gone", " blanks ", "", delete_time="2026-03-01T00:00:00Z"),
        {"kind": "edge", "source_id": "tea", "target_id": "pot", "type": "related", "weight": 0.1 + 0.2,
         "metadata": metadata},
        {"kind": "edge", "source_id": "pot", "target_id": "tea", "type": "cools", "directed": True, "weight": 0.0},
        {"kind": "edge", "source_id": "pot", "target_id": "gone", "type": "links_to", "weight": 1.0,
         "metadata": {"labels": {"source": "text"}}},
        {"kind": "rejection", "source_id": "gone", "target_id": "tea", "type": "related"},
    ]  # fmt: skip
    items = list(open_source(await export(tmp_path / "graph.graphml", "graphml", *records)))
    wanted = [item_of("", record) for record in records]
    assert [item.node for item in items if isinstance(item, Note)] == [
        item.node for item in wanted if isinstance(item, Note)
    ]
    assert [item.node.node_id for item in items if isinstance(item, Note) and item.deleted] == ["gone"]
    links = [item for item in items if isinstance(item, Link)]
    assert [item.edge for item in links] == [item.edge for item in wanted if isinstance(item, Link)]
    assert [item.zero for item in links] == [False, True, False]
    [rejection] = [item for item in items if isinstance(item, Rejection)]
    assert (rejection.source_id, rejection.target_id, rejection.edge_type) == ("gone", "tea", "related")
    assert not [item for item in items if isinstance(item, Problem)]


_LINE = st.text(st.characters(codec="utf-8"), max_size=30).filter(lambda text: not has_control(text))


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(title=_LINE, text=st.text(st.characters(codec="utf-8"), max_size=200), tags=st.lists(_LINE, max_size=4))
async def test_every_text_comes_back(tmp_path: Path, title: str, text: str, tags: list[str]) -> None:
    record = note_record("a", title, f"x{text}", tags=list(tags))
    [found] = list(GraphmlFile(await export(tmp_path / "graph.graphml", "graphml", record)))
    wanted = item_of("", record)
    assert isinstance(found, Note)
    assert isinstance(wanted, Note)
    assert found.node == wanted.node


async def test_what_a_person_has_changed_in_another_tool_counts(tmp_path: Path) -> None:
    edge = {"kind": "edge", "source_id": "a", "target_id": "a2", "type": "related", "weight": 0.5,
            "metadata": {"auto_generated": True, "score": 0.5}}  # fmt: skip
    notes = [
        note_record("a", "\ufffeOld", "x", tags=["one", "two"], metadata={"kept": "yes"}),
        note_record("a2", "B", "y"),
    ]
    path = await export(tmp_path / "graph.graphml", "graphml", *notes, edge)
    text = path.read_text(encoding="utf-8")
    for old, new in (("> Old<", ">New<"), (">one, two<", ">three<"), (">0.5<", ">0.75<"),
                     ('confirmed">false<', 'confirmed">true<')):  # fmt: skip
        assert old in text
        text = text.replace(old, new, 1)
    items = _read(path, text)
    first = next(item.node for item in items if isinstance(item, Note))
    assert (first.title, list(first.tags), dict(first.metadata)) == ("New", ["three"], {"kept": "yes"})
    [link] = [item.edge for item in items if isinstance(item, Link)]
    assert (link.weight, link.metadata.confirmed, link.metadata.auto_generated, link.metadata.score) == (
        0.75, True, True, 0.5,
    )  # fmt: skip


def test_files_of_other_tools_are_read(tmp_path: Path) -> None:
    yed = f"""{_HEAD}<key id="d5" for="node" attr.name="description" attr.type="string"/>
      <key for="node" id="d6" yfiles.type="nodegraphics"/><key id="w" for="edge" attr.name="weight" attr.type="double"/>
      <key id="t" for="edge" attr.name="label"/><key id="c" for="node" attr.name="colour"/>
      <graph edgedefault="directed" id="G">
        <node id="n0"><data key="d5">Text of it</data><data key="c">red</data>
          <data key="d6"><y:ShapeNode><y:Fill color="#FFCC00"/><y:NodeLabel>
             Green
             tea<y:LabelModel/></y:NodeLabel><y:Shape type="rectangle"/></y:ShapeNode></data></node>
        <node id="n 1"><graph id="n1:" edgedefault="undirected"><node id="n1::n0"/></graph></node>
        <edge source="n0" target="n 1"><data key="t">Belongs to 2</data><data key="w">0.5</data></edge>
        <edge source="n0" target="n1::n0" directed="false"/>
      </graph></graphml>"""
    items = _read(tmp_path / "y.graphml", yed)
    assert not _problems(items)
    notes = [item.node for item in items if isinstance(item, Note)]
    assert {(note.title, note.content) for note in notes} == {("Green tea", "Text of it"), ("n1::n0", ""), ("n 1", "")}
    first, second = [item.edge for item in items if isinstance(item, Link)]
    assert (first.type, first.directed, first.weight) == ("belongs_to_2", True, 0.5)
    assert (second.type, second.directed) == ("", False)
    assert {first.source_id, first.target_id, second.target_id} <= {note.node_id for note in notes}
    assert [item.reason for item in items if isinstance(item, Problem)] == ["not read: colour"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('<!DOCTYPE g [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;">]><graphml>&b;</graphml>', "a document type"),
        ('<!DOCTYPE g SYSTEM "file:///etc/passwd"><graphml/>', "a document type"),
        ("<html><node/></html>", "not GraphML, but <html>"),
        ("<graphml><graph><node id='a'>", "not XML"),
        (b"<graphml>\xff\xfe</graphml>", "not XML"),
        (b"\x00" * 100, "not XML"),
        ("", "not XML"),
        ("<graphml>" + "<graph>" * 200, "nested deeper"),
        ("<graphml><!--" + "x" * 6_000_000, "a tag is over 4 MiB"),
        ("<graphml><graph><node id='" + "x" * 6_000_000, "a tag is over 4 MiB"),
        ("<graphml><graph><node id='a'><data key='t'>" + "x" * 5_000_000, "a value is over 4 MiB"),
    ],
)  # fmt: skip
def test_a_hostile_file_ends_with_its_reason(tmp_path: Path, text: str | bytes, why: str) -> None:
    tracemalloc.start()
    try:
        [problem] = _problems(_read(tmp_path / "x.graphml", text))
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()
    assert why in problem
    assert problem.endswith("the rest is not read")


def test_a_wrong_element_harms_no_other(tmp_path: Path) -> None:
    keys = "".join(f'<key id="{name}" for="all" attr.name="{name}"/>' for name in ("weight", "title", "brain2", "text"))
    wrong = (
        "<node/>", "<node id=''/>", "<node id='a'/>", "<edge source='a'/>",
        "<edge source='a' target='b'><data key='weight'>heavy</data></edge>",
        "<node id='c'><data key='brain2'>{</data></node>", "<node id='d'><data key='brain2'>[]</data></node>",
        "<node id='e'><data key='brain2'>{\"tags\": 5}</data><data key='title'>t</data></node>",
        "<node id='f'><data key='brain2'>{\"metadata\": {\"a\": 1}}</data><data key='title'>t</data></node>",
        f"<node id='g'><data key='brain2'>{'[' * 100_000}</data></node>",
        f"<node id='h'><data key='text'>{'x' * 300_000}</data></node>",
    )  # fmt: skip
    good = "<node id='a'/><node id='b'/><edge source='a' target='b'/>"
    items = _read(tmp_path / "x.graphml", f"{_HEAD}{keys}<graph>{good}{''.join(wrong)}<node id='z'/></graph></graphml>")
    assert [item.node.node_id for item in items if isinstance(item, Note)][-1] == "z"
    assert len([item for item in items if isinstance(item, Link)]) == 1
    assert len(_problems(items)) == len(wrong), _problems(items)
