"""The mixed load: each worker has notes and edges of its own, so it knows exactly what must be true of them; some notes
are shared, so that writers meet.

What a worker knows is what was acknowledged. A call that ended unknown taints its note: nothing exact is asked of it
any more, but it must still exist whole or not at all.
"""

import asyncio
import itertools
import random
import re
import time
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from protos.cleanup.v1 import cleanup_pb2
from protos.graph.v1 import graph_pb2
from protos.node.v1 import node_pb2
from protos.similarity.v1 import similarity_pb2
from shared.errors import Aborted, AlreadyExists, Brain2Error, FailedPrecondition, NotFound
from tests.chaos.client import Client, Unknown
from tests.chaos.history import History

_TOPICS = (
    "tea water leaves porcelain teapot brewing kettle",
    "coffee beans espresso machine roast grinder cup",
    "chess board queen bishop knight pawn opening",
    "compiler parser grammar token syntax tree code",
    "garden soil seeds tomato compost water spade",
    "violin bow string orchestra music concert sonata",
)
_LIVE_NOTES = 25
# Notes are about one of so many subjects of their user, so that a few of them are similar.
_SUBJECTS = 30
# The score from which on these are linked: two notes of one subject have it, and hardly any others.
LINK_THRESHOLD = 0.14
# The share of texts that name another note of the worker in a wiki link.
_NAMING = 0.3
# Clocks of the services and of this process are the same; the purge may begin on the millisecond.
_EARLY_MS = 100


@dataclass
class NoteState:
    """What is known of one note. status: live, deleted, gone (must end purged), or tainted."""

    node_id: str
    version: int
    content: str
    title: str
    # Empty for a note whose answer was not received.
    etag: str = ""
    status: str = "live"
    token: str = ""
    purge_ms: int = 0
    hurried: bool = False


@dataclass
class EdgeState:
    """One edge of a worker's own type. status: there, absent or tainted."""

    a: str
    b: str
    type: str
    status: str = "there"


@dataclass
class Shared:
    """A note that several workers write. writes: version -> content of each acknowledged write."""

    node_id: str
    user: str
    writes: dict[int, str] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)


