"""From the authorization header of a call to its principal; what was verified once is kept in memory."""

import logging
from collections.abc import Iterable
from time import time

from shared.auth import files, preshared
from shared.auth.oidc import Oidc, refused
from shared.auth.principal import Principal
from shared.errors import Unauthenticated

log = logging.getLogger(__name__)

_MOST_HEADERS = 10_000
_MOST_BYTES = 16 * 1024 * 1024
_LONGEST_HEADER = 8 * 1024
# Seconds after which a verified token is verified again, so that a withdrawn key of the issuer has an end.
_KEEP_SECONDS = 300.0


class Authenticator:
    """Finds who sent a header.

    oidc: verifies JWTs; None: only preshared keys are accepted.
    key_file: path of the preshared keys and TLS identities; "" for none. KeyFileError when it is wrong at the start;
        a wrong file later is logged, and the former keys stay.
    """

    def __init__(self, oidc: Oidc | None = None, key_file: str = "") -> None:
        self._oidc = oidc
        self._file = key_file
        self._stamp = files.stamp([key_file]) if key_file else ()
        self._preshared = preshared.read(key_file) if key_file else preshared.Preshared()
        # Header -> the principal, and when (seconds since 1970) it must be verified again. The oldest comes first.
        self._known: dict[str, tuple[Principal, float]] = {}
        self._bytes = 0

    def known(self, header: str) -> Principal | None:
        """The principal of a header that was verified before and may still be used; None: use verify()."""
        found = self._known.get(header)
        return found[0] if found is not None and found[1] > time() else None

    async def verify(self, header: str) -> Principal:
        """The principal of a header. Errors: those of Oidc.verify(), and Unauthenticated (TOKEN_MISSING)."""
        if not header:
            raise Unauthenticated("the call has no authorization header", reason="TOKEN_MISSING")
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or not token or len(header) > _LONGEST_HEADER or not token.isascii():
            raise refused("must be sent as: authorization: Bearer <token>")
        principal = self._preshared.by_key(token)
        if principal is None:
            if self._oidc is None:
                raise refused("is not a known key")
            principal = await self._oidc.verify(token)
        self._keep(header, principal)
        return principal

    @property
    def uses_identities(self) -> bool:
        """Whether certificates can stand for callers."""
        return self._preshared.has_identities

    def by_identity(self, names: Iterable[str]) -> Principal | None:
        """The principal of a verified certificate that has these subject alternative names."""
        return self._preshared.by_identity(names)

    def reload(self) -> None:
        """Read the key file again if it was changed; then all headers are verified anew."""
        if not self._file or (stamp := files.stamp([self._file])) == self._stamp:
            return
        self._stamp = stamp
        try:
            self._preshared = preshared.read(self._file)
        except preshared.KeyFileError as error:
            log.error("the key file is wrong, the former keys stay in use: %s", error)
            return
        self._known.clear()
        self._bytes = 0
        log.info("the key file was read again")

    def _keep(self, header: str, principal: Principal) -> None:
        self._forget(header)
        self._known[header] = principal, min(principal.expires, time() + _KEEP_SECONDS)
        self._bytes += len(header)
        while len(self._known) > _MOST_HEADERS or self._bytes > _MOST_BYTES:
            self._forget(next(iter(self._known)))

    def _forget(self, header: str) -> None:
        if self._known.pop(header, None) is not None:
            self._bytes -= len(header)
