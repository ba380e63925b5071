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


async def test_a_text_whose_record_fits_is_indexed_as_a_whole() -> None:
    world = World()
    words = [f"word{number}" for number in range(20_000)]
    await world.processes[0].index_node(U, [NodeText("n", 1, 1, "T", " ".join(words), ())])
    stored = world.records.items[U, "n"]
    assert stored.note is not None
    assert set(words) <= set(stored.note.terms)
