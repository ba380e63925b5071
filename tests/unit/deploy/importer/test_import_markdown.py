"""Reading a folder of Markdown: what becomes of each file, and where links lead. test_import_hostile.py: bad files."""

import zipfile
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest

from deploy.local.importer.files import DiskFolder, ZipFolder
from deploy.local.importer.items import Item, Link, Note, Owned, Problem
from deploy.local.importer.markdown import MarkdownFolder

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BODY = "Body text stays."


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def read(folder: Path, files: dict[str, str]) -> list[Item]:
    write(folder, files)
    source = MarkdownFolder(folder, NOW)
    items = list(source)
    assert source.done == source.total
    return items


def notes(items: list[Item]) -> dict[str, Note]:
    """By file."""
    return {item.where: item for item in items if isinstance(item, Note)}


def links(items: list[Item]) -> set[str]:
    """Each as "a -> b" by file, without the suffix; "a <-> b" without a direction."""
    where = {item.node.node_id: item.where.rsplit(".", 1)[0] for item in items if isinstance(item, Note)}
    return {
        f"{where[item.edge.source_id]} {'->' if item.edge.directed else '<->'} {where[item.edge.target_id]}"
        for item in items
        if isinstance(item, Link)
    }


def remarks(items: list[Item]) -> dict[str, str]:
    found = [item for item in items if isinstance(item, Problem)]
    assert not any(problem.fatal for problem in found)
    return {problem.where: problem.reason for problem in found}


def time_of(item: Note) -> str:
    return item.node.create_time.ToJsonString()


def front(*lines: str) -> str:
    return "\n".join(["---", *lines, "---", BODY, ""])


def test_front_matter(tmp_path: Path) -> None:
    text = "---\ntitle: Green tea\ntags: [drink, '#hot']\ndate: 2024-05-01\n---\n# Tea\n\nText\n"
    note = notes(read(tmp_path, {"tea.md": text}))["tea.md"].node
    assert (note.title, note.content) == ("Green tea", "# Tea\n\nText")
    assert list(note.tags) == ["drink", "hot"]
    assert note.create_time.ToJsonString() == "2024-05-01T00:00:00Z"
    assert note.metadata["path"] == "tea.md"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("created: 1608526404601", "2020-12-21T04:53:24.601Z"),
        ("date: 2024/05/01", "2024-05-01T00:00:00Z"),
        ("date: 01.05.2024", "2024-05-01T00:00:00Z"),
        ("date: 2024-5-1", "2024-05-01T00:00:00Z"),
        ("date: May 1, 2024", "2024-05-01T00:00:00Z"),
        ('date: "[[2024-05-01]]"', "2024-05-01T00:00:00Z"),
        ("date: [[2024-05-01]]", "2024-05-01T00:00:00Z"),
        ("created: Wed, 01 May 2024 09:05:33 GMT", "2024-05-01T09:05:33Z"),
        ("date: 2024", "2024-01-01T00:00:00Z"),
        ("date: 20240501", "2024-05-01T00:00:00Z"),
        ("Date Created: '2024-05-01'", "2024-05-01T00:00:00Z"),
    ],
)
def test_dates_in_the_forms_that_people_have(tmp_path: Path, line: str, expected: str) -> None:
    note = notes(read(tmp_path, {"a.md": front(line)}))["a.md"]
    assert time_of(note) == expected
    assert note.node.content == BODY


@pytest.mark.parametrize("written", ["2031-01-01", "1890-05-01", "TBD", "{{date}}"])
def test_a_date_that_cannot_be_kept_is_metadata_and_mentioned(tmp_path: Path, written: str) -> None:
    items = read(tmp_path, {"a.md": front(f"date: '{written}'")})
    note = notes(items)["a.md"]
    assert note.node.content == BODY
    assert note.node.metadata["written_date"] == written
    assert 0 <= note.node.create_time.seconds <= NOW.timestamp()
    assert written in remarks(items)["a.md:2"]


def test_a_date_that_is_a_map_is_mentioned_and_kept(tmp_path: Path) -> None:
    items = read(tmp_path, {"a.md": front("date:", "  start: 2024-05-01")})
    assert notes(items)["a.md"].node.metadata["written_date"] == '{"start": "2024-05-01"}'
    assert remarks(items) == {"a.md:2": "the date is not a text: it is not used"}


def test_of_several_dates_the_first_that_can_be_read_counts(tmp_path: Path) -> None:
    items = read(tmp_path, {"a.md": front("date: soon", "created: 2024-05-01", "date created: 2023-01-01")})
    assert time_of(notes(items)["a.md"]) == "2024-05-01T00:00:00Z"
    assert notes(items)["a.md"].node.metadata["date created"] == "2023-01-01"


def test_a_date_whose_day_and_month_can_be_exchanged_is_mentioned(tmp_path: Path) -> None:
    items = read(tmp_path, {"a.md": front("date: 03/04/2024")})
    assert time_of(notes(items)["a.md"]) == "2024-03-04T00:00:00Z"
    assert "month first" in remarks(items)["a.md:2"]


