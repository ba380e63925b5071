"""The checks of requests, one check_* function for each shape. InvalidArgument names all faults of a request at once.

The limits of a note are in model.py.
"""

import unicodedata
from collections.abc import Collection, Mapping, Sequence

from services.node_service.model import (
    MAX_ALIASES,
    MAX_BATCH_CREATE,
    MAX_BATCH_GET,
    MAX_CONTENT_BYTES,
    MAX_FUTURE_MS,
    MAX_METADATA_BYTES,
    MAX_METADATA_ENTRIES,
    MAX_RETENTION_SECONDS,
    MAX_TAG_BYTES,
    MAX_TAGS,
    MAX_TITLE_BYTES,
    UPDATABLE_FIELDS,
    Draft,
)
from shared.errors import Violations, shown
from shared.idempotent import IdempotentRequest
from shared.ids import check_id, check_user_id

# They turn the direction of what follows them, so that a line reads as another one.
_OVERRIDES = "\u202d\u202e"
# Letters and signs without ink: the fillers of Hangul, and the empty Braille pattern.
_BLANK = "\u115f\u1160\u2800\u3164\uffa0"
USER_SETTINGS_FIELDS = ("retention",)
# Events a second of ReplayEvents.
DEFAULT_REPLAY_RATE = 200
MAX_REPLAY_RATE = 2000


def check_ids(user_id: str, node_id: str | None = None, request: IdempotentRequest | None = None) -> None:
    """For requests that have ids alone. node_id None: the request has none."""
    violations = Violations()
    _ids(user_id, node_id, request, violations)
    violations.raise_if_any()


def check_create_node(user_id: str, draft: Draft, now_ms: int, request: IdempotentRequest | None) -> None:
    violations = Violations()
    _ids(user_id, None, request, violations)
    _new(draft, now_ms, violations)
    violations.raise_if_any()


def check_batch_create_nodes(user_id: str, drafts: Sequence[Draft], request: IdempotentRequest | None) -> None:
    """What would make the whole batch wrong; check_batched_node() is for one note of it."""
    violations = Violations()
    _ids(user_id, None, request, violations)
    if not 1 <= len(drafts) <= MAX_BATCH_CREATE:
        violations.add("nodes", f"has {len(drafts):,} notes, 1 to {MAX_BATCH_CREATE} are allowed")
    else:
        seen: set[str] = set()
        for index, draft in enumerate(drafts):
            if draft.node_id and draft.node_id in seen:
                why = f"is {shown(draft.node_id)} like that of an earlier note of the batch, must be another id"
                violations.add(f"nodes[{index}].node_id", why)
            seen.add(draft.node_id)
    violations.raise_if_any()


def check_batched_node(draft: Draft, now_ms: int) -> None:
    violations = Violations()
    _new(draft, now_ms, violations)
    violations.raise_if_any()


def check_update_node(
    user_id: str,
    node_id: str,
    draft: Draft,
    names: Collection[str],
    mask: Sequence[str],
    request: IdempotentRequest | None,
) -> None:
    """names: the fields that the mask, or the draft where there is no mask, changes."""
    violations = Violations()
    _ids(user_id, node_id, request, violations)
    _mask(mask, UPDATABLE_FIELDS, violations)
    if not names:
        violations.add(
            "update_mask", f"names nothing, and node sets nothing: one of {', '.join(UPDATABLE_FIELDS)} must be"
        )
    _fields(draft, names, violations)
    violations.raise_if_any()


def check_not_blank(title: str, content: str) -> None:
    violations = Violations()
    _not_blank(title, content, violations)
    violations.raise_if_any()


def check_purge_node(user_id: str, node_id: str, version: int) -> None:
    violations = Violations()
    _ids(user_id, node_id, None, violations)
    if version < 1:
        violations.add("version", f"is {version:,}, must be the version of the deleted note, 1 or more")
    violations.raise_if_any()


def check_batch_get_nodes(user_id: str, node_ids: Sequence[str]) -> None:
    violations = Violations()
    _ids(user_id, None, None, violations)
    if not 1 <= len(node_ids) <= MAX_BATCH_GET:
        violations.add("node_ids", f"has {len(node_ids):,} ids, 1 to {MAX_BATCH_GET:,} are allowed")
    else:
        for index, node_id in enumerate(node_ids):
            check_id(f"node_ids[{index}]", node_id, violations)
    violations.raise_if_any()


def check_replay_events(user_id: str, rate: int) -> None:
    """rate: events a second; 0 = DEFAULT_REPLAY_RATE."""
    violations = Violations()
    _ids(user_id, None, None, violations)
    if not 0 <= rate <= MAX_REPLAY_RATE:
        allowed = f"must be 0 (which means {DEFAULT_REPLAY_RATE}) to {MAX_REPLAY_RATE:,} events a second"
        violations.add("max_rate", f"is {rate:,}, {allowed}")
    violations.raise_if_any()


def check_update_user_settings(user_id: str, retention_seconds: float | None, mask: Sequence[str]) -> None:
    violations = Violations()
    _ids(user_id, None, None, violations)
    _mask(mask, USER_SETTINGS_FIELDS, violations)
    if retention_seconds is not None and not (
        0 <= retention_seconds <= MAX_RETENTION_SECONDS and retention_seconds == int(retention_seconds)
    ):
        allowed = f"must be whole seconds, 0 to {MAX_RETENTION_SECONDS:,} (365 days)"
        violations.add("settings.retention", f"is {shown(retention_seconds)} seconds, {allowed}")
    violations.raise_if_any()


