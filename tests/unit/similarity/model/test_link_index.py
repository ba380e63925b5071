"""Which note a wiki link leads to: titles, aliases, ids, files, earlier names, and what decides between them."""

import itertools
import random
import unicodedata

import pytest

from services.similarity_service.model import link_index, wiki_links
from services.similarity_service.model.link_index import LinkIndex, NoteLinks, note_links


def index_of(*notes: tuple[str, str, NoteLinks]) -> LinkIndex:
    index = LinkIndex()
    for node_id, title, links in notes:
        index.add(node_id, title, links)
    return index


def says(*targets: str, path: str = "") -> NoteLinks:
    return NoteLinks(targets=targets, path=path)


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("Green tea", "t"),
        ("green  TEA", "t"),
        ("Sencha", "t"),
        ("t", "t"),
        ("drinks/hot/green", "t"),
        ("hot/green.md", "t"),
        ("green", "t"),
        ("/drinks/hot/green", "t"),
        ("../hot/green", "t"),
        ("Green tea#Brewing", "t"),
        ("Tea leaves", "t"),
        ("C# notes", "c"),
        ("C#", "sharp"),
        (unicodedata.normalize("NFD", "Café"), "k"),
        ("CAFÉ", "k"),
        ("STRASSE", "s"),
        ("nothing", None),
        ("../green", None),
        ("tea", None),
    ],
)
def test_by_what_a_note_is_named(said: str, found: str | None) -> None:
    index = index_of(
        ("t", "Green tea", NoteLinks(("Sencha",), "drinks/hot/green.md", ("Tea leaves",))),
        ("c", "C# notes", NoteLinks()),
        ("sharp", "C#", NoteLinks()),
        ("k", "Café", NoteLinks()),
        ("s", "Straße", NoteLinks()),
        ("a", "Diary", says(said, path="drinks/cold/diary.md")),
    )
    assert index.resolve(said, "a") == found
    assert index.targets("a") == ({found} if found else set())
    if found:
        assert index.sources(found) == {"a"}
        assert index.leads("a", found)


def test_the_order_in_which_names_count() -> None:
    notes = [
        ("n1", "Tea", NoteLinks()),
        ("n2", "x", NoteLinks(aliases=("Tea",))),
        ("Tea", "y", NoteLinks()),
        ("n4", "z", NoteLinks(path="Tea.md")),
        ("n5", "TEA", NoteLinks()),
        ("n6", "w", NoteLinks(former=("Tea",))),
    ]
    expected = [node_id for node_id, _, _ in notes]
    random.Random(1).shuffle(notes)
    index = index_of(("a", "", says("Tea")), *notes)
    found = []
    while (best := index.resolve("Tea", "a")) is not None:
        found.append(best)
        index.remove(best)
    assert found == expected


def test_of_notes_with_one_name_the_nearest_wins() -> None:
    index = index_of(
        ("deep", "Tea", NoteLinks(path="a/b/c/tea.md")),
        ("top", "Tea", NoteLinks(path="tea.md")),
        ("near", "Tea", NoteLinks(path="home/tea.md")),
        ("a", "", says("Tea", path="home/diary.md")),
        ("b", "", says("Tea", path="elsewhere/diary.md")),
    )
    assert index.resolve("Tea", "a") == "near"
    assert index.resolve("Tea", "b") == "top"


def test_in_an_imported_note_a_file_comes_before_a_title() -> None:
    index = index_of(
        ("titled", "Tea", NoteLinks(path="x/other.md")),
        ("file", "Green", NoteLinks(path="a/b/tea.md")),
        ("below", "Below", NoteLinks(path="home/long folder/tea.md")),
        ("longer", "Longer", NoteLinks(path="aa/tea pots/tea.md")),
        ("a", "", says(path="home/diary.md")),
        ("b", "", says(path="elsewhere/diary.md")),
        ("c", "", says()),
    )
    found = [[index.resolve(name, source) for name in ("Tea", "pots/tea", "tea pots/tea")] for source in "abc"]
    assert found == [["below", None, "longer"], ["file", None, "longer"], ["titled", None, "longer"]]
    index.add("beside", "Beside", NoteLinks(path="elsewhere/TEA.md"))
    index.add("top", "Top", NoteLinks(path="tea.markdown"))
    assert [index.resolve("tea", source) for source in "abc"] == ["top", "top", "top"]
    assert [index.resolve("TEA", source) for source in "abc"] == ["beside", "beside", "beside"]
    assert index.resolve("./tea", "b") == "beside"