def test_what_is_not_quite_yaml_is_read_line_by_line(tmp_path: Path) -> None:
    items = read(
        tmp_path,
        {
            "colon.md": front("title: Foo: the story", "tags: [book]"),
            "at.md": front("context: @home", "tags: [book]"),
            "tabs.md": front("tags:", "\t- one", "\t- two"),
            "wiki.md": front("title: Alpha", "related: [[b]], [[c]]"),
            "braces.md": front("created: {{date}}", "tags: [x]"),
            "pipe.md": front(r'up: "[[b\|Bee]]"'),
            "unclosed.md": front("title: [unclosed", "tags: x"),
            "quote.md": front('title: "Foo" bar', "tags: 'it's'"),
            "b.md": "bee",
            "c.md": "cee",
        },
    )
    found = {name: item.node for name, item in notes(items).items()}
    assert len(found) == 10
    assert all(node.content == BODY for name, node in found.items() if name not in ("b.md", "c.md"))
    assert (found["colon.md"].title, list(found["colon.md"].tags)) == ("Foo: the story", ["book"])
    assert (list(found["at.md"].tags), found["at.md"].metadata["context"]) == (["book"], "@home")
    assert list(found["tabs.md"].tags) == ["one", "two"]
    assert found["wiki.md"].title == "Alpha"
    assert list(found["braces.md"].tags) == ["x"]
    assert list(found["unclosed.md"].tags) == ["x"]
    assert found["quote.md"].title == '"Foo" bar'
    assert links(items) == {"wiki -> b", "wiki -> c", "pipe -> b"}
    assert "line by line" in remarks(items)["colon.md:2"]


def test_front_matter_that_only_a_person_can_read(tmp_path: Path) -> None:
    items = read(
        tmp_path,
        {
            "bang.md": front("title: !important", "tags: [x]"),
            "indented.md": front("  title: Indented", "  tags: [x]"),
            "template.md": front("<% tp.file.cursor() %>", "title: <% tp.file.title %>", "tags: [x]"),
            "braces.md": front("title: {{title}}", "tags: [x]"),
            "lists.md": front("related:", "  - [[b]]", "  - [[c|Cee]]", "tags: [x]"),
        },
    )
    found = {name: item.node for name, item in notes(items).items()}
    assert {name: node.title for name, node in found.items()} == {
        "bang.md": "!important", "indented.md": "Indented", "template.md": "template", "braces.md": "braces",
        "lists.md": "lists",
    }  # fmt: skip
    assert all((node.content, list(node.tags)) == (BODY, ["x"]) for node in found.values())
    assert found["lists.md"].metadata["related"] == "[[b]], [[c|Cee]]"


def test_a_name_without_a_space_after_it_and_toml(tmp_path: Path) -> None:
    toml = '+++\ntitle = "A: b"\ndate = 2024-05-01T10:00:00Z\ntags = ["x"]\nrating = 3.10\ndraft = true\n+++\n' + BODY
    broken = "+++\nno toml\n+++\n" + BODY
    tight = front("title:Tight", "tags: [x]", "http://x.example")
    items = read(tmp_path, {"toml.md": toml, "broken.md": broken, "tight.md": tight})
    found = {name: item.node for name, item in notes(items).items()}
    assert (found["toml.md"].title, found["toml.md"].content, list(found["toml.md"].tags)) == ("A: b", BODY, ["x"])
    assert found["toml.md"].create_time.ToJsonString() == "2024-05-01T10:00:00Z"
    assert (found["toml.md"].metadata["rating"], found["toml.md"].metadata["draft"]) == ("3.10", "true")
    assert found["broken.md"].content == broken
    assert (found["tight.md"].title, list(found["tight.md"].tags)) == ("Tight", ["x"])
    assert remarks(items)["tight.md:4"] == "front matter: this line could not be read"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["tags:", "  - one", "  -"], ["one"]),
        (["tags:", "  - one", "  - #two"], ["one"]),
        (["tags:", "  - one", "  - two: three"], ["one"]),
        (["tags: [" + ", ".join(f"t{i}" for i in range(70)) + "]"], [f"t{i}" for i in range(64)]),
        ([f'tags: ["{"标" * 30}", ok]'], ["标" * 21, "ok"]),
        (["tag: single"], ["single"]),
        (["tags: drink hot"], ["drink", "hot"]),
        (["tags: drink, '#hot'"], ["drink", "hot"]),
        (["tags: [a, b"], ["a", "b"]),
        (["tags: a; b"], ["a", "b"]),
        (["tags:", "  -a", "  -b"], ["a", "b"]),
        (["tags: [3.10, yes, 2024]"], ["3.10", "yes", "2024"]),
        (['tags: "[[green tea]], hot"'], ["green tea", "hot"]),
        (["tags: [Tea, tea, TEA, hot]"], ["Tea", "hot"]),
    ],
)
def test_tags_never_lose_a_note(tmp_path: Path, lines: list[str], expected: list[str]) -> None:
    note = notes(read(tmp_path, {"a.md": front(*lines)}))["a.md"].node
    assert list(note.tags) == expected
    assert note.content == BODY


@pytest.mark.parametrize(
    "text",
    [
        "---\nA quiet day by the lake.\n\n---\nSecond part, see [[b]].",
        "---\njust words\n---\n[[b]]",
        "---\nNote: this is prose\n\nand it goes on.\n\n---\n[[b]]",
        "---\n\n# A heading\n---\n[[b]]",
        "---\n- a list\n---\n[[b]]",
        "---\nno end, see [[b]]",
    ],
)
def test_a_rule_in_the_first_line_is_no_front_matter(tmp_path: Path, text: str) -> None:
    items = read(tmp_path, {"lake.md": text, "b.md": "bee"})
    assert notes(items)["lake.md"].node.content == text
    assert links(items) == {"lake -> b"}


