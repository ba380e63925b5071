"""shared/grpc/validation.py at the boundary of every limit and one past it; the cases come from the descriptors."""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from deploy.docs import services
from protos.graph.v1 import graph_pb2
from protos.node.v1 import node_pb2
from protos.options.v1 import options_pb2
from shared.grpc.validation import describe, rules_of, validator
from tests.support.valid_requests import fill_item, is_map, valid

LONGEST = {options_pb2.PATTERN_ID: 64, options_pb2.PATTERN_USER_ID: 128, options_pb2.PATTERN_EDGE_TYPE: 32}
WRONG = {
    options_pb2.PATTERN_ID: ["-a", "a#b", "a@b", "a\n", "é"],
    options_pb2.PATTERN_USER_ID: ["@a", "a#b", "a\n"],
    options_pb2.PATTERN_EDGE_TYPE: ["A", "1a", "a-b"],
    options_pb2.PATTERN_LINE: ["a\nb", "a\x00", "a\u2028b", "a\x9f", "a\u202eb"],
}
TIMES = ("google.protobuf.Timestamp", "google.protobuf.Duration")
TEXT = FieldDescriptor.TYPE_STRING


class Case(NamedTuple):
    """One value of one field: holder is where the field is, as names of messages from the request on."""

    request: Descriptor
    holder: tuple[str, ...]
    field: FieldDescriptor
    what: str
    put: Callable[[Any], object]
    allowed: bool

    def __str__(self) -> str:
        return f"{self.request.full_name}.{'.'.join((*self.holder, self.field.name))}-{self.what}"


