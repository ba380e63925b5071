"""RenameNode: a note gets another title, and, if the caller wants that, so do the wiki links that name it.

First the new title becomes an alias, then the links are rewritten note by note, and the title is changed last. So every
link leads to the note at each moment, and the call can be made again after a failure: it goes on where it ended.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from services.similarity_service.model.link_index import LinkIndex
from services.similarity_service.model.rewrite import can_name, rewritten
from services.similarity_service.ports import Nodes, NodeText, NodeUpdate, WrittenNode
from services.similarity_service.usecases import text_worker
from services.similarity_service.usecases.index_cache import IndexCache
from services.similarity_service.usecases.validation import MAX_TEXT_BYTES, check_rename
from shared.errors import Aborted, Brain2Error, FailedPrecondition, InvalidArgument, NotFound

# Notes that are rewritten at the same time, and how often one is tried while others write it.
_AT_ONCE = 8
_ATTEMPTS = 4
# With less time than this left, seconds, the call ends before all links are rewritten.
_LEAST_SECONDS = 1.0
# Above this many notes of an index, so many may link to the note that they are found in a thread.
_MANY_NOTES = 1_000
# Aliases that a note may have, see NewNode.aliases.
_MOST_ALIASES = 32


@dataclass(frozen=True, slots=True)
class Failure:
    """A note whose links could not be rewritten."""

    node_id: str
    reason: str
    message: str


@dataclass(slots=True)
class Renaming:
    """What a call has done. done: False when links are left to be rewritten, and the title is not changed yet."""

    written: WrittenNode
    done: bool = True
    rewritten: int = 0
    failures: list[Failure] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Plan:
    """How the links of one note are rewritten. leading: the targets, as written, that lead to the renamed note."""

    leading: frozenset[str]
    old_names: tuple[str, ...]
    name: str
    label: str

    async def apply(self, note: NodeText) -> str:
        """The text of a note with the links rewritten."""

        def work() -> str:
            return rewritten(
                note.text, self.leading, self.old_names, self.name, self.label, label_first=note.label_first
            )

        return await text_worker.run_if_long(len(note.text), work)


@dataclass(frozen=True, slots=True)
class RenameNode:
    """Renames notes through the node service, which owns them.

    remaining: gives the seconds until the deadline of the current call; None means that it has no deadline.
    """

    cache: IndexCache
    nodes: Nodes
    remaining: Callable[[], float | None]

    async def __call__(self, user_id: str, node_id: str, title: str, rewrite: bool, etag: str) -> Renaming:
        """Rename a note. NotFound; Aborted (ETAG_MISMATCH) when it has another etag or is written at the same time."""
        check_rename(user_id, node_id, title)
        note = await self._read(user_id, node_id)
        if etag and note.etag != etag:
            raise Aborted(
                "somebody else changed the note: read it again", reason="ETAG_MISMATCH", metadata={"etag": note.etag}
            )
        renaming = Renaming(WrittenNode(note.version, note.etag, ""))
        plans: dict[str, _Plan] = {}
        if rewrite:
            plans = await self.cache.query_links(
                user_id, lambda index: _plans(index, note, title), long=lambda index: len(index) > _MANY_NOTES
            )
            if note.title != title and title not in note.aliases and len(note.aliases) < _MOST_ALIASES and plans:
                renaming.written = await self.nodes.update(
                    user_id, node_id, note.etag, NodeUpdate(aliases=(*note.aliases, title))
                )
            await self._rewrite(user_id, {each: plan for each, plan in plans.items() if each != node_id}, renaming)
        if renaming.done:
            await self._finish(user_id, node_id, title, plans.get(node_id), renaming)
        return renaming

    async def _read(self, user_id: str, node_id: str) -> NodeText:
        note = (await self.nodes.texts(user_id, [node_id])).get(node_id)
        if note is None:
            raise NotFound("there is no such note, or it is deleted", reason="NODE_NOT_FOUND")
        return note

    async def _finish(self, user_id: str, node_id: str, title: str, plan: _Plan | None, renaming: Renaming) -> None:
        """Change the title, and the links to itself that the note has. Somebody may write it meanwhile."""
        for attempt in range(_ATTEMPTS):
            note = await self._read(user_id, node_id)
            content = await plan.apply(note) if plan else note.text
            if content != note.text and _is_too_long(content):
                content, plan = note.text, None
                renaming.failures.append(_too_long(node_id))
            aliases = tuple(alias for alias in note.aliases if alias != title)
            change = NodeUpdate(
                title=title if title != note.title else None,
                content=content if content != note.text else None,
                aliases=aliases if aliases != note.aliases else None,
            )
            if change == NodeUpdate():
                renaming.written = WrittenNode(note.version, note.etag, renaming.written.token)
                return
            try:
                renaming.written = await self.nodes.update(user_id, node_id, note.etag, change)
                return
            except Aborted:
                if attempt == _ATTEMPTS - 1:
                    raise

    async def _rewrite(self, user_id: str, plans: dict[str, _Plan], renaming: Renaming) -> None:
        left = sorted(plans)
        while left:
            seconds = self.remaining()
            if seconds is not None and seconds < _LEAST_SECONDS:
                renaming.done = False
                return
            some, left = left[:_AT_ONCE], left[_AT_ONCE:]
            results = await asyncio.gather(*(self._rewrite_one(user_id, each, plans[each]) for each in some))
            renaming.rewritten += sum(result is True for result in results)
            renaming.failures += [result for result in results if isinstance(result, Failure)]

    async def _rewrite_one(self, user_id: str, node_id: str, plan: _Plan) -> bool | Failure:
        """Whether the text of a note was changed."""
        error: Brain2Error = Aborted("others kept writing the note", reason="ETAG_MISMATCH")
        for _ in range(_ATTEMPTS):
            note = (await self.nodes.texts(user_id, [node_id])).get(node_id)
            if note is None:
                return False
            content = await plan.apply(note)
            if content == note.text:
                return False
            if _is_too_long(content):
                return _too_long(node_id)
            try:
                await self.nodes.update(user_id, node_id, note.etag, NodeUpdate(content=content))
                return True
            except Aborted as aborted:
                error = aborted
            except (NotFound, FailedPrecondition):
                return False  # deleted meanwhile
            except InvalidArgument as invalid:
                error = invalid
                break
        return Failure(node_id, error.reason, error.message)


def _is_too_long(content: str) -> bool:
    return len(content) > MAX_TEXT_BYTES or len(content.encode()) > MAX_TEXT_BYTES


def _too_long(node_id: str) -> Failure:
    why = f"with the links rewritten, the text would have more than {MAX_TEXT_BYTES:,} bytes"
    return Failure(node_id, "INVALID_ARGUMENT", why)


def _plans(index: LinkIndex, note: NodeText, title: str) -> dict[str, _Plan]:
    """By note, how the links that say the old or an earlier title of a note are rewritten."""
    known = index.note(note.node_id)
    if known is None:
        return {}
    old_names = tuple(name for name in dict.fromkeys((note.title, *known.links.former)) if name and name != title)
    leading = index.leading_by(note.node_id, old_names)
    plans = {}
    for source, targets in leading.items():
        plain = can_name(title) and index.would_lead(title, source, note.node_id)
        name, label = (title, "") if plain else (note.node_id, title)
        plans[source] = _Plan(frozenset(targets), old_names, name, label)
    return plans
