"""A vault: one Markdown file a note, with front matter and wiki links, as Obsidian and others read it.

The text of a note is its text, unchanged. Its links stand in the property `links`, so that the tools draw them; what a
wiki link can't express (type, weight, reasons, the note's metadata) is in the property `brain2`. An import of the vault
gives the same notes and links; of links that a person has removed from `links` or added there, it follows the person.
"""

import json
import re
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
    titles = {note["id"]: note["title"] for note in records.notes()}
    for note in records.notes():
        found = sorted(links[note["id"]], key=lambda edge: (-edge.get("weight", 0.0), edge["target_id"]))
        yield f"{names[note['id']]}.md", _file(note, found, names, titles)


def _file(note: Record, links: list[Record], names: dict[str, str], titles: dict[str, str]) -> str:
    lines = ["---", f"id: {_quoted(note['id'])}"]
    if note["title"]:
        lines.append(f"title: {_quoted(note['title'])}")
    if note["tags"]:
        lines += ["tags:", *(f"  - {_quoted(tag)}" for tag in note["tags"])]
    lines += [f"created: {_quoted(note['created'])}", f"updated: {_quoted(note['updated'])}"]
    if links:
        targets = dict.fromkeys(edge["target_id"] for edge in links)
        lines += ["links:", *(f"  - {_quoted(_wiki(names[target], titles[target]))}" for target in targets)]
    own = {"links": [_attributes(edge) for edge in links], "metadata": note["metadata"], "untitled": not note["title"]}
    kept = {name: value for name, value in own.items() if value}
    lines += [f"brain2: {_quoted(json.dumps(kept, ensure_ascii=False))}", "---", "", note["text"], ""]
    return "\n".join(lines)


def _attributes(edge: Record) -> Record:
    kept = {name: edge[name] for name in ("type", "directed", "weight", "metadata") if edge.get(name)}
    return {"to": edge["target_id"], **kept}


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
        base = " ".join(_FORBIDDEN.sub(" ", note["title"]).split()).strip(". ")
        base = base.encode()[:_LONGEST_NAME_BYTES].decode(errors="ignore").strip(". ") or note["id"]
        if _DEVICES.fullmatch(base):
            base = f"{base} {note['id']}"
        name = base
        # File systems of Windows and macOS do not tell case apart.
        if name.casefold() in taken:
            name = f"{base} {note['id']}"
        while name.casefold() in taken:
            name += "_"
        taken.add(name.casefold())
        found[note["id"]] = name
    return found
