"""Exports without a server: a cut-off one is refused, and no title makes two files or a file outside of the folder."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from clients.export import CutOffError, Records, write
from clients.export.vault import files


def _note(node_id: str, title: str) -> dict[str, Any]:
    times = {"created": "2026-01-01T00:00:00Z", "updated": "2026-01-01T00:00:00Z"}
    return {"kind": "note", "id": node_id, "title": title, "text": "x", "tags": [], "metadata": {}, **times}


async def _lines(*records: dict[str, Any]) -> AsyncIterator[str]:
    for record in records:
        yield json.dumps(record)


@pytest.mark.parametrize(
    "end", [[], [{"kind": "end", "notes": 2, "edges": 0}], [{"kind": "end", "notes": 1, "edges": 1}]]
)
async def test_an_export_without_its_end_is_refused(end: list[dict[str, Any]]) -> None:
    with Records() as records, pytest.raises(CutOffError):
        await records.read(_lines(_note("a", "A"), *end))


async def test_each_note_has_a_file_of_its_own_inside_of_the_folder(tmp_path: Path) -> None:
    titles = ["../up", "/etc/passwd", "a/b", "A b", "a B", ".hidden", "nul", "x" * 500, "...", "", "a\nb", "[[x]]|#^"]
    notes = [_note(f"n{n}", title) for n, title in enumerate(titles)]
    with Records() as records:
        await records.read(_lines(*notes, {"kind": "end", "notes": len(notes), "edges": 0}))
        names = [name for name, _ in files(records)]
        assert len({name.casefold() for name in names}) == len(titles)
        for name in names:
            assert "/" not in name
            assert not name.startswith(".")
            assert len(name.encode()) < 200
        assert write(records, "markdown", tmp_path / "vault") == len(titles)
        assert sorted(path.name for path in (tmp_path / "vault").iterdir()) == sorted(names)
        with pytest.raises(ValueError, match="one of"):
            write(records, "pdf", tmp_path / "x")
