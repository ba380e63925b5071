"""The MCP server: tools and resources over whichever transport carries them.

It holds no data and decides nothing about access: each call goes to the services with the caller's own token.
"""

import hashlib
import json
import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import mcp_types as types
from jsonschema import Draft202012Validator
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError

from clients.mcp import tools
from clients.mcp.budget import piece
from clients.mcp.schemas import TOOLS
from clients.python.brain2 import Brain2, Brain2Error, Violation

log = logging.getLogger(__name__)
_INSTRUCTIONS = (
    "A person's notes and the links between them. Find notes by search_notes, read the surroundings of one by "
    "build_context, add to one by edit_note with mode append. Notes are private: do not repeat them elsewhere."
)
_MOST_VIEWS = 256
_RESOURCE_WEIGHT = 24_000
_RESOURCES_A_PAGE = 50
_VALIDATORS = {tool.name: Draft202012Validator(tool.input_schema) for tool in TOOLS}

# (user, token) of a request; the argument is the request of the transport, None over stdio.
Identify = Callable[[Any], tuple[str, str | None]]


class Views:
    """A client for each caller, over the same connections: a caller reads its own writes also in its next request.

    brain: answers the client whose connections are used; it is asked when the first caller comes.
    """

    def __init__(self, brain: Callable[[], Brain2]) -> None:
        self._brain = brain
        self._views: OrderedDict[tuple[str, bytes], Brain2] = OrderedDict()

    def of(self, user: str, token: str | None) -> Brain2:
        """The client of a caller."""
        key = (user, hashlib.sha256((token or "").encode()).digest())
        view = self._views.pop(key, None) or self._brain().acting_as(user, token=token)
        self._views[key] = view
        if len(self._views) > _MOST_VIEWS:
            self._views.popitem(last=False)
        return view


def build(views: Views, identify: Identify) -> Server[Any]:
    """The server. identify: who a request comes from."""

    def brain_of(ctx: Any) -> Brain2:
        return views.of(*identify(ctx.request))

    async def list_tools(_: Any, __: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=list(TOOLS))

    async def call_tool(ctx: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        arguments = params.arguments or {}
        if params.name not in tools.TOOLS:
            raise MCPError(types.INVALID_PARAMS, f"there is no tool {params.name[:64]!r}")
        problem = _problem(params.name, arguments)
        if problem:
            return _failed("INVALID_ARGUMENT", problem)
        try:
            answer = await tools.TOOLS[params.name](brain_of(ctx), arguments)
        except Brain2Error as error:
            return _failed(error.reason, error.message, error.violations)
        text = json.dumps(answer, ensure_ascii=False, separators=(",", ":"))
        return types.CallToolResult(content=[types.TextContent(type="text", text=text)], structured_content=answer)

    async def list_resources(ctx: Any, params: Any) -> types.ListResourcesResult:
        arguments = {"limit": _RESOURCES_A_PAGE}
        if params is not None and params.cursor:
            arguments["cursor"] = params.cursor
        try:
            page = await tools.recent_activity(brain_of(ctx), arguments)
        except Brain2Error as error:
            raise MCPError(types.INVALID_PARAMS, f"{error.reason}: {error.message}") from None
        found = [
            types.Resource(
                uri=tools.uri(note["id"]), name=note["id"], title=note["title"] or None, mime_type="text/markdown"
            )
            for note in page["notes"]
        ]
        return types.ListResourcesResult(resources=found, next_cursor=page.get("cursor"))

    async def list_templates(_: Any, __: Any) -> types.ListResourceTemplatesResult:
        template = types.ResourceTemplate(
            uri_template="brain2://note/{id}", name="note", description="A note as Markdown", mime_type="text/markdown"
        )
        return types.ListResourceTemplatesResult(resource_templates=[template])

    async def read_resource(ctx: Any, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        address = urlsplit(str(params.uri))
        start = parse_qs(address.query).get("from", ["0"])[0]
        node_id = address.path.removeprefix("/")
        if (
            address.scheme != "brain2"
            or address.netloc != "note"
            or not node_id
            or not (start.isascii() and start.isdigit() and len(start) < 10)
        ):
            raise MCPError(types.INVALID_PARAMS, "a resource is brain2://note/{id}")
        try:
            note = await brain_of(ctx).notes.get(node_id)
        except Brain2Error as error:
            raise MCPError(types.INVALID_PARAMS, f"{error.reason}: {error.message}") from None
        whole = f"# {note.title}\n\n{note.content}" if note.title else note.content
        text = piece(whole, int(start), _RESOURCE_WEIGHT) if int(start) < len(whole) else ""
        after = int(start) + len(text)
        if after < len(whole):
            text += f"\n\n[continues at {tools.uri(node_id)}?from={after}]"
        contents = types.TextResourceContents(uri=str(params.uri), mime_type="text/markdown", text=text)
        return types.ReadResourceResult(contents=[contents])

    return Server(
        "brain2",
        version="0.1.0",
        title="Brain2",
        instructions=_INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_resources=list_resources,
        on_list_resource_templates=list_templates,
        on_read_resource=read_resource,
    )


def _problem(name: str, arguments: dict[str, Any]) -> str:
    """What is wrong with the arguments of a tool; "" when they fit its schema."""
    error = next(_VALIDATORS[name].iter_errors(arguments), None)
    if error is not None:
        where = ".".join(map(str, error.absolute_path)) or "the arguments"
        return f"{where}: {error.message}"[:300].encode(errors="replace").decode()
    try:
        json.dumps(arguments, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return "a text has half of a surrogate pair, which is not Unicode"
    return ""


def _failed(reason: str, message: str, violations: tuple[Violation, ...] = ()) -> types.CallToolResult:
    fields = "".join(f"\n{violation.field}: {violation.description}" for violation in violations[:10])
    text = f"{reason}: {message}{fields}"[:4000]
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)], is_error=True)
