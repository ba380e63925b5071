"""The smallest requests that keep all limits of the .proto, made from the descriptors."""

from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from shared.grpc.validation import rules_of

_TEXT = FieldDescriptor.TYPE_STRING


def valid(message: Descriptor) -> Message:
    """The smallest message that keeps all limits."""
    made = GetMessageClass(message)()
    for field in message.fields:
        rules = rules_of(field)
        if is_map(field):
            continue
        if field.is_repeated:
            for index in range(rules.min_items):
                fill_item(made, field, index)
        elif field.message_type is not None and rules.required:
            getattr(made, field.name).CopyFrom(valid(field.message_type))
        elif field.type == _TEXT and (rules.pattern or rules.min_len) and not rules.allow_empty:
            setattr(made, field.name, "a")
        elif rules.HasField("gte") and rules.gte > 0:
            setattr(made, field.name, int(rules.gte))
    return made


def fill_item(message: Any, field: FieldDescriptor, index: int) -> None:
    """Append an item to a list."""
    if field.message_type is not None:
        getattr(message, field.name).append(valid(field.message_type))
    elif field.type == _TEXT:
        getattr(message, field.name).append(f"a{index}")


def is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry
