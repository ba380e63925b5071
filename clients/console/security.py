"""What every request to the console must pass: a known Host, no foreign page behind it; and headers for every answer.

A page of another origin can make a browser send requests to a loopback address. The console refuses them: by the Host
header when the page's own name resolves to this machine (DNS rebinding), and by Origin and Sec-Fetch-Site otherwise. It
never answers CORS headers, so such a page could not read an answer either.
"""

from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from clients.console.connect import failure
from clients.console.errors import CallError, refusal

_POLICY = (
    "default-src 'none'; script-src 'self'; worker-src 'self' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class Guard:
    """ASGI middleware: refuses requests of foreign pages with 403 and unknown hosts with 421.

    hosts: values of the Host header that are this console, in lower case, with the port: "127.0.0.1:50080".
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                # Notes are in the answers: no proxy and no disk cache keeps them. Files of the page say otherwise.
                headers.setdefault("cache-control", "no-store")
            await send(message)

        try:
            self._check(Headers(scope=scope), scope["path"])
        except CallError as error:
            await failure(error)(scope, receive, send_guarded)
            return
        await self._app(scope, receive, send_guarded)

    def _check(self, headers: Headers, path: str) -> None:
        if path == "/healthz":
            return  # for probes, which ask by the address of a pod; it discloses nothing
        host = headers.get("host", "").lower()
        if host not in self._hosts:
            raise refusal("permission_denied", f"the Host {host!r:.80} is not this console", "FOREIGN_HOST", http=421)
        origin = headers.get("origin")
        if origin is not None and origin.lower() not in (f"http://{host}", f"https://{host}"):
            raise refusal("permission_denied", "the request comes from a page of another origin", "FOREIGN_ORIGIN")
        # "none": a person typed the address. A same-site page has another port or name, and is as foreign as any.
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none") and path != "/":
            raise refusal("permission_denied", "the request comes from a page of another origin", "FOREIGN_ORIGIN")
