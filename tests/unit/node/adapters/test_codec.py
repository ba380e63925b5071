"""A note as bytes and back, whole and by its head alone; bytes of older and of newer releases."""

import json
import string
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.node_service.adapters import codec
from services.node_service.model import Cascade, Node, Summary, Title, text
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
    assert codec.decode(data) == node
    assert codec.decode(codec.encode(node.summary())) == node.summary()
    assert codec.decode_receipt(node.user_id, data) == node
    for each in (node, node.summary()):
        receipt = codec.encode_receipt(each)
        assert receipt[:1] == b"\x02", "a replica of an earlier release reads it"
        assert codec.decode_receipt(node.user_id, receipt) == each
        assert codec.decode(receipt) == each, "what an earlier release put into the cache"
    cut = codec.PREFIX_BYTES + struct.unpack_from(">I", data, 3)[0]
    assert codec.decode_summary(data[:cut]) == codec.decode_summary(data) == node.summary()
    assert codec.encode(node.summary()) == data[:cut], "the content comes last"
    title = codec.decode_title(data[: codec.HEAD_BYTES])
    assert title == Title(**{name: getattr(node, name) for name in Title.__dataclass_fields__})


def _node(**fields: Any) -> Node:
    values = {"title": "T", "version": 1, "incarnation": 1, "create_ms": 1, "update_ms": 1, **text("x")}
    return Node(user_id="u", node_id="n", **values | fields)


def test_the_largest_head_fits() -> None:
    most = 2**62
    node = _node(title="é" * 256, version=most, incarnation=most, delete_ms=9_999_999_999_999, purge_ms=1)
    node = Node(**{**{name: getattr(node, name) for name in Node.__dataclass_fields__}, "user_id": "u" * 128})
    assert codec.decode_title(codec.encode(node)[: codec.HEAD_BYTES]).title == node.title


@pytest.mark.parametrize(
    "damage",
    [
        *(b"", b"\x02", b"\x02\x00\x00", b"\x02\x00\x09\x0a", b"garbage" * 20, b"\x01" * 80),
        *(b"\x03", b"\x03\x00\x00", b"\x03" + bytes(6), b"\x03\x00\x02\x00\x00\x00\x09\x0a\x00"),
    ],
)
def test_damage_is_noticed(damage: bytes) -> None:
    for decode in (codec.decode, codec.decode_summary, codec.decode_title):
        with pytest.raises(DataLoss):
            decode(damage)
    with pytest.raises(DataLoss):
        codec.decode_receipt("u", damage)


def test_a_cut_message_is_noticed() -> None:
    data = codec.encode(_node())
    with pytest.raises(DataLoss):
        codec.decode_title(data[:20])
    with pytest.raises(DataLoss):
        codec.decode_summary(data[:30])
    with pytest.raises(DataLoss):
        codec.decode(data[:-1])


def test_a_field_of_a_newer_release_is_ignored() -> None:
    """Field 999 with the value "new", in the note inside the head and at the end of the rest."""
    unknown = b"\xba\x3e\x03new"
    node = _node()
    data = codec.encode(node)
    size, summary = struct.unpack_from(">HI", data, 1)
    head, rest = data[7 : 7 + size], data[7 + size :]
    assert head[0] == 0x0A  # field 1, the note; its size fits one byte here
    assert head[1] == len(head) - 2 < 100
    head = bytes([0x0A, head[1] + len(unknown)]) + head[2:] + unknown
    newer = struct.pack(">BHI", 3, len(head), summary + len(unknown)) + head + rest + unknown
    assert codec.decode(newer) == codec.decode_receipt("u", newer) == node
    assert codec.decode_title(newer).title == "T"


WRITTEN_BEFORE = json.loads((Path(__file__).parent / "positional.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", WRITTEN_BEFORE)
def test_what_the_release_before_protobuf_wrote(name: str) -> None:
    """positional.json has bytes that its code wrote: receipts are still answered, entries of the cache are misses."""
    written = WRITTEN_BEFORE[name]
    fields = written["note"] | {"tags": tuple(written["note"]["tags"]), "cascade": Cascade(written["note"]["cascade"])}
    expected = Node(**fields) if written["whole"] else Summary(**fields)
    receipt = bytes.fromhex(written["receipt"])
    assert codec.decode_receipt("u", receipt) == expected
    with pytest.raises(DataLoss):
        codec.decode_receipt("u", receipt[:-1] + b"\xff" if written["whole"] else receipt[:40])
    entry = bytes.fromhex(written["cached"])[17:]
    for decode in (codec.decode, codec.decode_title):
        with pytest.raises(DataLoss):
            decode(entry)