def texts(field: FieldDescriptor) -> Iterator[tuple[str, str, bool]]:
    """(what, text, allowed) for the limits of a text, or of each item of a list, key of a map."""
    rules = rules_of(field)
    if rules.max_bytes:
        yield "max_bytes", "a" * rules.max_bytes, True
        yield "max_bytes, one past", "a" * (rules.max_bytes + 1), False
        wide = "é" * (rules.max_bytes // 2)
        yield "max_bytes of two-byte letters", wide, True
        yield "max_bytes of two-byte letters, one past", wide + "é", False
    if rules.min_len:
        yield "min_len", "a" * rules.min_len, True
        yield "min_len, one short", "a" * (rules.min_len - 1), False
    if most := LONGEST.get(rules.pattern):
        yield "longest", "a" * most, True
        yield "longest, one past", "a" * (most + 1), False
    for wrong in WRONG.get(rules.pattern, []):
        yield f"not of the pattern: {wrong!r}", wrong, False
    if rules.allow_empty or rules.pattern:
        line = rules.pattern == options_pb2.PATTERN_LINE and not rules.min_len
        yield "empty", "", rules.allow_empty or line


def numbers(field: FieldDescriptor) -> Iterator[tuple[str, float, bool]]:
    rules = rules_of(field)
    is_float = field.type in (FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT)
    kind = float if is_float else int
    step = 1e-9 if is_float else 1
    if rules.HasField("gte"):
        yield "gte", kind(rules.gte), True
        yield "gte, one below", kind(rules.gte) - step, False
    if rules.HasField("lte"):
        yield "lte", kind(rules.lte), True
        yield "lte, one above", kind(rules.lte) + step, False
    if is_float:
        for value in (math.inf, -math.inf, math.nan):
            yield f"{value}", value, not rules.finite
    if rules.min_nonzero:
        yield "min_nonzero", rules.min_nonzero, True
        yield "min_nonzero, below", rules.min_nonzero / 10, False


def setting(name: str, value: object) -> Callable[[Any], object]:
    return lambda owner: setattr(owner, name, value)


def setting_part(name: str, part: str, value: object) -> Callable[[Any], object]:
    return lambda owner: setattr(getattr(owner, name), part, value)


def at(request: Descriptor, holder: tuple[str, ...], field: FieldDescriptor) -> Iterator[Case]:
    rules = rules_of(field)
    name = field.name

    def case(what: str, put: Callable[[Any], object], allowed: bool) -> Case:
        return Case(request, holder, field, what, put, allowed)

    def items(count: int) -> Callable[[Any], object]:
        def put(owner: Any) -> None:
            owner.ClearField(name)
            for index in range(count):
                if is_map(field):
                    getattr(owner, name)[f"a{index}"] = ""
                elif field.message_type is not None and field.message_type.name == "FieldMask":
                    getattr(owner, name).paths.append("a")
                else:
                    fill_item(owner, field, index)

        return put

    def item(text: str) -> Callable[[Any], object]:
        def put(owner: Any) -> None:
            owner.ClearField(name)
            if is_map(field):
                getattr(owner, name)[text] = ""
            elif field.message_type is not None:
                getattr(owner, name).paths.append(text)
            else:
                getattr(owner, name).append(text)

        return put

    if rules.max_items:
        yield case("max_items", items(rules.max_items), True)
        yield case("max_items, one past", items(rules.max_items + 1), False)
    if rules.min_items:
        yield case("min_items", items(rules.min_items), True)
        yield case("min_items, one short", items(rules.min_items - 1), False)
    if rules.max_total_bytes:
        for extra in (0, 1):
            size = rules.max_total_bytes - 1 + extra
            yield case(f"max_total_bytes{', one past' * extra}", value_of_size(name, size), not extra)
    if rules.required:
        yield case("unset", lambda owner: owner.ClearField(name), False)
    if is_map(field) or (field.message_type is not None and field.message_type.name == "FieldMask"):
        yield from (case(what, item(text), allowed) for what, text, allowed in texts(field))
    elif field.message_type is not None and field.message_type.full_name in TIMES:
        for what, number, allowed in numbers(field):
            yield case(what, setting_part(name, "seconds", int(number)), allowed)
        yield case("nanos of a second", setting_part(name, "nanos", 10**9), False)
        yield case("part of a second", setting_part(name, "nanos", 5), not rules.whole_seconds)
        yield case("negative nanos", setting_part(name, "nanos", -1), False)
    elif field.message_type is not None:
        if not rules.items_have_results:
            for inner in field.message_type.fields:
                yield from at(request, (*holder, name), inner)
    elif field.type == TEXT:
        for what, text, allowed in texts(field):
            yield case(what, item(text) if field.is_repeated else setting(name, text), allowed)
    elif field.type == FieldDescriptor.TYPE_ENUM:
        assert field.enum_type is not None
        known = max(field.enum_type.values_by_number)
        yield case("last value", setting(name, known), True)
        yield case("unknown value", setting(name, known + 1), not rules.defined_only)
        yield case("negative value", setting(name, -1), not rules.defined_only)
    else:
        for what, number, allowed in numbers(field):
            yield case(what, setting(name, number), allowed)


def value_of_size(name: str, size: int) -> Callable[[Any], object]:
    def put(owner: Any) -> None:
        getattr(owner, name)["k"] = "v" * size

    return put


def requests() -> list[Descriptor]:
    found = {method.input_type.full_name: method.input_type for one in services() for method in one.methods}
    # The items of batches are checked one by one, each as a message of its own.
    items: list[Any] = [node_pb2.NewNode.DESCRIPTOR, graph_pb2.NewEdge.DESCRIPTOR]
    found |= {message.full_name: message for message in items}
    return list(found.values())


CASES = [case for request in requests() for field in request.fields for case in at(request, (), field)]


def test_there_are_cases_for_all() -> None:
    assert len(CASES) > 500


@pytest.mark.parametrize("request_type", requests(), ids=lambda message: message.full_name)
def test_the_smallest_request_is_allowed(request_type: Descriptor) -> None:
    assert validator(request_type)(valid(request_type)) == []


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_limit_holds_at_the_boundary_and_one_past(case: Case) -> None:
    message = valid(case.request)
    owner: Any = message
    for name in case.holder:
        inner = getattr(owner, name)
        owner = inner.add() if hasattr(inner, "add") else inner
        owner.CopyFrom(valid(owner.DESCRIPTOR))
    case.put(owner)
    found = validator(case.request)(message)
    if case.allowed:
        assert found == []
    else:
        path = ".".join((*case.holder, case.field.name))
        assert [without_index(where) for where, _ in found] == [path]


def without_index(path: str) -> str:
    return path.replace("[0]", "")


def test_a_wrong_item_is_named_by_its_index() -> None:
    request = node_pb2.BatchGetNodesRequest(user_id="u", node_ids=["a", "#", "b", "#"])
    assert [path for path, _ in validator(request.DESCRIPTOR)(request)] == ["node_ids[1]", "node_ids[3]"]


def test_a_batch_whose_items_have_results_is_not_refused_for_one_of_them() -> None:
    request = node_pb2.BatchCreateNodesRequest(user_id="u", nodes=[node_pb2.NewNode(title="x" * 600)])
    assert validator(request.DESCRIPTOR)(request) == []
    assert [path for path, _ in validator(node_pb2.NewNode.DESCRIPTOR)(request.nodes[0])] == ["title"]


def test_every_wrong_field_is_named() -> None:
    request = node_pb2.GetNodeRequest(user_id="#", node_id="", view=99)  # type: ignore[arg-type]
    assert [path for path, _ in validator(request.DESCRIPTOR)(request)] == ["user_id", "node_id", "view"]


ID = "must be 1 to 64 of A-Z a-z 0-9 . _ -, the first a letter or digit"
VIEWS = "0 (NODE_VIEW_UNSPECIFIED), 1 (NODE_VIEW_TITLE), 2 (NODE_VIEW_SUMMARY), 3 (NODE_VIEW_FULL)"


@pytest.mark.parametrize(
    ("request_", "path", "why"),
    [
        (node_pb2.GetNodeRequest(user_id="u", node_id="a b"), "node_id", f"is 'a b', {ID}"),
        (
            node_pb2.GetNodeRequest(user_id="u", node_id="x" * 65),
            "node_id",
            f"is '{'x' * 40}'… (65 characters), {ID}",
        ),
        (node_pb2.GetNodeRequest(user_id="u"), "node_id", f"is '', {ID}"),
        (
            node_pb2.GetNodeRequest(user_id="u", node_id="n", view=99),  # type: ignore[arg-type]
            "view",
            f"is 99, must be a value of NodeView: {VIEWS}",
        ),
        (
            node_pb2.BatchGetNodesRequest(user_id="u", node_ids=["n"] * 1001),
            "node_ids",
            "has 1,001 items, 1 to 1,000 are allowed",
        ),
        (
            node_pb2.ListNodesRequest(user_id="u", start_time=Timestamp(seconds=253_402_300_800)),
            "start_time",
            "has 253,402,300,800 seconds and 0 nanos, "
            "must be -62,135,596,800 to 253,402,300,799 seconds since 1970-01-01",
        ),
        (
            node_pb2.ListNodesRequest(user_id="u", start_time=Timestamp(nanos=-1)),
            "start_time",
            "has 0 seconds and -1 nanos, nanos must be 0 to 999,999,999",
        ),
        (
            node_pb2.UpdateUserSettingsRequest(
                user_id="u",
                settings=node_pb2.UserSettings(retention=Duration(seconds=1, nanos=5)),
                update_mask=FieldMask(paths=["retention"]),
            ),
            "settings.retention",
            "has 1 seconds and 5 nanos, must be whole seconds",
        ),
        (
            graph_pb2.GetNeighborsRequest(user_id="u", node_id="n", min_weight=1.5),
            "min_weight",
            "is 1.5, must be 0 to 1",
        ),
        (node_pb2.NewNode(title="a\nb"), "title", "has U+000A, must be one line without control characters"),
        (node_pb2.NewNode(title="x" * 513), "title", "has 513 bytes, at most 512 are allowed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_error_says_what_was_given_and_what_is_allowed(request_: Any, path: str, why: str) -> None:
    assert validator(request_.DESCRIPTOR)(request_) == [(path, why)]


def test_a_time_before_1970_may_have_a_part_of_a_second() -> None:
    """The nanos of a Timestamp count forward, also before 1970; those of a Duration have its sign."""
    early = node_pb2.ListNodesRequest(user_id="u", start_time=Timestamp(seconds=-1, nanos=5))
    assert validator(early.DESCRIPTOR)(early) == []
    torn = node_pb2.UserSettings(retention=Duration(seconds=1, nanos=-5))
    assert validator(torn.DESCRIPTOR)(torn) == [
        ("retention", "has 1 seconds and -5 nanos, both must have the same sign")
    ]


def test_limits_are_described_in_words() -> None:
    fields: Any = node_pb2.NewNode.DESCRIPTOR.fields_by_name
    assert describe(fields["content"]) == "at most 262,144 bytes"
    assert describe(fields["tags"]) == (
        "at most 64 items; each: one line without control characters, not empty, at most 64 bytes"
    )


@pytest.mark.parametrize(
    ("type_", "rules"),
    [
        (FieldDescriptorProto.TYPE_STRING, {"gte": 1}),
        (FieldDescriptorProto.TYPE_STRING, {"max_items": 1}),
        (FieldDescriptorProto.TYPE_INT32, {"finite": True}),
        (FieldDescriptorProto.TYPE_INT32, {"max_bytes": 1}),
        (FieldDescriptorProto.TYPE_BYTES, {"max_bytes": 1}),
        (FieldDescriptorProto.TYPE_BOOL, {"defined_only": True}),
    ],
)
def test_a_limit_that_would_never_be_checked_is_refused(
    type_: FieldDescriptorProto.Type.ValueType, rules: dict[str, Any]
) -> None:
    field = FieldDescriptorProto(name="f", number=1, type=type_, label=FieldDescriptorProto.LABEL_OPTIONAL)
    options: Any = field.options
    options.Extensions[options_pb2.field].CopyFrom(options_pb2.FieldRules(**rules))
    file = FileDescriptorProto(name="t.proto", message_type=[DescriptorProto(name="T", field=[field])])
    pool = DescriptorPool()
    pool.Add(file)
    with pytest.raises(ValueError, match=f"T.f can't have the limits {next(iter(rules))}"):
        validator(pool.FindMessageTypeByName("T"))
