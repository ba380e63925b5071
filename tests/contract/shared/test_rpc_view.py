"""Our methods as grpcio-testing's synchronous harness sees them: what a whole server isn't needed for.

The harness calls a handler and takes what it returns for the answer; given an async one that is a coroutine that nobody
awaits, with status OK. So the test shows it a synchronous view, which runs the composed function to its end.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc_testing
import pytest
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

from protos.options.rules import traits
from shared import errors
from shared.grpc import middleware
from shared.grpc.middleware import MethodInfo, ServerCalls
from shared.ids import check_id
from tests.support.echo import NAME, SERVICE, Echo, server_config

METHOD = SERVICE.methods_by_name["GetEcho"]


class Context:
    """The harness's context, with the one method of grpc.aio's that it lacks."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def trailing_metadata(self) -> tuple[()]:
        return ()


class SynchronousView:
    """The servicer's method inside our middleware, for a harness that can't await."""

    def __init__(self, method: Callable[[Any, Any], Any]) -> None:
        info = MethodInfo(service=NAME, name="GetEcho", request_type=Echo, traits=traits(METHOD))
        self._serve: Callable[[Any, Any], Awaitable[bytes]] = middleware.unary(
            info, method, ServerCalls(server_config())
        )

    def GetEcho(self, request: Any, context: Any) -> Any:
        """grpc_testing hands over messages; our functions take and give bytes."""
        loop = asyncio.new_event_loop()
        try:
            answer = loop.run_until_complete(self._serve(request.SerializeToString(), Context(context)))
        finally:
            loop.close()
        return Echo.FromString(answer)


async def echo(request: Any, context: Any) -> Any:
    violations = errors.Violations()
    check_id("text", request.text, violations)
    violations.raise_if_any()
    return Echo(text=request.text.upper())


def invoke(request: Any) -> tuple[Any, Any, grpc.StatusCode, str]:
    server = grpc_testing.server_from_dictionary({SERVICE: SynchronousView(echo)}, grpc_testing.strict_real_time())
    call = server.invoke_unary_unary(METHOD, invocation_metadata=(), request=request, timeout=30)
    response, trailers, code, details = call.termination()
    return response, trailers, code, details


def test_an_answer() -> None:
    response, _, code, _ = invoke(Echo(text="abc"))
    assert response.text == "ABC"
    assert code is grpc.StatusCode.OK


def test_a_refusal_names_the_field() -> None:
    _, trailers, code, details = invoke(Echo(text="not an id"))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert details.startswith("invalid request: text: is 'not an id', must be 1 to 64")
    status = Status.FromString(dict(trailers)["grpc-status-details-bin"])
    assert [each.type_url.rpartition(".")[2] for each in status.details] == ["ErrorInfo", "BadRequest"]


@pytest.mark.parametrize("text", ["", "a#b"])
def test_what_would_break_a_key_never_gets_in(text: str) -> None:
    assert invoke(Echo(text=text))[2] is grpc.StatusCode.INVALID_ARGUMENT
