"""Exports of a user's data, written without a service."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from clients.export import Records, write

CREATED = "2026-01-01T00:00:00.123Z"


def note_record(node_id: str, title: str, text: str, **other: Any) -> dict[str, Any]:
    """The record of a note as ExportUser answers it."""
    found = {"kind": "note", "id": node_id, "title": title, "text": text, "tags": [], "aliases": [], "metadata": {}}
    return {**found, "created": CREATED, "updated": "2026-02-01T00:00:00Z", **other}


async def export(to: Path, kind: str, *records: dict[str, Any]) -> Path:
    """Write records as a user's export. kind: "markdown", "graphml"."""
    kinds = [record["kind"] for record in records]
    end = {f"{each}s": kinds.count(each) for each in ("note", "edge", "rejection")}

    async def lines() -> AsyncIterator[str]:
        for record in (*records, {"kind": "end", **end}):
            yield json.dumps(record)

    with Records() as exported:
        await exported.read(lines())
        write(exported, kind, to)
    return to
