"""DynamoDB's rules for the size of an item and for the units that a request consumes.

Sizes are bytes. Items are in the form of DynamoDB's JSON: attribute name -> {type: value}.
"""

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

AttributeValue = Mapping[str, Any]
Attributes = Mapping[str, AttributeValue]

WRITE_UNIT = 1024
READ_UNIT = 4096
TABLE_KEY = ("PK", "SK")


@dataclass(frozen=True, slots=True)
class Index:
    """A secondary index. key: its key attributes; projected: the others that it holds, None for all."""

    name: str
    key: tuple[str, str]
    projected: frozenset[str] | None

    def entry(self, item: Attributes | None) -> dict[str, AttributeValue] | None:
        """What the index holds of an item; None when the item lacks a key attribute of the index."""
        if item is None or any(name not in item for name in self.key):
            return None
        if self.projected is None:
            return dict(item)
        kept = {*TABLE_KEY, *self.key, *self.projected}
        return {name: value for name, value in item.items() if name in kept}


def indexes_of(definition: Mapping[str, Any]) -> list[Index]:
    """The indexes of a table, from the parameters of CreateTable."""
    found = []
    for each in definition.get("GlobalSecondaryIndexes", ()):
        roles = {part["KeyType"]: part["AttributeName"] for part in each["KeySchema"]}
        projection = each["Projection"]
        projected = None if projection["ProjectionType"] == "ALL" else frozenset(projection.get("NonKeyAttributes", ()))
        found.append(Index(each["IndexName"], (roles["HASH"], roles["RANGE"]), projected))
    return found


def item_size(item: Attributes) -> int:
    """Names and values."""
    return sum(len(name.encode()) + _value_size(value) for name, value in item.items())


def write_units(size: int) -> int:
    """Of one plain write of an item of this size."""
    return max(1, math.ceil(size / WRITE_UNIT))


def read_units(size: int, *, consistent: bool) -> float:
    """Of one read of so many bytes; at least one unit, or a half when it is eventually consistent."""
    units = max(1, math.ceil(size / READ_UNIT))
    return float(units) if consistent else units / 2


def table_write(before: Attributes | None, after: Attributes | None, *, transaction: bool) -> int:
    """Units of the table for one write: by the larger of the two images, double in a transaction."""
    size = max(item_size(each) if each else 0 for each in (before, after))
    return write_units(size) * (2 if transaction else 1)


def index_write(index: Index, before: Attributes | None, after: Attributes | None) -> int:
    """Units of an index for one write of the table. Indexes follow a transaction at the price of plain writes."""
    old, new = index.entry(before), index.entry(after)
    if old == new:
        return 0
    if old is None or new is None:
        return write_units(item_size(old or new or {}))
    if any(old[name] != new[name] for name in index.key):
        # The entry moves: one write removes it and another one puts it.
        return write_units(item_size(old)) + write_units(item_size(new))
    return write_units(max(item_size(old), item_size(new)))


def _value_size(value: AttributeValue) -> int:
    ((kind, content),) = value.items()
    match kind:
        case "S":
            return len(content.encode())
        case "N":
            return _number_size(content)
        case "B":
            return len(base64.b64decode(content))
        case "BOOL" | "NULL":
            return 1
        case "L":
            return 3 + sum(1 + _value_size(each) for each in content)
        case "M":
            return 3 + sum(1 + len(name.encode()) + _value_size(each) for name, each in content.items())
        case "SS":
            return sum(len(each.encode()) for each in content)
        case "NS":
            return sum(map(_number_size, content))
        case "BS":
            return sum(len(base64.b64decode(each)) for each in content)
    raise ValueError(f"an unknown type of attribute: {kind}")


def _number_size(text: str) -> int:
    """About a byte for two significant digits, and one more; another one for a sign."""
    mantissa = text.lower().partition("e")[0]
    digits = mantissa.lstrip("-+").replace(".", "").strip("0")
    return math.ceil(len(digits) / 2) + 1 + mantissa.startswith("-")
