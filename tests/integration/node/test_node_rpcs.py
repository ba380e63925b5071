"""Every RPC over a real port and real stores: answers, errors with their details, limits."""

from collections import Counter
from collections.abc import Awaitable

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from protos.node.v1 import node_pb2
from shared.dynamo import operations
from shared.errors import (
    Aborted,
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
)
from tests.support.node_service import NodeService
from tests.support.waiting import until


async def test_create_and_get(service: NodeService, user: str) -> None:
    draft = node_pb2.NewNode(title="T", content="C\r\n\0", tags=["b", "a"], metadata={"k": "v"})
    created = await service.stub.CreateNode(node_pb2.CreateNodeRequest(user_id=user, node=draft))
    node = created.node
    assert (node.title, node.content, list(node.tags), dict(node.metadata)) == ("T", "C\r\n\0", ["b", "a"], {"k": "v"})
    assert (node.version, node.etag, len(node.node_id)) == (1, f'"1-{node.incarnation:x}"', 26)
    assert node.create_time == node.update_time
    assert await service.get(user, node.node_id) == node
    assert await service.get(user, node.node_id, consistency_token=created.consistency_token) == node
    title = await service.get(user, node.node_id, view=node_pb2.NODE_VIEW_TITLE)
    assert (title.title, title.content, title.excerpt) == ("T", "", "")
    summary = await service.get(user, node.node_id, view=node_pb2.NODE_VIEW_SUMMARY)
    assert (summary.content, summary.excerpt, summary.content_bytes) == ("", "C\r\n\0", 4)


async def test_all_faults_of_a_note_are_reported_together(service: NodeService, user: str) -> None:
    draft = node_pb2.NewNode(node_id="#", title="x\n", tags=["a", "a"], create_time=Timestamp(seconds=-1))
    with pytest.raises(InvalidArgument) as caught:
        await service.stub.CreateNode(node_pb2.CreateNodeRequest(user_id="", node=draft, request_id="no spaces"))
    assert [violation.field for violation in caught.value.violations] == [
        "user_id",
        "node.node_id",
        "node.title",
        "node.create_time",
        "request_id",
    ]
    # What the .proto can't state is checked after what it states.
    future = Timestamp(seconds=9_000_000_000)
    draft = node_pb2.NewNode(title="\u200b", content="c", tags=["a", "a"], create_time=future)
    with pytest.raises(InvalidArgument) as caught:
        await service.stub.CreateNode(node_pb2.CreateNodeRequest(user_id=user, node=draft))
    assert [violation.field for violation in caught.value.violations] == [
        "node.title",
        "node.tags[1]",
        "node.create_time",
    ]


async def test_an_empty_request_is_an_answer(service: NodeService) -> None:
    with pytest.raises(InvalidArgument):
        await service.stub.CreateNode(node_pb2.CreateNodeRequest())
    with pytest.raises(InvalidArgument):
        await service.stub.UpdateNode(node_pb2.UpdateNodeRequest())


async def test_a_taken_id(service: NodeService, user: str) -> None:
    await service.create(user)
    with pytest.raises(AlreadyExists) as caught:
        await service.create(user)
    assert caught.value.reason == "NODE_EXISTS"
    await service.delete(user)
    with pytest.raises(AlreadyExists):
        await service.create(user)
    await service.create(f"{user}x")


