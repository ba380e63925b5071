"""Makes ministack's Query cost what it finds, not what the partition holds.

Measured, ministack 1.5.33: it tests the key condition on each item of the partition, 35 us an item, so one Query of a
user with 1,000 notes took a second. Here each partition's sort keys are kept in order, and _query() sees only those
items that can match. All its rules (validation, filters, pages, projections) stay its own.

Executed by the interpreter of .venv-ministack; nothing of Brain2 is imported.
"""

from __future__ import annotations

import bisect
from typing import Any

# A page without a Limit ends at 1 MB; no item is smaller than its keys, so no page has more items than this.
MOST = 60_000
_LAST = "\U0010ffff"
# So many new keys are put in one by one: sorting those of a large partition after each write would be its main work.
FEW = 32


class Partition:
    """The sort keys of one partition in order. What was added is sorted in when asked for; what was removed stays
    until then."""

    def __init__(self, keys: Any) -> None:
        self._keys = sorted(keys)
        self._added: list[str] = []
        self._removed = 0

    def add(self, key: str) -> None:
        self._added.append(key)

    def remove(self) -> None:
        self._removed += 1

    def between(self, low: str | None, high: str | None, bucket: Any, most: int, backwards: bool) -> list[str]:
        """At most `most` keys of the bucket from low to high, both included, from the end when backwards."""
        if self._removed <= len(self._keys) // 2 and len(self._added) <= FEW:
            while self._added:
                bisect.insort(self._keys, self._added.pop())
        else:
            keys = {*self._keys, *self._added} & bucket.keys() if self._removed else self._keys + self._added
            self._keys = sorted(keys)
            self._added, self._removed = [], 0
        start = 0 if low is None else bisect.bisect_left(self._keys, low)
        stop = len(self._keys) if high is None else bisect.bisect_right(self._keys, high)
        order = range(stop - 1, start - 1, -1) if backwards else range(start, stop)
        found: list[str] = []
        for at in order:
            key = self._keys[at]
            if key in bucket and (not found or found[-1] != key):
                found.append(key)
                if len(found) >= most:
                    break
        return found


class Partitions:
    """The partitions that were asked about, by the identity of the dict that holds their items."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Any, Partition]] = {}

    def of(self, bucket: Any) -> Partition:
        known = self._known.get(id(bucket))
        if known is None or known[0] is not bucket:
            known = (bucket, Partition(bucket))
            self._known[id(bucket)] = known
        return known[1]

    def added(self, bucket: Any, key: str) -> None:
        known = self._known.get(id(bucket))
        if known is not None and known[0] is bucket:
            known[1].add(key)

    def removed(self, bucket: Any) -> None:
        known = self._known.get(id(bucket))
        if known is not None and known[0] is bucket:
            known[1].remove()
            if not bucket:
                del self._known[id(bucket)]  # ministack drops the dict; its identity may be used again


def install(dynamodb: Any) -> None:
    """Patch the module ministack.services.dynamodb."""
    partitions = Partitions()
    query, set_item, remove_item = dynamodb._query, dynamodb._set_item, dynamodb._remove_item

    def keep(table: Any, pk: str, sk: str, item: Any) -> Any:
        bucket = table["items"].get(pk)
        new = bucket is None or sk not in bucket
        old = set_item(table, pk, sk, item)
        if new:
            partitions.added(table["items"][pk], sk)
        return old

    def drop(table: Any, pk: str, sk: str) -> Any:
        bucket = table["items"].get(pk)
        old = remove_item(table, pk, sk)
        if old is not None:
            partitions.removed(bucket)
        return old

    def narrowed(data: Any) -> Any:
        table = dynamodb._tables.get(dynamodb._normalize_table_name(data.get("TableName")))
        asked = None if table is None else wanted(dynamodb, table, data)
        if asked is None:
            return query(data)
        pk, low, high = asked
        whole = table["items"]
        bucket = whole.get(pk)
        if not bucket:
            return query(data)
        limit = data.get("Limit")
        # One more than the limit, so that it still sees whether something follows.
        most = int(limit) + 1 if limit and "FilterExpression" not in data and "QueryFilter" not in data else MOST
        backwards = data.get("ScanIndexForward") is False
        some = {sk: bucket[sk] for sk in partitions.of(bucket).between(low, high, bucket, most, backwards)}
        with dynamodb._lock:  # the reaper of expired items must not meet the narrowed view
            table["items"] = {pk: some}
            try:
                return query(data)
            finally:
                table["items"] = whole

    dynamodb._query, dynamodb._set_item, dynamodb._remove_item = narrowed, keep, drop


def wanted(dynamodb: Any, table: Any, data: Any) -> tuple[str, str | None, str | None] | None:
    """The partition and the range of sort keys that a Query is about; None when that isn't plain: then nothing changes.

    The range may be wider than the condition, never narrower.
    """
    condition, sk_name = data.get("KeyConditionExpression"), table.get("sk_name")
    if not condition or data.get("IndexName") or not sk_name or dynamodb._get_attr_type(table, sk_name) != "S":
        return None
    names, values = data.get("ExpressionAttributeNames", {}), data.get("ExpressionAttributeValues", {})
    pk: str | None = None
    low: str | None = None
    high: str | None = None
    try:
        for clause in dynamodb._key_condition_clauses(dynamodb._tokenize(condition)):
            words = [text for kind, text in clause if kind not in ("LPAREN", "RPAREN", "COMMA")]
            begins = words[0].lower() == "begins_with"
            name, *rest = words[1:] if begins else words
            name = names.get(name, name)
            operands = [values[word]["S"] for word in rest if word.startswith(":")]
            operator = "begins" if begins else rest[0].upper()
            if name == table["pk_name"] and operator == "=":
                pk = operands[0]
            elif name != sk_name:
                return None
            elif operator == "BETWEEN":
                low, high = operands
            elif operator == "begins":
                low, high = operands[0], operands[0] + _LAST
            elif operator in ("=", ">", ">="):
                low, high = operands[0], operands[0] if operator == "=" else None
            elif operator in ("<", "<="):
                high = operands[0]
            else:
                return None
        if pk is None:
            return None
        start = data.get("ExclusiveStartKey")
        if start:
            at = start[sk_name]["S"]
            if data.get("ScanIndexForward") is False:
                high = at if high is None else min(high, at)
            else:
                low = at if low is None else max(low, at)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        return None  # ministack finds the right words for what is wrong with it
    return pk, low, high
