"""The id of a call: the caller's if it is one, else one that all lines of the call share."""

import asyncio

import pytest

from shared import request_id
from shared.request_id import RequestId


def test_the_callers_id_is_used() -> None:
    assert str(RequestId([("traceparent", "x"), ("x-request-id", "abc-1")])) == "abc-1"


@pytest.mark.parametrize("given", ["", "two words", "x" * 129, "line\nbreak"])
def test_what_is_no_id_is_replaced(given: str) -> None:
    drawn = RequestId([("x-request-id", given)])
    assert len(str(drawn)) == 16
    assert str(drawn) == str(drawn)
    assert str(drawn) != str(RequestId())


async def test_all_tasks_of_a_call_share_the_id_and_hand_it_on() -> None:
    async def child() -> dict[str, str]:
        return request_id.inject()

    assert request_id.inject() == {}
    before = request_id.current.set(RequestId())
    try:
        first = await asyncio.create_task(child())
        assert first == request_id.inject() == await asyncio.create_task(child())
    finally:
        request_id.current.reset(before)