async def test_the_largest_note(service: NodeService, user: str) -> None:
    content = "é\x00" * (256 * 1024 // 3)
    await service.create(user, content=content, title="é" * 256, tags=[f"{n:064}" for n in range(64)])
    assert (await service.get(user)).content == content
    with pytest.raises(InvalidArgument):
        await service.create(user, "m", content="x" * (256 * 1024 + 1))


async def test_update(service: NodeService, user: str) -> None:
    created = await service.create(user, content="C", tags=["a"])
    request = node_pb2.UpdateNodeRequest(
        user_id=user, node_id="n", node=node_pb2.NewNode(content="D"), update_mask=FieldMask(paths=["content", "tags"])
    )
    response = await service.stub.UpdateNode(request)
    assert (response.node.title, response.node.content, list(response.node.tags)) == ("T", "D", [])
    assert response.node.version == 2
    assert await service.get(user, consistency_token=response.consistency_token) == response.node
    with pytest.raises(Aborted) as caught:
        await service.update(user, title="X", etag=created.etag)
    assert caught.value.reason == "ETAG_MISMATCH"
    assert (await service.update(user, title="X", etag=response.node.etag)).node.version == 3
    with pytest.raises(NotFound):
        await service.update(user, "unknown", title="X")


async def test_delete_and_restore(service: NodeService, user: str) -> None:
    before = await service.create(user, content="C", tags=["a"])
    gone = await service.delete(user)
    assert (gone.node_id, gone.version) == ("n", 2)
    assert gone.etag not in ("", before.etag)
    assert gone.purge_time.seconds - gone.delete_time.seconds == 30 * 24 * 3600
    again = await service.delete(user)
    assert (again.version, again.delete_time, again.purge_time) == (2, gone.delete_time, gone.purge_time)
    with pytest.raises(NotFound) as caught:
        await service.get(user)
    assert caught.value.reason == "NODE_DELETED"
    shown = await service.get(user, show_deleted=True)
    assert (shown.delete_time, shown.content) == (gone.delete_time, "C")
    assert await service.listed(user) == []
    with pytest.raises(FailedPrecondition):
        await service.update(user, title="X")
    back = (await service.restore(user)).node
    assert (back.version, back.content, list(back.tags)) == (3, "C", ["a"])
    assert (back.create_time, back.update_time) == (before.create_time, before.update_time)
    assert (await service.restore(user)).node == back
    assert await service.get(user) == back
    assert await service.listed(user) == ["n"]


async def test_settings_decide_the_retention(service: NodeService, user: str) -> None:
    asked = node_pb2.GetUserSettingsRequest(user_id=user)
    assert (await service.stub.GetUserSettings(asked)).settings.retention == Duration(seconds=30 * 24 * 3600)
    chosen = node_pb2.UserSettings(retention=Duration(seconds=60))
    await service.stub.UpdateUserSettings(node_pb2.UpdateUserSettingsRequest(user_id=user, settings=chosen))
    assert (await service.stub.GetUserSettings(asked)).settings == chosen
    await service.create(user)
    gone = await service.delete(user)
    assert gone.purge_time.seconds - gone.delete_time.seconds == 60
    await service.stub.UpdateUserSettings(node_pb2.UpdateUserSettingsRequest(user_id=user))
    assert (await service.stub.GetUserSettings(asked)).settings.retention == Duration(seconds=30 * 24 * 3600)
    too_long = node_pb2.UserSettings(retention=Duration(seconds=366 * 24 * 3600))
    with pytest.raises(InvalidArgument):
        await service.stub.UpdateUserSettings(node_pb2.UpdateUserSettingsRequest(user_id=user, settings=too_long))


async def test_settings_are_changed_once_for_a_request_id(service: NodeService, user: str) -> None:
    def request(seconds: int, request_id: str = "r") -> node_pb2.UpdateUserSettingsRequest:
        chosen = node_pb2.UserSettings(retention=Duration(seconds=seconds))
        return node_pb2.UpdateUserSettingsRequest(user_id=user, settings=chosen, request_id=request_id)

    first = await service.stub.UpdateUserSettings(request(60))
    await service.stub.UpdateUserSettings(request(120, ""))
    # A late retry gets its answer and doesn't undo what came since.
    assert await service.stub.UpdateUserSettings(request(60)) == first
    asked = node_pb2.GetUserSettingsRequest(user_id=user)
    assert (await service.stub.GetUserSettings(asked)).settings.retention == Duration(seconds=120)
    with pytest.raises(InvalidArgument) as reused:
        await service.stub.UpdateUserSettings(request(61))
    assert reused.value.reason == "REQUEST_ID_REUSED"
    with pytest.raises(InvalidArgument) as garbled:
        await service.stub.UpdateUserSettings(request(61, "#"))
    assert [violation.field for violation in garbled.value.violations] == ["request_id"]
    # What was refused may be mended under the same id.
    with pytest.raises(InvalidArgument):
        await service.stub.UpdateUserSettings(request(-1, "other"))
    assert await service.stub.UpdateUserSettings(request(30, "other"))


async def test_the_end_of_a_note(service: NodeService, user: str) -> None:
    async def purge(version: int, *, fence: bool) -> node_pb2.PurgeNodeResponse:
        request = node_pb2.PurgeNodeRequest(user_id=user, node_id="n", version=version, fence=fence)
        response: node_pb2.PurgeNodeResponse = await service.stub.PurgeNode(request)
        return response

    await service.create(user, content="C")
    with pytest.raises(FailedPrecondition) as caught:
        await purge(1, fence=True)
    assert caught.value.reason == "NOT_DELETED"
    await service.delete(user, cascade=node_pb2.CASCADE_ORPHANS)
    with pytest.raises(Aborted) as mismatch:
        await purge(1, fence=True)
    assert mismatch.value.reason == "VERSION_MISMATCH"
    with pytest.raises(FailedPrecondition) as caught:
        await purge(2, fence=False)
    assert caught.value.reason == "NOT_FENCED"
    for _ in range(2):
        fenced = await purge(2, fence=True)
        assert (fenced.node.content, fenced.node.version, fenced.cascade) == ("C", 2, node_pb2.CASCADE_ORPHANS)
    with pytest.raises(FailedPrecondition) as caught:
        await service.restore(user)
    assert caught.value.reason == "PURGE_STARTED"
    assert not (await purge(2, fence=False)).already_purged
    assert (await purge(2, fence=False)).already_purged
    assert (await purge(2, fence=True)).already_purged
    with pytest.raises(NotFound) as missing:
        await service.get(user, show_deleted=True)
    assert missing.value.reason == "NODE_NOT_FOUND"
    with pytest.raises(NotFound):
        await service.restore(user)
    anew = await service.create(user, content="anew")
    assert (await purge(2, fence=False)).already_purged
    assert await service.get(user) == anew


async def test_a_batch(service: NodeService, user: str) -> None:
    await service.create(user, "taken")
    notes = [node_pb2.NewNode(title=f"t{n}") for n in range(97)]
    notes += [
        node_pb2.NewNode(node_id="taken", title="x"),
        node_pb2.NewNode(),
        node_pb2.NewNode(title="old", create_time=Timestamp(seconds=5)),
    ]
    response = await service.stub.BatchCreateNodes(node_pb2.BatchCreateNodesRequest(user_id=user, nodes=notes))
    codes = [result.code for result in response.results]
    assert codes == [0] * 97 + [6, 3, 0]
    assert (response.results[97].reason, response.results[98].reason) == ("NODE_EXISTS", "INVALID_ARGUMENT")
    assert response.results[99].node.create_time.seconds == 5
    ids = [result.node.node_id for result in response.results if not result.code]
    assert len(set(ids)) == 98
    request = node_pb2.BatchGetNodesRequest(
        user_id=user, node_ids=[*ids, "nowhere", ids[0]], consistency_token=response.consistency_token
    )
    for view in (node_pb2.NODE_VIEW_FULL, node_pb2.NODE_VIEW_TITLE, node_pb2.NODE_VIEW_TITLE):
        request.view = view
        read = await service.stub.BatchGetNodes(request)
        assert [node.node_id for node in read.nodes] == ids
        assert [node.title for node in read.nodes][:97] == [f"t{n}" for n in range(97)]
        assert list(read.missing_ids) == ["nowhere"]


async def test_a_batch_can_be_too_large_to_answer(service: NodeService, user: str) -> None:
    ids = [f"n{n}" for n in range(20)]
    for node_id in ids:
        await service.create(user, node_id, content="x" * 250_000)
    request = node_pb2.BatchGetNodesRequest(user_id=user, node_ids=ids)
    with pytest.raises(ResourceExhausted) as caught:
        await service.stub.BatchGetNodes(request)
    assert caught.value.reason == "RESPONSE_TOO_LARGE"
    request.view = node_pb2.NODE_VIEW_SUMMARY
    assert len((await service.stub.BatchGetNodes(request)).nodes) == 20


async def test_lists(service: NodeService, user: str) -> None:
    for at in range(7):
        await service.create(user, f"n{at}", create_time=Timestamp(seconds=at), content=f"c{at}")
    assert await service.listed(user, page_size=2) == [f"n{at}" for at in range(6, -1, -1)]
    assert await service.listed(user, start_time=Timestamp(seconds=2), end_time=Timestamp(seconds=4)) == ["n3", "n2"]
    just_after = Timestamp(seconds=2, nanos=1)
    assert await service.listed(user, start_time=just_after, end_time=Timestamp(seconds=4)) == ["n3"]
    assert await service.listed(user, end_time=just_after) == ["n2", "n1", "n0"]
    page = await service.stub.ListNodes(node_pb2.ListNodesRequest(user_id=user, page_size=1))
    [node] = page.nodes
    assert (node.node_id, node.title, node.content, node.excerpt, node.version) == ("n6", "T", "", "c6", 1)
    with pytest.raises(InvalidArgument) as caught:
        await service.stub.ListNodes(node_pb2.ListNodesRequest(user_id=f"{user}x", page_token=page.next_page_token))
    assert caught.value.reason == "PAGE_TOKEN_INVALID"
    with pytest.raises(InvalidArgument):
        await service.stub.ListNodes(node_pb2.ListNodesRequest(user_id=user, page_size=-1))


async def test_another_users_note_looks_like_none(service: NodeService, user: str) -> None:
    await service.create(user)
    other = f"{user}x"
    for call in (service.get(other), service.update(other, title="X"), service.delete(other), service.restore(other)):
        with pytest.raises(NotFound) as caught:
            await call
        assert caught.value.reason == "NODE_NOT_FOUND"


@pytest.mark.parametrize("token", ["nonsense", "MTpuPXg"])
async def test_a_garbled_consistency_token(service: NodeService, user: str, token: str) -> None:
    await service.create(user)
    with pytest.raises(InvalidArgument):
        await service.get(user, consistency_token=token)


async def test_what_each_rpc_asks_of_the_table(service: NodeService, user: str) -> None:
    """One transaction a write, at most one read before it, and never a scan."""

    async def asked(call: Awaitable[object]) -> dict[str, int]:
        before = Counter(operations)
        await call
        # Published events are removed from the outbox, and the outbox is swept, beside the calls.
        return {name: count for name, count in (operations - before).items() if name not in ("BatchWriteItem", "Query")}

    async def cached() -> bool:
        return await asked(service.get(user, show_deleted=True)) == {}

    def purge(*, fence: bool) -> Awaitable[object]:
        request = node_pb2.PurgeNodeRequest(user_id=user, node_id="n", version=5, fence=fence)
        purged: Awaitable[object] = service.stub.PurgeNode(request)
        return purged

    await service.delete(user, (await service.create(user, "first")).node_id)  # the settings are known from here on
    one_write = {"TransactWriteItems": 1}
    read_and_write = {"GetItem": 1, "TransactWriteItems": 1}
    assert await asked(service.create(user)) == one_write
    assert await asked(service.get(user)) == {}, "the creation has put the note into the cache"
    assert await asked(service.update(user, title="X", request_id="r")) == read_and_write
    assert await asked(service.get(user)) == {}
    assert await asked(service.delete(user)) == one_write, "the cache has the note"
    await until(cached, what="the end of the write in the cache")
    assert await asked(service.restore(user)) == one_write, "with its content"
    await until(cached, what="the end of the write in the cache")
    assert await asked(service.delete(user)) == one_write
    await until(cached, what="the end of the write in the cache")
    assert await asked(service.delete(user)) == {"GetItem": 1}
    assert await asked(purge(fence=True)) == read_and_write
    assert await asked(purge(fence=False)) == read_and_write
    notes = [node_pb2.NewNode(node_id=f"n{at}", title="T") for at in range(100)]
    batch = node_pb2.BatchCreateNodesRequest(user_id=user, nodes=notes)
    assert await asked(service.stub.BatchCreateNodes(batch)) == {"TransactWriteItems": 5}, "24 notes each"
    many = node_pb2.BatchGetNodesRequest(user_id=user, node_ids=[f"n{at}" for at in range(100)])
    assert await asked(service.stub.BatchGetNodes(many)) == {"BatchGetItem": 1}
    assert await asked(service.stub.BatchGetNodes(many)) == {}
    assert await asked(service.listed(user, page_size=200)) == {}
    assert operations["Scan"] == 0
