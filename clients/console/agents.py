"""The MCP server at /mcp: who a request comes from, and what OAuth clients look for (RFC 9728).

The services decide whether a token is valid and what it allows. The console asks one of them before it answers 200,
because OAuth clients get a new token only after a 401.
"""

import contextlib
import hashlib
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from typing import Any

import grpc
from mcp.server.streamable_http_manager import StreamableHTTPASGIApp, StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from clients.console.config import Config
from clients.console.connect import failure
from clients.console.errors import CallError
from clients.console.methods import methods
from clients.console.targets import Targets
from clients.mcp.server import Views, build
from clients.python.brain2 import Brain2
from protos.node.v1 import node_pb2

PATH = "/mcp"
USER_HEADER = "x-brain2-user"
_METADATA = "/.well-known/oauth-protected-resource"
_PROBE = "/brain2.node.v1.NodeService/GetUserSettings"
_PROBE_SECONDS = 5.0
_ACCEPTED_SECONDS = 30.0
_MOST_ACCEPTED = 1024
_MAX_BODY_BYTES = 1024 * 1024


class Agents:
    """The routes of the MCP server. It is stateless: any process answers any request."""

    def __init__(self, config: Config, targets: Targets, credentials: grpc.ChannelCredentials | None) -> None:
        self._config = config
        self._targets = targets
        others: dict[str, Any] = {context: target for context, target in config.targets.items() if context != "node"}
        # Opens no connection before its first call, which is made in the server's event loop.
        self._brain = Brain2(config.targets["node"], ca=credentials, **others)
        self._accepted: OrderedDict[bytes, float] = OrderedDict()
        self._sessions = StreamableHTTPSessionManager(
            app=build(Views(lambda: self._brain), self._identify),
            json_response=True,
            stateless=True,
            max_request_body_size=_MAX_BODY_BYTES,
            # security.py has checked Host and Origin before.
            security_settings=TransportSecuritySettings(enable_dns_rebinding_protection=False),
        )
        self._serve = StreamableHTTPASGIApp(self._sessions)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """While the console serves."""
        async with self._brain, self._sessions.run():
            yield

    def routes(self) -> list[BaseRoute]:
        """The server, and its metadata when there is an authorization server to name."""
        found: list[BaseRoute] = [Route(PATH, self)]
        if self._config.authorization_servers:
            found += [Route(_METADATA, self._metadata), Route(_METADATA + PATH, self._metadata)]
        return found

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        refused = await self._refused(request)
        if refused is None:
            await self._serve(scope, receive, send)
        else:
            await refused(scope, receive, send)

    async def _metadata(self, _: Request) -> Response:
        return JSONResponse(
            {
                "resource": self._url(PATH),
                "authorization_servers": list(self._config.authorization_servers),
                "scopes_supported": ["read", "write"],
                "bearer_methods_supported": ["header"],
                "resource_name": "Brain2",
            }
        )

    def _url(self, path: str) -> str:
        return (self._config.public_url or self._config.url) + path

    def _identify(self, request: Any) -> tuple[str, str | None]:
        token = _token(request)
        given = request.headers.get(USER_HEADER) or request.query_params.get("user")
        return given or ("" if token else self._config.user), token

    async def _refused(self, request: Request) -> Response | None:
        """A 401 when the services do not know the caller; None when they do, or can't be asked now."""
        user, token = self._identify(request)
        key = hashlib.sha256(f"{user}\n{token}".encode()).digest()
        if time.monotonic() < self._accepted.get(key, 0.0):
            return None
        message = node_pb2.GetUserSettingsRequest(user_id=user).SerializeToString()
        headers = [("authorization", f"Bearer {token}")] if token else []
        try:
            await self._targets.unary(methods()[_PROBE], message, headers, _PROBE_SECONDS)
        except CallError as error:
            return failure(error)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNAUTHENTICATED:
                return self._unauthenticated(error.details() or "a token is needed", bool(token))
            # Whatever else is wrong is answered by the tools, with its reason.
            return None
        self._accepted[key] = time.monotonic() + _ACCEPTED_SECONDS
        while len(self._accepted) > _MOST_ACCEPTED:
            self._accepted.popitem(last=False)
        return None

    def _unauthenticated(self, message: str, had_token: bool) -> Response:
        parts = ['error="invalid_token"'] if had_token else []
        if self._config.authorization_servers:
            parts.append(f'resource_metadata="{self._url(_METADATA + PATH)}"')
        challenge = f"Bearer {', '.join(parts)}".strip()
        answer = {"error": "invalid_token", "error_description": message}
        return JSONResponse(answer, status_code=401, headers={"www-authenticate": challenge})


def _token(request: Any) -> str | None:
    """The bearer token of a request; None when there is none, or one that a gRPC header can't carry."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    token = token.strip()
    return token if scheme.lower() == "bearer" and token.isascii() and token.isprintable() and token else None
