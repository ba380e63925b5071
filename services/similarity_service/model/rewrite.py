"""Wiki links are given another name of the same note; labels and parts stay."""

import re
from collections.abc import Collection

from services.similarity_service.model.link_index import base_of, same_name
from services.similarity_service.model.wiki_links import LONGEST_NAME, wiki_links

_NOT_IN_NAME = re.compile(r"[\[\]|\n]|^#|\\$")
_NOT_IN_LABEL = re.compile(r"[\[\]\n]")


def can_name(title: str) -> bool:
    """Whether a wiki link can say a title."""
    links = wiki_links(f"[[{title}]]")
    return not _NOT_IN_NAME.search(title) and len(title) <= LONGEST_NAME and [link.target for link in links] == [title]


def rewritten(
    text: str,
    leading: Collection[str],
    old_names: Collection[str],
    name: str,
    label: str = "",
    *,
    label_first: bool = False,
) -> str:
    """The text with another name in the links that say one of the old names.

    leading: the targets, as they are written, whose links lead to the note.
    label: given to links without a label, if it can be one; for a name that is not meant for readers.
    label_first: the text is one of Dendron.
    """
    pieces: list[str] = []
    parts = {target: _part(target, old_names) for target in leading}
    at = 0
    for link in wiki_links(text, label_first=label_first):
        part = parts.get(link.target)
        if part is None:
            continue
        labelled = "|" in text[link.start : link.end]
        given = "" if labelled or _NOT_IN_LABEL.search(label) or (label_first and "|" in label) else label
        before, after = (f"{given}|", "") if label_first else ("", f"|{given}")
        pieces.append(text[at : link.target_start])
        pieces += (before, name, part, after) if given else (name, part)
        at = link.target_end
    return "".join((*pieces, text[at:]))


def _part(target: str, old_names: Collection[str]) -> str | None:
    """The part of a note that a link leads to, with its #, or ""; None: it does not say one of these names."""
    if any(same_name(target, name) for name in old_names):
        return ""
    base = base_of(target)
    if any(same_name(base, name) for name in old_names):
        return target[target.index("#") :]
    return None