class Worker:
    """One sequence of calls by one user. follows: how often it links to a note that all workers link to."""

    def __init__(
        self,
        number: int,
        user: str,
        shared: list[Shared],
        client: Client,
        history: History,
        rng: random.Random,
        follows: int = 0,
    ) -> None:
        self.name = f"{user}-w{number}"
        self.user = user
        self.notes: dict[str, NoteState] = {}
        self.edges: dict[tuple[str, str], EdgeState] = {}
        self.type = f"w{number}"
        self._shared = shared
        self._client = client
        self._history = history
        self._rng = rng
        self._ids = itertools.count()
        self._requests = itertools.count()
        # Mostly reads, as in life; but every kind of write often enough to meet every kind of fault.
        self._menu = [
            (self.create, 7), (self.create_batch, 1), (self.update, 7), (self.read, 34), (self.delete, 3),
            (self.restore, 4), (self.race, 2), (self.link, 8), (self.unlink, 3), (self.neighbors, 20),
            (self.search, 5), (self.similar, 2), (self.listing, 2), (self.contend, 2), (self.follow, follows),
        ]  # fmt: skip

    async def run(self, stop: asyncio.Event) -> None:
        actions = [action for action, _ in self._menu]
        weights = [weight for _, weight in self._menu]
        while not stop.is_set():
            action = self._rng.choices(actions, weights)[0]
            try:
                await action()
            except Unknown as unknown:
                self._history.note(str(unknown))
            except Brain2Error as error:
                self._history.violation("REFUSED", f"{action.__name__}: {error.reason}: {error.message}", who=self.name)

    # ------------------------------------------------------------------ notes
    async def create(self) -> None:
        if sum(note.status == "live" for note in self.notes.values()) >= _LIVE_NOTES:
            await self.delete()
            return
        note = self._draft()
        request = node_pb2.CreateNodeRequest(user_id=self.user, node=self._new(note), request_id=self._request())
        self.notes[note.node_id] = note
        answer = await self._write(note, "node", "CreateNode", request)
        self._took(note, answer.node, answer.consistency_token)

    async def create_batch(self) -> None:
        notes = [self._draft() for _ in range(self._rng.randint(2, 8))]
        request = node_pb2.BatchCreateNodesRequest(
            user_id=self.user, nodes=[self._new(note) for note in notes], request_id=self._request()
        )
        for note in notes:
            self.notes[note.node_id] = note
            note.status = "tainted"
        answer = await self._client.call("node", "BatchCreateNodes", request, self.name)
        for note, result in zip(notes, answer.results, strict=True):
            # A repeat of a batch that was cut short finds its own notes: they are there, as asked.
            if result.code == 0 or result.reason == "NODE_EXISTS":
                note.status, note.version, note.etag = "live", 1, result.node.etag

    async def update(self) -> None:
        note = self._pick("live")
        if note is None:
            return
        content = self._content(note.node_id)
        request = node_pb2.UpdateNodeRequest(
            user_id=self.user,
            node_id=note.node_id,
            node=node_pb2.NewNode(content=content),
            update_mask=FieldMask(paths=["content"]),
            etag=note.etag,
            request_id=self._request(),
        )
        answer = await self._write(note, "node", "UpdateNode", request)
        note.content = content
        self._took(note, answer.node, answer.consistency_token)

    async def delete(self, hurry: bool = False) -> None:
        note = self._pick("live")
        if note is not None:
            await self._delete(note)

    async def _delete(self, note: NoteState) -> None:
        request = node_pb2.DeleteNodeRequest(
            user_id=self.user, node_id=note.node_id, etag=note.etag, request_id=self._request()
        )
        answer = await self._write(note, "node", "DeleteNode", request)
        if answer.version != note.version + 1:
            self._history.violation("VERSION", f"{note.node_id} deleted at {answer.version}, was {note.version}")
        note.status, note.version, note.token = "deleted", answer.version, answer.consistency_token
        note.etag = answer.etag
        note.purge_ms, note.hurried = answer.purge_time.ToMilliseconds(), False
        await self._expect_hidden(note)

    async def restore(self) -> None:
        note = self._pick("deleted")
        if note is not None:
            await self._restore(note)

    async def _restore(self, note: NoteState) -> None:
        request = node_pb2.RestoreNodeRequest(user_id=self.user, node_id=note.node_id, request_id=self._request())
        started = time.time() * 1000
        try:
            answer = await self._write(note, "node", "RestoreNode", request)
        except (FailedPrecondition, NotFound) as error:
            if not note.hurried and started < note.purge_ms - _EARLY_MS and time.time() * 1000 < note.purge_ms:
                self._history.violation("PURGED_EARLY", f"{note.node_id}: {error.reason}")
            note.status = "gone"
            return
        note.status = "live"
        self._took(note, answer.node, answer.consistency_token)
        if answer.node.content != note.content:
            self._history.violation("CONTENT", f"{note.node_id} was restored with other content")

    async def race(self) -> None:
        """A purge at once, and a restore on its heels: one of them wins whole."""
        note = self._pick("live")
        if note is None:
            return
        await self._delete(note)
        note.hurried = True
        request = cleanup_pb2.QueueDeletionRequest(user_id=self.user, node_id=note.node_id)

        async def queue() -> None:
            try:
                await self._client.call("cleanup", "QueueDeletion", request, note.node_id)
            except (FailedPrecondition, NotFound):
                pass  # restored, or purged already

        async def restore() -> None:
            await asyncio.sleep(self._rng.random() * 0.15)
            await self._restore(note)

        outcomes = await asyncio.gather(queue(), restore(), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        await self._check_read(note)

    async def read(self) -> None:
        note = self._pick("live", "deleted")
        if note is not None:
            await self._check_read(note)

    async def _check_read(self, note: NoteState) -> None:
        if note.status == "deleted":
            await self._expect_hidden(note)
            return
        if note.status != "live":
            return
        request = node_pb2.GetNodeRequest(user_id=self.user, node_id=note.node_id, consistency_token=note.token)
        try:
            node = (await self._client.call("node", "GetNode", request, note.node_id)).node
        except NotFound as error:
            self._history.violation("LOST", f"{note.node_id} v{note.version}: {error.reason}", who=self.name)
            note.status = "tainted"
            return
        if (node.version, node.content) != (note.version, note.content):
            self._history.violation(
                "STALE",
                f"{note.node_id}: read v{node.version}, wrote v{note.version}",
                same=node.content == note.content,
            )

    async def _expect_hidden(self, note: NoteState) -> None:
        request = node_pb2.GetNodeRequest(user_id=self.user, node_id=note.node_id, consistency_token=note.token)
        try:
            await self._client.call("node", "GetNode", request, note.node_id)
        except NotFound:
            return
        self._history.violation("UNDEAD", f"{note.node_id} v{note.version} was deleted and is still read")

    # ------------------------------------------------------------------ edges
    async def link(self) -> None:
        live = [note for note in self.notes.values() if note.status == "live"]
        if len(live) < 2:
            return
        a, b = sorted(note.node_id for note in self._rng.sample(live, 2))
        edge = self.edges.setdefault((a, b), EdgeState(a, b, self.type, "absent"))
        if edge.status == "tainted":
            return
        new = graph_pb2.NewEdge(source_id=a, target_id=b, type=self.type, weight=0.5)
        request = graph_pb2.CreateEdgeRequest(user_id=self.user, edge=new, request_id=self._request())
        try:
            answer = await self._client.call("graph", "CreateEdge", request, f"{a} {b}")
        except FailedPrecondition as error:
            # The graph may not have heard yet that one of them was restored.
            if error.reason != "NODE_MISSING":
                raise
            return
        except Unknown:
            edge.status = "tainted"
            raise
        edge.status = "there"
        await self._check_edge(edge, answer.consistency_token)

    async def unlink(self) -> None:
        there = [edge for edge in self.edges.values() if edge.status == "there" and self._both(edge, "live")]
        if not there:
            return
        edge = self._rng.choice(there)
        request = graph_pb2.DeleteEdgeRequest(
            user_id=self.user, source_id=edge.a, target_id=edge.b, type=edge.type, request_id=self._request()
        )
        try:
            answer = await self._client.call("graph", "DeleteEdge", request, f"{edge.a} {edge.b}")
        except Unknown:
            edge.status = "tainted"
            raise
        edge.status = "absent"
        await self._check_edge(edge, answer.consistency_token)

    async def follow(self) -> None:
        """Link a note to a shared one, or take the link back: the list of the shared one, which everybody changes and
        reads, shows it a moment later without a token, whoever has filled the caches meanwhile."""
        hub = self._shared[0].node_id
        steady = [note.node_id for note in self.notes.values() if note.status == "live" and note.purge_ms == 0]
        if not steady:
            return
        node_id = self._rng.choice(steady)
        a, b = sorted((node_id, hub))
        edge = self.edges.setdefault((a, b), EdgeState(a, b, self.type, "absent"))
        if edge.status == "tainted":
            return
        new = graph_pb2.NewEdge(source_id=a, target_id=b, type=self.type, weight=0.5)
        try:
            if edge.status == "absent":
                made = graph_pb2.CreateEdgeRequest(user_id=self.user, edge=new, request_id=self._request())
                await self._client.call("graph", "CreateEdge", made, f"{a} {b}")
                edge.status = "there"
            else:
                gone = graph_pb2.DeleteEdgeRequest(
                    user_id=self.user, source_id=a, target_id=b, type=self.type, request_id=self._request()
                )
                await self._client.call("graph", "DeleteEdge", gone, f"{a} {b}")
                edge.status = "absent"
        except Unknown:
            edge.status = "tainted"
            raise
        await asyncio.sleep(self._rng.random() * 0.3)
        request = graph_pb2.GetNeighborsRequest(user_id=self.user, node_id=hub, types=[self.type], page_size=1000)
        answer = await self._client.call("graph", "GetNeighbors", request, hub)
        if (node_id in {one.node_id for one in answer.neighbors}) != (edge.status == "there"):
            self._history.violation("STALE_LIST", f"{a} - {b} is {edge.status}, and the list of {hub} says otherwise")

    async def neighbors(self) -> None:
        note = self._pick("live")
        if note is None:
            return
        request = graph_pb2.GetNeighborsRequest(user_id=self.user, node_id=note.node_id, page_size=1000)
        answer = await self._client.call("graph", "GetNeighbors", request, note.node_id)
        self._check_foreign(one.node_id for one in answer.neighbors)
        never = {(edge.a, edge.b) for edge in self.edges.values()}
        for one in answer.neighbors:
            ends = tuple(sorted((note.node_id, one.node_id)))
            if one.type == self.type and ends not in never:
                self._history.violation("INVENTED", f"the edge {ends} of {self.type} was never asked for")

    async def _check_edge(self, edge: EdgeState, token: str) -> None:
        """With the token of the write, the list of each end shows what was written."""
        end, other = self._rng.sample([edge.a, edge.b], 2)
        request = graph_pb2.GetNeighborsRequest(
            user_id=self.user, node_id=end, types=[edge.type], page_size=1000, consistency_token=token
        )
        answer = await self._client.call("graph", "GetNeighbors", request, end)
        shown = other in {one.node_id for one in answer.neighbors}
        # A note that was deleted once may still be hidden: the graph hears of a restore by an event.
        steady = all((note := self.notes.get(one)) and note.purge_ms == 0 for one in (edge.a, edge.b))
        if edge.status == "there" and not shown and steady:
            self._history.violation("EDGE_MISSING", f"{edge.a} - {edge.b} was made and is not read with its token")
        if edge.status == "absent" and shown:
            self._history.violation("EDGE_UNDEAD", f"{edge.a} - {edge.b} was removed and is read with its token")

    # ------------------------------------------------------------------ the rest
    async def search(self) -> None:
        word = self._rng.choice(self._rng.choice(_TOPICS).split())
        request = similarity_pb2.SearchNodesRequest(user_id=self.user, query=word, page_size=50)
        answer = await self._client.call("similarity", "SearchNodes", request, word)
        self._check_foreign(hit.node_id for hit in answer.hits)

    async def similar(self) -> None:
        request = similarity_pb2.FindSimilarRequest(user_id=self.user, text=self._rng.choice(_TOPICS), limit=20)
        answer = await self._client.call("similarity", "FindSimilar", request)
        self._check_foreign(one.node_id for one in answer.nodes)

    async def listing(self) -> None:
        request = node_pb2.ListNodesRequest(user_id=self.user, page_size=200)
        answer = await self._client.call("node", "ListNodes", request)
        self._check_foreign(node.node_id for node in answer.nodes)

    async def contend(self) -> None:
        """Read, then write if nobody else did: of all who try with one etag, one may win."""
        shared = self._rng.choice(self._shared)
        read = await self._client.call(
            "node", "GetNode", node_pb2.GetNodeRequest(user_id=self.user, node_id=shared.node_id)
        )
        content = f"{self.name} {next(self._requests)}"
        request = node_pb2.UpdateNodeRequest(
            user_id=self.user,
            node_id=shared.node_id,
            node=node_pb2.NewNode(content=content),
            update_mask=FieldMask(paths=["content"]),
            etag=read.node.etag,
            request_id=self._request(),
        )
        shared.unknown.add(content)
        try:
            answer = await self._client.call("node", "UpdateNode", request, shared.node_id)
        except Aborted:
            shared.unknown.discard(content)
            return
        shared.unknown.discard(content)
        version = answer.node.version
        if shared.writes.setdefault(version, content) != content:
            self._history.violation("LOST_UPDATE", f"{shared.node_id}: two writes are both version {version}")

    # ------------------------------------------------------------------ helpers
    async def _write(self, note: NoteState, service: str, name: str, request: Any) -> Any:
        try:
            return await self._client.call(service, name, request, note.node_id)
        except Unknown:
            note.status = "tainted"
            raise
        except AlreadyExists:
            # Nobody else makes ids of ours: our own first try, whose answer came after the record had expired.
            self._history.violation("REQUEST_REPEATED", f"{name} {note.node_id} met itself")
            note.status = "tainted"
            raise Unknown(name) from None
        except Aborted as error:
            self._history.violation("FOREIGN_WRITE", f"{name} {note.node_id} v{note.version}: {error.message}")
            note.status = "tainted"
            raise Unknown(name) from None
        except NotFound:
            if note.status == "live":
                self._history.violation("LOST", f"{name}: {note.node_id} v{note.version} isn't there")
                note.status = "tainted"
                raise Unknown(name) from None
            raise

    def _took(self, note: NoteState, node: node_pb2.Node, token: str) -> None:
        """The acknowledged state. Versions rise by one with each write of ours."""
        expected = 1 if note.version == 0 else note.version + 1
        if node.version != expected:
            self._history.violation("VERSION", f"{note.node_id} is at {node.version}, expected {expected}")
        note.version, note.etag, note.token = node.version, node.etag, token

    def _check_foreign(self, node_ids: Any) -> None:
        for node_id in node_ids:
            if not node_id.startswith(f"{self.user}-"):
                self._history.violation("FOREIGN", f"{self.user} sees {node_id}")

    def _draft(self) -> NoteState:
        node_id = f"{self.name}-n{next(self._ids)}"
        return NoteState(node_id, 0, self._content(node_id), f"Note {node_id}")

    def _content(self, node_id: str) -> str:
        subject = self._rng.randrange(_SUBJECTS)
        words = self._rng.choice(_TOPICS).split() + [f"zs{subject}{letter}" for letter in "abcde"]
        self._rng.shuffle(words)
        named = self._pick("live", "deleted") if self._rng.random() < _NAMING else None
        if named is not None and named.node_id != node_id:
            words.append(f"[[{named.title}]]")
        return f"{' '.join(words)} {unique_word(node_id)} secret-of-{self.user} {self._rng.getrandbits(32):x}"

    def _new(self, note: NoteState) -> node_pb2.NewNode:
        return node_pb2.NewNode(node_id=note.node_id, title=note.title, content=note.content)

    def _request(self) -> str:
        return f"{self.name}-r{next(self._requests)}"

    def _pick(self, *statuses: str) -> NoteState | None:
        fitting = [note for note in self.notes.values() if note.status in statuses]
        return self._rng.choice(fitting) if fitting else None

    def _both(self, edge: EdgeState, status: str) -> bool:
        return all((note := self.notes.get(end)) and note.status == status for end in (edge.a, edge.b))


def named_title(content: str) -> str | None:
    """The title that the text names in a wiki link, if it names one."""
    found = re.search(r"\[\[(.+?)\]\]", content)
    return found.group(1) if found else None


def unique_word(node_id: str) -> str:
    """A word that is in one note only and survives the analysis as it is."""
    return "zq" + node_id.replace("-", "").replace("_", "")
