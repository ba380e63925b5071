"""Random lives of one note, with contents at every threshold, each answer compared with what must be there.

A note moves between one item and two of the table, is written, hidden, shown and purged, and each request is sent again
at some later time: it then gets its first answer and changes nothing.
"""

import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from protos.node.v1 import node_pb2
from protos.table import body_key, node_key
from services.node_service.model import EVENT_CONTENT_BYTES, EXCERPT_CHARACTERS, MAX_CONTENT_BYTES
from shared.errors import FailedPrecondition, NotFound
from tests.support.node_service import NodeService
from tests.support.similarity_service import table_of
from tests.support.stores import Stores

STEPS = 30
_EDGES = (0, 512, 700, 1024, 2048, EVENT_CONTENT_BYTES, 64 * 1024, MAX_CONTENT_BYTES)
SIZES = sorted({min(max(edge + by, 0), MAX_CONTENT_BYTES) for edge in _EDGES for by in (-1, 0, 1)})
# In one, two, three and four bytes, easy and hard to compress.
ALPHABETS = ("a", "abcdefghijklmnopqrstuvwxyz ", "éü", "緑茶宇治急須", "𠀀𠀁𠀂")


class Life:
    """The note "n" of a user, and what it must look like."""

    def __init__(self, service: NodeService, user: str, rng: random.Random) -> None:
        self.service, self.user, self.rng = service, user, rng
        self.note: node_pb2.Node | None = None
        self.answers: list[tuple[Callable[[], Awaitable[Any]], Any]] = []

    def text(self) -> str:
        size = self.rng.choice(SIZES)
        alphabet = self.rng.choice(ALPHABETS)
        text = "".join(self.rng.choices(alphabet, k=size // len(alphabet[0].encode())))
        return text + "x" * (size - len(text.encode()))

    def fields(self) -> dict[str, Any]:
        """Some fields, the title at its limit now and then."""
        chosen: dict[str, Any] = {}
        if self.rng.random() < 0.6:
            chosen["content"] = self.text()
        if self.rng.random() < 0.5:
            chosen["title"] = self.rng.choice(["T", "é" * 256, "t" * 511])
        if self.rng.random() < 0.3:
            chosen["tags"] = [f"{at:02}" + "g" * 62 for at in range(self.rng.choice([1, 64]))]
        return chosen or {"title": "T2"}

    async def send(self, method: str, request: Any) -> Any:
        """The answer, which a later repetition gets again."""
        request.request_id = f"r{len(self.answers)}"
        call = getattr(self.service.stub, method)
        answer = await call(request)
        first = type(answer)()
        first.CopyFrom(answer)
        self.answers.append((lambda: call(request), first))
        return answer

    async def create(self) -> None:
        node = node_pb2.NewNode(node_id="n", **{"title": "T"} | self.fields())
        self.note = (await self.send("CreateNode", node_pb2.CreateNodeRequest(user_id=self.user, node=node))).node
        self.check_fields(node)

    async def update(self) -> None:
        assert self.note is not None
        fields = self.fields()
        request = node_pb2.UpdateNodeRequest(user_id=self.user, node_id="n", node=node_pb2.NewNode(**fields))
        request.update_mask.paths.extend(fields)
        if self.note.HasField("delete_time"):
            with pytest.raises(FailedPrecondition):
                await self.service.stub.UpdateNode(request)
            return
        version = self.note.version
        kept = node_pb2.NewNode(title=self.note.title, content=self.note.content, tags=self.note.tags)
        for name in fields:
            kept.ClearField(name)
        kept.MergeFrom(request.node)
        self.note = (await self.send("UpdateNode", request)).node
        assert self.note.version == version + 1
        self.check_fields(kept)

    async def delete(self) -> None:
        assert self.note is not None
        answer = await self.send("DeleteNode", node_pb2.DeleteNodeRequest(user_id=self.user, node_id="n"))
        if not self.note.HasField("delete_time"):
            self.note.version += 1
            self.note.etag = answer.etag
            self.note.delete_time.CopyFrom(answer.delete_time)
            self.note.purge_time.CopyFrom(answer.purge_time)
        assert answer.version == self.note.version

    async def restore(self) -> None:
        assert self.note is not None
        hidden = self.note.HasField("delete_time")
        answer = await self.send("RestoreNode", node_pb2.RestoreNodeRequest(user_id=self.user, node_id="n"))
        assert answer.node.version == self.note.version + hidden
        assert (answer.node.title, answer.node.content) == (self.note.title, self.note.content)
        self.note = answer.node

    async def purge(self) -> None:
        assert self.note is not None
        if not self.note.HasField("delete_time"):
            return
        request = node_pb2.PurgeNodeRequest(user_id=self.user, node_id="n", version=self.note.version, fence=True)
        for _ in range(2):
            assert (await self.service.stub.PurgeNode(request)).node.content == self.note.content
        request.fence = False
        await self.service.stub.PurgeNode(request)
        self.note = None

    async def repeat(self) -> None:
        if self.answers:
            again, first = self.rng.choice(self.answers)
            assert await again() == first

    def check_fields(self, asked: Any) -> None:
        assert self.note is not None
        assert (self.note.title, self.note.content, list(self.note.tags)) == (
            asked.title,
            asked.content,
            list(asked.tags),
        )

    async def check_reads(self) -> None:
        """Twice: from the table, perhaps, and then from the cache."""
        views = [node_pb2.NODE_VIEW_FULL, node_pb2.NODE_VIEW_SUMMARY, node_pb2.NODE_VIEW_TITLE]
        self.rng.shuffle(views)
        for view in views * 2:
            request = node_pb2.GetNodeRequest(user_id=self.user, node_id="n", view=view, show_deleted=True)
            if self.note is None:
                with pytest.raises(NotFound):
                    await self.service.stub.GetNode(request)
                continue
            found = (await self.service.stub.GetNode(request)).node
            assert (found.version, found.etag, found.title) == (self.note.version, self.note.etag, self.note.title)
            assert found.HasField("delete_time") == self.note.HasField("delete_time")
            if view == node_pb2.NODE_VIEW_FULL:
                assert found == self.note
            if view == node_pb2.NODE_VIEW_SUMMARY:
                assert found.content_bytes == len(self.note.content.encode())
                assert found.excerpt == self.note.content[:EXCERPT_CHARACTERS]


@pytest.mark.parametrize("seed", range(6))
async def test_a_life_of_a_note(service: NodeService, stores: Stores, user: str, seed: int) -> None:
    life = Life(service, user, random.Random(seed))
    steps = [life.update, life.update, life.delete, life.restore, life.purge, life.repeat, life.repeat]
    async with table_of(stores) as table:
        for _ in range(STEPS):
            step = life.rng.choice(steps)
            await (life.create if life.note is None and step != life.repeat else step)()
            await life.check_reads()
            items = [await table.get(key(user, "n"), consistent=True) for key in (node_key, body_key)]
            if life.note is None:
                assert items == [None, None], "nothing of a purged note is left"
            else:
                assert items[0] is not None
                assert ("content_version" in items[0]) == (items[1] is not None)
        for again, first in life.answers:
            assert await again() == first
