"""Every RPC states who may call it and whether it may be repeated, and every field of a request states its limits."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor

from deploy.docs import retry_policy, services
from protos.options.rules import has_access, traits
from protos.options.v1 import options_pb2

ROOT = Path(__file__).resolve().parents[3]
METHODS = [method for service in services() for method in service.methods]


def has_rules(field: FieldDescriptor) -> bool:
    """Whether the .proto states the limits of this field."""
    options: Any = field.GetOptions()
    return bool(options.HasExtension(options_pb2.field))


def fields(message: Descriptor) -> Iterator[FieldDescriptor]:
    """All fields of a request and of the messages of this project in it."""
    for field in message.fields:
        yield field
        kind = field.message_type
        if kind is not None and kind.full_name.startswith("brain2.") and not kind.GetOptions().map_entry:
            yield from fields(kind)


def ids(method: MethodDescriptor) -> str:
    return f"{method.containing_service.name}.{method.name}"


def test_the_four_services_are_here() -> None:
    assert len(services()) == 4
    assert len(METHODS) == 53


@pytest.mark.parametrize("method", METHODS, ids=ids)
def test_an_rpc_states_its_access(method: MethodDescriptor) -> None:
    assert has_access(method)


@pytest.mark.parametrize("method", METHODS, ids=ids)
def test_an_rpc_may_be_repeated_as_it_is_or_has_a_request_id(method: MethodDescriptor) -> None:
    """A retry is safe by a request_id, or because the .proto states that the call may be repeated, never by neither."""
    assert traits(method).idempotent is not ("request_id" in method.input_type.fields_by_name)


@pytest.mark.parametrize("method", METHODS, ids=ids)
def test_what_reads_needs_no_more_than_the_scope_read(method: MethodDescriptor) -> None:
    assert traits(method).reads is (traits(method).scope == "read")


def test_the_scopes_beyond_a_users_own() -> None:
    by_scope: dict[str, set[str]] = {}
    for method in METHODS:
        by_scope.setdefault(traits(method).scope, set()).add(method.name)
    assert by_scope["admin"] == {"EraseUser", "ReconcileUser", "ReplayEvents", "ReindexUser"}
    assert by_scope["internal"] == {
        *("PurgeNode", "DetachNode", "RemoveNode"),
        *("SetNodeVisibility", "AnnounceNodeVisibility"),
    }
    assert set(by_scope) == {"read", "write", "admin", "internal"}


def test_the_subscriptions() -> None:
    assert {ids(method) for method in METHODS if traits(method).subscription} == {"GraphService.WatchEdges"}


@pytest.mark.parametrize("method", METHODS, ids=ids)
def test_every_field_of_a_request_has_limits(method: MethodDescriptor) -> None:
    # A message has no limits of its own: its fields have them.
    bare = [
        field.full_name
        for field in fields(method.input_type)
        if not has_rules(field) and (field.message_type is None or field.is_repeated)
    ]
    assert bare == []


def test_the_retry_policy_is_fresh() -> None:
    assert (ROOT / "docs" / "retry-policy.json").read_text(encoding="utf-8") == retry_policy(), "run make docs"
    policy = json.loads(retry_policy())
    named = {(name["service"], name["method"]) for name in policy["methodConfig"][1]["name"]}
    streams = {(m.containing_service.full_name, m.name) for m in METHODS if m.server_streaming}
    assert named == streams
