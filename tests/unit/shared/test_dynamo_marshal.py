"""Values to DynamoDB's JSON and back: what goes in comes out."""

import enum
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.dynamo.marshal import marshal, marshal_item, unmarshal, unmarshal_item

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**37), 10**37),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(),
    st.binary(),
    st.sets(st.text(), min_size=1),
)
values = st.recursive(
    scalars, lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)), max_leaves=20
)


@given(st.dictionaries(st.text(min_size=1), values))
def test_what_goes_in_comes_out_with_its_type(item: dict[str, Any]) -> None:
    back = unmarshal_item(marshal_item(item))
    assert back == item
    assert repr(back) == repr(item) or any(isinstance(value, set) for value in _all(item))


def _all(value: Any) -> list[Any]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [value, *(deeper for one in inner for deeper in _all(one))]


@pytest.mark.parametrize(
    ("value", "marshalled"),
    [
        ("a", {"S": "a"}),
        (True, {"BOOL": True}),
        (12345678901234567890, {"N": "12345678901234567890"}),
        (0.1, {"N": "0.1"}),
        (1e-7, {"N": "1e-07"}),
        (b"\x00", {"B": b"\x00"}),
        (None, {"NULL": True}),
        ((1, "x"), {"L": [{"N": "1"}, {"S": "x"}]}),
        ({"a": {"b": 1}}, {"M": {"a": {"M": {"b": {"N": "1"}}}}}),
        ({"x"}, {"SS": ["x"]}),
    ],
)
def test_each_type_has_its_letter(value: Any, marshalled: Any) -> None:
    assert marshal(value) == marshalled


def test_a_whole_float_comes_back_as_an_int() -> None:
    # DynamoDB stores the number, not how it was written, and answers "3".
    assert unmarshal({"N": "3"}) == 3
    assert isinstance(unmarshal({"N": "3"}), int)


def test_subclasses_are_stored_as_what_they_are() -> None:
    class Colour(enum.IntEnum):
        RED = 4

    class Name(enum.StrEnum):
        ANNA = "anna"

    class Weight(float):
        def __repr__(self) -> str:
            return "Weight!"

    assert [marshal(one) for one in (Colour.RED, Name.ANNA, Weight(0.5))] == [{"N": "4"}, {"S": "anna"}, {"N": "0.5"}]


@pytest.mark.parametrize("value", [math.nan, math.inf, set()])
def test_what_dynamodb_refuses_is_refused_here(value: Any) -> None:
    with pytest.raises(ValueError, match="can't store"):
        marshal(value)


@pytest.mark.parametrize("value", [object(), {1, 2}, 3j])
def test_a_type_without_a_letter_is_a_type_error(value: Any) -> None:
    with pytest.raises(TypeError):
        marshal(value)
