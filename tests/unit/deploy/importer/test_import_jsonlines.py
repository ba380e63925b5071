"""Reading JSON lines: what becomes a note, an edge, a problem; that a bad line harms no other."""

import gzip
import json
from pathlib import Path

import pytest

from deploy.local.importer import jsonlines
from deploy.local.importer.items import Item, Link, Note, Problem, Rejection, Settings
from deploy.local.importer.jsonlines import JsonLines


def read(tmp_path: Path, *lines: object, packed: bool = False) -> list[Item]:
    data = b"".join(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in lines)
    path = tmp_path / "notes.jsonl"
    path.write_bytes(gzip.compress(data) if packed else data)
    source = JsonLines(path)
    items = list(source)
    assert source.done == source.total > 0
    return items


@pytest.mark.parametrize("packed", [False, True])
def test_a_note(tmp_path: Path, packed: bool) -> None:
    line = {"id": "tea", "title": "Tea", "text": "Green", "tags": ["drink"], "created": "2024-05-01", "links": ["x"]}
    [note] = read(tmp_path, line, packed=packed)
    assert isinstance(note, Note)
    assert (note.where, note.node.node_id, note.node.title, note.node.content) == ("line 1", "tea", "Tea", "Green")
    assert list(note.node.tags) == ["drink"]
    assert note.node.create_time.ToJsonString() == "2024-05-01T00:00:00Z"
    assert not note.node.metadata


def test_an_id_that_does_not_fit_is_kept_beside(tmp_path: Path) -> None:
    [note] = read(tmp_path, {"id": "tea/green", "title": "Tea"})
    assert isinstance(note, Note)
    assert note.node.node_id.startswith("tea-green-")
    assert note.node.metadata["imported_id"] == "tea/green"


def test_without_an_id_the_content_is_the_identity(tmp_path: Path) -> None:
    one, two, again = read(tmp_path, {"title": "Tea"}, {"title": "Coffee"}, {"title": "Tea"})
    assert isinstance(one, Note)
    assert isinstance(two, Note)
    assert one.node.node_id != two.node.node_id
    assert isinstance(again, Problem)
    assert "already on line 1" in again.reason


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{nonsense}\n", "not JSON: .* at character 2"),
        (b'"a text"\n', "not a JSON object"),
        (b'{"title": "\xff"}\n', "not UTF-8"),
        (b'{"title": "\\ud800"}\n', "UTF-8"),
        ({"title": " ", "text": ""}, "neither title nor text"),
        ({"title": 5}, "title is not a text"),
        ({"title": "x", "text": "y" * 262_145}, "over 256 KiB"),
        ({"title": "x", "tags": 5}, "tags"),
        ({"title": "x", "created": "soon"}, "'soon' is not a time"),
        ({"title": "x", "metadata": {"a": 1}}, "metadata"),
        ({"id": ["x"], "title": "x"}, "id is not a text"),
        ({"kind": "poem", "title": "x"}, "kind 'poem' is not known"),
        ({"kind": "edge", "source_id": "a"}, "an edge needs"),
        ({"kind": "edge", "source_id": "a", "target_id": "b", "weight": "heavy"}, "not an edge"),
    ],
)
def test_a_bad_line_is_named_and_harms_no_other(tmp_path: Path, line: object, reason: str) -> None:
    before, bad, after, *_ = read(tmp_path, {"id": "a", "title": "A"}, line, {"id": "b", "title": "B"}, {"kind": "end"})
    assert isinstance(before, Note)
    assert isinstance(after, Note)
    assert isinstance(bad, Problem)
    assert bad.fatal
    assert bad.where == "line 2"
    with pytest.raises(ValueError, match=reason):
        raise ValueError(bad.reason)


def test_an_export(tmp_path: Path) -> None:
    node = {"kind": "note", "node_id": "a", "title": "A", "content": "x", "create_time": "2024-05-01T00:00:00Z"}
    gone = {"kind": "note", "node_id": "b", "title": "B", "delete_time": "2024-05-02T00:00:00Z"}
    metadata = {"auto_generated": True, "shared_keywords": [{"keyword": "tea", "contribution": 0.5}]}
    edge = {
        "kind": "edge",
        "source_id": "a",
        "target_id": "b/c",
        "type": "related",
        "weight": 0.5,
        "metadata": metadata,
    }
    settings = {"kind": "settings", "context": "node", "settings": {"retention": "60s"}}
    end = {"kind": "end", "notes": 2, "edges": 1, "settings": 1}
    applied, first, second, link = read(tmp_path, settings, node, gone, edge, end)
    assert applied == Settings("line 1", "node", {"retention": "60s"})
    assert isinstance(first, Note)
    assert not first.deleted
    assert first.node.create_time.seconds == 1_714_521_600
    assert isinstance(second, Note)
    assert second.deleted
    assert isinstance(link, Link)
    assert link.edge.metadata.auto_generated
    assert link.edge.metadata.shared_keywords[0].keyword == "tea"
    assert link.edge.target_id.startswith("b-c-")