@pytest.mark.parametrize("heading", ["长" * 180, "A very long first line that somebody pasted " * 14, "é" * 300])
def test_a_long_title_is_cut_at_a_character(tmp_path: Path, heading: str) -> None:
    items = read(tmp_path, {"a.md": f"# {heading}\ntext\n"})
    node = notes(items)["a.md"].node
    assert 500 < len(node.title.encode()) <= 512
    assert heading.startswith(node.title)
    assert node.content == f"# {heading}\ntext"
    assert "512" in remarks(items)["a.md"]


def test_an_id_that_is_taken_comes_from_the_path(tmp_path: Path) -> None:
    items = read(tmp_path, {"a.md": front("id: 1"), "b.md": front("id: 1"), "c.md": front(f"id: {'x' * 100}")})
    found = notes(items)
    assert [item.node.node_id for item in found.values()][:2] == ["1", "b"]
    assert len(found["c.md"].node.node_id) <= 64
    assert found["c.md"].node.metadata["imported_id"] == "x" * 100
    assert "'1' is already that of a.md" in remarks(items)["b.md"]
    assert "64 bytes" in remarks(items)["c.md:2"]


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("Steps:\n\n```bash\n# update the package list\napt update\n```\n", "file name"),
        ("Slept well.\n\n# Tasks\n- water plants\n", "file name"),
        ("# Green tea #\n", "Green tea"),
        ("\n\n# *Green* [[tea|Tea]] `x`\n", "Green Tea x"),
        ("Green tea\n=========\n", "Green tea"),
        ("## A part\n", "file name"),
        ("# Green tea ^a1b2\n", "Green tea"),
        ("# {{title}}\n", "file name"),
        ("# Green tea {#tea .drink}\n", "Green tea"),
        ("- # Not a title\n", "file name"),
        ("#tag\n", "file name"),
        ("Only text", "file name"),
        (front("title: 3.10"), "3.10"),
        (front("title: yes"), "yes"),
        (front("title: 12:30"), "12:30"),
        (front("title: 2024-05-01"), "2024-05-01"),
        (front("title: 0x1F"), "0x1F"),
        (front('title: "Quoted"'), "Quoted"),
        (front("title: ~"), "file name"),
        (front("title: [a, b]"), "file name"),
        (front("title: a\u202eb\x07c"), "ab c"),
    ],
)
def test_titles(tmp_path: Path, text: str, title: str) -> None:
    assert notes(read(tmp_path, {"file name.md": text}))["file name.md"].node.title == title


def test_only_logseq_encodes_the_names_of_files(tmp_path: Path) -> None:
    items = read(
        tmp_path, {"100%25 sure.md": "", "a%20b.md": "", "c.md": "[[100%25 sure]] [[a b]] [x](100%2525%20sure.md)"}
    )
    assert {note.node.title for note in notes(items).values()} == {"100%25 sure", "a%20b", "c"}
    assert links(items) == {"c -> 100%25 sure"}


def test_a_pipe_in_a_table_may_have_a_backslash(tmp_path: Path) -> None:
    table = "| x | y |\n|---|---|\n| [[b\\|Bee here]] | ![[pic.png\\|100]] |\n| [[c|Cee]] | |\n"
    items = read(tmp_path, {"a.md": table, "b.md": "", "c.md": ""})
    assert links(items) == {"a -> b", "a -> c"}
    assert [i.edge.metadata.labels["label"] for i in items if isinstance(i, Link)] == ["Bee here", "Cee"]
    assert not remarks(items)


def test_markdown_links(tmp_path: Path) -> None:
    items = read(
        tmp_path,
        {
            "a.md": "See [bee](b.md), [cee](sub/c%20d.md#part), [dee](<sub/d e.md>), [eff][1] and [gone](missing.md), "
            "[web](https://x.example/b.md), [here](#part), [mail](mailto:b.md), ![embedded](g.md)\n\n"
            '[1]: f.md "Eff"\n',
            "b.md": "bee",
            "f.md": "eff",
            "g.md": "",
            "sub/c d.md": "cee, back to [a](../a.md)",
            "sub/d e.md": "dee, [from the top](/b.md)",
        },
    )
    assert links(items) == {"a -> b", "a -> f", "a -> g", "a -> sub/d e", "a <-> sub/c d", "sub/d e -> b"}
    assert remarks(items) == {"a.md:1": "(missing.md) leads to no note"}


@pytest.mark.parametrize(("file", "link"), [("Café", "Cafe\u0301"), ("Cafe\u0301", "Café"), ("한글", "한글")])
def test_composed_and_decomposed_names_are_the_same(tmp_path: Path, file: str, link: str) -> None:
    items = read(tmp_path, {f"{file}.md": "coffee", "a.md": f"[[{link}]] [x]({link}.md)"})
    assert links(items) == {f"a -> {file}"}


def test_links_in_properties(tmp_path: Path) -> None:
    text = front('up: "[[b]]"', "related:", '  - "[[c#Part|Cee]]"', '  - "[[missing]]"', "plain: [[d]]")
    items = read(tmp_path, {"a.md": text, "b.md": "", "c.md": "", "d.md": ""})
    assert links(items) == {"a -> b", "a -> c", "a -> d"}
    assert remarks(items) == {"a.md:5": "[[missing]] leads to no note"}


