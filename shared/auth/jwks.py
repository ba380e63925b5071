"""The public keys of the token issuer (a JWKS, RFC 7517), from a file or a URL, kept in memory.

An unknown key id makes the keys be read again, at most once in cooldown_seconds, so that forged ids can't cause a flood
of fetches. While the issuer can't be reached, or answers anything but a JWKS with a usable key, the last keys stay in
use. PyJWT's own PyJWKClient was considered: it blocks the event loop.
"""

import asyncio
import contextvars
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import jwt

from shared.errors import Unavailable
from shared.ids import Clock
from shared.resilience.background import cancel_all

log = logging.getLogger(__name__)

_MOST_BYTES = 256 * 1024
# OpenSSL verifies with nothing longer.
_RSA_BITS = range(2048, 16_385)
_FETCH_SECONDS = 5.0
# Which algorithms a key of a type (and curve) can verify. Symmetric keys (kty oct) are never used.
_ALGORITHMS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("RSA", ""): ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
    ("OKP", "Ed448"): ("EdDSA",),
}
ALGORITHMS = frozenset(name for names in _ALGORITHMS.values() for name in names)


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A public key, and the algorithms that it may verify."""

    key: Any
    algorithms: tuple[str, ...]


Keys = dict[str, VerifyingKey]


class Jwks:
    """The keys by their id (kid); a key without an id has the id "".

    source: a path, or an http or https URL.
    refresh_seconds: the age at which keys are read again.
    cooldown_seconds: the shortest time between two reads because of unknown ids.
    fetch: reads the bytes of the source; for tests.
    """

    def __init__(
        self,
        source: str,
        clock: Clock,
        *,
        refresh_seconds: float = 300.0,
        cooldown_seconds: float = 10.0,
        fetch: Callable[[], Awaitable[bytes]] | None = None,
    ) -> None:
        self._source = source
        self._clock = clock
        self._refresh = refresh_seconds
        self._cooldown = cooldown_seconds
        self._fetch = fetch or self._read
        self._keys: Keys | None = None
        self._tried = float("-inf")
        self._reading: asyncio.Task[None] | None = None

    async def get(self, kid: str) -> VerifyingKey | None:
        """The key of this id; None when the issuer has none.

        Unavailable (ISSUER_KEYS_UNAVAILABLE): the keys were never read and can't be read now.
        """
        if self._keys is None or kid not in self._keys:
            if (reading := self._read_again(unless_younger=self._cooldown)) is not None:
                # All callers wait for one read, which goes on when one of them ends: else callers with short deadlines
                # could cause a flood of fetches, or keep every fetch from its end.
                await asyncio.shield(reading)
        else:
            # Beside the calls: none of them waits for an issuer that is slow or away.
            self._read_again(unless_younger=self._refresh)
        if self._keys is None:
            raise Unavailable(
                "the keys of the token issuer can't be read now",
                reason="ISSUER_KEYS_UNAVAILABLE",
                retry_after=self._cooldown,
            )
        found = self._keys.get(kid)
        if found is None and not kid and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return found

    async def close(self) -> None:
        """End a read that still runs."""
        if self._reading is not None:
            await cancel_all((self._reading,))

    def _read_again(self, unless_younger: float) -> "asyncio.Task[None] | None":
        """The read that runs, or a new one; None when the last one ended less than these seconds ago."""
        if self._reading is None and self._clock.monotonic() - self._tried >= unless_younger:
            # An empty context: the read belongs to no call.
            self._reading = asyncio.create_task(self._read_keys(), name="jwks", context=contextvars.Context())
        return self._reading

    async def _read_keys(self) -> None:
        try:
            keys = await asyncio.to_thread(parse, await self._fetch())
            if not keys:
                raise ValueError("no key of the JWKS can be used")
            self._keys = keys
        except Exception as error:  # whatever the issuer answered, the last keys serve on
            log.warning(
                "the keys of the token issuer can't be read, the last ones stay in use",
                extra={"kept": len(self._keys or ()), "error": type(error).__name__},
            )
        finally:
            self._tried = self._clock.monotonic()
            self._reading = None

    async def _read(self) -> bytes:
        if not self._source.startswith(("http://", "https://")):
            return await asyncio.to_thread(Path(self._source).read_bytes)
        timeout = aiohttp.ClientTimeout(total=_FETCH_SECONDS)
        # A session for each fetch: there are a few in an hour, and none is left open.
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(self._source) as response:
            response.raise_for_status()
            body = await response.content.read(_MOST_BYTES + 1)
            while len(body) <= _MOST_BYTES and (more := await response.content.read(_MOST_BYTES)):
                body += more
        if len(body) > _MOST_BYTES:
            raise ValueError("the JWKS is too large")
        return body


def parse(body: bytes) -> Keys:
    """The usable keys of a JWKS: asymmetric, and for signatures. ValueError when it isn't a JWKS."""
    document = json.loads(body)
    if type(document) is not dict or type(document.get("keys")) is not list:
        raise ValueError("not a JWKS")
    found: Keys = {}
    unusable: list[str] = []
    for each in document["keys"]:
        if type(each) is not dict or each.get("use", "sig") != "sig":
            continue
        names = _ALGORITHMS.get((str(each.get("kty")), str(each.get("crv", ""))), ())
        if "alg" in each:
            names = tuple(name for name in names if name == each["alg"])
        if not names:
            continue
        try:
            # The public part only: a private key in the JWKS must not be used as one.
            public = {name: value for name, value in each.items() if name not in ("d", "p", "q", "dp", "dq", "qi")}
            key = jwt.PyJWK(public, algorithm=names[0]).key
            if each["kty"] == "RSA" and key.key_size not in _RSA_BITS:
                raise ValueError("the key is too short or too long")
            found[str(each.get("kid", ""))] = VerifyingKey(key, names)
        except (jwt.PyJWTError, ValueError, TypeError, KeyError, OverflowError):
            unusable.append(str(each.get("kid", ""))[:64])
    if unusable:
        log.warning("keys of the token issuer can't be used", extra={"keys": len(unusable), "first": unusable[0]})
    return found
