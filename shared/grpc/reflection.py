"""gRPC reflection, which describes the API to tools such as grpcurl."""

from collections.abc import Iterable
from typing import Any

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from grpc_reflection.v1alpha import reflection

SERVICE_NAME: str = reflection.SERVICE_NAME


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


def add(services: Iterable[str], server: grpc.aio.Server) -> None:
    """Answer reflection about these services, by their full names."""
    reflection.enable_server_reflection((*services, SERVICE_NAME), server, pool=_Symbols())