def test_logseq(tmp_path: Path) -> None:
    items = read(
        tmp_path,
        {
            "pages/contents.md": "- [[setting/theme]] [[old/name]] [[Green tea]] [[May 1st, 2024]]\n",
            "pages/setting___theme.md": "- dark or light",
            "pages/old%2Fname.md": "- old encoding",
            "pages/x1.md": "title:: Green tea\nalias:: sencha, gyokuro\ntags:: [[drink]], hot\n\n- hello",
            "pages/other.md": "- I like [[sencha]] and [[Gyokuro]], [label]([[contents]])\n\t- deep\n\t\t- #hot",
            "pages/hot.md": "- x",
            "journals/2024_05_01.md": "- day",
        },
    )
    found = {name: item.node for name, item in notes(items).items()}
    assert found["pages/setting___theme.md"].title == "setting/theme"
    assert found["pages/old%2Fname.md"].title == "old/name"
    assert found["pages/x1.md"].title == "Green tea"
    assert list(found["pages/x1.md"].tags) == ["drink", "hot"]
    assert found["pages/x1.md"].content.startswith("title:: Green tea")
    names = ("setting___theme", "old%2Fname", "x1")
    assert links(items) == {f"pages/contents -> pages/{name}" for name in names} | {
        "pages/contents -> journals/2024_05_01", "pages/other -> pages/x1", "pages/other -> pages/contents",
        "pages/other -> pages/hot", "pages/x1 -> pages/hot",
    }  # fmt: skip


BLOCK = "64e51741-d1fa-4a9f-8d9e-c99c745683ec"


@pytest.mark.parametrize(
    "text", [f"- see (({BLOCK}))", f"- {{{{embed (({BLOCK.upper()}))}}}}", f"- [there]((({BLOCK}))) and x(({BLOCK}))"]
)
def test_a_reference_to_a_block_is_a_link_to_its_note(tmp_path: Path, text: str) -> None:
    """The block may stand anywhere in the note, and code holds no reference."""
    files = {"pages/a.md": text, "pages/b.md": f"- x\n\t- y\n\t  id:: {BLOCK}\n", "pages/c.md": f"- `(({BLOCK}))`"}
    assert links(read(tmp_path, files)) == {"pages/a -> pages/b"}


def test_a_reference_to_a_block_that_is_nowhere_is_mentioned(tmp_path: Path) -> None:
    items = read(tmp_path, {"pages/a.md": f"- x\n- (({BLOCK}))\n  id:: {BLOCK[:-1]}d"})
    assert not links(items)
    assert remarks(items) == {"pages/a.md:2": f"(({BLOCK})) leads to no block"}


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("- #c++, #a.b. (#d) #e: #f; **#g** #h! x#no a/b#no &#39; #i(j) #k=l", "c++ a.b d e f g h i(j) k=l"),
        ("- 学习#Python\uff0c#日本。#🙋🏻PICKME #👩‍💻 #2023 # no #. ##", "Python 日本 🙋🏻PICKME 👩‍💻 2023"),
        ("- `#code` #[[two words]] #s/t/", "two words|s/t"),
    ],
)
def test_tags_of_logseq_hold_most_marks(tmp_path: Path, text: str, tags: str) -> None:
    items = read(tmp_path, {"pages/a.md": text})
    assert list(notes(items)["pages/a.md"].node.tags) == tags.split("|" if "|" in tags else " ")


@pytest.mark.parametrize(
    ("line", "tags"),
    [
        ("tags:: green tea, hot", ["green tea", "hot"]),
        ("tags:: [[a, b]] #[[c d]], e f, #g #h", ["a, b", "c d", "e f", "g", "h"]),
        ("---\ntags: [[a]], #b, #c d\n---", ["a", "b", "c d"]),
        ("---\ntags: #b, #c\n---", ["b", "c"]),
    ],
)
def test_tags_in_properties_of_logseq_are_separated_by_commas(tmp_path: Path, line: str, tags: list[str]) -> None:
    items = read(tmp_path, {"pages/a.md": f"{line}\n- x"})
    assert list(notes(items)["pages/a.md"].node.tags) == tags


def test_a_tag_that_the_note_has_no_place_for_is_still_a_link(tmp_path: Path) -> None:
    text = " ".join(f"#t{number}" for number in range(70)) + " #" + "long" * 20
    files = {"journals/2024_05_01.md": text, "pages/t69.md": "", f"pages/{'long' * 20}.md": ""}
    items = read(tmp_path, files)
    assert len(notes(items)["journals/2024_05_01.md"].node.tags) == 64
    assert links(items) == {f"journals/2024_05_01 -> pages/{name}" for name in ("t69", "long" * 20)}


def test_a_name_in_logseq_may_hold_a_bar(tmp_path: Path) -> None:
    files = {"pages/a.md": "- [[Why | What]] [[c|d]]", "journals/2024_05_01.md": "- day"}
    files |= {f"pages/{name}.md": "" for name in ("Why %7C What", "c%7Cd", "c")}
    assert links(read(tmp_path, files)) == {"pages/a -> pages/Why %7C What", "pages/a -> pages/c%7Cd"}


def test_below_a_heading_an_outline_of_logseq_still_has_items(tmp_path: Path) -> None:
    """CommonMark reads the second one as text of the first, and the formula in it would end far below."""
    text = "# Setup\n\t- one\n\t- $$\n\t  x\n\t  $$\n- [[b]]\n\t- two\n\t  $$\n\t  y\n\t  $$\n"
    assert links(read(tmp_path, {"pages/a.md": text, "pages/b.md": ""})) == {"pages/a -> pages/b"}


def test_the_id_of_a_block_is_not_the_note_s(tmp_path: Path) -> None:
    items = read(tmp_path, {"pages/a.md": "id:: 6018cc98-67a8-4eb2-bfd7-2affe517a7c7\n- x"})
    assert notes(items)["pages/a.md"].node.node_id.startswith("pages-a-")


