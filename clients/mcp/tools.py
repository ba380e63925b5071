"""The tools: what each does on the notes of a user. A tool takes arguments that fit its schema, and answers an object.

Errors are those of the client (brain2.errors); server.py makes results of them.
"""

import base64
import binascii
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from clients.mcp.budget import MAX_WEIGHT, fitting, piece, weight
from clients.python.brain2 import Brain2, FailedPrecondition, InvalidArgument, Note, NotFound, Similar

Arguments = Mapping[str, Any]
Answer = dict[str, Any]
_TEXT_WEIGHT = 20_000
_MOST_SKIPPED = 1000
_LINKS_A_PART = 20
_MOST_SUGGESTIONS = 50
_REASONS = 5


def uri(node_id: str) -> str:
    """The address of a note as a resource."""
    return f"brain2://note/{node_id}"


async def search_notes(brain: Brain2, arguments: Arguments) -> Answer:
    """Full-text search; the cursor is the number of hits that were answered before."""
    limit, skip = arguments.get("limit", 10), _number(arguments)
    found = []
    position = 0
    hits = brain.search.find(arguments["query"], tags=arguments.get("tags", ()), page_size=min(limit + skip + 1, 100))
    async for hit in hits:
        position += 1
        if position > skip:
            found.append({"id": hit.node_id, "title": hit.title, "snippet": hit.snippet, "score": round(hit.score, 3)})
        if len(found) > limit:
            break
    return _page("hits", found, limit, skip)


async def read_note(brain: Brain2, arguments: Arguments) -> Answer:
    """A note with its links; a long text comes in parts, and so do many links. The cursor has both positions."""
    note = await brain.notes.get(arguments["id"])
    start, skip = _number(arguments, most=len(note.content)), _number(arguments, "l")
    text = piece(note.content, start, _TEXT_WEIGHT) if start < len(note.content) else ""
    answer: Answer = {**_head(note), "text": text}
    wanted = skip + _LINKS_A_PART + 1
    found = [
        {"id": link.node_id, "title": link.title, "type": link.type, "weight": round(link.weight, 3)}
        async for link in _first(brain.links.neighbors(note.node_id, page_size=min(wanted, 1000)), wanted)
    ][skip:]
    answer["links"] = fitting(found[:_LINKS_A_PART], MAX_WEIGHT - weight(answer) - 200)
    end, shown = start + len(text), skip + len(answer["links"])
    if end < len(note.content) or (len(answer["links"]) < len(found) and shown < _MOST_SKIPPED):
        answer["cursor"] = _cursor({"n": end, "l": shown})
    return answer


async def write_note(brain: Brain2, arguments: Arguments) -> Answer:
    """Creates a note."""
    note = await brain.notes.create(
        arguments.get("title", ""),
        arguments.get("text", ""),
        tags=arguments.get("tags", ()),
        node_id=arguments.get("id", ""),
    )
    return _head(note)


async def edit_note(brain: Brain2, arguments: Arguments) -> Answer:
    """Changes a note as it is now: the edits of any number of agents at once are all kept.

    replace with find changes one passage, whatever else was changed. replace without find overwrites the whole text, so
    it needs the etag of the text that the agent has read.
    """
    mode, text, find = arguments["mode"], arguments.get("text", ""), arguments.get("find", "")
    etag = arguments.get("etag", "")
    if mode == "replace" and not find and not etag:
        raise InvalidArgument(
            "replace needs find (the passage to replace) or the etag that read_note answered", reason="INVALID_ARGUMENT"
        )

    def change(note: Note) -> Note:
        # Here and not by the service, so that the etag holds for the text that the edit is based on.
        if etag and note.etag != etag:
            raise FailedPrecondition("the note has changed since it was read: read it again", reason="ETAG_MISMATCH")
        return replace(
            note,
            content=_edited(note.content, mode, text, find),
            title=arguments.get("title", note.title),
            tags=tuple(arguments.get("tags", note.tags)),
        )

    return _head(await brain.notes.edit(arguments["id"], change))


