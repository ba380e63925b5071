"""Reading a folder of Markdown: front matter, titles, and where wiki links lead."""

from pathlib import Path

import pytest

from deploy.local.importer.items import Item, Link, Note, Problem
from deploy.local.importer.markdown import MarkdownFolder


def read(folder: Path, **files: str) -> list[Item]:
    """files: path (with "__" for "/") = text."""
    for name, text in files.items():
        path = folder / (name.replace("__", "/") + ".md")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    source = MarkdownFolder(folder)
    items = list(source)
    assert source.done == source.total
    return items


def notes(items: list[Item]) -> dict[str, Note]:
    return {item.node.title: item for item in items if isinstance(item, Note)}


def links(items: list[Item]) -> list[tuple[str, str]]:
    titles = {item.node.node_id: item.node.title for item in items if isinstance(item, Note)}
    return [(titles[i.edge.source_id], titles[i.edge.target_id]) for i in items if isinstance(i, Link)]


def test_front_matter(tmp_path: Path) -> None:
    [note] = read(tmp_path, tea="---\ntitle: Green tea\ntags: [drink, '#hot']\ndate: 2024-05-01\n---\n# Tea\n\nText\n")
    assert isinstance(note, Note)
    assert (note.where, note.node.title, note.node.content) == ("tea.md", "Green tea", "# Tea\n\nText")
    assert list(note.node.tags) == ["drink", "hot"]
    assert note.node.create_time.ToJsonString() == "2024-05-01T00:00:00Z"
    assert note.node.metadata["path"] == "tea.md"


def test_a_title_is_the_heading_or_the_file_name(tmp_path: Path) -> None:
    items = read(tmp_path, tea="# Green tea #\n", plain="Only text")
    assert set(notes(items)) == {"Green tea", "plain"}


def test_tags_may_be_words(tmp_path: Path) -> None:
    [note] = read(tmp_path, tea="---\ntags: drink hot\n---\nx")
    assert isinstance(note, Note)
    assert list(note.node.tags) == ["drink", "hot"]


def test_links_by_title_file_name_path_and_alias_whatever_the_case(tmp_path: Path) -> None:
    text = "[[Green Tea]] [[COFFEE]] [[drinks/milk|white]] [[Aqua#Sources]] ![[juice.md]]"
    items = read(
        tmp_path,
        a=text,
        x="# green tea",
        coffee="# Something else",
        drinks__milk="# White",
        water="---\naliases: [aqua]\n---\n",
        juice="",
    )
    assert sorted(links(items)) == sorted(
        [("a", "green tea"), ("a", "Something else"), ("a", "White"), ("a", "water"), ("a", "juice")]
    )
    [labelled] = [item for item in items if isinstance(item, Link) and item.edge.metadata.labels]
    assert labelled.edge.metadata.labels["label"] == "white"
    assert labelled.edge.directed
    assert labelled.edge.type == "links_to"


def test_notes_that_link_each_other_get_one_edge_without_a_direction(tmp_path: Path) -> None:
    items = read(tmp_path, a="[[b]] and again [[b]]", b="[[a]]")
    [link] = [item for item in items if isinstance(item, Link)]
    assert not link.edge.directed


def test_of_several_notes_with_a_name_the_nearest_is_meant(tmp_path: Path) -> None:
    items = read(tmp_path, x__a="[[index]]", x__index="# near", y__index="# far", index="# top", z__b="[[index]]")
    assert links(items) == [("a", "near"), ("b", "top")]


def test_a_link_that_leads_nowhere_is_mentioned_with_its_line(tmp_path: Path) -> None:
    items = read(tmp_path, a="---\ntitle: A\n---\none\n[[Missing#part|label]] [[plan.pdf]] [[#here]] [[a]]\n")
    [remark] = [item for item in items if isinstance(item, Problem)]
    assert (remark.where, remark.fatal) == ("a.md:5", False)
    assert "[[Missing]]" in remark.reason


def test_code_shows_links_and_makes_none(tmp_path: Path) -> None:
    items = read(tmp_path, a="`[[b]]`\n```\n[[b]]\n```\n", b="")
    assert links(items) == []
    assert not [item for item in items if isinstance(item, Problem)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("---\ntitle: [unclosed\n---\n", "front matter, line"),
        ("---\njust words\n---\n", "front matter is not"),
        ("---\ndate: soon\n---\n", "'soon' is not a time"),
        ("x" * 262_145, "over 256 KiB"),
    ],
)
def test_a_bad_file_is_named_and_harms_no_other(tmp_path: Path, text: str, reason: str) -> None:
    problem, good = read(tmp_path, bad=text, good="fine")
    assert isinstance(good, Note)
    assert isinstance(problem, Problem)
    assert problem.fatal
    assert problem.where == "bad.md"
    assert reason in problem.reason


def test_bytes_that_are_not_text_are_named(tmp_path: Path) -> None:
    (tmp_path / "bad.md").write_bytes(b"\xff\xfe")
    [problem] = read(tmp_path)
    assert isinstance(problem, Problem)
    assert problem.reason == "not UTF-8"


def test_hidden_folders_are_the_editors_own(tmp_path: Path) -> None:
    items = read(tmp_path, a="x")
    (tmp_path / ".trash").mkdir()
    (tmp_path / ".trash" / "old.md").write_text("x")
    assert len(list(MarkdownFolder(tmp_path))) == len(items) == 1


def test_ids_come_from_the_path_so_that_they_stay(tmp_path: Path) -> None:
    first = notes(read(tmp_path, drinks__green_tea="# One"))["One"].node.node_id
    second = notes(read(tmp_path, drinks__green_tea="# Two"))["Two"].node.node_id
    assert first == second