def test_an_outline_of_logseq_has_no_indented_code(tmp_path: Path) -> None:
    text = "## Usage\n\t- first\n\t\t- type:: [[b]]\n\n\t- ```\n\t  [[c]]\n\t  ```\n"
    items = read(tmp_path, {"pages/a.md": text, "notes/a.md": text, "b.md": "", "c.md": ""})
    assert links(items) == {"pages/a -> b"}


def test_dendron(tmp_path: Path) -> None:
    soup = "---\nid: abc\ntitle: Soup\ncreated: 1608526404601\nupdated: 1608526404601\n---\nsoup\n"
    items = read(
        tmp_path,
        {
            "a.md": "[[Best soup|recipes.soup]] and ![[recipes.soup#*]]",
            "b.md": "[[The soup|dendron://vault/recipes.soup#salt]]",
            "recipes.soup.md": soup,
        },
    )
    assert notes(items)["recipes.soup.md"].node.node_id == "abc"
    assert links(items) == {"a -> recipes.soup", "b -> recipes.soup"}
    assert {i.edge.metadata.labels["label"] for i in items if isinstance(i, Link)} == {"Best soup", "The soup"}


def test_in_a_dendron_vault_the_second_part_is_the_note(tmp_path: Path) -> None:
    files = {
        "a.md": "[[b|c]] #x [[b|gone]] [[c|//vault/d]] [[dendron://vault/e#part]]",
        "tags.x.md": "", "root.schema.yml": "", **{f"{name}.md": "" for name in "bcde"},
    }  # fmt: skip
    items = read(tmp_path, files)
    assert links(items) == {"a -> c", "a -> tags.x", "a -> d", "a -> e"}
    # The similarity service reads the links of the text in the same way.
    assert {note.node.metadata["wiki_links"] for note in notes(items).values()} == {"label|name"}
    [owned] = [item for item in items if isinstance(item, Owned)]
    assert owned.from_text == {frozenset(pair) for pair in ("ac", "ad", "ae")}


def test_a_markdown_link_names_a_file(tmp_path: Path) -> None:
    files = {"a.md": "[x](TODO) [y](b) [z](Bee)", "tags.md": front("title: TODO"), "b.md": front("aliases: Bee")}
    assert links(read(tmp_path, files)) == {"a -> b"}


def test_in_a_dendron_vault_a_person_is_a_link(tmp_path: Path) -> None:
    files = {
        "a.md": "Ask @jane.doe. Mail to x@jane.doe",
        "user.jane.doe.md": "",
        "dendron.yml": "",
        "b.md": "`@jane.doe`",
    }
    items = read(tmp_path, files | {"c.md": "Ask @nobody."})
    assert links(items) == {"a -> user.jane.doe"}
    assert not any(reason.endswith("leads to no note") for reason in remarks(items).values())


def test_the_id_of_a_zettel_may_stand_in_its_text(tmp_path: Path) -> None:
    items = read(
        tmp_path,
        {
            "Tea.md": "ID: 20240501103200\n\nsee [[20240501103300]]",
            "20240501103300 Coffee.md": "the text names 20240501999999",
            "start.md": "[[20240501103200]] [[20240501103300]] [[20240501999999]]",
        },
    )
    assert links(items) == {"start -> Tea", "start -> 20240501103300 Coffee", "Tea -> 20240501103300 Coffee"}


def test_backups_of_logseq_are_no_notes(tmp_path: Path) -> None:
    files = {
        "g/pages/a.md": "x",
        "g/logseq/bak/pages/a/2024.md": "x",
        "g/logseq/version-files/a.md": "",
        "bak/b.md": "y",
    }
    assert set(notes(read(tmp_path, files))) == {"g/pages/a.md", "bak/b.md"}


def test_a_name_may_end_like_a_suffix(tmp_path: Path) -> None:
    files = {"a.md": "[[topic.markdown]] [[b.markdown]] [[topic]]", "topic.markdown.md": "", "topic.md": "", "b.md": ""}
    assert links(read(tmp_path, files)) == {"a -> topic.markdown", "a -> topic", "a -> b"}


def test_a_path_from_the_note_itself_means_no_other_file(tmp_path: Path) -> None:
    files = {
        "x/a.md": "[gone](../b.md) [here](c.md/#part) [[./d]] [top](/y/b.md)",
        "y/b.md": "",
        "x/c.md": "",
        "y/d.md": "",
    }
    items = read(tmp_path, files)
    assert links(items) == {"x/a -> x/c", "x/a -> y/b"}
    assert [item.reason for item in items if isinstance(item, Problem)] == [
        "(../b.md) leads to no note", "[[./d]] leads to no note"
    ]  # fmt: skip


def test_foam_says_at_the_end_where_a_link_leads(tmp_path: Path) -> None:
    text = '[[Green tea]]\n\n[//begin]: # "Autogenerated"\n[Green tea]: drinks/green-tea "Green tea"\n[//end]: # "x"\n'
    assert links(read(tmp_path, {"a.md": text, "drinks/green-tea.md": ""})) == {"a -> drinks/green-tea"}


def test_a_link_to_a_part_of_the_note_itself_leads_nowhere(tmp_path: Path) -> None:
    items = read(tmp_path, {"a.md": "[[#Number|numbers]] [[#^x|b]] [x](#b)", "numbers.md": "", "b.md": ""})
    assert not links(items)
    assert not remarks(items)