def _edited(content: str, mode: str, text: str, find: str) -> str:
    if mode == "append":
        return f"{content}\n{text}" if content and text else content + text
    if mode == "prepend":
        return f"{text}\n{content}" if content and text else text + content
    if not find:
        return text
    if content.count(find) != 1:
        where = "is not in the text" if find not in content else "is in the text more than once: give more of it"
        raise FailedPrecondition(f"the passage to replace {where}", reason="PASSAGE_NOT_UNIQUE")
    return content.replace(find, text)


async def delete_note(brain: Brain2, arguments: Arguments) -> Answer:
    """Deletes a note so that restore_note can bring it back."""
    purge_time = await brain.notes.delete(arguments["id"])
    return {"id": arguments["id"], "restorable_until": _iso(purge_time)}


async def restore_note(brain: Brain2, arguments: Arguments) -> Answer:
    """Brings a deleted note back."""
    return _head(await brain.notes.restore(arguments["id"]))


async def link_notes(brain: Brain2, arguments: Arguments) -> Answer:
    """Links two notes."""
    link = await brain.links.create(
        arguments["source"],
        arguments["target"],
        type=arguments.get("type", "related"),
        directed=arguments.get("directed", False),
    )
    return {"source": link.source_id, "target": link.target_id, "type": link.type, "weight": link.weight}


async def suggest_links(brain: Brain2, arguments: Arguments) -> Answer:
    """Similar notes that are not linked yet; the cursor is the number of those that were answered before."""
    limit, skip = arguments.get("limit", 10), _number(arguments)
    found = await brain.search.suggest(arguments["id"], limit=min(skip + limit + 1, _MOST_SUGGESTIONS))
    return _page("suggestions", [_similar(each) for each in found[skip:]], limit, skip)


async def build_context(brain: Brain2, arguments: Arguments) -> Answer:
    """A note and its neighbourhood as one Markdown text, nearest and best linked notes first, within a budget."""
    budget = arguments.get("max_bytes", 8000)
    root = arguments["id"]
    subgraph = await brain.links.around(root, hops=arguments.get("depth", 1), max_notes=50)
    near: dict[str, float] = {}
    for link in subgraph.links:
        for one, other in ((link.source_id, link.target_id), (link.target_id, link.source_id)):
            near[one] = max(near.get(one, 0.0), link.weight * (2.0 if other == root else 1.0))
    hops = {note.node_id: note.hops for note in subgraph.notes}
    # A note without links is not in the graph.
    order = sorted(hops.keys() | {root}, key=lambda node_id: (hops.get(node_id, 0), -near.get(node_id, 0.0), node_id))
    notes = await brain.notes.get_many(order)
    if root not in notes:
        await brain.notes.get(root)  # raises the error that says why
        raise NotFound(f"there is no note {root}", reason="NODE_NOT_FOUND")
    parts: list[str] = []
    used: list[str] = []
    for node_id in order:
        note = notes.get(node_id)
        if note is None:
            continue
        part = f"# {note.title or note.node_id}\n{uri(node_id)} ({hops.get(node_id, 0)} hops)\n\n{note.content}\n"
        room = budget - len("\n".join(parts).encode()) - bool(parts)
        if room < 200 and parts:
            break
        used.append(node_id)
        parts.append(part if len(part.encode()) <= room else part.encode()[:room].decode(errors="ignore"))
    text = "\n".join(parts)
    kept = piece(text, 0, MAX_WEIGHT - weight(used) - 200) if text else ""
    whole = kept == text and len(used) == len(notes) and not subgraph.truncated
    return {"text": kept, "notes": used, "truncated": not whole or text.encode() != "\n".join(parts).encode()}


async def recent_activity(brain: Brain2, arguments: Arguments) -> Answer:
    """Notes by their creation, newest first. The cursor is the time of the last one, and those of this time so far."""
    limit = arguments.get("limit", 10)
    start = _time(arguments["since"]) if "since" in arguments else None
    position = _position(arguments)
    end = datetime.fromtimestamp(_int(position.get("t"), 0) / 1000, UTC) if "t" in position else None
    seen = {each for each in position.get("ids", ()) if isinstance(each, str)}
    found: list[Answer] = []
    last: list[Note] = []
    notes = brain.notes.list(start_time=start, end_time=end, page_size=min(limit + len(seen) + 1, 200))
    async for note in notes:
        if note.node_id in seen:
            continue
        found.append({**_head(note), "excerpt": note.excerpt})
        last.append(note)
        if len(found) > limit:
            break
    shown = fitting(found[:limit], MAX_WEIGHT - 3000)
    answer: Answer = {"notes": shown}
    if len(shown) < len(found) and shown:
        edge = last[len(shown) - 1].create_time
        after = edge + timedelta(milliseconds=1)
        same = [note.node_id for note in last[: len(shown)] if note.create_time == edge]
        if end == after:
            same += sorted(seen)
        answer["cursor"] = _cursor({"t": round(after.timestamp() * 1000), "ids": same[:40]})
    return answer