def test_an_export_is_taken_as_it_stands(tmp_path: Path) -> None:
    odd = {
        "kind": "note",
        "id": "a",
        "title": " A ",
        "text": "\r\n x \0",
        "tags": ["#a", " b ", "c,d"],
        "aliases": ["!"],
    }
    edge = {"kind": "edge", "source_id": "a", "target_id": "b", "weight": 0.0}
    default = {"kind": "edge", "source_id": "a", "target_id": "c"}
    rejection = {"kind": "rejection", "source_id": "a", "target_id": "d", "type": "related"}
    end = {"kind": "end", "notes": 1, "edges": 2, "rejections": 2}
    note, zero, one, rejected, problem = read(tmp_path, odd, edge, default, rejection, end)
    assert isinstance(note, Note)
    assert (note.node.title, note.node.content) == (" A ", "\r\n x \0")
    assert (list(note.node.tags), list(note.node.aliases)) == (["#a", " b ", "c,d"], ["!"])
    assert isinstance(zero, Link)
    assert isinstance(one, Link)
    assert (zero.zero, one.zero) == (True, False)
    assert rejected == Rejection("line 4", "a", "d", "related")
    assert isinstance(problem, Problem)
    assert "2 rejections, the file has 1" in problem.reason


def test_an_export_that_is_cut_off_is_a_failure(tmp_path: Path) -> None:
    *_, problem = read(tmp_path, {"kind": "note", "node_id": "a", "title": "A"})
    assert isinstance(problem, Problem)
    assert problem.fatal
    assert "cut off" in problem.reason


def test_a_gzip_file_that_is_cut_off_is_a_failure(tmp_path: Path) -> None:
    lines = b"".join(json.dumps({"id": f"n{i}", "title": f"Title {i * 7919}"}).encode() + b"\n" for i in range(2000))
    path = tmp_path / "notes.jsonl.gz"
    path.write_bytes(gzip.compress(lines)[:-2000])
    *notes, problem = list(JsonLines(path))
    assert len(notes) > 100
    assert isinstance(problem, Problem)
    assert problem.fatal
    assert "damaged" in problem.reason


def test_a_byte_order_mark_and_blank_lines_are_nothing(tmp_path: Path) -> None:
    [note] = read(tmp_path, b"\xef\xbb\xbf" + json.dumps({"title": "A"}).encode() + b"\r\n\r\n")
    assert isinstance(note, Note)


def test_a_line_that_is_too_long_or_too_deep_is_named_and_harms_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jsonlines, "_LONGEST_LINE", 1_000_000)
    deep = b'{"title": "x", "extra": ' + b"[" * 200_000 + b"]" * 200_000 + b"}\n"
    one, problem, nested, two = read(
        tmp_path, {"id": "a", "title": "A"}, {"title": "x" * 3_000_000}, deep, {"id": "b", "title": "B"}
    )
    assert isinstance(one, Note)
    assert isinstance(two, Note)
    assert problem == Problem("line 2", "over 0 MiB")
    assert nested == Problem("line 3", "nested too deep")


@pytest.mark.parametrize("line", [b"0" * 10_000_000, b"{}\n" * 300_000])
def test_a_gzip_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: bytes) -> None:
    monkeypatch.setattr(jsonlines, "_UNPACKED_AT_LEAST", 100_000)
    monkeypatch.setattr(jsonlines, "_MOST_UNPACKED", 10)
    path = tmp_path / "notes.jsonl.gz"
    path.write_bytes(gzip.compress(line, 1))
    *_, last = list(JsonLines(path))
    assert isinstance(last, Problem)
    assert "unpacks to far more" in last.reason


def test_an_export_that_lost_lines_is_a_failure(tmp_path: Path) -> None:
    *_, problem = read(
        tmp_path, {"kind": "note", "node_id": "a", "title": "A"}, {"kind": "end", "notes": 2, "edges": 0}
    )
    assert isinstance(problem, Problem)
    assert problem.reason == "the export had 2 notes, the file has 1"
