"""Whatever a caller sends as a token either decodes to a state within its bounds or is refused with the right field."""

import base64
import json
import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.errors import InvalidArgument
from shared.tokens import (
    CONSISTENCY,
    MAX_TOKEN_LENGTH,
    NODE_ID,
    PAGE,
    RESUME,
    Field,
    Integer,
    ListOf,
    Real,
    Text,
    TokenCodec,
    TokenKind,
    TokenSecret,
    fingerprint,
)

State = tuple[int, float, str, list[int] | None]
FIELDS: dict[str, Field] = {
    "t": Integer(0, 1000),
    "s": Real(-5.0, 5.0),
    "n": NODE_ID,
    "l": ListOf(Integer(0, 9), 3, optional=True),
}
BOUND = fingerprint("ListNodes", "ann", 7)
VALUES = st.tuples(
    st.integers(0, 1000),
    st.floats(-5.0, 5.0),
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True),
    st.none() | st.lists(st.integers(0, 9), max_size=3),
)


def codec(*secrets: bytes, kind: TokenKind = PAGE) -> TokenCodec[State]:
    return TokenCodec(kind, lambda *values: values, FIELDS, secret=TokenSecret(secrets))


def token_of(value: Any) -> str:
    body = value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(body).decode().rstrip("=")


def is_valid(state: State) -> bool:
    t, s, n, numbers = state
    return (
        type(t) is int
        and 0 <= t <= 1000
        and type(s) is float
        and -5.0 <= s <= 5.0
        and type(n) is str
        and 1 <= len(n) <= 64
        and (numbers is None or (len(numbers) <= 3 and all(type(each) is int and 0 <= each <= 9 for each in numbers)))
    )


def check(codec: TokenCodec[State], token: str) -> None:
    """The property: a valid state whose token is this one, or InvalidArgument."""
    refused: InvalidArgument | None = None
    state = None
    try:
        state = codec.decode(BOUND, token)
    except InvalidArgument as error:
        refused = error
    if refused is not None:
        assert refused.reason == "PAGE_TOKEN_INVALID"
        assert [each.field for each in refused.violations] == ["page_token"]
    elif state is None:
        assert token == ""
    else:
        assert is_valid(state)
        assert codec.encode(BOUND, *state) == token


@given(VALUES, st.sampled_from([(), (b"secret",)]))
def test_what_goes_in_comes_out(values: State, secrets: tuple[bytes, ...]) -> None:
    token = codec(*secrets).encode(BOUND, *values)
    assert codec(*secrets).decode(BOUND, token) == values
    assert token.replace("-", "").replace("_", "").replace(".", "").isalnum()


@given(st.text(max_size=200))
@example("=")
@example("A" * (MAX_TOKEN_LENGTH + 1))
@example("\ud800")
def test_any_text_is_valid_or_refused(token: str) -> None:
    check(codec(), token)
    check(codec(b"secret"), token)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("tsnl"), inner, max_size=4),
    max_leaves=8,
)


@given(st.fixed_dictionaries(dict.fromkeys(FIELDS, JSON)))
def test_any_state_is_valid_or_refused(state: dict[str, Any]) -> None:
    check(codec(), token_of([1, BOUND, state]))


@given(VALUES, st.booleans(), st.data())
def test_any_mutation_of_a_token_is_valid_or_refused(values: State, signed: bool, data: st.DataObject) -> None:
    tested = codec(b"secret") if signed else codec()
    token = tested.encode(BOUND, *values)
    at = data.draw(st.integers(0, len(token)))
    until = data.draw(st.integers(at, min(at + 3, len(token))))
    mutated = token[:at] + data.draw(st.text("ABCxyz019-_.+/=é\n", max_size=3)) + token[until:]
    check(tested, mutated)
    if signed and mutated not in ("", token):
        with pytest.raises(InvalidArgument):
            tested.decode(BOUND, mutated)


@given(VALUES, st.booleans(), st.data())
def test_any_mutation_of_the_json_is_valid_or_refused(values: State, signed: bool, data: st.DataObject) -> None:
    token = codec().encode(BOUND, *values)
    body = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    at = data.draw(st.integers(0, len(body)))
    until = data.draw(st.integers(at, min(at + 3, len(body))))
    check(
        codec(b"secret") if signed else codec(), token_of(body[:at] + data.draw(st.binary(max_size=3)) + body[until:])
    )


