"""The records of one export (CleanupService.ExportUser), kept in a temporary file while they are written elsewhere.

An export has the notes first and then the links, but a note is written together with its links. So the notes wait on
the disk, and only the links are in memory.
"""

import json
import tempfile
from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import IO, Any

Record = dict[str, Any]


class CutOffError(Exception):
    """The export ended before its last record: nothing of it must be taken for the whole."""


class Records:
    """The notes and links of a user. Use as `with Records() as records: await records.read(lines)`."""

    def __init__(self) -> None:
        self._notes: IO[str] = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115, closed by __exit__
        self._rest: list[str] = []
        self.edges: list[Record] = []
        # Automatic links that the user has rejected: source_id, target_id, type.
        self.rejections: list[Record] = []
        self.notes_count = 0

    def __enter__(self) -> "Records":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._notes.close()

    async def read(self, lines: AsyncIterator[str]) -> None:
        """Take the lines of an export. Raises CutOffError when the last one is missing, or counts other numbers."""
        end: Record | None = None
        async for line in lines:
            record = json.loads(line)
            kind = record["kind"]
            if kind == "note":
                self._notes.write(line.rstrip("\n") + "\n")
                self.notes_count += 1
            elif kind == "edge":
                self.edges.append(record)
            elif kind == "rejection":
                self.rejections.append(record)
            elif kind == "end":
                end = record
            else:
                self._rest.append(line.rstrip("\n"))
        found = {"notes": self.notes_count, "edges": len(self.edges), "rejections": len(self.rejections)}
        # A service of an earlier release counts no rejections, and answers none.
        if end is None or any(end.get(name, 0) != count for name, count in found.items()):
            raise CutOffError("the export was cut off: some notes or links are missing")

    def notes(self) -> Iterator[Record]:
        """The notes, from the temporary file; one iteration at a time."""
        self._notes.seek(0)
        for line in self._notes:
            yield json.loads(line)

    def lines(self) -> Iterator[str]:
        """The export as it came, without the ends of its lines: settings, notes, links, rejections, end."""
        yield from self._rest
        self._notes.seek(0)
        for line in self._notes:
            yield line.rstrip("\n")
        for record in (*self.edges, *self.rejections):
            yield json.dumps(record, ensure_ascii=False)
        counts = {"notes": self.notes_count, "edges": len(self.edges), "rejections": len(self.rejections)}
        yield json.dumps({"kind": "end", **counts, "settings": len(self._rest)})
