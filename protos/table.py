"""The table Brain2-Main as a contract between the contexts: keys, index keys, shard counts and owners.

All four services keep their items in one table. This module is the only place that spells a key, so that a service that
reads, completes or removes an item of another one uses the same text as its owner. A key is what is stored: changing a
prefix, a shard count or the order of the parts of a key makes existing items unreachable.

Names: a partition is the text of PK (or of the PK of an index), a key is the pair (PK, SK), a prefix is what the sort
keys of one sort of item begin with. Times are milliseconds since 1970. ITEMS lists every item; the table in
ARCHITECTURE.md is generated from it (`make docs`).
"""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass

Key = tuple[str, str]

SERVICES = ("node", "graph", "similarity", "cleanup")

# Index name -> the attributes of its partition key and of its sort key.
KEYWORD_INDEX = "KeywordIndex"
DELETION_QUEUE = "DeletionQueue"
USER_TIME_INDEX = "UserTimeIndex"
INDEXES = {
    KEYWORD_INDEX: ("GSI1PK", "GSI1SK"),
    DELETION_QUEUE: ("GSI2PK", "GSI2SK"),
    USER_TIME_INDEX: ("GSI3PK", "GSI3SK"),
}

# Shard counts. Items of all users share these partitions, spread over so many; none of the counts can be lowered.
# Of the outboxes this is the least: BRAIN2_OUTBOX_SHARDS raises it (docs/outbox.md).
OUTBOX_SHARDS = 8
JOURNAL_SHARDS = 4
DELETION_SHARDS = 16
RELINK_SHARDS = 4

USER = "USER#"
NODES = "NODE#"
BODIES = "BODY#"
EDGES = "EDGE#"
GRAPH = "GRAPH#"
HIDDEN = "GRAPH#HIDDEN#"
SUPPRESSED = "GRAPH#SUPPRESSED#"
TERMS = "TERMS#"
POSTINGS = "KW#"
SIMILARITY = "SIM#"
RELINKS = "SIM#SETTLE#"
SAGAS = "CLEANUP#"
SETTINGS = "SETTINGS#"
USAGE = "USAGE#"
ERASING = "CLEAN#ERASURE"
TIME = "TIMESTAMP#"

# The type of an edge that its sort key leaves out.
RELATED = "related"

# The erasures and the leases of the cleanup's shards have partitions of their own.
ERASURES = "CLEANUP#ERASURE"
SHARD_LEASES = "CLEANUP#SHARDS"

# The last text that a time of this index can begin with: after every time.
_AFTER_ALL = "~"
# 13 digits last until the year 2286.
_LAST_TIME = 9_999_999_999_999


# ---------------------------------------------------------------- the partition of a user


def user_partition(user_id: str) -> str:
    """The partition of all items of a user."""
    return f"USER#{user_id}"


def user_of(partition: str) -> str:
    """The user of a partition that user_partition made."""
    return partition.removeprefix(USER)


def node_sort_key(node_id: str) -> str:
    """The sort key of a note."""
    return f"NODE#{node_id}"


def node_key(user_id: str, node_id: str) -> Key:
    """The key of a note."""
    return f"USER#{user_id}", f"NODE#{node_id}"


def body_key(user_id: str, node_id: str) -> Key:
    """The key of a note's content, where it is apart from the note's state."""
    return f"USER#{user_id}", f"BODY#{node_id}"


def node_of(sort_key: str) -> str:
    """The node_id of a note's sort key."""
    return sort_key.removeprefix(NODES)


def edges_prefix(node_id: str) -> str:
    """What the sort keys of all edges at a note begin with."""
    return f"EDGE#{node_id}#"


def edge_sort_key(node_id: str, other: str, type: str = RELATED) -> str:
    """The sort key of the item of an edge that is listed under node_id; the edge's other item is listed under other."""
    return f"EDGE#{node_id}#{other}" if type == RELATED else f"EDGE#{node_id}#{other}#{type}"


def edge_key(user_id: str, node_id: str, other: str, type: str = RELATED) -> Key:
    """The key of one of the two items of an edge."""
    return f"USER#{user_id}", edge_sort_key(node_id, other, type)


def edges_between(node_id: str, other: str) -> Key:
    """The first and the last possible sort key of the edges that are listed under node_id and lead to other."""
    first = edge_sort_key(node_id, other)
    return first, f"{first}#{_AFTER_ALL}"


