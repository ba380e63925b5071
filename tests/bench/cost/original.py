"""The same operations on the original schema, computed by the same rules.

It keeps a note with its content in one item, with a row for each keyword, in three indexes that project ALL attributes;
it writes without transactions and without an outbox, so that a crash loses events. Its times are those of the note.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tests.bench.cost.units import Index, index_write, item_size, read_units, table_write

_INDEXES = [
    Index("KeywordIndex", ("GSI1PK", "GSI1SK"), None),
    Index("DeletionQueue", ("GSI2PK", "GSI2SK"), None),
    Index("UserTimeIndex", ("GSI3PK", "GSI3SK"), None),
]
_USER = "USER#ada-0001"
_TIME = "2026-01-01T00:00:00.000Z"
Item = dict[str, dict[str, Any]]
# The distinct words of a note, each of which is a keyword.
KEYWORDS = 60


def operations(content_bytes: int, links: int) -> dict[str, dict[str, float]]:
    """Operation -> write_units and read_units of a note with so much content and so many links."""
    live = _note(content_bytes)
    renamed = live | {"title": {"S": "another title"}}
    deleted = live | {
        "status": {"S": "deleted"},
        "deletedAt": {"S": _TIME},
        "GSI2PK": {"S": "STATUS#DELETED"},
        "GSI2SK": {"S": f"TIMESTAMP#{_TIME}"},
    }
    keywords = [_keyword(number) for number in range(KEYWORDS)]
    edges = [_edge(number) for number in range(2 * links)]
    created = _write([(None, live)]) + _write([(None, row) for row in keywords])
    removed = _write([(deleted, None)]) + _write([(row, None) for row in (*keywords, *edges)])
    note_read = read_units(item_size(live), consistent=False)
    edges_read = read_units(sum(map(item_size, edges[:links])), consistent=False)
    # A keyword's partition has the notes of all users; ten of them are read here for each of three words.
    search_read = 3 * read_units(10 * item_size(keywords[0]), consistent=False) + 10 * note_read
    return {
        "create_linked": _units(created + _write([(None, row) for row in edges]), search_read),
        "create": _units(created, search_read),
        "update_title": _units(_write([(live, renamed)]), note_read),
        "update_content": _units(
            _write([(live, renamed)]) + 2 * _write([(None, row) for row in keywords]), note_read + search_read
        ),
        "create_edge": _units(_write([(None, row) for row in edges[:2]]), 0),
        "get_edge": _units(0, read_units(item_size(edges[0]), consistent=False)),
        "update_edge": _units(_write([(row, row | {"weight": {"N": "0.7"}}) for row in edges[:2]]), 0),
        "delete_edge": _units(_write([(row, None) for row in edges[:2]]), 0),
        "read_miss": _units(0, note_read),
        "read_hit": _units(0, 0),
        "lookup_miss": _units(0, edges_read),
        "lookup_hit": _units(0, 0),
        "search": _units(0, search_read),
        "soft_delete": _units(_write([(live, deleted)]), note_read),
        "restore": _units(_write([(deleted, live)]), note_read),
        "delete_and_purge": _units(_write([(live, deleted)]) + removed, note_read * 2 + edges_read),
    }


def _units(writes: float, reads: float) -> dict[str, float]:
    return {"write_units": writes, "read_units": reads}


def _write(images: Sequence[tuple[Mapping[str, Any] | None, Mapping[str, Any] | None]]) -> int:
    return sum(
        table_write(before, after, transaction=False) + sum(index_write(index, before, after) for index in _INDEXES)
        for before, after in images
    )


def _note(content_bytes: int) -> Item:
    return {
        "PK": {"S": _USER},
        "SK": {"S": "NODE#note"},
        "title": {"S": "a title"},
        "content": {"S": "x" * content_bytes},
        "status": {"S": "active"},
        "createdAt": {"S": _TIME},
        "updatedAt": {"S": _TIME},
        "GSI3PK": {"S": _USER},
        "GSI3SK": {"S": f"TIMESTAMP#{_TIME}"},
    }


def _keyword(number: int) -> Item:
    return {
        "PK": {"S": f"KEYWORD#word{number:04d}"},
        "SK": {"S": f"{_USER}#NODE#note"},
        "GSI1PK": {"S": f"KEYWORD#word{number:04d}"},
        "GSI1SK": {"S": "NODE#note"},
        "nodeId": {"S": "note"},
        "tf": {"N": "1"},
    }


def _edge(number: int) -> Item:
    return {
        "PK": {"S": _USER},
        "SK": {"S": f"EDGE#{number:08x}-0000-4000-8000-000000000000"},
        "source": {"S": "note"},
        "target": {"S": f"peer-{number}"},
        "weight": {"N": "0.5"},
        "createdAt": {"S": _TIME},
    }
