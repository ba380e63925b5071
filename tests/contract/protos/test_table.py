"""protos/table.py: the keys are what is stored, and no other module spells one."""

import ast
from pathlib import Path

import pytest

from protos import table

ROOT = Path(__file__).resolve().parents[3]


def spelled(source: str) -> set[str]:
    """The key prefixes in the string literals and f-strings of a module, without those in its docstrings."""
    tree = ast.parse(source)
    prose = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    texts = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose
    ]
    return {prefix for prefix in table.PREFIXES for text in texts if prefix in text}


def test_no_other_module_spells_a_key() -> None:
    files = [path for room in ("services", "shared") for path in sorted((ROOT / room).rglob("*.py"))]
    found = {str(path.relative_to(ROOT)) for path in files if spelled(path.read_text(encoding="utf-8"))}
    assert found == set()


@pytest.mark.parametrize("prefix", table.PREFIXES)
def test_the_scan_finds_a_prefix_in_a_literal_and_in_an_f_string(prefix: str) -> None:
    assert prefix in spelled(f'key = "{prefix}"')
    assert prefix in spelled(f'key = f"{{user}}{prefix}{{node}}"')
    assert spelled(f'"""A module about {prefix}."""') == set()


def test_every_prefix_of_an_item_is_in_the_scan() -> None:
    for item in table.ITEMS:
        for text in (item.partition, item.sort_key):
            if "#" in text and not text.startswith("<"):
                assert any(prefix in text for prefix in table.PREFIXES), text


# The texts as they are stored. A change here loses every item that exists.
STORED = [
    (table.node_key("u", "n"), ("USER#u", "NODE#n")),
    (table.edge_key("u", "a", "b"), ("USER#u", "EDGE#a#b")),
    (table.edge_key("u", "a", "b", "cites"), ("USER#u", "EDGE#a#b#cites")),
    (table.hidden_key("u", "n"), ("USER#u", "GRAPH#HIDDEN#n")),
    (table.suppressed_key("u", "a", "b"), ("USER#u", "GRAPH#SUPPRESSED#a#b")),
    (table.suppressed_key("u", "a", "b", "cites"), ("USER#u", "GRAPH#SUPPRESSED#a#b#cites")),
    (table.terms_key("u", "n"), ("USER#u", "TERMS#n")),
    (table.posting_key("u", "n", "tree"), ("USER#u", "KW#n#tree")),
    (table.relink_key("u", "p"), ("USER#u", "SIM#SETTLE#p")),
    (table.settings_key("node", "u"), ("USER#u", "SETTINGS#node")),
    (table.usage_key("graph", "u"), ("USER#u", "USAGE#graph")),
    (table.saga_key("u", "n"), ("USER#u", "CLEANUP#n")),
    (table.erasing_key("u"), ("USER#u", "CLEAN#ERASURE")),
    (table.erasure_key("e"), ("CLEANUP#ERASURE", "e")),
    (table.shard_lease_key(3), ("CLEANUP#SHARDS", "03")),
    (table.journal_key("abc"), ("GRAPH#JOURNAL#2", "abc")),
    (table.idempotency_key("node", "u", "r"), ("IDEMP#node#u", "r")),
    (table.outbox_lease_key(table.outbox_partition("graph", 7)), ("OUTBOX#graph#7-lease", "lease")),
    (table.user_partition("u"), "USER#u"),
    (table.outbox_shard("01ARZ3NDEKTSV4RRFFQ69G5FAV"), 5),
    (table.deletion_shard("u", "n"), 7),
    (table.relink_shard("u"), 2),
    (table.deleted_partition(5), "DELETED#5"),
    (table.saga_partition("pending", 5), "SAGA#pending#5"),
    (table.due_sort_key(7, "u", "n"), "TIMESTAMP#0000000000007#USER#u#NODE#n"),
    (table.relink_partition(1), "SETTLE#1"),
    (table.relink_sort_key(7, "u", "p"), "TIMESTAMP#0000000000007#USER#u#p"),
    (table.OPEN_ERASURES, "ERASURE#OPEN"),
    (table.erasure_sort_key(7, "e"), "TIMESTAMP#0000000000007#e"),
    (table.saga_time_partition("u"), "USER#u#CLEANUP"),
    (table.node_time_sort_key(7, "n"), "TIMESTAMP#0000000000007#n"),
    (table.keyword_partition("u", "tree"), "USER#u#KW#tree"),
    (table.time_bound(7), "TIMESTAMP#0000000000007"),
    (table.time_end(7), "TIMESTAMP#0000000000007#~"),
    (table.time_end(), "TIMESTAMP#~"),
    ((table.OUTBOX_SHARDS, table.JOURNAL_SHARDS, table.DELETION_SHARDS, table.RELINK_SHARDS), (8, 4, 16, 4)),
]


@pytest.mark.parametrize(("built", "stored"), STORED)
def test_keys_are_as_stored(built: object, stored: object) -> None:
    assert built == stored


def test_parts_come_back_from_a_key() -> None:
    assert table.user_of("USER#a@b.c") == "a@b.c"
    assert table.node_of(table.node_sort_key("n")) == "n"
    assert table.edge_of("EDGE#a#b") == ("a", "b", table.RELATED)
    assert table.edge_of("EDGE#a#b#cites") == ("a", "b", "cites")
    assert table.hidden_of(table.hidden_key("u", "n")[1]) == "n"
    assert table.terms_of(table.terms_key("u", "n")[1]) == "n"
    assert table.posting_node(table.posting_key("u", "n", "a#b")[1]) == "n"
    assert table.relink_owner(table.relink_key("u", "p")[1]) == "p"
    assert table.due_node(table.due_sort_key(7, "u", "n")) == ("u", "n")
    assert table.time_node(table.node_time_sort_key(7, "n")) == "n"


@pytest.mark.parametrize("ms", [-1, 10**13])
def test_a_time_outside_thirteen_digits_is_refused(ms: int) -> None:
    with pytest.raises(ValueError, match="1970"):
        table.time_bound(ms)
