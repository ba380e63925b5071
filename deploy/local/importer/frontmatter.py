"""The front matter of a Markdown file: names and values between two lines `---` at its beginning.

YAML is read by ruamel.yaml, all scalars as they are written (3.10 stays 3.10, yes stays yes). What people write is
often not quite YAML: then it is read line by line, and what has no meaning either way is mentioned. A file that begins
with a rule and goes on with prose has no front matter, and keeps all of its text.
"""

import json
import re
import tomllib
import warnings
from dataclasses import dataclass, field
from textwrap import dedent
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

# Above this size it is taken for text: nobody writes so many properties, and YAML is slow to read.
_MAX_BYTES = 64 * 1024
_MAX_DEPTH = 32
_MAX_VALUES = 5_000
# The same for a note of an export, which lists its links there.
_MAX_EXPORT_BYTES = 4 * 1024 * 1024
_MAX_EXPORT_VALUES = 200_000
_EXPORT = 'brain2: "'
_KEY = re.compile(r"([^\s:#\-\[\]{}\"'][^:\n\[\]{}\"]{0,99}|\"[^\"\n]{1,99}\"|'[^'\n]{1,99}')[ \t]*:(?=[ \t]|$)(.*)")
# A name and a value without the space between them that YAML asks for; a URL is none.
_TIGHT = re.compile(r"([A-Za-z_][\w-]{0,40}):(?!//)(\S.*)")
_ITEM = re.compile(r"[ \t]*-(?:[ \t]+(.*))?$")
# `title: !important`: for YAML a type without a value.
_EXCLAMATION = re.compile(r"^[^#\n]*?[:-][ \t]+!(?![!<])", re.MULTILINE)
_NOTHING = {"", "~", "null", "Null", "NULL"}

Value = str | list["Value"] | dict[str, "Value"]


@dataclass
class FrontMatter:
    """fields: by name, values of texts, lists and maps. body: the text after it; lines: how many lines stand before it.

    raw: its own text. problems: (line, what could not be read).
    """

    body: str
    fields: dict[str, Value] = field(default_factory=dict)
    raw: str = ""
    lines: int = 0
    problems: list[tuple[int, str]] = field(default_factory=list)


def split(text: str) -> FrontMatter:
    """Front matter and body of a file's text, whose lines end with a line feed. Linear in the text.

    ValueError: a note of an export has more front matter than can be read, so that its text is not known.
    """
    if not text.startswith(("---", "+++")):
        return FrontMatter(text)
    lines = text.split("\n")
    opening = lines[0].rstrip()
    if opening not in ("---", "+++"):
        return FrontMatter(text)
    closing = ("---", "...") if opening == "---" else ("+++",)
    end = next((number for number, line in enumerate(lines[1:], 1) if line.rstrip() in closing), None)
    if end is None:
        return FrontMatter(text)
    raw = dedent("\n".join(lines[1:end]))
    inner = raw.split("\n")
    body = "\n".join(lines[end + 1 :])
    if not raw.strip():
        return FrontMatter(body, lines=end + 1)
    is_export = opening == "---" and any(line.startswith(_EXPORT) for line in inner)
    if is_export and (fields := _as_exported(inner)) is not None:
        return FrontMatter(body, fields, raw=raw, lines=end + 1)
    if opening == "---" and not _looks_right(inner):
        return FrontMatter(text)
    if is_export and len(raw) > _MAX_EXPORT_BYTES:
        raise ValueError(f"the front matter has over {_MAX_EXPORT_BYTES >> 20} MiB and is not as the export wrote it")
    if not is_export and len(raw) > _MAX_BYTES:
        return FrontMatter(text, problems=[(1, f"front matter of over {_MAX_BYTES // 1024} KiB is kept as text")])
    found = FrontMatter(body, raw=raw, lines=end + 1)
    try:
        fields = _yaml(raw) if opening == "---" else tomllib.loads(raw, parse_float=str)
    except tomllib.TOMLDecodeError:
        return FrontMatter(text)
    except (YAMLError, ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError, AssertionError):
        _line_by_line(inner, found)
        return found
    if isinstance(fields, dict):
        most = _MAX_EXPORT_VALUES if is_export else _MAX_VALUES
        budget = [most]
        found.fields = {}
        for name, value in fields.items():
            plain = _plain(value, 0, budget)
            if plain is not None:
                found.fields[_name(name)] = plain
        if budget[0] <= 0:
            found.problems.append((1, f"front matter has more than {most:,} values: the rest is left out"))
        return found
    return FrontMatter(text)


def keep_hashes(front: FrontMatter) -> None:
    """Read again each value with a # as it is written: in Logseq, whose front matter is not YAML, it is no comment."""
    for line in front.raw.split("\n"):
        key = _KEY.match(line)
        if key and (value := key[2].strip()) and re.search(r"(?:^|[\s,])#\S", value):
            front.fields[key[1].strip().strip("\"'")] = value


