"""Preshared keys and TLS identities, from a JSON file that the operator writes.

    {"keys": [
      {"name": "backend", "sha256": "<64 hex digits>", "scopes": ["read", "write", "act_as"]},
      {"name": "ada-cli", "key": "<at least 32 characters>", "scopes": ["read"], "user": "ada"},
      {"name": "node", "tls": "spiffe://brain2/node", "scopes": ["internal", "read", "write", "act_as"]}]}

Each entry has exactly one of `sha256` (of the key, so that the file holds no secret), `key`, and `tls`: a URI or DNS
name that the caller's certificate has as a subject alternative name.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from shared.auth.principal import SCOPES, Principal

_SHORTEST_KEY = 32
# What a bearer token in a header may have.
_KEY = re.compile(r"[!-~]+")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,127}")
_FIELDS = frozenset(("name", "sha256", "key", "tls", "scopes", "user"))


class KeyFileError(ValueError):
    """The key file is wrong; the text names the entry, never a key."""


class Preshared:
    """The keys and TLS identities of one file. Empty without entries."""

    def __init__(
        self, keys: Iterable[tuple[bytes, Principal]] = (), identities: Mapping[str, Principal] | None = None
    ) -> None:
        self._keys = tuple(keys)
        self._identities = dict(identities or {})

    @property
    def has_identities(self) -> bool:
        return bool(self._identities)

    def by_key(self, key: str) -> Principal | None:
        """Whose key this is. The time that it takes depends neither on the key nor on which entry matches."""
        digest = hashlib.sha256(key.encode()).digest()
        found = None
        for expected, principal in self._keys:
            if hmac.compare_digest(expected, digest):
                found = principal
        return found

    def by_identity(self, names: Iterable[str]) -> Principal | None:
        """The principal of a certificate that has one of these subject alternative names."""
        return next((self._identities[name] for name in names if name in self._identities), None)


def read(path: str) -> Preshared:
    """The keys of a file. KeyFileError: it can't be read, or an entry is wrong."""
    try:
        entries = json.loads(Path(path).read_text(encoding="utf-8"))["keys"]
    except OSError as error:
        raise KeyFileError(f"can't read {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise KeyFileError(f'{path} is not JSON of the form {{"keys": [...]}}') from None
    if type(entries) is not list:
        raise KeyFileError(f'{path}: "keys" must be a list')
    keys: list[tuple[bytes, Principal]] = []
    identities: dict[str, Principal] = {}
    names: set[str] = set()
    for number, entry in enumerate(entries, 1):
        try:
            principal, digest, identity = _entry(entry)
        except KeyFileError as error:
            raise KeyFileError(f"{path}: entry {number} {error}") from None
        if principal.name in names or identity in identities or digest in [known for known, _ in keys]:
            raise KeyFileError(f"{path}: entry {number} has the name, key or identity of an earlier one")
        names.add(principal.name)
        if identity:
            identities[identity] = principal
        else:
            keys.append((digest, principal))
    return Preshared(keys, identities)


def _entry(entry: Any) -> tuple[Principal, bytes, str]:
    """The principal; the digest of its key, or its identity."""
    if type(entry) is not dict or not _FIELDS.issuperset(entry):
        raise KeyFileError(f"must be an object with the fields {', '.join(sorted(_FIELDS))}")
    name, user, scopes = entry.get("name"), entry.get("user", ""), entry.get("scopes")
    if type(name) is not str or not _NAME.fullmatch(name):
        raise KeyFileError("needs a name: 1 to 64 of A-Z a-z 0-9 . _ -, the first a letter or digit")
    if type(user) is not str or (user and not _USER.fullmatch(user)):
        raise KeyFileError("has a user that is not the id of one")
    if type(scopes) is not list or not scopes or not SCOPES.issuperset(map(str, scopes)):
        raise KeyFileError(f"needs scopes, a list of some of {', '.join(sorted(SCOPES))}")
    given = [field for field in ("sha256", "key", "tls") if entry.get(field)]
    if len(given) != 1 or type(entry[given[0]]) is not str:
        raise KeyFileError("needs exactly one of sha256, key and tls")
    principal = Principal(name, user, frozenset(scopes))
    value: str = entry[given[0]]
    if given == ["tls"]:
        return principal, b"", value
    if given == ["key"]:
        if len(value) < _SHORTEST_KEY:
            raise KeyFileError(f"has a key of less than {_SHORTEST_KEY} characters")
        if not _KEY.fullmatch(value):
            raise KeyFileError("has a key with other characters than the visible ones of ASCII, without spaces")
        return principal, hashlib.sha256(value.encode()).digest(), ""
    if not re.fullmatch(r"[0-9a-fA-F]{64}", value):
        raise KeyFileError("has a sha256 that is not 64 hex digits")
    return principal, bytes.fromhex(value), ""
