"""Authentication and authorisation of calls: the guard stands between gRPC and the chain of each method.

The hot path is begin(): it finds the principal of a header that was verified before, in one look-up. Everything else
happens in protect(), inside the chain, where it may wait and raise: verifying, the scope, and the user. Then the
servicer gets the request, with its user_id set. So permission comes before validation, and before existence.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Iterable
from contextlib import AbstractContextManager
from contextvars import ContextVar
from ipaddress import ip_address
from math import inf
from time import time
from typing import Any

from google.protobuf.message import Message

from shared import audit
from shared.auth.authenticator import Authenticator
from shared.auth.jwks import Jwks
from shared.auth.oidc import Oidc
from shared.auth.preshared import KeyFileError
from shared.auth.principal import Principal, caller
from shared.config import ConfigError, ServerSecurity
from shared.errors import PermissionDenied, Unauthenticated
from shared.grpc.admission import Share
from shared.grpc.middleware import Context, FastPath, Handler, MethodInfo, parser
from shared.ids import SystemClock
from shared.ratelimit import HasScripts, Rate, RateLimiter

log = logging.getLogger(__name__)

_HEADER = "authorization"
_UNLIMITED = contextlib.nullcontext()
_RELOAD_SECONDS = 2.0
# The properties of a TLS connection that name the certificate's owner.
_NAMES = ("x509_subject_alternative_name", "peer_spiffe_id")
# The authorization header of the call that is being served.
_header: ContextVar[str] = ContextVar("brain2_authorization", default="")


class Guard:
    """Lets a call through to its servicer only if its caller may make it."""

    def __init__(
        self, authenticator: Authenticator, jwks: Jwks | None = None, limiter: RateLimiter | None = None
    ) -> None:
        self._authenticator = authenticator
        self._limiter = limiter
        self._jwks = jwks
        self._known = authenticator.known

    def begin(self, metadata: Iterable[tuple[str, Any]]) -> None:
        """Note who makes the call that begins in this task. Call it first in the task of every call."""
        header: str | None = None
        for key, value in metadata:
            if key == _HEADER:
                # Several headers are one list, as in HTTP, which is no token: a proxy may have checked another of them.
                header = value if header is None else f"{header}, {value}"
        principal = self._known(header) if header else None
        caller.set(principal)
        if principal is None:
            _header.set(header or "")

    def protect(self, info: MethodInfo, handler: Handler, share: Share) -> Handler:
        """The handler behind the guard. It takes the request's bytes, whatever the handler takes.

        share: what one caller may hold of the calls of this kind. Those who call for many users are not limited by it:
        backends, services and operators.
        """
        if info.server_streaming:
            return self._stream(info, handler, share)
        audited = audit.is_audited(info)

        async def handle(request: bytes, context: Context) -> Any:
            principal, message = await self._admit(info, request, context)
            if not audited:
                with _place(share, principal):
                    return await handler(message, context)
            with audit.outcome(info, principal, message) as event, _place(share, principal):
                return event.answered(await handler(message, context))

        return handle

    def fast_path(self, info: MethodInfo, fast_path: FastPath) -> FastPath | None:
        """The fast path for callers who may make the call; None where calls are counted, which takes a wait.

        Answers are kept under the bytes that _admit() makes of a request, which begin with one user_id and have no
        other. So comparing the beginning is enough to know whose answer it is.
        """
        if self._limiter is not None:
            return None
        scope = info.traits.scope
        if info.request_type.DESCRIPTOR.fields_by_name["user_id"].number != 1:
            raise TypeError(f"{info.path} can't have a fast path: its first field is not user_id")

        def find(request: bytes) -> bytes | None:
            principal = caller.get()
            if principal is None or scope not in principal.scopes:
                return None
            if not request.startswith(b"\x0a"):  # without a user_id
                return fast_path(principal.user_field + request)
            own = principal.user_field
            if (own and request.startswith(own)) or principal.may_act_for_all(scope):
                return fast_path(request)
            return None

        return find

    async def run(self) -> None:
        """Read changed key files again, for as long as the server runs."""
        while True:
            await asyncio.sleep(_RELOAD_SECONDS)
            self._authenticator.reload()

    async def close(self) -> None:
        if self._jwks is not None:
            await self._jwks.close()

    # ------------------------------------------------------------------ deciding

    async def _admit(self, info: MethodInfo, request: bytes, context: Context) -> tuple[Principal, Any]:
        """The caller, and the request as the servicer takes it, with its user_id set."""
        try:
            principal = caller.get() or await self._identify(context)
        except Unauthenticated as error:
            audit.denied(info, None, "", error)
            raise
        scope = info.traits.scope
        if scope not in principal.scopes and info.traits.all_users not in principal.scopes:
            raise _denied(info, principal, "", _needs(scope))
        message: Message = parser(info.request_type)(request)
        if "user_id" in info.request_type.DESCRIPTOR.fields_by_name:
            self._check_user(info, principal, message)
        if self._limiter is not None:
            await self._limiter.check(principal, getattr(message, "user_id", ""))
        # Encoded again, since a fast path keeps answers under these bytes: what callers send may repeat fields.
        return principal, message.SerializeToString() if info.raw else message

    async def _identify(self, context: Context) -> Principal:
        header = _header.get()
        if not header and self._authenticator.uses_identities:
            properties = context.auth_context()
            names = [name.decode("utf-8", "replace") for key in _NAMES for name in properties.get(key, ())]
            principal = self._authenticator.by_identity(names)
            if principal is not None:
                caller.set(principal)
                return principal
        principal = await self._authenticator.verify(header)
        caller.set(principal)
        return principal

    def _check_user(self, info: MethodInfo, principal: Principal, message: Any) -> None:
        """Refuse another user's id; an empty one becomes the caller's own."""
        all_users = info.traits.all_users
        if all_users in principal.scopes:
            return
        if not message.user_id:
            if not principal.user:
                if all_users:
                    raise _denied(info, principal, "", _needs(all_users))
                return  # the servicer refuses the empty user_id
            message.user_id = principal.user
        elif not principal.may_act_for(message.user_id, info.traits.scope):
            error = PermissionDenied("the caller may not act for this user", reason="USER_NOT_ALLOWED")
            raise _denied(info, principal, message.user_id, error)

    def _stream(self, info: MethodInfo, handler: Handler, share: Share) -> Handler:
        audited = audit.is_audited(info)

        async def handle(request: bytes, context: Context) -> AsyncGenerator[Any]:
            principal, message = await self._admit(info, request, context)
            ends = principal.expires if info.traits.subscription else inf
            event = audit.outcome(info, principal, message) if audited else contextlib.nullcontext()
            with event, _place(share, principal):
                async with contextlib.aclosing(handler(message, context)) as responses:
                    async for response in _until(ends, responses):
                        yield response

        return handle


def _place(share: Share, principal: Principal) -> AbstractContextManager[None]:
    return _UNLIMITED if principal.calls_for_others else share.place(principal.name)


async def _until(ends: float, responses: AsyncGenerator[Any]) -> AsyncGenerator[Any]:
    """The responses; Unauthenticated (TOKEN_EXPIRED) at the time `ends`, in seconds since 1970."""
    if ends == inf:
        async for response in responses:
            yield response
        return
    while True:
        try:
            async with asyncio.timeout(max(ends - time(), 0.0)) as limit:
                response = await anext(responses)
        except StopAsyncIteration:
            return
        except TimeoutError:
            if not limit.expired():
                raise
            raise Unauthenticated("the token has expired", reason="TOKEN_EXPIRED") from None
        yield response


def _denied(info: MethodInfo, principal: Principal, user_id: str, error: PermissionDenied) -> PermissionDenied:
    audit.denied(info, principal, user_id, error)
    return error


def _needs(scope: str) -> PermissionDenied:
    return PermissionDenied(f"the call needs the scope {scope}", reason="SCOPE_MISSING", metadata={"scope": scope})


# ---------------------------------------------------------------------- set-up


def make_guard(config: ServerSecurity, redis: HasScripts | None = None) -> Guard | None:
    """The guard of a process; None with BRAIN2_AUTH=none. ConfigError when the config is not complete.

    redis: shares the rate limits with the other replicas.
    """
    if config.auth == "none":
        if config.user_rate or config.caller_rate:
            raise ConfigError(["BRAIN2_USER_RATE, BRAIN2_CALLER_RATE: limits of callers need BRAIN2_AUTH"])
        return None
    wanted = {"BRAIN2_AUTH_KEYS": config.auth_keys}
    if config.auth == "oidc":
        wanted = {
            "BRAIN2_OIDC_ISSUER": config.oidc_issuer,
            "BRAIN2_OIDC_AUDIENCE": config.oidc_audience,
            "BRAIN2_OIDC_JWKS": config.oidc_jwks,
        }
    if missing := [name for name, value in wanted.items() if not value]:
        raise ConfigError([f"{name} is required with BRAIN2_AUTH={config.auth}" for name in missing])
    jwks = oidc = None
    if config.auth == "oidc":
        jwks = Jwks(config.oidc_jwks, SystemClock())
        oidc = Oidc(
            jwks=jwks,
            issuer=config.oidc_issuer,
            audience=config.oidc_audience,
            leeway=config.oidc_leeway_seconds,
            user_claim=config.oidc_user_claim,
            scope_claim=config.oidc_scope_claim,
            scope_prefix=config.oidc_scope_prefix,
        )
    try:
        return Guard(Authenticator(oidc, config.auth_keys), jwks, _limiter(config, redis))
    except KeyFileError as error:
        raise ConfigError([f"BRAIN2_AUTH_KEYS: {error}"]) from None


def _limiter(config: ServerSecurity, redis: HasScripts | None) -> RateLimiter | None:
    user = Rate(config.user_rate, config.user_burst) if config.user_rate else None
    caller_ = Rate(config.caller_rate, config.caller_burst) if config.caller_rate else None
    return RateLimiter(user, caller_, SystemClock(), redis) if user or caller_ else None


def check_exposure(config: ServerSecurity, listen: str) -> None:
    """ConfigError for a server that other machines can reach without authentication or without TLS.

    With BRAIN2_INSECURE=1 it starts all the same, and a warning is logged.
    """
    if is_local(listen):
        return
    if config.auth == "none":
        if not config.insecure:
            raise ConfigError(
                [
                    f"BRAIN2_AUTH: without authentication a server listens on loopback or unix addresses only, not on "
                    f"{listen}: set BRAIN2_AUTH to preshared or oidc, or BRAIN2_INSECURE=1"
                ]
            )
        log.warning(
            "INSECURE: this server has no authentication (BRAIN2_AUTH=none) and other machines can reach it: everybody "
            "can read, change and erase the notes of all users",
            extra={"listen": listen},
        )
    elif not config.tls_cert:
        if not config.insecure:
            raise ConfigError(
                [
                    f"BRAIN2_TLS_CERT: without TLS everybody on the way to {listen} can read the tokens: set "
                    "BRAIN2_TLS_CERT and BRAIN2_TLS_KEY, listen on loopback behind a proxy that does TLS, or set "
                    "BRAIN2_INSECURE=1 where the network itself is protected"
                ]
            )
        log.warning("INSECURE: tokens arrive without encryption (no BRAIN2_TLS_CERT)", extra={"listen": listen})


def is_local(listen: str) -> bool:
    """Whether only this machine can reach the address."""
    if listen.startswith(("unix:", "unix-abstract:")):
        return True
    host = listen.removeprefix("ipv4:").removeprefix("ipv6:").rpartition(":")[0].strip("[]")
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
