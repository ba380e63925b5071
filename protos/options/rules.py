"""Reads the options of an RPC from its descriptor."""

from dataclasses import dataclass

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions

from protos.options.v1 import options_pb2

_SCOPES = {
    options_pb2.ACCESS_PUBLIC: "",
    options_pb2.ACCESS_READ: "read",
    options_pb2.ACCESS_WRITE: "write",
    options_pb2.ACCESS_ADMIN: "admin",
    options_pb2.ACCESS_INTERNAL: "internal",
}


@dataclass(frozen=True, slots=True)
class MethodTraits:
    """What a .proto states about an RPC.

    scope: "read", "write", "admin" or "internal"; "" when no token is needed.
    reads: the RPC changes nothing.
    idempotent: the RPC may be repeated as it is, without a request_id; true of all that read.
    subscription: the answer is a stream without an end of its own.
    all_users: a further scope that allows the call, for any user or for all at once; "" when there is none.
    bulk: the call does the work of many, and waits in a lane of its own.
    """

    scope: str
    reads: bool
    idempotent: bool
    subscription: bool
    all_users: str = ""
    bulk: bool = False


def has_access(method: MethodDescriptor) -> bool:
    """Whether the RPC states who may call it."""
    return method.GetOptions().Extensions[options_pb2.access] in _SCOPES


def traits(method: MethodDescriptor) -> MethodTraits:
    """The traits of an RPC. ValueError when its .proto doesn't state who may call it."""
    if not has_access(method):
        raise ValueError(f"{method.full_name} has no option brain2.options.v1.access")
    options = method.GetOptions()
    level = options.idempotency_level
    reads = level == MethodOptions.NO_SIDE_EFFECTS
    return MethodTraits(
        scope=_SCOPES[options.Extensions[options_pb2.access]],
        reads=reads,
        idempotent=reads or level == MethodOptions.IDEMPOTENT,
        subscription=options.Extensions[options_pb2.subscription],
        all_users=_SCOPES.get(options.Extensions[options_pb2.all_users], ""),
        bulk=options.Extensions[options_pb2.bulk],
    )
