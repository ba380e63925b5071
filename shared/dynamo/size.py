"""How large an item is by DynamoDB's rules, and how many units it costs to write."""

from typing import Any

from shared.dynamo.model import Item

UNIT_BYTES = 1024


def item_bytes(item: Item) -> int:
    """The names and values of an item, in bytes. A number counts as the largest that its digits may take."""
    return sum(_text(name) + _value(value) for name, value in item.items())


def write_units(size: int) -> int:
    """The units of one write of an item of this many bytes, outside a transaction."""
    return max(1, -(-size // UNIT_BYTES))


def _text(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _value(value: Any) -> int:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bytes | bytearray):
        return len(value)
    if value is None or isinstance(value, bool):
        return 1
    if isinstance(value, list | tuple):
        return 3 + sum(1 + _value(each) for each in value)
    if isinstance(value, dict):
        return 3 + sum(1 + _text(name) + _value(each) for name, each in value.items())
    if isinstance(value, set | frozenset):
        return sum(map(_value, value))
    return 2 + len(str(value)) // 2