def _ids(user_id: str, node_id: str | None, request: IdempotentRequest | None, violations: Violations) -> None:
    check_user_id("user_id", user_id, violations)
    if node_id is not None:
        check_id("node_id", node_id, violations)
    if request is not None:
        check_id("request_id", request.request_id, violations)


def _mask(mask: Sequence[str], allowed: Sequence[str], violations: Violations) -> None:
    for path in sorted(set(mask) - set(allowed)):
        violations.add("update_mask", f"names {shown(path)}, only {', '.join(allowed)} can be updated")


def _new(draft: Draft, now_ms: int, violations: Violations) -> None:
    if draft.node_id:
        check_id("node.node_id", draft.node_id, violations)
    _fields(draft, UPDATABLE_FIELDS, violations)
    _not_blank(draft.title, draft.content, violations)
    if draft.create_ms is not None and not 0 <= draft.create_ms <= now_ms + MAX_FUTURE_MS:
        given = "is before 1970" if draft.create_ms < 0 else f"is {draft.create_ms - now_ms:,} ms after now"
        allowed = f"must be between 1970-01-01 and {MAX_FUTURE_MS:,} ms (5 minutes) after now"
        violations.add("node.create_time", f"{given}, {allowed}")


def _fields(draft: Draft, names: Collection[str], violations: Violations) -> None:
    """The limits of the fields that `names` has. Content is data: any text is kept and returned byte for byte."""
    if "title" in names:
        _line("node.title", draft.title, MAX_TITLE_BYTES, violations)
        if draft.title.strip() and not _is_visible(draft.title):
            violations.add("node.title", "has no visible character, must have one or be empty")
    if "content" in names:
        _size("node.content", _bytes(draft.content), MAX_CONTENT_BYTES, violations)
    if "tags" in names:
        _tags("node.tags", draft.tags, violations)
    if "aliases" in names:
        _aliases("node.aliases", draft.aliases, violations)
    if "metadata" in names:
        _metadata("node.metadata", draft.metadata, violations)


def _not_blank(title: str, content: str, violations: Violations) -> None:
    if not _is_visible(title) and not _is_visible(content):
        violations.add("node", "title or content must not be blank")


def _tags(field: str, tags: Sequence[str], violations: Violations) -> None:
    if len(tags) > MAX_TAGS:
        violations.add(field, f"has {len(tags):,} tags, at most {MAX_TAGS} are allowed")
        return
    _lines(field, "tag", tags, MAX_TAG_BYTES, violations)


def _aliases(field: str, aliases: Sequence[str], violations: Violations) -> None:
    if len(aliases) > MAX_ALIASES:
        violations.add(field, f"has {len(aliases):,} aliases, at most {MAX_ALIASES} are allowed")
        return
    _lines(field, "alias", aliases, MAX_TITLE_BYTES, violations)


def _lines(field: str, what: str, values: Sequence[str], most: int, violations: Violations) -> None:
    seen: set[str] = set()
    for index, value in enumerate(values):
        _line(f"{field}[{index}]", value, most, violations)
        if not _is_visible(value):
            violations.add(f"{field}[{index}]", "must not be blank")
        elif value in seen:
            violations.add(f"{field}[{index}]", f"repeats an earlier {what}, each may stand there once")
        seen.add(value)


def _metadata(field: str, metadata: Mapping[str, str], violations: Violations) -> None:
    if len(metadata) > MAX_METADATA_ENTRIES:
        violations.add(field, f"has {len(metadata):,} entries, at most {MAX_METADATA_ENTRIES} are allowed")
    size = sum(_bytes(key) + _bytes(value) for key, value in metadata.items())
    if size > MAX_METADATA_BYTES:
        violations.add(field, f"has {size:,} bytes in all, at most {MAX_METADATA_BYTES:,} are allowed")
    for key in metadata:
        if not key or _control(key):
            violations.add(field, f"has the key {shown(key)}, a key must not be empty or hold control characters")
            break


def _line(field: str, value: str, most: int, violations: Violations) -> None:
    if not _size(field, _bytes(value), most, violations) and (control := _control(value)):
        violations.add(field, f"has U+{ord(control):04X}, must be one line without control characters")


def _size(field: str, size: int, most: int, violations: Violations) -> bool:
    if size > most:
        violations.add(field, f"has {size:,} bytes, at most {most:,} are allowed")
    return size > most


def _control(value: str) -> str:
    """The first character that a line must not have; "" when there is none."""
    if value.isprintable():
        return ""
    # Cc: control characters, among them NUL, tab and newline; Zl, Zp: the line and paragraph separators.
    found = (each for each in value if each in _OVERRIDES or unicodedata.category(each) in ("Cc", "Zl", "Zp"))
    return next(found, "")


def _is_visible(value: str) -> bool:
    """Whether a reader sees anything of the text. Characters of width zero are not printable in Python's sense."""
    return any(each.isprintable() and not each.isspace() and each not in _BLANK for each in value)


def _bytes(value: str) -> int:
    return len(value) if value.isascii() else len(value.encode())
