"""No field of a note is lost: every field that a caller can set is stored, read, listed, changed, exported, imported.

The fields and their values are generated from the descriptors, so a field that is added later is tested, too
(docs/how-to/add-a-field.md).
"""

from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from deploy.local.importer import jsonlines
from protos.node.v1 import node_pb2
from services.cleanup_service import convert as cleanup_convert
from services.node_service.model import UPDATABLE_FIELDS
from tests.support.node_service import NodeService

# What the service makes by itself; every other field of Node can be set by the caller.
MADE = (
    *("user_id", "version", "etag", "update_time", "delete_time", "purge_time"),
    *("excerpt", "content_bytes", "incarnation"),
)
SETTABLE = [name for name in node_pb2.Node.DESCRIPTOR.fields_by_name if name not in MADE]
# ListNodes leaves the content out, and shows its excerpt.
LISTED = [name for name in SETTABLE if name != "content"]


def sample(field: Any, version: int) -> Any:
    """A value for a field, another one for each version."""
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return {f"key {version}": "value"}
    if field.message_type is Timestamp.DESCRIPTOR:
        return Timestamp(seconds=1_600_000_000 + version, nanos=5_000_000)
    if field.enum_type is not None:
        one: Any = field.enum_type.values[-version].number
    elif field.type == FieldDescriptor.TYPE_STRING:
        one = f"{field.name}-{version}"
    elif field.type == FieldDescriptor.TYPE_BOOL:
        one = version % 2 == 1
    else:
        one = version
    return [one] if field.is_repeated else one


def new_node(version: int) -> node_pb2.NewNode:
    fields = node_pb2.NewNode.DESCRIPTOR.fields_by_name
    return node_pb2.NewNode(**{name: sample(fields[name], version) for name in SETTABLE})


def values(message: Any, names: list[str]) -> dict[str, Any]:
    found = {name: getattr(message, name) for name in names}
    return {name: value if isinstance(value, str | int | float) else str(value) for name, value in found.items()}


async def test_every_field_is_stored_read_and_listed(service: NodeService, user: str) -> None:
    new = new_node(1)
    created = await service.stub.CreateNode(node_pb2.CreateNodeRequest(user_id=user, node=new, request_id="r"))
    expected = values(new, SETTABLE)
    assert values(created.node, SETTABLE) == expected
    again = await service.stub.CreateNode(node_pb2.CreateNodeRequest(user_id=user, node=new, request_id="r"))
    assert again.node == created.node  # from the receipt
    for _ in range(2):  # from the table, then from the cache
        assert await service.get(user, new.node_id) == created.node
    [listed] = (await service.stub.ListNodes(node_pb2.ListNodesRequest(user_id=user))).nodes
    assert values(listed, LISTED) == values(new, LISTED)
    await service.delete(user, new.node_id)
    restored = (await service.restore(user, new.node_id)).node
    assert values(restored, SETTABLE) == expected


async def test_every_field_but_id_and_time_is_changed(service: NodeService, user: str) -> None:
    assert set(SETTABLE) - set(UPDATABLE_FIELDS) == {"node_id", "create_time"}
    node_id = (await service.stub.CreateNode(node_pb2.CreateNodeRequest(user_id=user, node=new_node(1)))).node.node_id
    new = new_node(2)
    request = node_pb2.UpdateNodeRequest(
        user_id=user, node_id=node_id, node=new, update_mask=FieldMask(paths=UPDATABLE_FIELDS)
    )
    assert values((await service.stub.UpdateNode(request)).node, list(UPDATABLE_FIELDS)) == values(
        new, list(UPDATABLE_FIELDS)
    )
    assert values(await service.get(user, node_id), list(UPDATABLE_FIELDS)) == values(new, list(UPDATABLE_FIELDS))


@pytest.mark.parametrize("name", SETTABLE)
async def test_every_field_is_exported_and_imported(name: str) -> None:
    new = new_node(1)
    node = node_pb2.Node(**{each: getattr(new, each) for each in SETTABLE})
    imported = jsonlines._note("a line", cleanup_convert.note_record(node))
    assert values(imported.node, [name]) == values(new, [name])