def test_the_similarity_service_chooses_the_same_of_several_notes(tmp_path: Path) -> None:
    """Else the texts would make further edges beside those of the import."""
    names = ("Tea", "x/Tea", "x/y/Tea", "longer name/Tea", "x/tea", "z/Pot", "w/pot", "w/deep/cup", "other/cup")
    files = {f"{name}.md": f"of {name}" for name in names} | {"titled.md": front("title: cup"), "z/t.md": "# POT"}
    said = "[[Tea]] [[tea]] [[TEA]] [[pot]] [[Pot]] [[POT]] [[cup]] [[y/tea]] [[./Tea]]"
    sources = {f"{folder}source.md": said for folder in ("", "x/", "x/y/", "w/", "far/away/")}
    items = read(tmp_path, files | sources)
    made = {frozenset((i.edge.source_id, i.edge.target_id)) for i in items if isinstance(i, Link)}
    [owned] = [item for item in items if isinstance(item, Owned)]
    assert owned.from_text == made


def test_partial_paths_and_ids(tmp_path: Path) -> None:
    items = read(
        tmp_path,
        {
            "vault/a.md": "[[deep/Note]] [[202005011030]] [[20200501]]",
            "vault/sub/deep/Note.md": "x",
            "202005011030 On tea.md": "tea",
            "20200501 one.md": "",
            "20200501 two.md": "",
        },
    )
    assert links(items) == {"vault/a -> vault/sub/deep/Note", "vault/a -> 202005011030 On tea"}
    assert remarks(items) == {"vault/a.md:1": "[[20200501]] leads to no note"}


def test_a_file_comes_before_a_heading_and_the_exact_case_before_another(tmp_path: Path) -> None:
    items = read(
        tmp_path,
        {
            "start.md": "[[Foo]] [[bar]] [[C#]]",
            "journal/x.md": "# Foo\n\nNotes of the day.",
            "projects/Foo.md": "# Overview",
            "1/Bar.md": "",
            "longer/bar.md": "",
            "C#.md": "",
        },
    )
    assert links(items) == {"start -> projects/Foo", "start -> longer/bar", "start -> C#"}


def test_of_several_notes_with_a_name_the_nearest_is_meant(tmp_path: Path) -> None:
    names = ("x/index", "y/index", "index", "w/deep/index")
    files = {"x/a.md": "[[index]]", "z/b.md": "[[index]]", "w/c.md": "[[index|up]] [[y/index]]"}
    items = read(tmp_path, files | {f"{name}.md": "" for name in names})
    assert links(items) == {"x/a -> x/index", "z/b -> index", "w/c -> index", "w/c -> y/index"}


def test_names_of_all_kinds_whatever_the_case(tmp_path: Path) -> None:
    items = read(
        tmp_path,
        {
            "a.md": "[[Green Tea]] [[COFFEE]] [[drinks/milk|white]] [[Aqua#Sources]] ![[juice.md]] [[./b]] [[a]]",
            "x.md": "# green tea",
            "coffee.md": "# Something else",
            "drinks/milk.md": "# White",
            "water.md": "---\naliases: [aqua]\n---\n",
            "juice.md": "",
            "b.md": "[[a#^block]]",
        },
    )
    assert links(items) == {"a -> x", "a -> coffee", "a -> drinks/milk", "a -> water", "a -> juice", "a <-> b"}
    assert not remarks(items)


def test_code_comments_and_math_hold_no_links(tmp_path: Path) -> None:
    items = read(
        tmp_path,
        {
            "b.md": "bee",
            "double.md": "`` `[[b]]` ``",
            "four.md": "````md\n```\n[[b]]\n```\n[[b]]\n````",
            "inline.md": "```x = 1``` is code\n\nsee [[b]]\n\n```\ncode\n```\n",
            "list.md": "- item\n  ```\n  [[b]]\n  ```\n",
            "indented.md": "text\n\n    [[b]]\n\n\t[b](b.md)\n",
            "tilde.md": "> ~~~\n> [[b]]\n> ~~~\n",
            "comments.md": "%%\n[[b]]\n\n[[b]]\n%%\n\nx %% [[b]] %% y <!-- [[b]] -->\n\n<!--\n[[b]]\n\n[[b]] -->\n",
            "line.md": "so $$ x [[b]] y $$ it is",
            "math.md": "$$\n[[b]]\n\n[[b]]\n$$\n\n$x_{[[b]]}$\n",
            "html.md": "<pre>\n[[b]]\n\n[[b]]\n</pre>\n\nx <code>[[b]]</code>\n",
            "escaped.md": "\\[[b]]",
            "query.md": "- #+BEGIN_QUERY\n  [[b]]\n\n  [[b]]\n  #+END_QUERY\n- x\n  #+begin_src\n",
        },
    )
    assert links(items) == {"inline -> b"}
    assert not remarks(items)


def test_what_looks_like_code_or_math_and_is_text(tmp_path: Path) -> None:
    files = {
        "price.md": "It is $5 for [[b]] and $6",
        "percent.md": "100%% of [[b]]",
        "footnote.md": "x[^1]\n\n[^1]: see [[b]]",
        "deep.md": "".join("\t" * i + f"- item {i}\n" for i in range(30)) + "\t" * 30 + "- [[b]]\n",
        "html.md": "<center>[[b]]</center>\n",
        "task.md": "- [ ] [[b]]",
        "after.md": "%% x %% [[b]]",
        "emphasis.md": "**[[b]]** and _[[b|c]]_",
        "long.md": "word " * 5_000 + "[[b]]",
        "brackets.md": "[[[b]]]",
        "more brackets.md": "[[[[b|c]]]]",
    }
    items = read(tmp_path, files | {"b.md": ""})
    assert links(items) == {f"{name.removesuffix('.md')} -> b" for name in files}


