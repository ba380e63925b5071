"""Reads files that are replaced while the process runs: key files, tokens, certificates."""

from collections.abc import Sequence
from pathlib import Path

# (inode, modification time in ns, length in bytes) of each file; None for a missing one.
Stamp = tuple[tuple[int, int, int] | None, ...]


def stamp(paths: Sequence[str]) -> Stamp:
    """What changes when one of the files is replaced or rewritten. Kubernetes replaces mounted secrets by a link."""
    return tuple(_one(path) for path in paths)


def _one(path: str) -> tuple[int, int, int] | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
