"""The RPCs of the four services by their HTTP path, read from the descriptors: a new RPC needs no change here."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from protos.cleanup.v1 import cleanup_pb2
from protos.graph.v1 import graph_pb2
from protos.node.v1 import node_pb2
from protos.options.rules import MethodTraits, traits
from protos.similarity.v1 import similarity_pb2

_FILES = {"node": node_pb2, "graph": graph_pb2, "similarity": similarity_pb2, "cleanup": cleanup_pb2}
CONTEXTS = tuple(_FILES)


@dataclass(frozen=True, slots=True)
class Method:
    """One RPC.

    context: the service that answers it: "node", "graph", "similarity" or "cleanup".
    path: "/<package>.<Service>/<Method>", in HTTP and in gRPC.
    """

    context: str
    path: str
    descriptor: MethodDescriptor
    request: type[Message]
    response: type[Message]
    traits: MethodTraits

    @property
    def streams(self) -> bool:
        """Whether the answer is a stream."""
        return bool(self.descriptor.server_streaming)


def services() -> list[tuple[str, ServiceDescriptor]]:
    """(context, service) of each service."""
    return [
        (context, service) for context, file in _FILES.items() for service in file.DESCRIPTOR.services_by_name.values()
    ]


@cache
def methods() -> Mapping[str, Method]:
    """Path -> RPC, of all services."""
    found = {}
    for context, service in services():
        for method in service.methods:
            path = f"/{service.full_name}/{method.name}"
            request, response = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
            found[path] = Method(context, path, method, request, response, traits(method))
    return MappingProxyType(found)
