"""Fakes of the node context's ports: a store that keeps notes in memory and fails on request.

tests/contract/node runs the same suite over this store and over the real ones, so that it can't drift away from them.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from services.node_service.model import Node, NodeEvent, Revision, Summary, UserSettings
from services.node_service.ports import NodeWrite, Outcome, Position
from services.node_service.usecases.notes import Notes
from services.node_service.usecases.optimistic_concurrency import OptimisticConcurrency
from shared.errors import Brain2Error, InvalidArgument, Unavailable
from shared.idempotent import IdempotentRequest
from tests.support.clock import ManualClock


@dataclass
class CountingIds:
    """made-1, made-2, ..."""

    made: int = 0

    def new_id(self) -> str:
        self.made += 1
        return f"made-{self.made}"


@dataclass
class FakeStore:
    """NodeStore in memory.

    before_commit: called with each write first, to let somebody else write in between.
    cached: what likely() returns.
    together_bytes: contents of up to this many bytes come with a summary.
    """

    notes: dict[tuple[str, str], Node] = field(default_factory=dict)
    events: list[NodeEvent] = field(default_factory=list)
    answers: dict[tuple[str, str], tuple[str, Summary]] = field(default_factory=dict)
    cached: dict[tuple[str, str], Summary] = field(default_factory=dict)
    released: int = 0
    commits: int = 0
    reads: int = 0
    before_commit: Callable[[NodeWrite], None] = lambda write: None
    together_bytes: int = 0
    failing: Mapping[str, Brain2Error] = field(default_factory=dict)

    async def current(self, user_id: str, node_id: str) -> Node | None:
        self.reads += 1
        return self.notes.get((user_id, node_id))

    async def current_summary(self, user_id: str, node_id: str) -> Summary | None:
        node = await self.current(user_id, node_id)
        return None if node is None else node.summary()

    async def likely(self, user_id: str, node_id: str) -> Summary | None:
        return self.cached.get((user_id, node_id))

    async def release(self, user_id: str, node_id: str) -> None:
        self.released += 1

    async def read(self, user_id: str, node_ids: Sequence[str], seen: Mapping[str, Revision]) -> dict[str, Node]:
        found = {node_id: await self.current(user_id, node_id) for node_id in node_ids}
        return {node_id: node for node_id, node in found.items() if node is not None}

    async def summaries(
        self, user_id: str, node_ids: Sequence[str], seen: Mapping[str, Revision]
    ) -> Mapping[str, Summary]:
        found = await self.read(user_id, node_ids, seen)
        return {
            node_id: node.summary() if node.content_bytes > self.together_bytes else node
            for node_id, node in found.items()
        }

    async def titles(self, user_id: str, node_ids: Sequence[str], seen: Mapping[str, Revision]) -> Mapping[str, Node]:
        return await self.read(user_id, node_ids, seen)

    async def page(
        self, user_id: str, *, since_ms: int, until_ms: int, after: Position | None, limit: int
    ) -> list[Summary]:
        start = (after.create_ms, after.node_id) if after else (until_ms, "")
        live = [
            node.summary()
            for node in self.notes.values()
            if node.user_id == user_id
            and not node.deleted
            and since_ms <= node.create_ms < until_ms
            and (node.create_ms, node.node_id) < start
        ]
        return sorted(live, key=lambda node: (node.create_ms, node.node_id), reverse=True)[:limit]

    async def all_from(self, user_id: str, after: str, limit: int) -> list[Summary]:
        found = sorted(node_id for user, node_id in self.notes if user == user_id and node_id > after)
        return [self.notes[user_id, node_id] for node_id in found[:limit]]

    async def commit(self, write: NodeWrite) -> Outcome:
        self.before_commit(write)
        self.commits += 1
        note = write.after or write.before
        assert note is not None
        if error := self.failing.get(note.node_id):
            raise error
        key = note.user_id, note.node_id
        receipt = write.receipt
        if receipt is not None and (note.user_id, receipt.request.request_id) in self.answers:
            return Outcome.REPEATED
        if not _unchanged(self.notes.get(key), write.before):
            return Outcome.CONFLICT
        if write.after is None:
            del self.notes[key]
        elif isinstance(write.after, Node):
            self.notes[key] = write.after
        else:
            after = write.after
            self.notes[key] = replace(
                self.notes[key],
                version=after.version,
                delete_ms=after.delete_ms,
                purge_ms=after.purge_ms,
                cascade=after.cascade,
                fenced=after.fenced,
            )
        if write.event is not None:
            self.events.append(write.event)
        if receipt is not None:
            self.answers[note.user_id, receipt.request.request_id] = receipt.request.fingerprint, receipt.answer
        return Outcome.DONE

    async def commit_new(self, writes: Sequence[NodeWrite]) -> list[Outcome | Brain2Error]:
        outcomes: list[Outcome | Brain2Error] = []
        for write in writes:
            try:
                outcomes.append(await self.commit(write))
            except Brain2Error as error:
                outcomes.append(error)
        return outcomes

    async def previous_answer(self, request: IdempotentRequest) -> Summary | None:
        fingerprint, answer = self.answers.get((request.user_id, request.request_id), (request.fingerprint, None))
        if fingerprint != request.fingerprint:
            raise InvalidArgument("another body", reason="REQUEST_ID_REUSED")
        return answer


def _unchanged(stored: Node | None, before: Summary | None) -> bool:
    if stored is None or before is None:
        return stored is before
    return (stored.version, stored.incarnation, stored.fenced) == (before.version, before.incarnation, before.fenced)


@dataclass
class FakeIdempotency:
    """Idempotency in memory; `begun` holds the requests that are being carried out."""

    answers: dict[IdempotentRequest, bytes] = field(default_factory=dict)
    begun: set[IdempotentRequest] = field(default_factory=set)

    async def begin(self, request: IdempotentRequest) -> bytes | None:
        if request not in self.answers:
            self.begun.add(request)
        return self.answers.get(request)

    async def complete(self, request: IdempotentRequest, answer: bytes) -> None:
        self.begun.remove(request)
        self.answers[request] = answer

    async def abandon(self, request: IdempotentRequest) -> None:
        self.begun.discard(request)


@dataclass
class FakeSettings:
    """SettingsStore in memory."""

    saved: dict[str, UserSettings] = field(default_factory=dict)
    loads: int = 0

    async def load(self, user_id: str) -> UserSettings | None:
        self.loads += 1
        return self.saved.get(user_id)

    async def save(self, user_id: str, settings: UserSettings | None) -> None:
        if settings is None:
            self.saved.pop(user_id, None)
        else:
            self.saved[user_id] = settings


@dataclass
class FakeRetentions:
    """Retentions: the same for all."""

    retention: int = 3600

    async def seconds(self, user_id: str) -> int:
        return self.retention


@dataclass
class FakeVisibility:
    """Visibility that records what is set, confirmed and withdrawn: (node_id, version, deleted).

    announced: the announcements that have not ended.
    """

    calls: list[tuple[str, int, bool]] = field(default_factory=list)
    announced: list[tuple[str, int, bool]] = field(default_factory=list)
    withdrawn: list[tuple[str, int, bool]] = field(default_factory=list)

    def announce(self, node: Summary) -> "FakeAnnouncement":
        change = (node.node_id, node.version, node.deleted)
        self.announced.append(change)
        return FakeAnnouncement(self, change)

    async def set_visibility(self, node: Summary, spent: float) -> None:
        self.calls.append((node.node_id, node.version, node.deleted))


@dataclass
class FakeAnnouncement:
    """Announcement of FakeVisibility."""

    visibility: FakeVisibility
    change: tuple[str, int, bool]

    async def confirm(self, spent: float) -> None:
        self.visibility.announced.remove(self.change)
        self.visibility.calls.append(self.change)

    async def withdraw(self) -> None:
        self.visibility.announced.remove(self.change)
        self.visibility.withdrawn.append(self.change)


@dataclass
class FakePublisher:
    """EventPublisher in memory. failures: how many calls fail first."""

    published: list[NodeEvent] = field(default_factory=list)
    failures: int = 0

    async def publish(self, events: Sequence[NodeEvent]) -> None:
        if self.failures:
            self.failures -= 1
            raise Unavailable("throttled", reason="BUS_UNAVAILABLE")
        self.published += events


async def no_wait(seconds: float) -> None:
    """Instead of asyncio.sleep."""


class World:
    """The ports of the use cases as fakes, and `notes` over them."""

    def __init__(self) -> None:
        self.store = FakeStore()
        self.clock = ManualClock()
        self.idempotency = FakeIdempotency()
        self.visibility = FakeVisibility()
        self.publisher = FakePublisher()
        self.notes = Notes(
            store=self.store,
            idempotency=self.idempotency,
            retentions=FakeRetentions(60),
            visibility=self.visibility,
            publisher=self.publisher,
            concurrency=OptimisticConcurrency(sleep=no_wait, rng=random.Random(1)),
            clock=self.clock,
            ids=CountingIds(),
            max_answer_bytes=1000,
        )

    @property
    def node(self) -> Node:
        """The note "n" of "u"."""
        return self.store.notes["u", "n"]
