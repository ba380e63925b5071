"""Lets a benchmark put many items into a table at once: POST /_brain2/load {"TableName": ..., "Items": [...]}.

BatchWriteItem costs ministack 100 us an item and its client as much again: a graph of a million edges would take a
quarter of an hour. Items are in DynamoDB's typed JSON and nothing about them is checked; they end up where PutItem
would have put them. Installed only with BRAIN2_BULK_LOAD=1, which the launcher never sets.

Executed by the interpreter of .venv-ministack; nothing of Brain2 is imported.
"""

from __future__ import annotations

import json
from typing import Any

PATH = "/_brain2/load"


def install(dynamodb: Any, app: Any) -> Any:
    """The ASGI app with the path added. After ministack_query: its order of keys must hear of the items."""

    async def with_load(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] != PATH:
            await app(scope, receive, send)
            return
        body, more = bytearray(), True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        load(dynamodb, json.loads(body))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    return with_load


def load(dynamodb: Any, request: Any) -> None:
    """KeyError when there is no such table."""
    tables = {name: table for (_, _, name), table in dynamodb._tables.all_items()}
    table = tables[request["TableName"]]
    pk_name, sk_name = table["pk_name"], table["sk_name"]
    with dynamodb._lock:
        for item in request["Items"]:
            dynamodb._set_item(table, item[pk_name]["S"], item[sk_name]["S"], item)
