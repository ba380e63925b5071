"""The notes of a user: create, read, change, delete, restore, list."""

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from ._calls import Calls
from ._proto import node_pb2, similarity_pb2
from .errors import Aborted, from_result
from .models import NewNote, Note, NoteResult, NoteSettings, in_utc

_SERVICE = "/brain2.node.v1.NodeService/"
_MOST_NOTES = 1000
_EDIT_ATTEMPTS = 60


class Notes:
    """The notes of a user. Errors are the classes of brain2.errors; each method names the usual ones."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def create(
        self,
        title: str = "",
        content: str = "",
        *,
        tags: Iterable[str] = (),
        aliases: Iterable[str] = (),
        metadata: Mapping[str, str] | None = None,
        node_id: str = "",
        create_time: datetime | None = None,
        request_id: str = "",
        timeout: float | None = None,
    ) -> Note:
        """Store a note; it is durable when the call returns. Keywords and automatic links follow within about a second.

        node_id: its id; empty: the service makes one.
        request_id: empty: the client makes one. Give one to repeat a creation after a crash of your own program.
        timeout: seconds; None means the client's.
        Errors: InvalidArgument, AlreadyExists (the node_id is taken, also by a deleted note).
        """
        new = NewNote(title, content, tuple(tags), metadata or {}, node_id, create_time, tuple(aliases))
        request = node_pb2.CreateNodeRequest(user_id=self._calls.user, node=_message(new))
        answer = await self._call("CreateNode", request, node_pb2.CreateNodeResponse, timeout, request_id)
        return self._wrote(answer)

    async def create_many(
        self, notes: Sequence[NewNote], *, request_id: str = "", timeout: float | None = None
    ) -> tuple[NoteResult, ...]:
        """Store up to 100 notes; each has its own result, in their order. A wrong one does not prevent the others.

        request_id: empty: the client makes one. Give one to send the same notes again, as after a DeadlineExceeded.
        """
        request = node_pb2.BatchCreateNodesRequest(user_id=self._calls.user, nodes=[_message(note) for note in notes])
        answer = await self._call("BatchCreateNodes", request, node_pb2.BatchCreateNodesResponse, timeout, request_id)
        stored = [result.node.node_id for result in answer.results if result.code == 0]
        self._calls.memory.wrote("node", stored, answer.consistency_token)
        return tuple(
            NoteResult(
                Note.of(result.node) if result.code == 0 else None,
                from_result(result.code, result.reason, result.message),
            )
            for result in answer.results
        )

    async def get(self, node_id: str, *, show_deleted: bool = False, timeout: float | None = None) -> Note:
        """Read a note. show_deleted: also one that is deleted and not purged yet. Errors: NotFound."""
        request = node_pb2.GetNodeRequest(
            user_id=self._calls.user,
            node_id=node_id,
            show_deleted=show_deleted,
            consistency_token=self._calls.memory.token("node", node_id),
        )
        answer = await self._call("GetNode", request, node_pb2.GetNodeResponse, timeout)
        return Note.of(answer.node)

    async def get_many(
        self, node_ids: Iterable[str], *, with_content: bool = True, timeout: float | None = None
    ) -> dict[str, Note]:
        """Read notes: node_id -> note, in the order of the ids. Notes that are missing or deleted are left out.

        with_content: False: excerpt has the first 200 characters instead, which is faster.
        """
        ids = tuple(dict.fromkeys(node_ids))
        by_token: defaultdict[str, list[str]] = defaultdict(list)
        for node_id in ids:
            by_token[self._calls.memory.token("node", node_id)].append(node_id)
        found: dict[str, Note] = {}
        # 256 KiB of content a note: a page of full notes must fit into one message.
        size = 16 if with_content else _MOST_NOTES
        for token, some in by_token.items():
            for start in range(0, len(some), size):
                request = node_pb2.BatchGetNodesRequest(
                    user_id=self._calls.user,
                    node_ids=some[start : start + size],
                    view=node_pb2.NODE_VIEW_FULL if with_content else node_pb2.NODE_VIEW_SUMMARY,
                    consistency_token=token,
                )
                answer = await self._call("BatchGetNodes", request, node_pb2.BatchGetNodesResponse, timeout)
                found.update((node.node_id, Note.of(node)) for node in answer.nodes)
        return {node_id: found[node_id] for node_id in ids if node_id in found}

    async def update(
        self,
        node_id: str,
        *,
        title: str | None = None,
        content: str | None = None,
        tags: Iterable[str] | None = None,
        aliases: Iterable[str] | None = None,
        metadata: Mapping[str, str] | None = None,
        etag: str = "",
        request_id: str = "",
        timeout: float | None = None,
    ) -> Note:
        """Change the fields that are given; None leaves a field as it is.

        etag: of the note that was read: the change happens only if nobody else changed it since (Aborted otherwise).
        Errors: NotFound, Aborted (ETAG_MISMATCH), InvalidArgument, FailedPrecondition (the note is deleted).
        """
        new = NewNote(title or "", content or "", tuple(tags or ()), metadata or {}, aliases=tuple(aliases or ()))
        request = node_pb2.UpdateNodeRequest(user_id=self._calls.user, node_id=node_id, node=_message(new), etag=etag)
        given = {"title": title, "content": content, "tags": tags, "aliases": aliases, "metadata": metadata}
        request.update_mask.paths.extend(name for name, value in given.items() if value is not None)
        if not request.update_mask.paths:
            raise ValueError("update needs at least one field to change")
        answer = await self._call("UpdateNode", request, node_pb2.UpdateNodeResponse, timeout, request_id)
        return self._wrote(answer)

    async def rename(
        self, node_id: str, title: str, *, rewrite_links: bool = True, etag: str = "", timeout: float | None = None
    ) -> Note:
        """Give a note another title. rewrite_links: wiki links that name it by the old title get the new one.

        A link that can't be rewritten keeps the old title, which becomes an alias: it leads to the note all the same.
        timeout: seconds for a step, of which many linking notes need several.
        Errors: NotFound, InvalidArgument, FailedPrecondition (NODE_DELETED), Aborted.
        """
        request = similarity_pb2.RenameNodeRequest(
            user_id=self._calls.user, node_id=node_id, title=title, rewrite_links=rewrite_links, etag=etag
        )
        path = "/brain2.similarity.v1.SimilarityService/RenameNode"
        while True:
            answer = await self._calls.unary("similarity", path, request, similarity_pb2.RenameNodeResponse, timeout)
            if answer.done:
                self._calls.memory.wrote("node", [node_id], answer.consistency_token)
                return await self.get(node_id, timeout=timeout)
            request.etag = ""

    async def edit(self, node_id: str, change: Callable[[Note], Note], *, timeout: float | None = None) -> Note:
        """Read a note, change it, and write it if nobody else wrote in between; otherwise begin again.

        change: takes the note and answers it with another title, content, tags, aliases or metadata, as by
        dataclasses.replace. It may be called several times. Any number of programs can edit one note at once, and no
        edit is lost.
        Errors: those of get and update; Aborted after 60 attempts.
        """
        for attempt in range(_EDIT_ATTEMPTS):
            note = await self.get(node_id, timeout=timeout)
            changed = change(note)
            if replace(changed, etag=note.etag) == note:
                return note
            try:
                return await self.update(
                    node_id,
                    title=changed.title,
                    content=changed.content,
                    tags=changed.tags,
                    aliases=changed.aliases,
                    metadata=changed.metadata,
                    etag=note.etag,
                    timeout=timeout,
                )
            except Aborted as error:
                if attempt + 1 == _EDIT_ATTEMPTS or error.reason != "ETAG_MISMATCH":
                    raise
                # The note that was read may come from a cache: the token of the write that won is not known here.
                await asyncio.sleep(random.uniform(0, min(0.02 * (attempt + 1), 0.3)))
        raise AssertionError("not reached")

    async def delete(
        self,
        node_id: str,
        *,
        etag: str = "",
        orphans: bool = False,
        request_id: str = "",
        timeout: float | None = None,
    ) -> datetime:
        """Delete a note so that it can still be restored; answer the time from which on it may be purged.

        orphans: delete also each neighbour that would be left without a link and was never edited.
        Errors: NotFound, Aborted (ETAG_MISMATCH).
        """
        request = node_pb2.DeleteNodeRequest(
            user_id=self._calls.user,
            node_id=node_id,
            etag=etag,
            cascade=node_pb2.CASCADE_ORPHANS if orphans else node_pb2.CASCADE_EDGES,
        )
        answer = await self._call("DeleteNode", request, node_pb2.DeleteNodeResponse, timeout, request_id)
        self._calls.memory.wrote("node", [node_id], answer.consistency_token)
        self._calls.memory.deleted(node_id)
        found: datetime = answer.purge_time.ToDatetime(tzinfo=UTC)
        return found

    async def restore(self, node_id: str, *, request_id: str = "", timeout: float | None = None) -> Note:
        """Bring a deleted note back with its links. Errors: NotFound, FailedPrecondition (PURGE_STARTED)."""
        request = node_pb2.RestoreNodeRequest(user_id=self._calls.user, node_id=node_id)
        answer = await self._call("RestoreNode", request, node_pb2.RestoreNodeResponse, timeout, request_id)
        return self._wrote(answer)

    async def list(
        self,
        *,
        start_time: datetime | None = None,
        end_time: datetime | None = None,
        page_size: int = 100,
        timeout: float | None = None,
    ) -> AsyncIterator[Note]:
        """List the notes, newest first, without their content. Pages are read as the iterator goes.

        start_time, end_time: only notes that were created at or after, and before. timeout: seconds for a page.
        """
        request = node_pb2.ListNodesRequest(user_id=self._calls.user, page_size=page_size)
        if start_time is not None:
            request.start_time.FromDatetime(in_utc(start_time))
        if end_time is not None:
            request.end_time.FromDatetime(in_utc(end_time))
        while True:
            answer = await self._call("ListNodes", request, node_pb2.ListNodesResponse, timeout)
            for node in answer.nodes:
                yield Note.of(node)
            if not answer.next_page_token:
                return
            request.page_token = answer.next_page_token

    async def settings(self, *, timeout: float | None = None) -> NoteSettings:
        """The user's settings for notes."""
        request = node_pb2.GetUserSettingsRequest(user_id=self._calls.user)
        return _settings(await self._call("GetUserSettings", request, node_pb2.GetUserSettingsResponse, timeout))

    async def update_settings(
        self, settings: NoteSettings, *, request_id: str = "", timeout: float | None = None
    ) -> NoteSettings:
        """Replace the user's settings for notes. Errors: InvalidArgument (retention outside 0 s to 365 days)."""
        request = node_pb2.UpdateUserSettingsRequest(user_id=self._calls.user, settings={})
        if settings.retention is not None:
            request.settings.retention.FromTimedelta(settings.retention)
        answer = await self._call(
            "UpdateUserSettings", request, node_pb2.UpdateUserSettingsResponse, timeout, request_id
        )
        return _settings(answer)

    def _wrote(self, answer: Any) -> Note:
        self._calls.memory.wrote("node", [answer.node.node_id], answer.consistency_token)
        return Note.of(answer.node)

    async def _call(self, name: str, request: Any, response: Any, timeout: float | None, request_id: str = "") -> Any:
        return await self._calls.unary("node", _SERVICE + name, request, response, timeout, request_id)


def _settings(answer: Any) -> NoteSettings:
    return NoteSettings(answer.settings.retention.ToTimedelta())


def _message(note: NewNote) -> Any:
    message = node_pb2.NewNode(
        node_id=note.node_id,
        title=note.title,
        content=note.content,
        tags=note.tags,
        aliases=note.aliases,
        metadata=note.metadata,
    )
    if note.create_time is not None:
        message.create_time.FromDatetime(in_utc(note.create_time))
    return message