def test_a_tag_may_be_an_emoji_with_modifiers(tmp_path: Path) -> None:
    items = read(tmp_path, {"a.md": "#🙋🏻PICKME #👩‍💻 #1️⃣"})
    assert list(notes(items)["a.md"].node.tags) == ["🙋🏻PICKME", "👩‍💻", "1️⃣"]


def test_inline_tags(tmp_path: Path) -> None:
    text = "Text #alpha and #parent/child and #日本, but no#tag, #123, `#code`, https://x.example/#frag"
    text += " (#beta) **#gamma**."
    note = notes(read(tmp_path, {"a.md": text}))["a.md"].node
    assert list(note.tags) == ["alpha", "parent/child", "日本", "beta", "gamma"]


def test_properties_become_metadata_and_aliases_names(tmp_path: Path) -> None:
    lines = [
        "title: Deep work",
        "author: Ana Quartz",
        "url: https://example.org/deep",
        "rating: 5",
        "aliases: [Focus book]",
    ]
    items = read(
        tmp_path,
        {
            "book.md": front(*lines, "by: {name: Ana}", "list: [a, b]"),
            "list.md": front("aliases: foo, bar"),
            "use.md": "[[foo]] [[bar]] [[focus book]]",
        },
    )
    assert dict(notes(items)["book.md"].node.metadata) == {
        "path": "book.md", "aliases": "Focus book", "author": "Ana Quartz", "url": "https://example.org/deep",
        "rating": "5", "by": '{"name": "Ana"}', "list": "a, b",
    }  # fmt: skip
    assert links(items) == {"use -> list", "use -> book"}
    assert list(notes(items)["book.md"].node.aliases) == ["Focus book"]
    assert list(notes(items)["list.md"].node.aliases) == ["foo", "bar"]


def test_a_note_gets_as_many_aliases_as_it_may_have(tmp_path: Path) -> None:
    many = ", ".join(f"name {i}" for i in range(40))
    items = read(tmp_path, {"many.md": front(f"aliases: [{many}, '\u200b']")})
    assert list(notes(items)["many.md"].node.aliases) == [f"name {i}" for i in range(32)]


def test_metadata_stays_within_its_limits_and_what_does_not_fit_is_named(tmp_path: Path) -> None:
    many = [f"p{i}: {i}" for i in range(50)]
    large = [f"q{i}: {'标' * 400}" for i in range(5)]
    one = "標" * 1000
    items = read(tmp_path, {"many.md": front(*many), "large.md": front(*large), "one.md": front(f"q: {one}")})
    assert notes(items)["one.md"].node.metadata["q"] == one
    for note in notes(items).values():
        metadata = note.node.metadata
        assert len(metadata) <= 32
        assert sum(len(key.encode()) + len(value.encode()) for key, value in metadata.items()) <= 4096
        assert note.node.content == BODY
    assert "p31" in remarks(items)["many.md:1"]
    assert "q0 (cut)" in remarks(items)["large.md:1"]


def test_other_files_are_counted_by_kind(tmp_path: Path) -> None:
    names = ("README", "b.org", "c.canvas", "d.mdx", "e.txt", "f.pdf")
    [remark] = remarks(read(tmp_path, {"a.md": "note [[f.pdf]]"} | dict.fromkeys(names, "x"))).values()
    assert remark.startswith("6 files were left out")
    for kind in ("1 .org", "1 .canvas", "1 .mdx", "1 .txt", "1 .pdf", "1 without a suffix"):
        assert kind in remark


def test_the_text_says_which_edges_there_are(tmp_path: Path) -> None:
    items = read(tmp_path, {"a.md": "[[b]]", "b.md": ""})
    owned = Owned("links_to", frozenset({"a", "b"}), frozenset({frozenset("ab")}))
    assert [item for item in items if isinstance(item, Owned)] == [owned]


def test_an_edge_that_the_similarity_service_also_makes_bears_its_label(tmp_path: Path) -> None:
    items = read(
        tmp_path,
        {
            "wiki.md": "[[a]], [[Alias|label]], `[[b]]`",
            "other.md": "[a](a.md), [[label|b]]",
            "both.md": "[[back]]",
            "back.md": "[[both]]",
            "half.md": "[[way]]",
            "way.md": "[half](half.md)",
            "up.md": front("up: [[a]]"),
            "a.md": "",
            "b.md": front("aliases: [alias]"),
        },
    )
    where = {item.node.node_id: item.where.removesuffix(".md") for item in notes(items).values()}
    labelled = {
        f"{where[item.edge.source_id]} {where[item.edge.target_id]}"
        for item in items
        if isinstance(item, Link) and item.edge.metadata.labels.get("source") == "text"
    }
    assert labelled in ({"wiki a", "wiki b", "both back"}, {"wiki a", "wiki b", "back both"})
    assert len(links(items)) == 7


def test_one_file_and_a_zip_are_read_like_a_folder(tmp_path: Path) -> None:
    write(tmp_path, {"One.md": "# One\nsee [[Two]]", "Two.md": "# Two"})
    alone = list(MarkdownFolder(DiskFolder(tmp_path, "One.md"), NOW))
    assert list(notes(alone)) == ["One.md"]
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as packed:
        for name in ("One.md", "Two.md"):
            packed.write(tmp_path / name, name)
        packed.writestr("__MACOSX/._One.md", "x")
    items = list(MarkdownFolder(ZipFolder(tmp_path / "export.zip"), NOW))
    assert set(notes(items)) == {"One.md", "Two.md"}
    assert links(items) == {"One -> Two"}


