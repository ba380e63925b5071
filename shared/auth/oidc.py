"""Verifies bearer tokens: JWTs that the configured issuer has signed with an asymmetric key."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt

from shared.auth.jwks import ALGORITHMS, Jwks
from shared.auth.principal import SCOPES, Principal
from shared.errors import Unauthenticated

_USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,127}")
_REQUIRED = ["exp", "iss", "aud", "sub"]
# What each failed check of a claim is called in the error.
_WRONG: Mapping[type[Exception], str] = {
    jwt.InvalidAudienceError: "is for another audience",
    jwt.InvalidIssuerError: "is from another issuer",
    jwt.ImmatureSignatureError: "is not valid yet",
    jwt.MissingRequiredClaimError: f"lacks one of the claims {', '.join(_REQUIRED)}",
}


def refused(why: str) -> Unauthenticated:
    return Unauthenticated(f"the token {why}", reason="TOKEN_INVALID")


@dataclass(frozen=True, slots=True)
class Oidc:
    """The rules for tokens.

    issuer, audience: what the claims iss and aud must be (one of aud's values).
    leeway: seconds by which clocks may differ, for exp and nbf.
    user_claim: the claim with the user_id.
    scope_claim: the claim with the scopes, a text separated by spaces or a list.
    scope_prefix: what stands before Brain2's scopes in the claim ("brain2." for "brain2.read"); others are ignored.
    """

    jwks: Jwks
    issuer: str
    audience: str
    leeway: float = 30.0
    user_claim: str = "sub"
    scope_claim: str = "scope"
    scope_prefix: str = ""

    async def verify(self, token: str) -> Principal:
        """The caller that a token stands for.

        Unauthenticated: TOKEN_EXPIRED, or TOKEN_INVALID for every other fault.
        Unavailable (ISSUER_KEYS_UNAVAILABLE): it can't be verified now.
        """
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError:
            raise refused("is not a JWT") from None
        algorithm, kid = header.get("alg"), header.get("kid", "")
        # A list or an object has no hash.
        if type(algorithm) is not str or algorithm not in ALGORITHMS:
            raise refused("must have an asymmetric signature")
        key = await self.jwks.get(kid)
        # The key decides which algorithms are possible, never the token alone.
        if key is None or algorithm not in key.algorithms:
            raise refused("is not signed with a key of the issuer")
        try:
            claims = jwt.decode(
                token,
                key.key,
                algorithms=[algorithm],
                audience=self.audience,
                issuer=self.issuer,
                leeway=self.leeway,
                options={"require": _REQUIRED},
            )
            return self._principal(claims)
        except jwt.ExpiredSignatureError:
            raise Unauthenticated("the token has expired", reason="TOKEN_EXPIRED") from None
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError) as error:
            raise refused(_WRONG.get(type(error), "is not valid")) from None

    def _principal(self, claims: Mapping[str, Any]) -> Principal:
        user = claims.get(self.user_claim)
        if type(user) is not str or not _USER.fullmatch(user):
            raise refused(f"has no user_id in its claim {self.user_claim}")
        return Principal(user, user, self._scopes(claims.get(self.scope_claim)), int(claims["exp"]) + self.leeway)

    def _scopes(self, claimed: Any) -> frozenset[str]:
        names = claimed.split() if type(claimed) is str else claimed if type(claimed) is list else []
        prefix = self.scope_prefix
        return SCOPES & {name[len(prefix) :] for name in names if type(name) is str and name.startswith(prefix)}
