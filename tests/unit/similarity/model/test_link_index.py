"""Which note a wiki link leads to: titles, aliases, ids, files, earlier names, and what decides between them."""

import random
import unicodedata

import pytest

from services.similarity_service.model.link_index import LinkIndex, NoteLinks


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
