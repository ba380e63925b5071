"""A note as bytes and back, whole and by its head alone."""

import string
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.node_service.adapters import codec
from services.node_service.model import Cascade, Node, Title, text
from shared.errors import DataLoss

_WORDS = st.text(max_size=120)
_TIMES = st.integers(0, 9_999_999_999_999)
_IDS = st.text(string.ascii_letters, min_size=1, max_size=64)
_NODES = st.builds(
    lambda content, **rest: Node(**rest, **text(content)),
    user_id=_IDS,
    node_id=_IDS,
    title=_WORDS,
    version=st.integers(1, 2**62),
    incarnation=_TIMES,
    create_ms=_TIMES,
    update_ms=_TIMES,
    delete_ms=st.none() | _TIMES,
    purge_ms=st.none() | _TIMES,
    tags=st.lists(_WORDS).map(tuple),
    metadata=st.dictionaries(_WORDS, _WORDS),
    cascade=st.sampled_from(Cascade),
    fenced=st.booleans(),
    content=st.text(),
)


@given(_NODES)
def test_there_and_back(node: Node) -> None:
    data = codec.encode(node)
    assert codec.decode(node.user_id, node.node_id, data) == node
    assert codec.decode(node.user_id, node.node_id, codec.encode(node.summary())) == node.summary()
    title = codec.decode_title(node.user_id, node.node_id, data[: codec.HEAD_BYTES])
    assert title == Title(**{name: getattr(node, name) for name in Title.__dataclass_fields__})


@pytest.mark.parametrize("damage", [b"", b"\x02", b"garbage" * 20])
def test_damage_is_noticed(damage: bytes) -> None:
    with pytest.raises(DataLoss):
        codec.decode("u", "n", damage)


def test_another_form_is_not_guessed_at() -> None:
    node = Node(user_id="u", node_id="n", title="", version=1, incarnation=1, create_ms=1, update_ms=1, **text("x"))
    data = codec.encode(replace(node, title="T"))
    with pytest.raises(DataLoss):
        codec.decode("u", "n", b"\x02" + data[1:])
    with pytest.raises(DataLoss):
        codec.decode("u", "n", data[:60])
