"""The budget of an answer, and arguments that no tool may see."""

import json

import mcp_types as types
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.mcp.budget import MAX_ANSWER_BYTES, MAX_WEIGHT, fitting, piece, weight
from clients.mcp.server import _problem


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1), st.integers(8, 200))
def test_the_pieces_of_a_text_are_the_text_and_each_fits(text: str, budget: int) -> None:
    start, found = 0, []
    while start < len(text):
        part = piece(text, start, budget)
        assert part
        assert weight(part) <= budget or len(part) == 1
        found.append(part)
        start += len(part)
    assert "".join(found) == text


@pytest.mark.parametrize("text", ["x" * 20_000, '"\\' * 10_000, "𝄞" * 10_000, "\x00" * 10_000])
def test_an_answer_of_full_weight_is_within_the_limit(text: str) -> None:
    answer = {"text": piece(text, 0, MAX_WEIGHT)}
    result = types.CallToolResult(
        content=[types.TextContent(type="text", text=json.dumps(answer, ensure_ascii=False))], structured_content=answer
    )
    assert len(result.model_dump_json(by_alias=True, exclude_none=True).encode()) <= MAX_ANSWER_BYTES


def test_items_are_taken_in_their_order_while_they_fit() -> None:
    assert fitting(["a", "b" * 50, "c"], 60) == ["a"]
    assert fitting([], 10) == []


def test_wrong_arguments_are_named() -> None:
    assert _problem("read_note", {"id": "a"}) == ""
    assert "id" in _problem("read_note", {})
    assert "limit" in _problem("search_notes", {"query": "a", "limit": 0})
    assert "surrogate" in _problem("write_note", {"title": "\ud800"})
    assert _problem("write_note", {"title": "a", "owner": "x"}).isprintable()
