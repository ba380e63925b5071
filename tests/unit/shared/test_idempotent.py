"""Which requests are the same one."""

import pytest

from protos.node.v1 import node_pb2
from shared.errors import InvalidArgument
from shared.idempotent import IdempotentRequest


def message(title: str = "a", **fields: str) -> node_pb2.CreateNodeRequest:
    given = {"user_id": "u", "request_id": "r"} | fields
    return node_pb2.CreateNodeRequest(node=node_pb2.NewNode(title=title), **given)


def test_equal_requests_are_equal_but_for_their_owner() -> None:
    one, two = IdempotentRequest.of("CreateNode", message()), IdempotentRequest.of("CreateNode", message())
    assert one is not None
    assert two is not None
    assert one == two
    assert one.owner != two.owner


def test_another_body_or_method_has_another_fingerprint() -> None:
    arrivals = [("CreateNode", message()), ("CreateNode", message("b")), ("UpdateNode", message())]
    assert len({IdempotentRequest.of(method, body) for method, body in arrivals}) == 3


def test_a_request_without_an_id_is_no_idempotent_request() -> None:
    assert IdempotentRequest.of("CreateNode", message(request_id="", user_id="")) is None


@pytest.mark.parametrize(("field", "value"), [("user_id", ""), ("user_id", "a#b"), ("request_id", "a#b")])
def test_a_malformed_id_is_refused_under_the_name_of_its_field(field: str, value: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        IdempotentRequest.of("CreateNode", message(**{field: value}))
    assert [each.field for each in caught.value.violations] == [field]
