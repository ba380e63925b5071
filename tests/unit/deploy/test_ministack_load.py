"""Loading the embedded store in bulk: items land where PutItem would put them, other requests pass."""

import contextlib
import json
from typing import Any

import pytest

from deploy.local import ministack_load


class Module:
    """The parts of ministack.services.dynamodb that are used."""

    def __init__(self) -> None:
        self.table: dict[str, Any] = {"pk_name": "PK", "sk_name": "SK", "items": {}}
        self._tables = self
        self._lock = contextlib.nullcontext()

    def all_items(self) -> list[tuple[tuple[str, str, str], dict[str, Any]]]:
        return [(("account", "region", "main"), self.table)]

    def _set_item(self, table: Any, pk: str, sk: str, item: Any) -> None:
        table["items"].setdefault(pk, {})[sk] = item


async def ask(module: Module, path: str, *parts: bytes) -> list[Any]:
    messages = [{"body": part, "more_body": part is not parts[-1]} for part in parts]
    answers: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "passed"})

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        answers.append(message.get("status", message["type"]))

    await ministack_load.install(module, app)({"type": "http", "path": path}, receive, send)
    return answers


async def test_items_land_in_the_table() -> None:
    module = Module()
    items = [{"PK": {"S": "USER#u"}, "SK": {"S": f"EDGE#{i}"}, "w": {"N": "0.5"}} for i in range(3)]
    body = json.dumps({"TableName": "main", "Items": items}).encode()
    assert await ask(module, ministack_load.PATH, body[:40], body[40:]) == [204, "http.response.body"]
    assert module.table["items"] == {"USER#u": {item["SK"]["S"]: item for item in items}}


async def test_an_unknown_table_is_an_error() -> None:
    with pytest.raises(KeyError):
        await ask(Module(), ministack_load.PATH, b'{"TableName": "other", "Items": []}')


async def test_other_requests_pass() -> None:
    assert await ask(Module(), "/", b"") == ["passed"]
