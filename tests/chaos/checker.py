"""Checks at the end, when all is quiet: what was acknowledged against what the services answer and the table holds.

The table is read whole with a client of our own: an orphan hides from every API.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from protos.cleanup.v1 import cleanup_pb2
from protos.graph.v1 import graph_pb2
from protos.node.v1 import node_pb2
from protos.similarity.v1 import similarity_pb2
from tests.chaos.client import Client
from tests.chaos.history import History
from tests.chaos.load import Shared, Worker, named_title, unique_word
from tests.support.stores import Stores
from tests.support.traces import table_items

Items = dict[str, dict[str, Any]]
"""The items of a user by sort key."""


async def check(
    client: Client, stores: Stores, history: History, workers: Sequence[Worker], shared: dict[str, list[Shared]]
) -> dict[str, int]:
    """Every broken promise becomes a violation; answers what was looked at."""
    tables = await _tables(stores)
    seen = {"notes": 0, "edges": 0, "wiki_links": 0, "searches": 0, "users": 0}
    for user in sorted(shared):
        mine = [worker for worker in workers if worker.user == user]
        items = tables.get(user, {})
        checking = _Check(client, history, user, mine, shared[user], items)
        await checking.run()
        for name, count in checking.seen.items():
            seen[name] += count
        seen["users"] += 1
    return seen


class _Check:
    """One user."""

    def __init__(
        self,
        client: Client,
        history: History,
        user: str,
        workers: Sequence[Worker],
        shared: Sequence[Shared],
        items: Items,
    ) -> None:
        self._client = client
        self._history = history
        self._user = user
        self._workers = workers
        self._shared = shared
        self._items = items
        notes = [note for worker in workers for note in worker.notes.values()]
        self._live = {note.node_id: note for note in notes if note.status == "live"}
        self._gone = {note.node_id for note in notes if note.status in ("deleted", "gone")}
        self._tainted = {note.node_id for note in notes if note.status == "tainted"}
        self._always = {one.node_id for one in shared}
        self.seen = {"notes": len(notes), "edges": 0, "wiki_links": 0, "searches": 0}

    async def run(self) -> None:
        stored = {key.removeprefix("NODE#") for key in self._items if key.startswith("NODE#")}
        listed = await self._listed()
        self._same("LISTED", "live notes that lists lack", (self._live.keys() | self._always) - listed)
        self._same("LISTED", "notes in lists that aren't stored", listed - stored)
        self._same("UNDEAD", "purged notes that are stored", self._gone & stored)
        self._same("UNDEAD", "purged notes in lists", self._gone & listed)
        self._same("LOST", "live notes that aren't stored", (self._live.keys() | self._always) - stored)
        self._same("INVENTED", "notes that nobody made", stored - self._live.keys() - self._tainted - self._always)
        # A tainted note is stored and listed, or neither; one that is deleted still is due for its purge.
        self._same("HALF", "notes stored, but neither listed nor deleted", self._undeleted(stored) - listed)
        await self._contents()
        self._check_shared()
        self._check_edges(stored)
        await self._check_lists()
        await self._check_index(listed)
        await self._check_orphans()

    def _undeleted(self, stored: set[str]) -> set[str]:
        return {node_id for node_id in stored if "delete_time" not in self._items[f"NODE#{node_id}"]}

    async def _listed(self) -> set[str]:
        found: set[str] = set()
        token = ""
        while True:
            request = node_pb2.ListNodesRequest(user_id=self._user, page_size=200, page_token=token)
            page = await self._client.call("node", "ListNodes", request)
            ids = [node.node_id for node in page.nodes]
            self._same("LISTED", "notes listed twice", found & set(ids))
            found.update(ids)
            token = page.next_page_token
            if not token:
                return found

    async def _contents(self) -> None:
        ids = sorted(self._live.keys() | self._gone)
        for start in range(0, len(ids), 200):
            request = node_pb2.BatchGetNodesRequest(user_id=self._user, node_ids=ids[start : start + 200])
            answer = await self._client.call("node", "BatchGetNodes", request)
            for node in answer.nodes:
                note = self._live.get(node.node_id)
                if note is None:
                    self._fail("UNDEAD", f"{node.node_id} is answered")
                elif (node.version, node.content, node.title) != (note.version, note.content, note.title):
                    self._fail("CONTENT", f"{node.node_id} is at v{node.version}, acknowledged v{note.version}")
            missing = set(answer.missing_ids) & self._live.keys()
            self._same("LOST", "live notes that can't be read", missing)

    def _check_shared(self) -> None:
        for one in self._shared:
            item = self._items.get(f"NODE#{one.node_id}")
            if item is None:
                continue
            version, content = int(item["version"]["N"]), item["content"]["S"]
            newest = max(one.writes, default=1)
            if version < newest:
                self._fail("LOST", f"{one.node_id} is at v{version}, v{newest} was acknowledged")
            elif version in one.writes and one.writes[version] != content:
                self._fail("CONTENT", f"{one.node_id} v{version} isn't what was acknowledged")
            elif version not in one.writes and version > 1 and content not in one.unknown:
                self._fail("INVENTED", f"{one.node_id} v{version} was written by nobody")

    def _check_edges(self, stored: set[str]) -> None:
        edges = {key: item for key, item in self._items.items() if key.startswith("EDGE#")}
        self.seen["edges"] = len(edges) // 2
        for key, item in edges.items():
            parts = key.split("#")
            mirror = "#".join([parts[0], parts[2], parts[1], *parts[3:]])
            other = edges.get(mirror)
            if other is None:
                self._fail("ONE_SIDED", key)
            elif {**item, "SK": ""} != {**other, "SK": ""}:
                self._fail("ONE_SIDED", f"{key} differs from {mirror}")
            if parts[1] not in stored:
                self._fail("ORPHAN", f"{key} leads to no note")
        for worker in self._workers:
            for edge in worker.edges.values():
                there = f"EDGE#{edge.a}#{edge.b}#{edge.type}" in edges
                both = edge.a in self._live and edge.b in self._live
                if edge.status == "there" and both and not there:
                    self._fail("EDGE_LOST", f"{edge.a} - {edge.b} ({edge.type})")
                if edge.status == "absent" and there:
                    self._fail("EDGE_UNDEAD", f"{edge.a} - {edge.b} ({edge.type})")

        self._check_wiki_links(edges)

    def _check_wiki_links(self, edges: Items) -> None:
        """A text that names another live note has an edge to it, and no edge stands for what no text says."""
        titles = {note.title: note.node_id for note in self._live.values()}
        named: set[tuple[str, str]] = set()
        for note in self._live.values():
            target = titles.get(named_title(note.content) or "")
            if target is not None:
                named.add((note.node_id, target))
        self.seen["wiki_links"] += len(named)
        there = {
            (parts[1], parts[2])
            for parts in (key.split("#") for key in edges)
            if parts[3:] == ["links_to"] and {parts[1], parts[2]} <= self._live.keys()
        }
        both = named | {(target, source) for source, target in named}
        self._same("EDGE_LOST", "wiki links without an edge", {f"{a} - {b}" for a, b in both - there})
        self._same("EDGE_UNDEAD", "edges that no text says", {f"{a} - {b}" for a, b in there - both})

    async def _check_lists(self) -> None:
        """The graph's answers, from its caches, are what the table says."""
        true: dict[str, set[tuple[str, str]]] = {}
        for key in self._items:
            if key.startswith("EDGE#"):
                parts = key.split("#")
                true.setdefault(parts[1], set()).add((parts[2], parts[3] if len(parts) > 3 else "related"))
        ids = sorted(self._live)
        for start in range(0, len(ids), 500):
            request = graph_pb2.BatchGetNeighborsRequest(
                user_id=self._user, node_ids=ids[start : start + 500], limit=100
            )
            answer = await self._client.call("graph", "BatchGetNeighbors", request)
            for result in answer.results:
                told = {(one.node_id, one.type) for one in result.neighbors}
                wanted = true.get(result.node_id, set())
                if told != wanted and len(wanted) <= 100:
                    self._fail(
                        "CACHE", f"{result.node_id}: shows {sorted(told - wanted)}, lacks {sorted(wanted - told)}"
                    )

    async def _check_index(self, listed: set[str]) -> None:
        for node_id in sorted(self._live.keys() | self._gone):
            request = similarity_pb2.SearchNodesRequest(user_id=self._user, query=unique_word(node_id), page_size=10)
            answer = await self._client.call("similarity", "SearchNodes", request)
            self.seen["searches"] += 1
            found = {hit.node_id for hit in answer.hits}
            if node_id in self._live and found != {node_id}:
                self._fail("NOT_INDEXED", f"{node_id} v{self._live[node_id].version}: search finds {sorted(found)}")
            if node_id in self._gone and found:
                self._fail("UNDEAD", f"search finds the purged note {node_id}")
        postings = {key.split("#")[1] for key in self._items if key.startswith("KW#")}
        self._same("ORPHAN", "keywords of notes that aren't there", postings - listed)

    async def _check_orphans(self) -> None:
        request = cleanup_pb2.ReconcileUserRequest(user_id=self._user, dry_run=True, max_rate=100_000)
        for answer in await self._client.stream("cleanup", "ReconcileUser", request):
            for finding in answer.findings:
                if finding.node_id not in self._tainted:
                    stored = (
                        f"note {self._stored('NODE', finding.node_id)}, index {self._stored('TERMS', finding.node_id)}"
                    )
                    self._fail("ORPHAN", f"{finding.kind} {finding.node_id}: {finding.detail} ({stored})")

    def _stored(self, kind: str, node_id: str) -> dict[str, str]:
        """The numbers and flags of an item."""
        item = self._items.get(f"{kind}#{node_id}", {})
        return {name: value for name, typed in item.items() for type, value in typed.items() if type in ("N", "BOOL")}

    def _same(self, kind: str, what: str, wrong: Iterable[str]) -> None:
        wrong = sorted(wrong)
        if wrong:
            self._fail(kind, f"{what}: {', '.join(wrong[:5])}" + (f" and {len(wrong) - 5} more" * (len(wrong) > 5)))

    def _fail(self, kind: str, what: str) -> None:
        self._history.violation(kind, what, user=self._user)


