"""Plain Python values to DynamoDB's typed JSON and back.

boto3's own serializer goes through Decimal and costs several times as much. Integers are exact (38 digits), floats are
written with repr, the shortest text that reads back as the same float; a whole float (1.0) comes back as an int,
because DynamoDB stores the number and not how it was written.
"""

import base64
import math
from collections.abc import Callable, Mapping
from typing import Any

AttributeValue = Any
"""{"S": ...}, {"N": ...} and so on."""


def marshal_item(item: Mapping[str, Any]) -> dict[str, AttributeValue]:
    """A whole item, or the values of an expression. TypeError for a value that DynamoDB has no type for."""
    return {name: marshal(value) for name, value in item.items()}


def unmarshal_item(item: Mapping[str, AttributeValue]) -> dict[str, Any]:
    """The inverse of marshal_item."""
    return {name: unmarshal(value) for name, value in item.items()}


def marshal(value: Any) -> AttributeValue:
    """One value. TypeError for an unknown type, ValueError for a number that isn't finite or an empty set."""
    make = _MAKE.get(type(value))
    if make is None:
        # A subclass (an IntEnum, a numpy float, an OrderedDict): slower, the same rules.
        for base in (bool, str, int, float, bytes, Mapping, list, tuple, set, frozenset):
            if isinstance(value, base):
                return _MAKE[dict if base is Mapping else base](value)
        raise TypeError(f"DynamoDB has no type for {type(value).__name__}")
    return make(value)


def unmarshal(value: AttributeValue) -> Any:
    """One value: S str, N int or float, B bytes, BOOL, NULL None, L list, M dict, SS set of str (NS and BS
    likewise)."""
    [(kind, content)] = value.items()
    return _READ[kind](content)


def _number(value: float) -> AttributeValue:
    if not math.isfinite(value):
        raise ValueError(f"DynamoDB can't store {value}")
    return {"N": float.__repr__(value)}


def _string_set(value: Any) -> AttributeValue:
    if not value:
        raise ValueError("DynamoDB can't store an empty set: leave the attribute out")
    if not all(isinstance(member, str) for member in value):
        raise TypeError("only sets of str are stored")
    return {"SS": list(value)}


def _read_number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)


def _read_binary(content: str | bytes) -> bytes:
    """DynamoDB sends base64; botocore has decoded it already."""
    return content if isinstance(content, bytes) else base64.b64decode(content)


_MAKE: dict[type, Callable[[Any], AttributeValue]] = {
    str: lambda value: {"S": value if type(value) is str else str.__str__(value)},
    bool: lambda value: {"BOOL": value},
    int: lambda value: {"N": int.__repr__(value)},
    float: _number,
    bytes: lambda value: {"B": value},
    bytearray: lambda value: {"B": bytes(value)},
    type(None): lambda value: {"NULL": True},
    list: lambda value: {"L": [marshal(one) for one in value]},
    tuple: lambda value: {"L": [marshal(one) for one in value]},
    dict: lambda value: {"M": marshal_item(value)},
    set: _string_set,
    frozenset: _string_set,
}

_READ: dict[str, Callable[[Any], Any]] = {
    "S": lambda content: content,
    "N": _read_number,
    "B": _read_binary,
    "BOOL": lambda content: content,
    "NULL": lambda content: None,
    "L": lambda content: [unmarshal(one) for one in content],
    "M": unmarshal_item,
    "SS": set,
    "NS": lambda content: {_read_number(one) for one in content},
    "BS": lambda content: set(map(_read_binary, content)),
}
