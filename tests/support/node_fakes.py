"""Fakes of the node context's ports: a store that keeps notes in memory and can be told to misbehave.

tests/contract/node runs the same suite over this store and over the real ones, so that it can't drift away from them.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from services.node_service.model import Node, NodeEvent, Summary, UserSettings
from services.node_service.ports import Change, Outcome, Position, Request
from services.node_service.usecases.turns import Optimist
from shared.errors import Brain2Error, InvalidArgument


@dataclass
class FakeClock:
    """Says what it was told to say."""

    ms: int = 1_700_000_000_000
    seconds: float = 0.0

    def now_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.seconds


@dataclass
class CountingIds:
    """made-1, made-2, ..."""

    made: int = 0

    def new_id(self) -> str:
        self.made += 1
        return f"made-{self.made}"


@dataclass
class FakeStore:
    """NodeStore in memory. before_commit: called with each change first, to let somebody else write in between."""

    notes: dict[tuple[str, str], Node] = field(default_factory=dict)
    events: list[NodeEvent] = field(default_factory=list)
    answers: dict[tuple[str, str], tuple[str, Summary]] = field(default_factory=dict)
    commits: int = 0
    reads: int = 0
    before_commit: Callable[[Change], None] = lambda change: None
    failing: Mapping[str, Brain2Error] = field(default_factory=dict)

    async def current(self, user_id: str, node_id: str) -> Node | None:
        self.reads += 1
        return self.notes.get((user_id, node_id))

    async def current_summary(self, user_id: str, node_id: str) -> Summary | None:
        node = await self.current(user_id, node_id)
        return None if node is None else node.summary()

    async def read(self, user_id: str, node_ids: Sequence[str], seen: Mapping[str, int]) -> dict[str, Node]:
        found = {node_id: await self.current(user_id, node_id) for node_id in node_ids}
        return {node_id: node for node_id, node in found.items() if node is not None}

    async def titles(self, user_id: str, node_ids: Sequence[str], seen: Mapping[str, int]) -> Mapping[str, Node]:
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

    async def all_from(self, user_id: str, after: str, limit: int) -> list[Node]:
        found = sorted(node_id for user, node_id in self.notes if user == user_id and node_id > after)
        return [self.notes[user_id, node_id] for node_id in found[:limit]]

    async def commit(self, change: Change) -> Outcome:
        self.before_commit(change)
        self.commits += 1
        note = change.after or change.before
        assert note is not None
        if error := self.failing.get(note.node_id):
            raise error
        key = note.user_id, note.node_id
        receipt = change.receipt
        if receipt is not None and (note.user_id, receipt.request.request_id) in self.answers:
            return Outcome.REPEATED
        if not _unchanged(self.notes.get(key), change.before):
            return Outcome.CONFLICT
        if change.after is None:
            del self.notes[key]
        elif isinstance(change.after, Node):
            self.notes[key] = change.after
        else:
            after = change.after
            self.notes[key] = replace(
                self.notes[key],
                version=after.version,
                delete_ms=after.delete_ms,
                purge_ms=after.purge_ms,
                cascade=after.cascade,
                fenced=after.fenced,
            )
        if change.event is not None:
            self.events.append(change.event)
        if receipt is not None:
            self.answers[note.user_id, receipt.request.request_id] = receipt.request.fingerprint, receipt.answer
        return Outcome.DONE

    async def commit_new(self, changes: Sequence[Change]) -> list[Outcome | Brain2Error]:
        outcomes: list[Outcome | Brain2Error] = []
        for change in changes:
            try:
                outcomes.append(await self.commit(change))
            except Brain2Error as error:
                outcomes.append(error)
        return outcomes

    async def answer(self, user_id: str, request: Request) -> Summary | None:
        fingerprint, answer = self.answers.get((user_id, request.request_id), (request.fingerprint, None))
        if fingerprint != request.fingerprint:
            raise InvalidArgument("another body", reason="REQUEST_ID_REUSED")
        return answer


def _unchanged(stored: Node | None, before: Summary | None) -> bool:
    if stored is None or before is None:
        return stored is before
    return (stored.version, stored.incarnation, stored.fenced) == (before.version, before.incarnation, before.fenced)


@dataclass
class FakeBatches:
    """Batches in memory; `begun` holds the requests that are being carried out."""

    kept: dict[tuple[str, Request], bytes] = field(default_factory=dict)
    begun: set[tuple[str, Request]] = field(default_factory=set)

    async def begin(self, user_id: str, request: Request) -> "bytes | FakeHeld":
        if (user_id, request) in self.kept:
            return self.kept[user_id, request]
        self.begun.add((user_id, request))
        return FakeHeld(self, (user_id, request))


@dataclass
class FakeHeld:
    """Held of FakeBatches."""

    batches: FakeBatches
    key: tuple[str, Request]

    async def complete(self, answer: bytes) -> None:
        self.batches.begun.remove(self.key)
        self.batches.kept[self.key] = answer

    async def forget(self) -> None:
        self.batches.begun.remove(self.key)


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
    """Visibility that remembers what it was told: (id, version, deleted)."""

    told: list[tuple[str, int, bool]] = field(default_factory=list)

    async def announce(self, node: Summary) -> None:
        self.told.append((node.node_id, node.version, node.deleted))


async def no_wait(seconds: float) -> None:
    """Instead of asyncio.sleep."""


def optimist() -> Optimist:
    """Retries without waiting."""
    return Optimist(sleep=no_wait, rng=random.Random(1))
