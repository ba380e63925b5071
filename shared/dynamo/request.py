"""Builds requests: pure functions from plain values to DynamoDB's JSON."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from shared.dynamo.marshal import marshal, marshal_item, unmarshal_item
from shared.dynamo.model import Check, Condition, Delete, Item, Key, Op, Put, Update
from shared.resilience.slices import in_slices

Request = dict[str, Any]

# U+10FFFF is no character and the last of all: text that starts with a prefix is at most prefix + this.
_LAST = "\U0010ffff"


def key_of(key: Key) -> Request:
    return {"PK": {"S": key[0]}, "SK": {"S": key[1]}}


def add_condition(request: Request, condition: Condition | None) -> Request:
    """Put a condition, its names and its values into a request that may have names and values of its own."""
    if condition is not None:
        request["ConditionExpression"] = condition.expression
        _add(request, "ExpressionAttributeNames", condition.names)
        _add(request, "ExpressionAttributeValues", marshal_item(condition.values))
        request["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
    return request


def add_projection(request: Request, attributes: Sequence[str] | None, always: Iterable[str] = ()) -> Request:
    """Ask for these attributes only (top level), by placeholder: many plain words are reserved in expressions."""
    if attributes is not None:
        wanted = {f"#p{i}": name for i, name in enumerate(dict.fromkeys((*always, *attributes)))}
        request["ProjectionExpression"] = ", ".join(wanted)
        _add(request, "ExpressionAttributeNames", wanted)
    return request


def _add(request: Request, name: str, more: Mapping[str, Any]) -> None:
    if more:
        there = request.setdefault(name, {})
        clash = [key for key in more if key in there and there[key] != more[key]]
        if clash:
            raise ValueError(f"{name}: {', '.join(clash)} means two things in one operation")
        there.update(more)


def update_request(update: Update) -> Request:
    request: Request = {"Key": key_of(update.key), "UpdateExpression": update.expression}
    _add(request, "ExpressionAttributeNames", update.names)
    _add(request, "ExpressionAttributeValues", marshal_item(update.values))
    return add_condition(request, update.condition)


def transact_item(table: str, op: Op) -> Request:
    """One element of TransactItems."""
    match op:
        case Put():
            return {"Put": add_condition({"TableName": table, "Item": marshal_item(op.item)}, op.condition)}
        case Delete():
            return {"Delete": add_condition({"TableName": table, "Key": key_of(op.key)}, op.condition)}
        case Check():
            return {"ConditionCheck": add_condition({"TableName": table, "Key": key_of(op.key)}, op.condition)}
        case Update():
            return {"Update": {"TableName": table, **update_request(op)}}


def op_key(op: Op) -> Key:
    return (op.item["PK"], op.item["SK"]) if isinstance(op, Put) else op.key


def just_after(text: str) -> str:
    """The first text that sorts after `text`."""
    return text + "\0"


def just_before(text: str) -> str:
    """The last text that sorts before `text`, save for what contains U+10FFFF, which no key does."""
    last = ord(text[-1])
    if last == 0:
        return text[:-1]
    # Skip the surrogates: they aren't text.
    return text[:-1] + chr(0xD7FF if last == 0xE000 else last - 1) + _LAST


def sort_range(
    begins_with: str | None, between: tuple[str, str] | None, after: str | None, before: str | None
) -> tuple[str | None, str | None]:
    """All conditions on the sort key as one inclusive range (None = open); the end may be before the start.

    DynamoDB takes one condition on the sort key, and an ExclusiveStartKey must lie inside it; one range
    fulfils both. Text of code points sorts as its UTF-8 bytes do, which is DynamoDB's order.
    """
    lows = [begins_with] if begins_with else []
    highs = [begins_with + _LAST] if begins_with else []
    if between is not None:
        lows.append(between[0])
        highs.append(between[1])
    if after is not None:
        lows.append(just_after(after))
    if before:
        highs.append(just_before(before))
    return max(lows, default=None), min(highs, default=None)


def query_request(
    pk: str,
    *,
    key_names: tuple[str, str],
    begins_with: str | None,
    between: tuple[str, str] | None,
    after: str | None,
    before: str | None,
    index: str | None,
    descending: bool,
    limit: int | None,
    start: Item | None,
    consistent: bool,
    attributes: Sequence[str] | None,
    count: bool,
) -> Request | None:
    """The parameters of Query without TableName; None when the range is empty and there is nothing to ask."""
    if before == "":
        return None  # nothing sorts before the empty text
    low, high = sort_range(begins_with, between, after, before)
    if low is not None and high is not None and low > high:
        return None
    expression = "#pk = :pk"
    names, values = {"#pk": key_names[0]}, {":pk": marshal(pk)}
    if low is not None and high is not None:
        expression += " AND #sk BETWEEN :low AND :high"
        values |= {":low": marshal(low), ":high": marshal(high)}
    elif low is not None:
        expression += " AND #sk >= :low"
        values[":low"] = marshal(low)
    elif high is not None:
        expression += " AND #sk <= :high"
        values[":high"] = marshal(high)
    if len(values) > 1:
        names["#sk"] = key_names[1]
    request: Request = {
        "KeyConditionExpression": expression,
        "ExpressionAttributeNames": names,
        "ExpressionAttributeValues": values,
        "ScanIndexForward": not descending,
        "ConsistentRead": consistent,
    }
    if index is not None:
        request["IndexName"] = index
    if limit is not None:
        request["Limit"] = limit
    if start is not None:
        request["ExclusiveStartKey"] = marshal_item(start)
    if count:
        request["Select"] = "COUNT"
    else:
        add_projection(request, attributes)
    return request


async def page_of(answer: Mapping[str, Any]) -> tuple[list[Item], Item | None]:
    """The items of an answer to Query, and the key that the next page starts after."""
    last = answer.get("LastEvaluatedKey")
    items = await in_slices(unmarshal_item, answer.get("Items", ()))
    return items, unmarshal_item(last) if last else None
