"""What a model is told of the tools: their names, arguments and answers as JSON Schema, 8 KB for all of them."""

from typing import Any

import mcp_types as types

Schema = dict[str, Any]
_TEXT: Schema = {"type": "string"}
_TAGS: Schema = {"type": "array", "items": _TEXT}
_ID: Schema = {"type": "string", "description": "id of a note"}
_CURSOR: Schema = {"type": "string", "description": "from the last answer, to continue"}
_HEAD = {"id": _TEXT, "title": _TEXT, "tags": _TAGS, "etag": _TEXT, "created": _TEXT, "updated": _TEXT,
         "bytes": {"type": "integer"}}  # fmt: skip


def _limit(most: int) -> Schema:
    return {"type": "integer", "minimum": 1, "maximum": most}


def _object(required: str = "", **properties: Schema) -> Schema:
    found: Schema = {"type": "object", "properties": properties}
    return {**found, "required": required.split()} if required else found


def _list(**properties: Schema) -> Schema:
    return {"type": "array", "items": {"type": "object", "properties": properties}}


def _tool(name: str, description: str, takes: Schema, answers: Schema, kind: str = "read") -> types.Tool:
    """kind: "read"; "add" for a change that removes nothing; "destroy" for one that removes or overwrites."""
    hints = types.ToolAnnotations(read_only_hint=kind == "read", open_world_hint=False)
    if kind != "read":
        hints = types.ToolAnnotations(read_only_hint=False, destructive_hint=kind == "destroy", open_world_hint=False)
    return types.Tool(
        name=name,
        description=description,
        input_schema={**takes, "additionalProperties": False},
        output_schema=answers,
        annotations=hints,
    )


_WRITTEN = _object("id etag", **_HEAD)
TOOLS = (
    _tool(
        "search_notes",
        'Search all notes. The query has words, "phrases", prefix* and tag:name.',
        _object("query", query=_TEXT, tags=_TAGS, limit=_limit(50), cursor=_CURSOR),
        _object("hits", hits=_list(id=_TEXT, title=_TEXT, snippet=_TEXT, score={"type": "number"}), cursor=_TEXT),
    ),
    _tool(
        "read_note",
        "Read a note with its links. Long texts and many links come in parts: repeat with the cursor.",
        _object("id", id=_ID, cursor=_CURSOR),
        _object(
            "id text links",
            **_HEAD,
            text=_TEXT,
            links=_list(id=_TEXT, title=_TEXT, type=_TEXT, weight={"type": "number"}),
            cursor=_TEXT,
        ),
    ),
    _tool(
        "write_note",
        "Create a note. Links to similar notes are made within a second or two.",
        _object(title=_TEXT, text=_TEXT, tags=_TAGS, id={**_ID, "description": "made if left out"}),
        _WRITTEN,
        "add",
    ),
    _tool(
        "edit_note",
        "Change a note. append and prepend add text. replace changes the passage `find`, or with the etag of read_note "
        "the whole text. Edits of others are never lost.",
        _object(
            "id mode",
            id=_ID,
            mode={"enum": ["append", "prepend", "replace"]},
            text=_TEXT,
            find=_TEXT,
            etag=_TEXT,
            title=_TEXT,
            tags=_TAGS,
        ),
        _WRITTEN,
        "destroy",
    ),
    _tool(
        "delete_note",
        "Delete a note. restore_note brings it back until the time that is answered.",
        _object("id", id=_ID),
        _object("id", id=_TEXT, restorable_until=_TEXT),
        "destroy",
    ),
    _tool("restore_note", "Bring a deleted note back with its links.", _object("id", id=_ID), _WRITTEN, "add"),
    _tool(
        "link_notes",
        "Link two notes.",
        _object("source target", source=_ID, target=_ID, type=_TEXT, directed={"type": "boolean"}),
        _object("source target", source=_TEXT, target=_TEXT, type=_TEXT, weight={"type": "number"}),
        "add",
    ),
    _tool(
        "suggest_links",
        "Similar notes that are not linked yet, with the shared keywords.",
        _object("id", id=_ID, limit=_limit(50), cursor=_CURSOR),
        _object(
            "suggestions",
            suggestions=_list(id=_TEXT, title=_TEXT, score={"type": "number"}, because=_TAGS),
            cursor=_TEXT,
        ),
    ),
    _tool(
        "build_context",
        "A note and the notes around it as one text, best linked first.",
        _object(
            "id",
            id=_ID,
            depth={"type": "integer", "minimum": 1, "maximum": 3},
            max_bytes={"type": "integer", "minimum": 500, "maximum": 12000},
        ),
        _object("text notes truncated", text=_TEXT, notes=_TAGS, truncated={"type": "boolean"}),
    ),
    _tool(
        "recent_activity",
        "The newest notes.",
        _object(since={"type": "string", "description": "RFC 3339"}, limit=_limit(50), cursor=_CURSOR),
        _object("notes", notes=_list(**_HEAD, excerpt=_TEXT), cursor=_TEXT),
    ),
    _tool(
        "search",
        "Search notes; fetch reads a result.",
        _object("query", query=_TEXT),
        _object("results", results=_list(id=_TEXT, title=_TEXT, url=_TEXT)),
    ),
    _tool(
        "fetch",
        "Read a result of search.",
        _object("id", id=_ID),
        _object("id title text url", id=_TEXT, title=_TEXT, text=_TEXT, url=_TEXT, metadata={"type": "object"}),
    ),
)