def test_a_link_to_the_note_itself_is_none() -> None:
    index = index_of(("a", "Tea", says("Tea", "a", "Tea#part")))
    assert index.targets("a") == index.sources("a") == set()


def test_names_that_a_note_loses_become_its_earlier_names() -> None:
    first = NoteLinks(aliases=("x", "y"))
    second = NoteLinks(aliases=("y",)).after("New", first, "Old")
    assert second.former == ("Old", "x")
    third = NoteLinks(aliases=("x",)).after("Newer", second, "New")
    assert third.former == ("New", "y", "Old")
    assert len(NoteLinks().after("t", NoteLinks(aliases=tuple(f"{n}" for n in range(40))), "u").former) == 16


def test_the_index_is_the_same_after_any_history() -> None:
    rng = random.Random(7)
    words = ["Tea", "tea", "Pot", "Cup", "TEA"]

    def links() -> NoteLinks:
        return NoteLinks(
            aliases=tuple(rng.sample(words, rng.randrange(3))),
            path=rng.choice(["", "a/tea.md", "pot.md"]),
            former=tuple(rng.sample(words, rng.randrange(2))),
            targets=tuple(rng.sample([*words, "a/tea", "tea#x", "n1"], rng.randrange(4))),
        )

    index = LinkIndex()
    now: dict[str, tuple[str, str, NoteLinks]] = {}
    for _ in range(400):
        node_id = f"n{rng.randrange(8)}"
        if rng.random() < 0.3:
            now.pop(node_id, None)
            index.remove(node_id)
        else:
            now[node_id] = (node_id, rng.choice(words), links())
            index.add(*now[node_id])
    fresh = index_of(*now.values())
    assert vars(index) == vars(fresh)
    every = list(now)
    assert {(a, b) for a in every for b in index.targets(a)} == {(a, b) for b in every for a in index.sources(b)}
    assert all(index.leads(a, b) == (b in index.targets(a)) for a in every for b in every)
    for node_id in every:
        index.remove(node_id)
    assert vars(index) == vars(LinkIndex())


def test_a_table_says_what_comparing_all_bearers_says(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(11)
    words = ["Tea", "tea", "TEA", "x/tea"]
    targets = ["Tea", "tea", "tEA", "./tea", "TEA#x", "n3", "x/tea"]
    for _ in range(30):
        index = LinkIndex()
        for number in range(rng.randrange(1, 30)):
            links = NoteLinks(
                aliases=tuple(rng.sample(words, rng.randrange(4))),
                path=rng.choice(["", "tea.md", "a/tea.md", "a/b/tea.md", "b/Tea.md"]),
                former=tuple(rng.sample(words, rng.randrange(3))),
                targets=tuple(rng.sample(targets, rng.randrange(5))),
            )
            index.add(f"n{number}", rng.choice([*words, "other"]), links)
        found = []
        for few in (0, 1_000):
            monkeypatch.setattr(link_index, "_FEW", few)
            notes = [index.note(f"n{number}") for number in range(len(index))]
            found.append(
                [
                    (
                        [index.resolve(target, note.node_id) for target in targets],
                        [index.resolve(target, note.node_id, without="n0") for target in targets],
                        index.sources(note.node_id),
                        index.concerned(note),
                        index.leading_by(note.node_id, ["tea", note.title]),
                        [index.would_lead(target, "n1", note.node_id) for target in targets],
                    )
                    for note in notes
                    if note is not None
                ]
            )
        assert found[0] == found[1]


def test_choosing_among_many_notes_of_one_name_costs_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """As among the README files of a vault, all of which link to the one beside them."""
    notes = [(f"n{n}", "README", NoteLinks(path=f"{n}/README.md", targets=("README", "readme"))) for n in range(400)]
    index = index_of(*notes, ("a", "A", says("README", path="7/a.md")))
    folds = 0
    fold = link_index._fold

    def counted(exact: str) -> str:
        nonlocal folds
        folds += 1
        return fold(exact)

    monkeypatch.setattr(link_index, "_fold", counted)
    assert index.sources("n7") == {"a"}
    known = index.note("n7")
    assert known is not None
    assert ("a", "n7") in index.concerned(known)
    assert folds < 50 * len(notes), "it grows with the notes, and not with their square"


def test_one_note_says_a_name_in_few_spellings() -> None:
    spellings = ["".join(letters) for letters in itertools.product("tT", "eE", "aA", "sS", "hH", "oO")]
    links = [wiki_links.WikiLink(target, 0, 0, 0, 0) for target in ["First", *spellings, "Last"]]
    assert note_links(links).targets == ("First", *spellings[:16], "Last")
