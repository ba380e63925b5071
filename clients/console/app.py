"""The wiring of the console, readable from top to bottom."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from clients.console.agents import Agents
from clients.console.config import Config
from clients.console.connect import Connect
from clients.console.downloads import Downloads
from clients.console.security import Guard
from clients.console.targets import Targets

HERE = Path(__file__).parent
VIEW = HERE / "view" / "dist"
OPENAPI = HERE / "openapi.json"


def build(config: Config) -> ASGIApp:
    """The console as an ASGI application; it opens its connections when the server starts it."""
    credentials = None if config.ca is None else grpc.ssl_channel_credentials(config.ca.read_bytes())
    targets = Targets(config.targets, credentials, only_authenticated=config.reachable)
    agents = Agents(config, targets, credentials)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with targets, agents.running():
            yield

    routes: list[BaseRoute] = [
        *Connect(targets).routes(),
        *agents.routes(),
        Downloads(targets).route(),
        Route("/healthz", _healthy),
        Route("/openapi.json", _openapi),
        *_view(),
    ]
    app = Starlette(
        routes=routes,
        lifespan=lifespan,
        exception_handlers={404: _not_found, 405: _not_allowed, Exception: _failed},
    )
    return Guard(app, config.known_hosts)


def _view() -> list[Route]:
    """A route for each file of the graph view, when it is built. One route for all would take unknown RPCs, too."""
    index = VIEW / "index.html"
    if not index.is_file():
        return [Route("/", _without_view)]

    def route(path: str, file: Path) -> Route:
        async def answer(_: Request) -> Response:
            return FileResponse(file, headers={"cache-control": "no-cache"})

        return Route(path, answer)

    return [route("/", index), *(route(f"/{file.name}", file) for file in sorted(VIEW.iterdir()) if file.suffix)]


async def _healthy(_: Request) -> Response:
    # The console itself: it holds nothing, and a service that is away is reported by each call to it.
    return PlainTextResponse("ok\n")


async def _openapi(_: Request) -> Response:
    return FileResponse(OPENAPI, media_type="application/json")


async def _without_view(_: Request) -> Response:
    return PlainTextResponse("Brain2 console. The RPCs are described in /openapi.json; the graph view is not built.\n")


async def _not_found(request: Request, _: Exception) -> Response:
    message = f"there is nothing at {request.url.path[:200]}"
    return JSONResponse({"code": "unimplemented", "message": message}, status_code=404)


async def _not_allowed(request: Request, _: Exception) -> Response:
    message = f"{request.method} is not allowed here: RPCs are called by POST, those that read also by GET"
    return JSONResponse({"code": "unimplemented", "message": message}, status_code=405)


async def _failed(_: Request, __: Exception) -> Response:
    # The server logs the exception with its traceback; the answer discloses nothing of it.
    return JSONResponse(
        {"code": "internal", "message": "a defect of the console; its log has the details"}, status_code=500
    )
