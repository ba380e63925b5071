"""A text of any sort, up to the largest size of a note, is indexed: its record fits into one item of the table."""

import random
import string
from collections.abc import Callable
from typing import Any

import pytest

from services.similarity_service.adapters.dynamo import DynamoRecords
from services.similarity_service.ports import NodeText
from shared.dynamo.size import item_bytes
from tests.support.similarity_world import U, World

_BYTES = 256 * 1024
_RNG = random.Random(1)


def ideographs(count: int) -> str:
    return "".join(chr(_RNG.randrange(0x4E00, 0x9FFF)) for _ in range(count))


def links(count: int, name: Callable[[], str]) -> str:
    return " ".join(f"[[{name()}]]" for _ in range(count))


def letters() -> str:
    return "".join(_RNG.choices(string.ascii_letters, k=60))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(links(_BYTES // 65, lambda: ideographs(20)), id="links in a script without spaces"),
        pytest.param(links(_BYTES // 130, letters) + " " + ideographs(_BYTES // 6), id="links and such a script"),
    ],
)
async def test_a_text_whose_record_would_be_too_large_is_indexed_by_its_first_words(text: str) -> None:
    text = text.encode()[:_BYTES].decode(errors="ignore")
    world = World()
    process = world.processes[0]
    aliases = tuple(f"{at:02} {ideographs(160)}" for at in range(32))
    for version, names in ((1, aliases), (2, ())):
        note = NodeText("n" * 64, 1, version, "t" * 512, text, ("t" * 64,), aliases=names)
        assert await process.index_node(U, [note]) == {"n" * 64}
    stored = world.records.items[U, "n" * 64]
    unused: Any = None
    item = DynamoRecords(unused, world.clock).item("u" * 128, "n" * 64, stored)
    assert item_bytes(item) < 400 * 1024
    assert stored.note is not None
    assert len(stored.note.terms) > 10_000
    assert len(stored.note.links.former) == 16


async def test_a_small_change_of_a_text_leaves_the_weights_of_its_keywords() -> None:
    world = World()
    process = world.processes[0]
    text = "green tea from Uji in a clay pot, with a clay teapot and green cups; sencha, bancha, matcha, gyokuro"

    async def weights(version: int, text: str, *, again: bool = False) -> dict[str, int]:
        note = NodeText("n", 1, version, "Tea", text, ())
        assert await process.index_node(U, [note], again=again) == {"n"}
        stored = world.records.items[U, "n"].note
        assert stored is not None
        return {stored.terms[number]: weight for number, weight in stored.salient}

    others = [NodeText(f"o{n}", 1, 1, f"Other {n}", f"sencha, bancha and matcha from Kyoto {n}", ()) for n in range(25)]
    await process.index_node(U, others[:20])
    first = await weights(1, text)
    await process.index_node(U, others[20:])
    changed = f"{text} green, and much more green with clay, clay, clay"
    second = await weights(2, changed)
    exact = await weights(2, changed, again=True)
    both = first.keys() & exact.keys() - {"clay"}
    near = {term for term in both if abs(first[term] - exact[term]) <= max(first[term], exact[term]) / 5}
    assert second == exact | {term: first[term] for term in near}
    assert {"cup", "pot", "uji"} < {term for term in near if first[term] != exact[term]}, (
        "no posting of them is written"
    )
    assert (first["clay"], second["clay"]) == (206, 255), "the strongest has its own weight"
    third = await weights(3, "green cups, green cups, cups, and a pot from Uji")
    assert third["cup"] == 255
    assert third["pot"] != second["pot"], "a weight that is another one by much is written"


async def test_a_text_whose_record_fits_is_indexed_as_a_whole() -> None:
    world = World()
    words = [f"word{number}" for number in range(20_000)]
    await world.processes[0].index_node(U, [NodeText("n", 1, 1, "T", " ".join(words), ())])
    stored = world.records.items[U, "n"]
    assert stored.note is not None
    assert set(words) <= set(stored.note.terms)