def edges_of_notes(node_ids: Iterable[str]) -> Key:
    """The first and the last possible sort key of the edges at these notes, and at all whose ids lie between theirs."""
    prefixes = [edges_prefix(node_id) for node_id in node_ids]
    return min(prefixes), max(prefixes) + _AFTER_ALL


def edge_of(sort_key: str) -> tuple[str, str, str]:
    """(node_id, other, type) of an edge's sort key."""
    parts = sort_key.split("#")
    return parts[1], parts[2], parts[3] if len(parts) > 3 else RELATED


def hidden_key(user_id: str, node_id: str) -> Key:
    """The key of the graph's visibility marker of a note."""
    return f"USER#{user_id}", f"GRAPH#HIDDEN#{node_id}"


def hidden_of(sort_key: str) -> str:
    """The node_id of a visibility marker's sort key."""
    return sort_key.removeprefix(HIDDEN)


def suppressed_key(user_id: str, a: str, b: str, type: str = RELATED) -> Key:
    """The key of a rejection of earlier releases. a, b: the ends in the order of the edge's own key."""
    tail = "" if type == RELATED else f"#{type}"
    return f"USER#{user_id}", f"GRAPH#SUPPRESSED#{a}#{b}{tail}"


def suppressed_of(sort_key: str) -> tuple[str, str, str]:
    """(a, b, type) of the sort key of a rejection of earlier releases."""
    a, b, *type = sort_key.removeprefix(SUPPRESSED).split("#")
    return a, b, type[0] if type else RELATED


def terms_key(user_id: str, node_id: str) -> Key:
    """The key of a note's index record."""
    return f"USER#{user_id}", f"TERMS#{node_id}"


def terms_of(sort_key: str) -> str:
    """The node_id of an index record's sort key."""
    return sort_key.removeprefix(TERMS)


def postings_prefix(node_id: str) -> str:
    """What the sort keys of all keyword postings of a note begin with."""
    return f"KW#{node_id}#"


def posting_key(user_id: str, node_id: str, term: str) -> Key:
    """The key of the posting of one of a note's keywords."""
    return f"USER#{user_id}", f"KW#{node_id}#{term}"


def posting_node(sort_key: str) -> str:
    """The node_id of a posting's sort key."""
    return sort_key.split("#", 2)[1]


def relink_key(user_id: str, owner: str) -> Key:
    """The key of the entry that a process (owner) has links of this user to make."""
    return f"USER#{user_id}", f"SIM#SETTLE#{owner}"


def relink_owner(sort_key: str) -> str:
    """The owner of a relink entry's sort key."""
    return sort_key.removeprefix(RELINKS)


def settings_key(service: str, user_id: str) -> Key:
    """The key of the settings of a user that a service keeps."""
    return f"USER#{user_id}", f"SETTINGS#{service}"


def usage_key(service: str, user_id: str) -> Key:
    """The key of the count of what a user stores in one service, for its quotas."""
    return f"USER#{user_id}", f"USAGE#{service}"


def saga_key(user_id: str, node_id: str) -> Key:
    """The key of the deletion saga of a note."""
    return f"USER#{user_id}", f"CLEANUP#{node_id}"


def erasing_key(user_id: str) -> Key:
    """The key of the marker that a user is being erased."""
    return f"USER#{user_id}", ERASING


# ---------------------------------------------------------------- the other partitions


def outbox_shard(event_id: str, shards: int = OUTBOX_SHARDS) -> int:
    """The shard of an event: the same in every process."""
    return zlib.crc32(event_id.encode()) % shards


def outbox_partition(service: str, shard: int) -> str:
    """A partition of a service's outbox; the sort key of an event in it is the event id."""
    return f"OUTBOX#{service}#{shard}"


def outbox_lease_key(partition: str) -> Key:
    """The key of the lease under which one process sweeps this outbox partition."""
    return f"{partition}-lease", "lease"


def idempotency_partition(service: str, user_id: str) -> str:
    """The partition of the idempotency records of a user in a service."""
    return f"IDEMP#{service}#{user_id}"


def idempotency_key(service: str, user_id: str, request_id: str) -> Key:
    """The key of an idempotency record."""
    return f"IDEMP#{service}#{user_id}", request_id


def idempotency_piece_key(service: str, user_id: str, request_id: str, owner: str, number: int) -> Key:
    """The key of a piece of a large stored answer; owner: the arrival of the request that has written it."""
    return f"IDEMP#{service}#{user_id}", f"{request_id}#piece#{owner}#{number:04d}"