def _as_exported(lines: list[str]) -> dict[str, Value] | None:
    """The properties of a file that is still as an export of Brain2 wrote it, where each value is a text of JSON.

    None for any other file. Of YAML's readers none is as fast, and none tells "null" from null for us.
    """
    found: dict[str, Value] = {}
    items: list[Value] | None = None
    try:
        for line in lines:
            if line.startswith("  - "):
                value = json.loads(line[4:])
                if items is None or not isinstance(value, str):
                    return None
                items.append(value)
                continue
            name, colon, rest = line.partition(":")
            if not colon or name in found or not name.isalnum():
                return None
            value = json.loads(rest) if rest else []
            if not isinstance(value, str | list):
                return None
            found[name] = value
            items = value if isinstance(value, list) else None
    except (ValueError, RecursionError):
        return None
    return found


def _looks_right(lines: list[str]) -> bool:
    """Whether lines are names with values: they begin with one, and no prose follows a blank line."""
    keys = prose = 0
    blank = False
    for line in lines:
        stripped = line.strip()
        if not stripped:
            blank = True
            continue
        if stripped.startswith(("#", "<%", "{{", "{%")):
            # A comment, or what a template is to fill in.
            blank = False
            continue
        if _KEY.match(line) or _TIGHT.fullmatch(line) or (not keys and stripped.startswith(("{", '"'))):
            keys += 1
        elif not keys:
            return False
        elif line[0] not in " \t-]}":
            prose += 1
            if blank:
                return False
        blank = False
    return keys > 0 and prose <= keys


def _yaml(raw: str) -> Any:
    if _EXCLAMATION.search(raw):
        raise ValueError("a text that begins with an exclamation mark")
    reader = YAML(typ="base", pure=True)
    reader.allow_duplicate_keys = True
    depth = deepest = 0
    for char in raw:
        depth += (char in "[{") - (char in "]}")
        deepest = max(deepest, depth)
    if deepest > _MAX_DEPTH:
        raise ValueError("nested too deep")
    with warnings.catch_warnings():
        # An anchor that is used twice is no concern of the reader of a note.
        warnings.simplefilter("ignore")
        return reader.load(raw)


def _plain(value: Any, depth: int, budget: list[int]) -> Value | None:
    """A value of texts, lists and maps only; budget bounds how many are taken, since an alias can repeat any part."""
    budget[0] -= 1
    if budget[0] <= 0 or depth > _MAX_DEPTH:
        return None
    if isinstance(value, dict):
        pairs = ((_name(name), _plain(inner, depth + 1, budget)) for name, inner in value.items())
        return {name: inner for name, inner in pairs if inner is not None}
    if isinstance(value, list | tuple):
        found = []
        for inner in value:
            if budget[0] <= 0:
                break
            if (plain := _plain(inner, depth + 1, budget)) is not None:
                found.append(plain)
        return found
    text = str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)
    return None if text in _NOTHING else text


def _name(name: Any) -> str:
    return name if isinstance(name, str) else str(name)[:100]


def _line_by_line(lines: list[str], found: FrontMatter) -> None:
    """Names and values of what is not YAML: `name: text`, `name: [a, b]`, or a list of `- item` below a name."""
    name = ""
    unread: list[int] = []
    for number, line in enumerate(lines, 2):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        item = _ITEM.match(line)
        key = None if item or line[0] in " \t" else _KEY.match(line) or _TIGHT.fullmatch(line)
        if key:
            name = key[1].strip().strip("\"'")
            value = _written(key[2])
            if value is not None:
                found.fields[name] = value
        elif item and name and isinstance(found.fields.setdefault(name, []), list):
            value = _scalar(item[1] or "")
            kept = found.fields[name]
            if value is not None and isinstance(kept, list) and len(kept) < _MAX_VALUES:
                kept.append(value)
        elif name and line[0] in " \t" and isinstance(found.fields.get(name, ""), str):
            # The text goes on in the next line, below `|` or `>`, or indented.
            before = str(found.fields.get(name, "")).strip("|>-+ ")
            found.fields[name] = f"{before} {stripped}".strip()
        else:
            unread.append(number)
    found.problems.append((2, "front matter is not YAML; it was read line by line"))
    found.problems += [(number, "front matter: this line could not be read") for number in unread]


def _written(text: str) -> Value | None:
    text = text.strip()
    if text.startswith("[") and text.endswith("]") and not text.startswith("[["):
        values = [_scalar(part) for part in text[1:-1].split(",")]
        return [value for value in values if value is not None]
    return _scalar(text)


def _scalar(text: str) -> str | None:
    text = text.strip()
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'":
        text = text[1:-1]
    else:
        # A comment needs a space before it, and nothing but one can follow a quoted text.
        text = text if text.startswith(("'", '"')) else re.split(r"(?:^|\s)#(?=\s|$)", text, maxsplit=1)[0].strip()
    return None if text in _NOTHING else text
