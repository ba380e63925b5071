"""A vault: one Markdown file a note, with front matter and wiki links, as Obsidian and others read it.

The text of a note is its text, unchanged. Its links stand in the property `links`, so that the tools draw them; what a
wiki link or a file can't express (type, weight, reasons, the note's metadata) is in the property `brain2`. An import of
the vault gives the same notes and links; of what a person has changed in the files, it follows the person.

The property `brain2` is a text of JSON:

- links: what each link is: `to` (the id of the other note), `type`, `directed`, `weight`, `metadata`
- rejected: the automatic links that the user has rejected: `to`, `type`
- metadata: the note's own
- digest: of the text as it was exported. The links of an unchanged text are all in `links`.
- text: the whole text, if a file can't hold it as it is. It counts as long as the file's text is the same but for that.
- untitled, deleted: true where it is so
"""

import hashlib
import json
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator

from clients.export.records import Record, Records

_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f\\/:*?"<>|#^\[\]%]+')
# Names of devices, which Windows does not allow for files.
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_LONGEST_NAME_BYTES = 120


def files(records: Records) -> Iterator[tuple[str, str]]:
    """(name, text) of each file."""
    names = _names(records)
    links: defaultdict[str, list[Record]] = defaultdict(list)
    for edge in records.edges:
        links[edge["source_id"]].append(edge)
    rejected: defaultdict[str, list[Record]] = defaultdict(list)
    for each in records.rejections:
        rejected[each["source_id"]].append({"to": each["target_id"], "type": each["type"]})
    titles = {note["id"]: note["title"] for note in records.notes()}
    for note in records.notes():
        found = sorted(links[note["id"]], key=lambda edge: (-edge.get("weight", 0.0), edge["target_id"]))
        yield f"{names[note['id']]}.md", _file(note, found, rejected[note["id"]], names, titles)


def _file(
    note: Record, links: list[Record], rejected: list[Record], names: dict[str, str], titles: dict[str, str]
) -> str:
    lines = ["---", f"id: {_quoted(note['id'])}"]
    if note["title"]:
        lines.append(f"title: {_quoted(note['title'])}")
    for name in ("tags", "aliases"):
        if note.get(name):
            lines += [f"{name}:", *(f"  - {_quoted(each)}" for each in note[name])]
    lines += [f"created: {_quoted(note['created'])}", f"updated: {_quoted(note['updated'])}"]
    if links:
        targets = dict.fromkeys(edge["target_id"] for edge in links)
        lines += ["links:", *(f"  - {_quoted(_wiki(names[target], titles[target]))}" for target in targets)]
    text = note["text"]
    plain = as_a_file_holds_it(text)
    own = {
        "links": [_attributes(edge) for edge in links],
        "rejected": rejected,
        "metadata": note["metadata"],
        "digest": digest(plain),
        "text": text if text != plain else "",
        "untitled": not note["title"],
        "deleted": "delete_time" in note,
    }
    kept = {name: value for name, value in own.items() if value}
    lines += [f"brain2: {_quoted(json.dumps(kept, ensure_ascii=False))}", "---", "", plain, ""]
    return "\n".join(lines)


def as_a_file_holds_it(text: str) -> str:
    """A text with the ends of lines that a text file has, and without zero bytes: with these it would be no text."""
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd")


def digest(text: str) -> str:
    """A short form of a text, to find out whether it was changed."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _attributes(edge: Record) -> Record:
    kept = {name: edge[name] for name in ("type", "directed", "metadata") if edge.get(name)}
    return {"to": edge["target_id"], **kept, "weight": edge.get("weight", 0.0)}


def _wiki(name: str, title: str) -> str:
    label = " ".join(_FORBIDDEN.sub(" ", title).split())
    return f"[[{name}|{label}]]" if label and label != name else f"[[{name}]]"


def _quoted(text: str) -> str:
    # A text of JSON is a text of YAML, too; every character that YAML treats in its own way is escaped.
    return json.dumps(text)


def _names(records: Records) -> dict[str, str]:
    """node_id -> name of the file without its suffix: the title as far as a file may have it; no name comes twice."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for note in records.notes():
        title = " ".join(_FORBIDDEN.sub(" ", note["title"]).split())
        # One form of Unicode, since some file systems take the others for the same name. The time of this grows with
        # the square of a run of marks, so the title is cut before; a character is made of four at most.
        base = unicodedata.normalize("NFC", title[: 4 * _LONGEST_NAME_BYTES]).strip(". ")
        base = base.encode()[:_LONGEST_NAME_BYTES].decode(errors="ignore").strip(". ") or note["id"]
        if _DEVICES.fullmatch(base):
            base = f"{base} {note['id']}"
        name = base
        # File systems of Windows and macOS do not tell case apart.
        if _folded(name) in taken:
            name = f"{base} {note['id']}"
        while _folded(name) in taken:
            name += "_"
        taken.add(_folded(name))
        found[note["id"]] = name
    return found


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name.casefold())