GOOD = {"t": 1, "s": 0.5, "n": "n1", "l": [1]}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[" * 3000,
        b"1" * 3000,
        b"\xff",
        [1, BOUND],
        [2, BOUND, GOOD],
        [True, BOUND, GOOD],
        [1, 7, GOOD],
        [1, BOUND, [GOOD]],
        [1, BOUND, GOOD | {"t": "1"}],
        [1, BOUND, GOOD | {"t": 1.0}],
        [1, BOUND, GOOD | {"t": True}],
        [1, BOUND, GOOD | {"t": -1}],
        [1, BOUND, GOOD | {"t": 1001}],
        [1, BOUND, GOOD | {"s": 1}],
        [1, BOUND, GOOD | {"s": math.nan}],
        [1, BOUND, GOOD | {"s": math.inf}],
        [1, BOUND, GOOD | {"s": 5.5}],
        [1, BOUND, GOOD | {"n": None}],
        [1, BOUND, GOOD | {"n": ""}],
        [1, BOUND, GOOD | {"n": "a#b"}],
        [1, BOUND, GOOD | {"n": "n" * 65}],
        [1, BOUND, GOOD | {"l": [1, 2, 3, 4]}],
        [1, BOUND, GOOD | {"l": ["1"]}],
        [1, BOUND, GOOD | {"l": {}}],
        [1, BOUND, GOOD | {"x": 1}],
        [1, BOUND, {"t": 1}],
        [1, BOUND, {"s": 0.5, "t": 1, "n": "n1", "l": [1]}],
        f'[1,"{BOUND}",{{"t":1,"s":0.50,"n":"n1","l":[1]}}]'.encode(),
        f'[1, "{BOUND}",{{"t":1,"s":0.5,"n":"n1","l":[1]}}]'.encode(),
        f'[1,"{BOUND}",{{"t":1,"t":1,"s":0.5,"n":"n1","l":[1]}}]'.encode(),
    ],
)
def test_a_state_that_was_never_encoded_is_refused(content: Any) -> None:
    assert codec().decode(BOUND, token_of([1, BOUND, GOOD])) == (1, 0.5, "n1", [1])
    with pytest.raises(InvalidArgument, match="is not readable, must be empty or what an earlier answer gave"):
        codec().decode(BOUND, token_of(content) or "=")


def test_a_text_that_is_not_unicode_is_refused() -> None:
    tokens = TokenCodec(PAGE, str, {"n": Text(5)}, secret=TokenSecret())
    with pytest.raises(ValueError, match="can't hold"):
        tokens.encode("f", "\ud800")
    with pytest.raises(InvalidArgument):
        tokens.decode("f", token_of(b'[1,"f",{"n":"\\ud800"}]'))


def test_every_cut_of_a_token_is_refused() -> None:
    for tested in (codec(), codec(b"secret")):
        token = tested.encode(BOUND, 1, 0.5, "n1", None)
        for length in range(1, len(token)):
            with pytest.raises(InvalidArgument):
                tested.decode(BOUND, token[:length])


def test_no_token_is_the_first_page() -> None:
    assert codec().decode(BOUND, "") is None


def test_a_token_of_another_request_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="belongs to another request") as caught:
        codec().decode(fingerprint("ListNodes", "bob", 7), codec().encode(BOUND, 1, 0.5, "n1", None))
    assert caught.value.reason == "PAGE_TOKEN_INVALID"


@pytest.mark.parametrize(
    ("kind", "field", "reason"),
    [
        (PAGE, "page_token", "PAGE_TOKEN_INVALID"),
        (RESUME, "resume_token", "RESUME_TOKEN_INVALID"),
        (CONSISTENCY, "consistency_token", "CONSISTENCY_TOKEN_INVALID"),
    ],
)
def test_the_error_names_the_field_and_the_reason_of_its_kind(kind: TokenKind, field: str, reason: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        codec(kind=kind).decode(BOUND, "garbage")
    assert (caught.value.reason, [each.field for each in caught.value.violations]) == (reason, [field])


def test_what_make_refuses_is_refused() -> None:
    def make(number: int) -> int:
        raise ValueError(number)

    tokens = TokenCodec(PAGE, make, {"n": Integer(0, 9)}, secret=TokenSecret())
    with pytest.raises(InvalidArgument, match="is not readable, must be empty or what an earlier answer gave"):
        tokens.decode("f", tokens.encode("f", 1))


@pytest.mark.parametrize("values", [(-1, 0.5, "n1", None), (1, math.nan, "n1", None), (1, 0.5, "a b", None)])
def test_nothing_is_encoded_that_would_be_refused_later(values: State) -> None:
    with pytest.raises(ValueError, match="can't hold"):
        codec().encode(BOUND, *values)


def test_with_a_secret_only_signed_tokens_pass_and_without_one_only_unsigned() -> None:
    plain, signed = codec().encode(BOUND, 1, 0.5, "n1", None), codec(b"a").encode(BOUND, 1, 0.5, "n1", None)
    for tested, token in ((codec(b"a"), plain), (codec(), signed), (codec(b"b"), signed)):
        with pytest.raises(InvalidArgument, match="is not readable, must be empty or what an earlier answer gave"):
            tested.decode(BOUND, token)


def test_an_older_secret_still_verifies() -> None:
    token = codec(b"old").encode(BOUND, 1, 0.5, "n1", None)
    assert codec(b"new", b"old").decode(BOUND, token) == (1, 0.5, "n1", None)
    assert codec(b"new", b"old").encode(BOUND, 1, 0.5, "n1", None) != token


def test_the_secret_is_a_list_separated_by_commas() -> None:
    secret = TokenSecret()
    assert secret.sign(b"x") is None
    secret.set("new, old,")
    assert secret.sign(b"x") == TokenSecret([b"new"]).sign(b"x")
    assert secret.verifies(b"x", TokenSecret([b"old"]).sign(b"x"))


def test_parts_of_a_fingerprint_are_kept_apart() -> None:
    assert fingerprint("a", "bc") != fingerprint("ab", "c")
    assert fingerprint("1") != fingerprint(1)