def test_a_link_that_leads_nowhere_is_mentioned_with_its_line(tmp_path: Path) -> None:
    items = read(tmp_path, {"a.md": "---\ntitle: A\n---\none\n[[Missing#part|label]] [[plan.pdf]] [[#here]] [[a]]\n"})
    assert remarks(items) == {"a.md:5": "[[Missing]] leads to no note"}


def test_a_text_that_is_too_long_for_a_note_becomes_several(tmp_path: Path) -> None:
    chapters = [f"# Chapter {number}\n\n{('word ' * 20 + chr(10)) * 1_500}[[good]]\n" for number in range(4)]
    text = front("title: Long", "date: 2024-05-01", "tags: book").replace(BODY, "".join(chapters))
    items = read(tmp_path, {"x/long.md": text, "good.md": "fine [[x/long]]"})
    found = {item.node.title: item for item in items if isinstance(item, Note) and item.where == "x/long.md"}
    assert list(found) == ["Long", "Long (2)", "Long (3)", "Long (4)"]
    assert [item.node.content + "\n" for item in found.values()] == chapters
    assert {time_of(item) for item in found.values()} == {"2024-05-01T00:00:00Z"}
    assert remarks(items)["x/long.md"] == "over 256 KiB: it becomes 4 notes, each linked to the next"
    ids = [item.node.node_id for item in found.values()]
    made = {(i.edge.source_id, i.edge.target_id, i.edge.type, i.edge.directed) for i in items if isinstance(i, Link)}
    good = notes(items)["good.md"].node.node_id
    assert made == {
        (good, ids[0], "links_to", False), *((part, good, "links_to", True) for part in ids[1:]),
        *((one, other, "continues_in", True) for one, other in pairwise(ids)),
    }  # fmt: skip


@pytest.mark.parametrize("mark", ["\n\n", "\n", " ", ""])
def test_no_character_of_a_long_text_is_lost(tmp_path: Path, mark: str) -> None:
    text = mark.join(["ü" * 50_000] * 12)
    parts = [item.node.content for item in read(tmp_path, {"a.md": text}) if isinstance(item, Note)]
    assert all(len(part.encode()) <= 262_144 for part in parts)
    assert "".join("".join(parts).split()) == "".join(text.split())


def test_other_encodings(tmp_path: Path) -> None:
    (tmp_path / "utf16.md").write_bytes("Tee für Ⅷ".encode("utf-16"))
    (tmp_path / "latin.md").write_bytes("Tee für acht".encode("cp1252"))
    (tmp_path / "binary.md").write_bytes(b"\0\xff\xfe\x01")
    (tmp_path / "bom.md").write_bytes(b"\xef\xbb\xbf---\r\ntitle: B\r\n---\r\nx\r\ny")
    (tmp_path / "utf32.md").write_bytes("Tee".encode("utf-32"))
    (tmp_path / "unmarked.md").write_bytes("Grün, Tee".encode("utf-16-be"))
    (tmp_path / "zero.md").write_bytes(b"Tee\0" + b"x" * 200)
    (tmp_path / "zeros.md").write_bytes(b"Tee\0\0")
    items = list(MarkdownFolder(tmp_path, NOW))
    found = {name: (item.node.title, item.node.content) for name, item in notes(items).items()}
    assert found.pop("zero.md") == ("zero", "Tee\ufffd" + "x" * 200)
    assert found == {
        "utf32.md": ("utf32", "Tee"), "unmarked.md": ("unmarked", "Grün, Tee"),
        "utf16.md": ("utf16", "Tee für Ⅷ"), "latin.md": ("latin", "Tee für acht"), "bom.md": ("B", "x\ny")
    }  # fmt: skip
    problems = {item.where: item for item in items if isinstance(item, Problem)}
    assert {where for where, problem in problems.items() if problem.fatal} == {"binary.md", "zeros.md"}
    assert "zero bytes" in problems["zero.md"].reason
    assert "Windows-1252" in problems["latin.md"].reason


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("Grüner Tee: ".encode() + b"\xff" + " für drei".encode(), "Grüner Tee: \ufffd für drei"),
        ("Tee für".encode("utf-16") + b"x", "Tee für\ufffd"),
    ],
)
def test_a_byte_without_a_meaning_costs_no_other_character(tmp_path: Path, data: bytes, text: str) -> None:
    (tmp_path / "a.md").write_bytes(data)
    items = list(MarkdownFolder(tmp_path, NOW))
    assert notes(items)["a.md"].node.content == text
    assert remarks(items)["a.md"].endswith("is replaced by \ufffd")


def test_hidden_folders_are_the_editors_own(tmp_path: Path) -> None:
    items = read(tmp_path, {"a.md": "x", ".trash/old.md": "x", ".hidden.md": "x"})
    assert list(notes(items)) == ["a.md"]


def test_ids_come_from_the_path_so_that_they_stay(tmp_path: Path) -> None:
    first = notes(read(tmp_path, {"drinks/green tea.md": "# One"}))["drinks/green tea.md"].node.node_id
    second = notes(read(tmp_path, {"drinks/green tea.md": "# Two"}))["drinks/green tea.md"].node.node_id
    assert first == second
