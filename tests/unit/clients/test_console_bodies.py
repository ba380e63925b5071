"""What a body of JSON may cost the console: bytes by the kind of RPC, and the number of values."""

import json
import time

import pytest

from clients.console.connect import MAX_BODY_BYTES, has_too_many_values, most_bytes
from clients.console.methods import methods

SIZE = 4_000_000
HOSTILE = {
    "empty items": b'{"nodes":[' + b"{}," * (SIZE // 3) + b"{}]}",
    "ids": b'{"ids":[' + b'"a",' * (SIZE // 4) + b'"a"]}',
    "keys": b"{" + b",".join(b'"k%d":1' % number for number in range(SIZE // 12)) + b"}",
    "numbers": b"[" + b"0," * (SIZE // 2) + b"0]",
    "brackets": b"[" * SIZE,
    "with spaces": b"[" + b"0 \n, " * (SIZE // 6) + b"0]",
}
HONEST = {
    "commas in a text": json.dumps({"content": ",[{" * (SIZE // 3)}).encode(),
    "quotes and backslashes in a text": json.dumps({"content": '\\",' * (SIZE // 6)}).encode(),
    "a text that is not closed": b'{"content":"' + b'\\",' * (SIZE // 3),
    "the largest batch of notes": json.dumps(
        {"nodes": [{"title": "t", "tags": ["t"] * 64, "metadata": {f"k{n}": "v" for n in range(32)}}] * 100}
    ).encode(),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_very_many_values_are_refused_soon(name: str) -> None:
    began = time.thread_time()
    assert has_too_many_values(HOSTILE[name])
    assert time.thread_time() - began < 1.0  # reading them takes up to 30 s


@pytest.mark.parametrize("name", HONEST)
def test_a_long_text_is_one_value(name: str) -> None:
    assert not has_too_many_values(HONEST[name])


def test_only_batches_may_be_as_large_as_a_message() -> None:
    large = {method.path.rpartition("/")[2] for method in methods().values() if most_bytes(method) == MAX_BODY_BYTES}
    assert large == {"BatchCreateNodes", "BatchCreateEdges"}