def journal_partition(shard: int) -> str:
    """A partition of the graph's journal."""
    return f"GRAPH#JOURNAL#{shard}"


def journal_key(entry_id: str) -> Key:
    """The key of a journal entry. Shards, because while Redis is away every write puts an entry here."""
    return journal_partition(sum(entry_id.encode()) % JOURNAL_SHARDS), entry_id


def erasure_key(erasure_id: str) -> Key:
    """The key of an erasure, which becomes its receipt."""
    return ERASURES, erasure_id


def shard_lease_key(shard: int) -> Key:
    """The key of the lease under which one cleanup process polls a shard of the deletion queue."""
    return SHARD_LEASES, f"{shard:02d}"


# ---------------------------------------------------------------- keys of the indexes


def time_bound(ms: int) -> str:
    """The sort key of an index at which a time begins: at or after every earlier key, before every key of this time.

    ValueError outside the years 1970 to 2286.
    """
    if not 0 <= ms <= _LAST_TIME:
        raise ValueError(f"{ms} ms is not a time between the years 1970 and 2286")
    return f"TIMESTAMP#{ms:013d}"


def time_end(ms: int | None = None) -> str:
    """A sort key after every key of this time; without a time after every key."""
    return TIME + _AFTER_ALL if ms is None else f"{time_bound(ms)}#{_AFTER_ALL}"


def deletion_shard(user_id: str, node_id: str) -> int:
    """The shard of the deletion queue for a note or its saga: the same in every process."""
    return zlib.crc32(f"{user_id}#{node_id}".encode()) % DELETION_SHARDS


def deleted_partition(shard: int) -> str:
    """DeletionQueue: the deleted notes of a shard."""
    return f"DELETED#{shard}"


def saga_partition(state: str, shard: int) -> str:
    """DeletionQueue: the deletion sagas in a state, of a shard."""
    return f"SAGA#{state}#{shard}"


def due_sort_key(due_ms: int, user_id: str, node_id: str) -> str:
    """DeletionQueue: a deleted note or its saga at the time at which it is due."""
    return f"{time_bound(due_ms)}#USER#{user_id}#NODE#{node_id}"


def due_node(sort_key: str) -> tuple[str, str]:
    """(user_id, node_id) of a key that due_sort_key made."""
    _, _, _, user_id, _, node_id = sort_key.split("#")
    return user_id, node_id


def relink_shard(user_id: str) -> int:
    """The shard of a user's relink entries: the same in every process."""
    return zlib.crc32(user_id.encode()) % RELINK_SHARDS


def relink_partition(shard: int) -> str:
    """DeletionQueue: the relink entries of a shard."""
    return f"SETTLE#{shard}"


def relink_sort_key(until_ms: int, user_id: str, owner: str) -> str:
    """DeletionQueue: a relink entry at the time until which its owner holds it."""
    return f"{time_bound(until_ms)}#USER#{user_id}#{owner}"


# DeletionQueue: the erasures that are not done.
OPEN_ERASURES = "ERASURE#OPEN"


def erasure_sort_key(attention_ms: int, erasure_id: str) -> str:
    """DeletionQueue: an erasure at the time at which it needs attention."""
    return f"{time_bound(attention_ms)}#{erasure_id}"


def saga_time_partition(user_id: str) -> str:
    """UserTimeIndex: the deletion sagas of a user."""
    return f"USER#{user_id}#CLEANUP"


def node_time_sort_key(ms: int, node_id: str) -> str:
    """UserTimeIndex: a live note by its creation, in the user's partition; a saga by the deletion of the note."""
    return f"{time_bound(ms)}#{node_id}"


def time_node(sort_key: str) -> str:
    """The node_id of a key that node_time_sort_key made."""
    return sort_key.rpartition("#")[2]


def keyword_partition(user_id: str, term: str) -> str:
    """KeywordIndex: the notes of a user that have a keyword; the sort key in it is node_sort_key."""
    return f"USER#{user_id}#KW#{term}"


# ---------------------------------------------------------------- who owns what


@dataclass(frozen=True, slots=True)
class Item:
    """One sort of item.

    owner: the context that writes it; "each" for an item that every service has of its own.
    partition, sort_key: the pattern of the key, with the variable parts in <>.
    index: the indexes in which it can be found.
    readers: other contexts that read it by its key.
    completers: other contexts that may write it, and how.
    removers: other contexts that may remove it, and when; the erasure of a user is one of them.
    """

    name: str
    owner: str
    partition: str
    sort_key: str
    index: tuple[str, ...] = ()
    readers: tuple[str, ...] = ()
    completers: tuple[str, ...] = ()
    removers: tuple[str, ...] = ()


