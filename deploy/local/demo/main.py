"""The command line of the tour: finds a stack or starts one, and says in one line what went wrong."""

import argparse
import asyncio
import contextlib
import secrets
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from clients.python.brain2 import Brain2Error
from deploy.local import stack, targets
from deploy.local.arguments import Parser, path
from deploy.local.console import Console, LaunchError
from deploy.local.demo.measure import BrokenError
from deploy.local.demo.tour import Tour
from shared import telemetry
from shared.config import ClientSecurity, ConfigError, load
from shared.grpc.outgoing import Outgoing


@dataclass(frozen=True)
class Place:
    """Where the tour takes place."""

    services: dict[str, str]
    traces: Path
    # The address of the console; "" where there is none.
    console: str
    # The stack was running before, and runs on afterwards.
    stays: bool


def main(argv: Sequence[str]) -> int:
    """Run the tour. 0: everything was as promised; 1: something wasn't (one line says what); 130: interrupted."""
    parser = Parser(prog="python -m deploy.local demo", description=__doc__)
    parser.add_argument("--data", type=path, default=stack.Options.data, help="folder of the running stack")
    parser.add_argument("--user", default=f"demo-{secrets.token_hex(3)}", help="default: a fresh one")
    arguments = parser.parse_args(argv)
    try:
        asyncio.run(telemetry.run_command("demo", _run(arguments, Console())))
    except KeyboardInterrupt:
        return 130
    except ConfigError as error:
        print(f"brain2: {'; '.join(error.problems)}", file=sys.stderr)
        return 1
    except (LaunchError, BrokenError, OSError) as error:
        print(f"brain2: {error}", file=sys.stderr)
        return 1
    except Brain2Error as error:
        print(f"brain2: the tour was cut short: {error.reason}: {error.message}", file=sys.stderr)
        return 1
    return 0


async def _run(arguments: argparse.Namespace, console: Console) -> None:
    # A wrong token file is noticed here: a stack takes seconds to start.
    Outgoing(load(ClientSecurity))
    async with (
        _place(arguments.data, console) as place,
        targets.client(place.services, arguments.user) as brain,
    ):
        await Tour(brain, place.traces, console).run()
        console.say()
        if place.stays:
            node = place.services["node"]
            console.say(f"The notes of {arguments.user} stay on the running stack. Look around:")
            if place.console:
                console.say(f"  {place.console}/#{arguments.user}  the graph, in a browser")
            console.say(
                f'  .venv/bin/grpcurl -plaintext -d \'{{"user_id": "{arguments.user}"}}\' {node} '
                "brain2.node.v1.NodeService/ListNodes"
            )
        else:
            console.say(
                "The tour's own stack is stopped; make run starts one that stays, and shows the graph of a tour."
            )


@contextlib.asynccontextmanager
async def _place(data: Path, console: Console) -> AsyncIterator[Place]:
    found = stack.describe(data)
    if found:
        console.step("a stack is running here, the tour uses it")
        yield Place(found["services"], Path(str(found["traces"])), str(found["console"]), stays=True)
        return
    console.step("no stack is running here: starting one for the tour (some seconds)")
    folder = data / "demo"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # What the services log would tear the account apart; it is kept beside it.
    with (folder / "services.log").open("w") as log:
        options = stack.Options(data=folder, port_base=None)
        async with stack.running(options, Console(log)) as own:
            console.step(f"four services are up; their logs are in {stack.shown(folder / 'services.log')}")
            yield Place(own.addresses, own.traces, own.console, stays=False)
