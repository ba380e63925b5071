"""Keeps each answer small: a model reads all of it, and pays for it. What does not fit is reached by a cursor."""

import json
from collections.abc import Iterable
from typing import Any

# The whole result of a tool, which holds its JSON twice: as structured content, and as text for older clients.
MAX_ANSWER_BYTES = 32_000
# What the parts of an answer may weigh together; the rest is for the envelope.
MAX_WEIGHT = 30_000


def weight(value: Any) -> int:
    """The bytes of a value in a result: its JSON, and the same JSON as a text within JSON."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return len(text.encode()) + len(json.dumps(text, ensure_ascii=False).encode())


def fitting(items: Iterable[Any], budget: int) -> list[Any]:
    """The first items that fit together into a budget of weight."""
    found, used = [], 0
    for item in items:
        used += weight(item) + 2
        if used > budget:
            break
        found.append(item)
    return found


def piece(text: str, start: int, budget: int) -> str:
    """The longest part of the text from start on that fits into a budget of weight; at least one character."""
    low, high = 1, max(1, min(len(text) - start, budget))
    while low < high:
        middle = (low + high + 1) // 2
        if weight(text[start : start + middle]) <= budget:
            low = middle
        else:
            high = middle - 1
    return text[start : start + low]
