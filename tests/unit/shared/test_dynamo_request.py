"""Requests: one condition on the sort key out of all that may be said about it, names and values that don't collide."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.dynamo import ABSENT, Check, Condition, Delete, Put, Update
from shared.dynamo.request import add_projection, just_after, just_before, query_request, sort_range, transact_item

keys = st.text("#-.09AZaz_é\U0001f600", max_size=4)
some = st.one_of(st.none(), keys)


def says(key: str, prefix: str | None, between: tuple[str, str] | None, after: str | None, before: str | None) -> bool:
    return (
        key.startswith(prefix or "")
        and (between is None or between[0] <= key <= between[1])
        and (after is None or key > after)
        and (before is None or key < before)
    )


@given(st.lists(keys, min_size=20), some, st.one_of(st.none(), st.tuples(keys, keys)), some, some)
def test_the_range_holds_exactly_the_keys_that_were_asked_for(
    stored: list[str], prefix: str | None, between: tuple[str, str] | None, after: str | None, before: str | None
) -> None:
    if before == "":
        return  # nothing is before the empty text: query_request answers that by itself
    low, high = sort_range(prefix, between, after, before)
    for key in [*stored, prefix or "a", after or "a", before or "a"]:
        within = (low is None or low.encode() <= key.encode()) and (high is None or key.encode() <= high.encode())
        assert within == says(key, prefix, between, after, before), key


@given(st.text(min_size=1, max_size=5).filter(lambda text: "\U0010ffff" not in text), keys)
def test_just_before_and_just_after_leave_nothing_between(text: str, other: str) -> None:
    assert just_before(text).encode() < text.encode() < just_after(text).encode()
    assert not just_before(text).encode() < other.encode() < text.encode()
    assert not text.encode() < other.encode() < just_after(text).encode()


def ask(**said: object) -> dict[str, object] | None:
    given = {
        "key_names": ("PK", "SK"),
        "begins_with": None,
        "between": None,
        "after": None,
        "before": None,
        "index": None,
        "descending": False,
        "limit": None,
        "start": None,
        "consistent": False,
        "attributes": None,
        "count": False,
        **said,
    }
    return query_request("p", **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("said", "condition"),
    [
        ({}, "#pk = :pk"),
        ({"begins_with": "KW#"}, "#pk = :pk AND #sk BETWEEN :low AND :high"),
        ({"after": "a"}, "#pk = :pk AND #sk >= :low"),
        ({"before": "a"}, "#pk = :pk AND #sk <= :high"),
        ({"between": ("a", "b")}, "#pk = :pk AND #sk BETWEEN :low AND :high"),
        ({"begins_with": "KW#", "after": "KW#b"}, "#pk = :pk AND #sk BETWEEN :low AND :high"),
    ],
)
def test_there_is_one_condition_on_the_sort_key_at_most(said: dict[str, object], condition: str) -> None:
    request = ask(**said)
    assert request is not None
    assert request["KeyConditionExpression"] == condition


@pytest.mark.parametrize("said", [{"after": "b", "before": "a"}, {"begins_with": "a", "after": "b"}, {"before": ""}])
def test_an_empty_range_is_not_asked_for(said: dict[str, object]) -> None:
    assert ask(**said) is None


def test_reserved_words_are_asked_for_by_placeholder() -> None:
    request = add_projection({"ExpressionAttributeNames": {"#pk": "PK"}}, ["name", "size", "name"], ("PK",))
    assert request["ProjectionExpression"] == "#p0, #p1, #p2"
    assert request["ExpressionAttributeNames"] == {"#pk": "PK", "#p0": "PK", "#p1": "name", "#p2": "size"}


def test_each_operation_of_a_transaction_carries_its_condition_and_asks_for_the_item_that_failed_it() -> None:
    key, condition = ("p", "s"), Condition("#v = :v", {"#v": "version"}, {":v": 3})
    made = [
        transact_item("T", op)
        for op in (
            Put({"PK": "p", "SK": "s"}, ABSENT),
            Delete(key, condition),
            Check(key, condition),
            Update(key, "SET #t = :t", {"#t": "title"}, {":t": "x"}, condition),
        )
    ]
    assert [next(iter(one)) for one in made] == ["Put", "Delete", "ConditionCheck", "Update"]
    for one in made:
        [inner] = one.values()
        assert inner["TableName"] == "T"
        assert inner["ReturnValuesOnConditionCheckFailure"] == "ALL_OLD"
    assert made[3]["Update"]["ExpressionAttributeNames"] == {"#t": "title", "#v": "version"}
    assert made[3]["Update"]["ExpressionAttributeValues"] == {":t": {"S": "x"}, ":v": {"N": "3"}}


def test_one_placeholder_for_two_things_is_refused() -> None:
    with pytest.raises(ValueError, match=":v"):
        transact_item("T", Update(("p", "s"), "SET a = :v", {}, {":v": 1}, Condition("a = :v", {}, {":v": 2})))
