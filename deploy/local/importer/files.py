"""The Markdown files of a folder, of a zip, or one by itself; and what else is there, counted by kind.

Symbolic links are not followed: a folder from somebody else can't make an import read anything outside of it. A file is
read up to a bound, compressed or not.
"""

import os
import stat
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from deploy.local.importer.items import Problem

SUFFIXES = (".md", ".markdown", ".mdown", ".mkd")
# A note may have 256 KiB, but an exported one lists its links before its text, and a hub has tens of thousands.
MAX_FILE_BYTES = 16 * 1024 * 1024
_MAX_DEPTH = 64
_MAX_ZIP_ENTRIES = 500_000
# Notes are compressed to a tenth. What unpacks to more than this was made to do harm.
_MOST_UNPACKED = 200
_UNPACKED_AT_LEAST = 64 * 1024 * 1024
_ZIP_NAME_IS_UTF8 = 0x800


@dataclass(frozen=True)
class File:
    """One Markdown file. path: below the folder, with "/"; time: seconds since 1970, of its last change."""

    path: str
    time: float


@dataclass
class Listing:
    """What a folder holds. others: paths of other files; folders: paths of all folders, hidden ones too."""

    files: list[File] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    folders: set[str] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)

    def kinds(self) -> Counter[str]:
        """How many other files there are of each suffix."""
        return Counter(PurePosixPath(path).suffix.lower() or "without a suffix" for path in self.others)

    def add(self, path: str, seconds: float) -> None:
        if path.lower().endswith(SUFFIXES):
            self.files.append(File(path, seconds))
        else:
            self.others.append(path)


class DiskFolder:
    """A folder on disk; only: the one file of it that is meant."""

    def __init__(self, folder: Path, only: str = "") -> None:
        self._root = os.path.realpath(folder)
        self._only = only
        self.name = str(folder / only) if only else str(folder)

    def list(self) -> Listing:
        """All that is below the folder, sorted by path. Hidden folders (.obsidian, .trash, .git) are not entered."""
        listing = Listing()
        if self._only:
            listing.add(self._only, (Path(self._root) / self._only).stat().st_mtime)
            return listing
        self._walk("", 0, listing)
        listing.files.sort(key=lambda file: file.path)
        return listing

    def _walk(self, below: str, depth: int, listing: Listing) -> None:
        try:
            with os.scandir(os.path.join(self._root, below)) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            listing.problems.append(Problem(_utf8(below) or ".", f"the folder cannot be read: {error.strerror}"))
            return
        for entry in entries:
            path = f"{below}/{entry.name}" if below else entry.name
            if entry.is_symlink():
                if not entry.name.startswith("."):
                    listing.problems.append(Problem(_utf8(path), "a symbolic link, which is not followed", fatal=False))
            elif entry.is_dir(follow_symlinks=False):
                listing.folders.add(path)
                if entry.name.startswith(".") or _is_backup(path):
                    continue
                if depth == _MAX_DEPTH:
                    listing.problems.append(Problem(_utf8(path), f"deeper than {_MAX_DEPTH} folders, not read"))
                else:
                    self._walk(path, depth + 1, listing)
            elif entry.is_file(follow_symlinks=False) and not entry.name.startswith("."):
                listing.add(path, entry.stat(follow_symlinks=False).st_mtime)

    def read(self, file: File) -> bytes:
        """The bytes of a file, at most MAX_FILE_BYTES + 1. OSError."""
        path = os.path.join(self._root, file.path)
        # Only the last step may not be a link: the folders above were seen to be none.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as opened:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise OSError("not a file any more")
            return opened.read(MAX_FILE_BYTES + 1)


class ZipFolder:
    """A folder in a zip. Nothing is unpacked on disk, and of each file only a bounded part in memory."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._zip = zipfile.ZipFile(path)
        self._entries: dict[str, zipfile.ZipInfo] = {}
        self._left = max(_UNPACKED_AT_LEAST, path.stat().st_size * _MOST_UNPACKED)

    def list(self) -> Listing:
        """All that is in the zip, sorted by path, without hidden folders and the ones that macOS adds."""
        listing = Listing()
        entries = self._zip.infolist()
        if len(entries) > _MAX_ZIP_ENTRIES:
            listing.problems.append(Problem(self.name, f"more than {_MAX_ZIP_ENTRIES:,} entries: the rest is not read"))
        for entry in entries[:_MAX_ZIP_ENTRIES]:
            parts = [part for part in _zip_name(entry).split("/") if part not in ("", ".", "..")]
            if not parts or len(parts) > _MAX_DEPTH:
                continue
            path = "/".join(parts)
            listing.folders.update("/".join(parts[:end]) for end in range(1, len(parts)))
            hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts) or _is_backup(path)
            if entry.is_dir() or hidden or path in self._entries:
                continue
            if stat.S_ISLNK(entry.external_attr >> 16):
                listing.problems.append(Problem(path, "a symbolic link, which is not followed", fatal=False))
                continue
            self._entries[path] = entry
            listing.add(path, _zip_time(entry))
        listing.files.sort(key=lambda file: file.path)
        return listing

    def read(self, file: File) -> bytes:
        """The bytes of a file, at most MAX_FILE_BYTES + 1. OSError where the zip is damaged or has a password."""
        try:
            with self._zip.open(self._entries[file.path]) as opened:
                if self._left <= 0:
                    raise OSError("the zip unpacks to far more than notes do")
                data = opened.read(MAX_FILE_BYTES + 1)
                self._left -= len(data)
                return data
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
            raise OSError(f"cannot be unpacked: {error}") from None


Folder = DiskFolder | ZipFolder


def _is_backup(path: str) -> bool:
    """Whether a path is, or lies in, the folder in which Logseq keeps earlier versions of its pages."""
    return f"/{path}/".find("/logseq/bak/") >= 0 or f"/{path}/".find("/logseq/version-files/") >= 0


def _zip_name(entry: zipfile.ZipInfo) -> str:
    """The path of an entry. macOS writes UTF-8 without saying so, which zipfile reads as code page 437."""
    if not entry.flag_bits & _ZIP_NAME_IS_UTF8:
        try:
            return entry.filename.encode("cp437").decode()
        except UnicodeError:
            pass
    return entry.filename


def _zip_time(entry: zipfile.ZipInfo) -> float:
    try:
        return time.mktime((*entry.date_time, 0, 1, -1))
    except (ValueError, OverflowError):
        return 0.0


def _utf8(path: str) -> str:
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def readable_paths(listing: Listing) -> Iterator[tuple[File, str]]:
    """Each file with its path as text: bytes of a name that are not UTF-8 are replaced."""
    for file in listing.files:
        yield file, _utf8(file.path)