_ERASING = "cleanup (erasing a user)"
_REPAIR = "cleanup (reconciler)"

ITEMS = (
    Item(
        "note",
        "node",
        "USER#<user_id>",
        "NODE#<node_id>",
        index=(f"{USER_TIME_INDEX} while live", f"{DELETION_QUEUE} while deleted"),
        readers=("cleanup",),
        removers=(_ERASING,),
    ),
    Item("content of a note", "node", "USER#<user_id>", "BODY#<node_id>", removers=(_ERASING,)),
    Item(
        "edge, stored twice; also a suppressed one",
        "graph",
        "USER#<user_id>",
        "EDGE#<node_id>#<other>[#<type>]",
        readers=("cleanup",),
        completers=(f"{_REPAIR}: copies the missing one of the two items",),
        removers=(_ERASING,),
    ),
    Item(
        "visibility marker",
        "graph",
        "USER#<user_id>",
        "GRAPH#HIDDEN#<node_id>",
        readers=("cleanup",),
        removers=(_ERASING,),
    ),
    Item(
        "rejected automatic link of an earlier release",
        "graph",
        "USER#<user_id>",
        "GRAPH#SUPPRESSED#<a>#<b>[#<type>]",
        removers=(_ERASING,),
    ),
    Item("journal entry", "graph", "GRAPH#JOURNAL#<shard>", "<entry_id>", readers=("cleanup",), removers=(_ERASING,)),
    Item("index record", "similarity", "USER#<user_id>", "TERMS#<node_id>", readers=("cleanup",), removers=(_ERASING,)),
    Item(
        "keyword posting",
        "similarity",
        "USER#<user_id>",
        "KW#<node_id>#<term>",
        index=(KEYWORD_INDEX,),
        readers=("cleanup",),
        removers=(f"{_REPAIR}: of a note that is gone", _ERASING),
    ),
    Item(
        "links to make",
        "similarity",
        "USER#<user_id>",
        "SIM#SETTLE#<owner>",
        index=(DELETION_QUEUE,),
        removers=(_ERASING,),
    ),
    Item("user settings", "each", "USER#<user_id>", "SETTINGS#<service>", removers=(_ERASING,)),
    Item("count for the quotas (expires)", "each", "USER#<user_id>", "USAGE#<service>", removers=(_ERASING,)),
    Item(
        "deletion saga",
        "cleanup",
        "USER#<user_id>",
        "CLEANUP#<node_id>",
        index=(DELETION_QUEUE, USER_TIME_INDEX),
    ),
    Item("user is being erased", "cleanup", "USER#<user_id>", ERASING),
    Item("erasure, later its receipt", "cleanup", ERASURES, "<erasure_id>", index=(f"{DELETION_QUEUE} until done",)),
    Item("lease of a deletion shard", "cleanup", SHARD_LEASES, "<shard>"),
    Item(
        "event in the outbox",
        "each",
        "OUTBOX#<service>#<shard>",
        "<event_id>",
        readers=("cleanup",),
        removers=(f"{_REPAIR}: after publishing it", _ERASING),
    ),
    Item("lease of an outbox shard", "each", "OUTBOX#<service>#<shard>-lease", "lease"),
    Item("idempotency record (expires)", "each", "IDEMP#<service>#<user_id>", "<request_id>", removers=(_ERASING,)),
    Item(
        "piece of a large stored answer (expires)",
        "each",
        "IDEMP#<service>#<user_id>",
        "<request_id>#piece#<owner>#<number>",
        removers=(_ERASING,),
    ),
)

# What no other module may spell: the beginnings of keys and of index keys.
PREFIXES = (
    "USER#",
    "NODE#",
    "BODY#",
    "EDGE#",
    "GRAPH#",
    "TERMS#",
    "KW#",
    "SIM#",
    "SETTLE#",
    "SETTINGS#",
    "USAGE#",
    "CLEANUP#",
    "#CLEANUP",
    "CLEAN#",
    "ERASURE#",
    "SAGA#",
    "DELETED#",
    "OUTBOX#",
    "IDEMP#",
    "TIMESTAMP#",
)
