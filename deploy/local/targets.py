"""Where the services are that a command calls, and whether they answer."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from clients.python.brain2 import Brain2
from deploy.local import stack
from deploy.local.console import LaunchError
from shared.config import ClientSecurity, load
from shared.grpc.outgoing import Outgoing

_ANSWER_SECONDS = 5.0
_SERVICE_NAMES = {name: f"brain2.{name}.v1.{name.capitalize()}Service" for name in stack.SERVICES}


def find(
    needed: Sequence[str],
    target: str | None,
    data: Path,
    *,
    options: Mapping[str, str | None] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> dict[str, str]:
    """The addresses of the needed services, by context. LaunchError when one is not known.

    needed: contexts; a target that is a single address is that of the first one.
    target: the option --target: "node=host:port,graph=host:port,..." with each needed context, or one "host:port": then
        the others are at the ports beside it in the order node, graph, similarity, cleanup, as `make run` has them.
    data: the folder of the stack that is used without a target.
    options: addresses that were given by options of their own; they come before all else.

    Without a target: the environment (BRAIN2_NODE_TARGET and so on), the running stack, the usual ports.
    """
    given = {name: address for name, address in (options or {}).items() if address}
    running = (stack.describe(data) or {}).get("services", {})
    if target and "=" in target:
        named = _named(target)
        missing = [name for name in needed if name not in named | given]
        if missing:
            wanted = ",".join(f"{name}=host:port" for name in needed)
            raise LaunchError(f"--target names no {' and no '.join(missing)}: give {wanted}")
        return {name: (named | given)[name] for name in needed}
    first = needed[0]
    start = target or environ.get(f"BRAIN2_{first.upper()}_TARGET") or running.get(first)
    if start is None:
        start = f"127.0.0.1:{stack.DEFAULT_PORT_BASE + stack.SERVICES.index(first)}"
    if target and target != running.get(first):
        running = {}
    found = {first: given.get(first, start)}
    for name in needed[1:]:
        from_environment = None if target else environ.get(f"BRAIN2_{name.upper()}_TARGET")
        address = given.get(name) or from_environment or running.get(name)
        found[name] = address or _beside(start, stack.SERVICES.index(name) - stack.SERVICES.index(first), first, name)
    return found


def _named(target: str) -> dict[str, str]:
    named: dict[str, str] = {}
    for part in target.split(","):
        name, _, address = part.strip().partition("=")
        if name not in stack.SERVICES or not address or name in named:
            names = ", ".join(stack.SERVICES)
            raise LaunchError(f"--target has {part.strip()!r}: each part is name=host:port, once for each of {names}")
        named[name] = address
    return named


def _beside(address: str, offset: int, first: str, name: str) -> str:
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise LaunchError(
            f"the address of {first}, {address!r}, has no port to count from: give --target "
            f"{first}=host:port,{name}=host:port"
        )
    return f"{host}:{int(port) + offset}"


def client(addresses: Mapping[str, str], user: str) -> Brain2:
    """The Python client for these addresses, with the token and the certificates that the environment names.

    Services without an address are not to be called. ConfigError when a file is missing or wrong.
    """
    outgoing = Outgoing(load(ClientSecurity))

    def token() -> str:
        outgoing.refresh()
        return outgoing.token

    anything = next(iter(addresses.values()))
    node, graph, similarity, cleanup = (addresses.get(name, anything) for name in stack.SERVICES)
    return Brain2(
        node, user=user, token=token, graph=graph, similarity=similarity, cleanup=cleanup, ca=outgoing.credentials
    )


async def check_answering(targets: Mapping[str, str]) -> None:
    """LaunchError, in one sentence, when something else than the service, or nothing, answers at a target."""
    security = Outgoing(load(ClientSecurity))

    async def problem(name: str, target: str) -> str:
        async with security.channel(target) as channel:
            request = health_pb2.HealthCheckRequest(service=_SERVICE_NAMES[name])
            try:
                await health_pb2_grpc.HealthStub(channel).Check(request, timeout=_ANSWER_SECONDS)
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.NOT_FOUND:
                    return f"what answers at {target} is not the {name} service"
                return f"no {name} service answers at {target} ({error.code().name})"
        return ""

    problems = await asyncio.gather(*(problem(name, target) for name, target in targets.items()))
    if any(problems):
        raise LaunchError(f"{', '.join(filter(None, problems))}: start one with make run, or use --target")
