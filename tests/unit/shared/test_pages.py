"""Page tokens come back as they were, work for their own request only, and never crash the server."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidArgument
from shared.pages import decode_token, encode_token, fingerprint

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_what_goes_in_comes_out(state: dict[str, Any]) -> None:
    mine = fingerprint("ListNodes", "ann", 7)
    token = encode_token(mine, state)
    assert decode_token(mine, token) == state
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def test_no_token_is_the_first_page() -> None:
    assert decode_token(fingerprint("x"), "") is None


def test_a_token_of_another_request_is_refused() -> None:
    token = encode_token(fingerprint("ListNodes", "ann"), {"after": "n1"})
    with pytest.raises(InvalidArgument, match="belongs to another request") as caught:
        decode_token(fingerprint("ListNodes", "bob"), token)
    assert caught.value.reason == "PAGE_TOKEN_INVALID"
    assert [each.field for each in caught.value.violations] == ["page_token"]


def test_parts_are_kept_apart() -> None:
    assert fingerprint("a", "bc") != fingerprint("ab", "c")
    assert fingerprint("1") != fingerprint(1)


@given(st.text(min_size=1, max_size=50))
def test_garbage_is_refused(token: str) -> None:
    with pytest.raises(InvalidArgument, match="not one of ours"):
        decode_token(fingerprint("x"), token)


@pytest.mark.parametrize(
    "content",
    [b"", b"null", b"[]", b'[1,"x"]', b'[9,"f",{}]', b'[1,"f",[]]', b'{"1":2}', b"\xff", b"[" * 3000, b"1" * 5000],
)
def test_well_formed_base64_of_something_else_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidArgument):
        decode_token("f", base64.urlsafe_b64encode(content).decode().rstrip("=") or "=")


def test_every_cut_of_a_token_is_refused() -> None:
    token = encode_token("f", {"after": "n1", "weight": 0.5})
    for length in range(1, len(token)):
        with pytest.raises(InvalidArgument):
            decode_token("f", token[:length])


def test_a_token_says_nothing_that_json_would_not() -> None:
    with pytest.raises(TypeError):
        encode_token("f", {"key": b"bytes"})
    assert json.loads(base64.urlsafe_b64decode(encode_token("f", {"a": 1}) + "==")) == [1, "f", {"a": 1}]