async def rebuilt(client: Client, history: History, users: Sequence[str]) -> dict[str, int]:
    """The automatic links are those that a clean rebuild of index and links makes."""
    same = lost = fresh = 0
    for user in users:
        before = await _automatic(client, user)
        await client.stream("similarity", "ReindexUser", similarity_pb2.ReindexUserRequest(user_id=user, relink=True))
        after = await _automatic(client, user)
        if before != after:
            what = f"a rebuild made {len(after - before)} links and removed {len(before - after)}"
            history.violation("LINKS", what, user=user, examples=sorted(before ^ after)[:5])
        same, lost, fresh = same + len(before & after), lost + len(after - before), fresh + len(before - after)
    return {"same": same, "only_after_rebuild": lost, "only_before_rebuild": fresh}


async def _automatic(client: Client, user: str) -> set[tuple[str, str]]:
    answers = await client.stream("graph", "ListEdges", graph_pb2.ListEdgesRequest(user_id=user))
    return {
        (edge.source_id, edge.target_id) for answer in answers for edge in answer.edges if edge.metadata.auto_generated
    }


async def _tables(stores: Stores) -> dict[str, Items]:
    found: dict[str, Items] = {}
    for item in await table_items(stores, stores.resources.table):
        pk = item["PK"]["S"]
        if pk.startswith("USER#"):
            sk = item["SK"]["S"]
            bare = {name: value for name, value in item.items() if name != "PK"}
            found.setdefault(pk.removeprefix("USER#"), {})[sk] = bare
    return found
