"""Writes an export to the disk: a folder or a zip of Markdown files, a GraphML file, a file of JSON lines."""

import os
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

from clients.export import graphml, vault
from clients.export.records import Records

FORMATS = {"markdown": "application/zip", "graphml": "application/graphml+xml", "jsonl": "application/x-ndjson"}


def write(records: Records, format_: str, to: Path) -> int:
    """Write the records; answer the number of files. A file appears when it is whole, and replaces an older one.

    format_: "markdown", "graphml" or "jsonl". to: for "markdown" a folder, or a zip when its name ends so.
    Errors: OSError; ValueError when the format is not known.
    """
    if format_ == "markdown" and to.suffix.lower() != ".zip":
        return _folder(vault.files(records), to)
    if format_ not in FORMATS:
        raise ValueError(f"the format is one of {', '.join(FORMATS)}")
    to.parent.mkdir(parents=True, exist_ok=True)
    part = to.with_name(f"{to.name}.part")
    try:
        if format_ == "markdown":
            _zip(vault.files(records), part)
        else:
            with part.open("w", encoding="utf-8", newline="\n") as out:
                out.writelines(
                    f"{line}\n" for line in (graphml.lines(records) if format_ == "graphml" else records.lines())
                )
        os.replace(part, to)
    finally:
        part.unlink(missing_ok=True)
    return 1


def temporary(records: Records, format_: str) -> Path:
    """Write the records as one temporary file, a vault as a zip; the caller removes it."""
    descriptor, name = tempfile.mkstemp(prefix="brain2-export-", suffix=".zip" if format_ == "markdown" else "")
    os.close(descriptor)
    try:
        write(records, format_, Path(name))
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return Path(name)


def _folder(files: Iterable[tuple[str, str]], to: Path) -> int:
    to.mkdir(parents=True, exist_ok=True)
    count = 0
    for name, text in files:
        (to / name).write_text(text, encoding="utf-8", newline="\n")
        count += 1
    return count


def _zip(files: Iterable[tuple[str, str]], to: Path) -> None:
    with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files:
            archive.writestr(name, text.encode())
