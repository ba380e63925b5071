"""gRPC reflection, which describes the API to tools such as grpcurl."""

from collections.abc import AsyncIterator, Iterable
from typing import Any

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from grpc_reflection.v1alpha import reflection, reflection_pb2

from shared.errors import InvalidArgument, ResourceExhausted
from shared.grpc.admission import Lane
from shared.grpc.middleware import answer, parser

SERVICE_NAME: str = reflection.SERVICE_NAME
# A question holds one name. Each answer repeats its question.
_LONGEST_QUESTION = 4096
_parse = parser(reflection_pb2.ServerReflectionRequest)


class _Symbols:
    """The default pool of descriptors, whose symbols are methods, too.

    `grpcurl describe` asks for a method by its full name, and the pool of protobuf finds no file for that.
    """

    def __init__(self) -> None:
        self._pool: Any = descriptor_pool.Default()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptor:
        """Raises KeyError."""
        try:
            found: FileDescriptor = self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            found = self._pool.FindMethodByName(symbol).containing_service.file
        return found


def handler(services: Iterable[str], lane: Lane) -> "grpc.GenericRpcHandler":
    """The handler that answers reflection about these services, by their full names.

    It decodes requests itself: of garbled ones gRPC would log a traceback.

    lane: the slots of the calls, which may stay open for ever.
    """
    answers: Any = reflection.aio.ReflectionServicer((*services, SERVICE_NAME), pool=_Symbols())

    async def reflect(
        requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[bytes]:
        try:
            with lane.slot(context):
                async for response in answers.ServerReflectionInfo(_questions(requests), context):
                    yield response.SerializeToString()
        except (InvalidArgument, ResourceExhausted) as error:
            answer(context, error)

    methods: dict[str, Any] = {"ServerReflectionInfo": grpc.stream_stream_rpc_method_handler(reflect)}
    return grpc.method_handlers_generic_handler(SERVICE_NAME, methods)


async def _questions(requests: AsyncIterator[bytes]) -> AsyncIterator[Any]:
    async for request in requests:
        if len(request) > _LONGEST_QUESTION:
            raise InvalidArgument(f"a question has at most {_LONGEST_QUESTION} bytes", reason="MALFORMED_REQUEST")
        yield _parse(request)