async def search(brain: Brain2, arguments: Arguments) -> Answer:
    """The same as search_notes in the form that some clients expect: {results: [{id, title, url}]}."""
    hits = [hit async for hit in _first(brain.search.find(arguments["query"], page_size=20), 20)]
    results = ({"id": hit.node_id, "title": hit.title or hit.snippet[:80], "url": uri(hit.node_id)} for hit in hits)
    return {"results": fitting(results, MAX_WEIGHT)}


async def fetch(brain: Brain2, arguments: Arguments) -> Answer:
    """The same as read_note in the form that some clients expect: {id, title, text, url, metadata}."""
    note = await brain.notes.get(arguments["id"])
    text = piece(note.content, 0, _TEXT_WEIGHT) if note.content else ""
    metadata = {"tags": ", ".join(note.tags)[:1000], "updated": _iso(note.update_time)}
    if len(text) < len(note.content):
        metadata["truncated"] = f"read_note with cursor {_cursor({'n': len(text)})} continues"
    return {"id": note.node_id, "title": note.title, "text": text, "url": uri(note.node_id), "metadata": metadata}


_ALL = (
    search_notes,
    read_note,
    write_note,
    edit_note,
    delete_note,
    restore_note,
    link_notes,
    suggest_links,
    build_context,
    recent_activity,
    search,
    fetch,
)
TOOLS = {tool.__name__: tool for tool in _ALL}


def _head(note: Note) -> Answer:
    return {
        "id": note.node_id,
        "title": note.title,
        "tags": list(note.tags),
        "etag": note.etag,
        "created": _iso(note.create_time),
        "updated": _iso(note.update_time),
        "bytes": note.content_bytes or len(note.content.encode()),
    }


def _similar(note: Similar) -> Answer:
    because = [reason.keyword for reason in note.reasons[:_REASONS]]
    return {"id": note.node_id, "title": note.title, "score": round(note.score, 3), "because": because}


def _page(name: str, found: list[Answer], limit: int, skip: int) -> Answer:
    shown = fitting(found[:limit], MAX_WEIGHT - 200)
    answer: Answer = {name: shown}
    if len(shown) < len(found) and skip + len(shown) < _MOST_SKIPPED:
        answer["cursor"] = _cursor({"n": skip + len(shown)})
    return answer


def _iso(value: datetime) -> str:
    return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _time(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidArgument("since is not a time in RFC 3339", reason="INVALID_ARGUMENT") from None


def _cursor(position: Answer) -> str:
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode().rstrip("=")


def _position(arguments: Arguments) -> Answer:
    """The position of a cursor that a tool answered. It is not a secret and gives no access."""
    given = arguments.get("cursor", "")
    if not given:
        return {}
    try:
        found = json.loads(base64.urlsafe_b64decode(given + "=" * (-len(given) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not isinstance(found.get("ids", []), list):
        raise _bad_cursor()
    return found


def _number(arguments: Arguments, name: str = "n", *, most: int = _MOST_SKIPPED) -> int:
    found = _int(_position(arguments).get(name), 0)
    if found > most:
        raise _bad_cursor()
    return found


def _int(value: object, default: int) -> int:
    if value is None:
        return default
    if type(value) is not int or not 0 <= value < 10**14:
        raise _bad_cursor()
    return value


def _bad_cursor() -> InvalidArgument:
    return InvalidArgument("cursor is not one that this tool answered", reason="PAGE_TOKEN_INVALID")


async def _first(items: AsyncIterator[Any], count: int) -> AsyncIterator[Any]:
    async for item in items:
        yield item
        count -= 1
        if not count:
            return
