"""The launcher's command line: `python -m deploy.local up | trace | demo | import | export`. The Makefile calls it."""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import MutableMapping
from importlib import import_module
from typing import Any

from deploy.local import stores, traces, web
from deploy.local.arguments import Parser, path, within
from deploy.local.console import Console, LaunchError
from deploy.local.observe import prometheus
from deploy.local.stack import DEFAULT_PORT_BASE, SERVICES, Options, Stack, running

# Subcommands that live in their own modules, imported only when asked for: module:main(arguments) -> status.
_ELSEWHERE = {"demo": "deploy.local.demo", "import": "deploy.local.importer", "export": "deploy.local.export"}


def main(argv: list[str]) -> int:
    _set_apart(os.environ)
    if argv and argv[0] in _ELSEWHERE:
        return _exit_status(import_module(_ELSEWHERE[argv[0]]).main(argv[1:]))
    arguments = _parser().parse_args(argv)
    console = Console()
    try:
        if arguments.command == "trace":
            return 0 if traces.show(arguments.data / "traces.jsonl", arguments.trace_id, console) else 1
        return asyncio.run(_up(_options(arguments), console, observe=arguments.observe))
    except LaunchError as error:
        print(f"brain2: {error}", file=sys.stderr)
        return 1
    except Exception as error:
        if getattr(arguments, "log_level", "") == "DEBUG":
            raise
        print(f"brain2: {type(error).__name__}: {error} (--log-level DEBUG shows where)", file=sys.stderr)
        return 1


def _set_apart(environ: MutableMapping[str, str]) -> None:
    """Keeps from this program what the shell has for others: proxies, which are not for loopback, and the settings of
    AWS's clients unless a store of the caller's is used."""
    unproxied = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    environ["no_proxy"] = ",".join(filter(None, (unproxied, "127.0.0.1", "localhost")))
    if not stores.are_given(environ):
        for name in [name for name in environ if name.startswith("AWS_")]:
            del environ[name]
        environ["AWS_CONFIG_FILE"] = os.devnull


def _exit_status(result: object) -> int:
    return result if isinstance(result, int) else 0


_PROCESSES = within(int, 1, 64)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m deploy.local", description="Brain2 on one machine")
    commands = parser.add_subparsers(dest="command", required=True)
    data = Parser(add_help=False)
    data.add_argument("--data", type=path, default=Options.data, help="where everything is kept (default: .brain2)")
    up = commands.add_parser("up", parents=[data], help="start the stores and the four services; Ctrl-C stops them")
    ports = up.add_mutually_exclusive_group()
    ports.add_argument(
        "--port-base",
        type=within(int, 1024, 65_535 - web.PORT_OFFSET),
        metavar="N",
        default=DEFAULT_PORT_BASE,
        help="node's port; the others follow it, and the console's is 29 above it (default: %(default)s)",
    )
    ports.add_argument("--free-ports", action="store_true", help="any free ports")
    up.add_argument("--log-level", default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"])
    up.add_argument(
        "--trace-ratio",
        type=within(float, 0, 1),
        metavar="SHARE",
        default=Options.trace_ratio,
        help="share of traces kept, 0 to 1 (default: all)",
    )
    up.add_argument(
        "--save-seconds",
        type=within(float, 0.1, 3600),
        metavar="SECONDS",
        default=Options.save_seconds,
        help="how often ministack saves while something changes, 0.1 to 3600 (default: %(default)g)",
    )
    up.add_argument(
        "--processes",
        type=_PROCESSES,
        metavar="N",
        help="processes of each service, which share its port, 1 to 64; Linux only (default: BRAIN2_WORKERS, or 1)",
    )
    up.add_argument(
        "--niceness",
        type=within(int, 0, 19),
        metavar="N",
        default=Options.niceness,
        help="of what works in the background, 0 to 19; 0: beside programs that keep cores busy (default: %(default)s)",
    )
    up.add_argument("--no-console", action="store_true", help="do not start the console (HTTP, graph view, MCP)")
    up.add_argument("--observe", action="store_true", help="start Prometheus with the project's rules, too")
    trace = commands.add_parser("trace", parents=[data], help="print one trace as a tree, by service")
    trace.add_argument("trace_id", help="as in the logs; the first digits will do")
    commands.add_parser("demo", help="a guided tour on real notes", add_help=False)
    commands.add_parser("import", help="import notes from a file or folder", add_help=False)
    commands.add_parser("export", help="write a user's notes as Markdown, GraphML or JSON lines", add_help=False)
    return parser


def _options(arguments: argparse.Namespace) -> Options:
    return Options(
        data=arguments.data,
        port_base=None if arguments.free_ports else arguments.port_base,
        log_level=arguments.log_level,
        trace_ratio=arguments.trace_ratio,
        save_seconds=arguments.save_seconds,
        web=not arguments.no_console,
        workers=_workers(arguments.processes),
        niceness=arguments.niceness,
    )


def _workers(option: int | None) -> int:
    try:
        workers = option or int(_PROCESSES(os.environ.get("BRAIN2_WORKERS") or "1"))
    except argparse.ArgumentTypeError as error:
        raise LaunchError(f"BRAIN2_WORKERS: {error}") from None
    if workers > 1 and sys.platform != "linux":
        raise LaunchError("--processes: must be 1 on this system, because several that share a port need Linux")
    return workers


async def _up(options: Options, console: Console, *, observe: bool) -> int:
    """Run until a signal (status 0) or until a child dies: LaunchError, whatever signals come while the others stop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # nohup says that a closed terminal is no reason to stop.
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, stop.set)
    asked = asyncio.create_task(stop.wait())
    obituary: asyncio.Future[str] = loop.create_future()
    life = asyncio.create_task(_live(options, console, obituary, observe=observe))
    first: set[asyncio.Future[Any]] = {asked, obituary, life}
    await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
    if not obituary.done() and not life.done():
        console.say()
        console.step("stopping: the services first, then the stores")
        life.cancel()
    await asyncio.wait({life})
    asked.cancel()
    if obituary.done():
        raise LaunchError(obituary.result())
    if not life.cancelled():
        # Raises what kept it from starting, or from saving.
        life.result()
    console.step("stopped; the notes are kept")
    return 0


async def _live(options: Options, console: Console, obituary: "asyncio.Future[str]", *, observe: bool) -> None:
    is_up = False
    try:
        async with running(options, console) as stack, contextlib.AsyncExitStack() as beside:
            is_up = True
            url = ""
            if observe:
                url = await beside.enter_async_context(prometheus(stack.metrics, options.data, console))
            _introduce(stack, console, url)
            obituary.set_result(await stack.died())
    finally:
        if is_up and (options.data / stores.UNCLEAN).exists() and not stores.are_given(os.environ):
            raise LaunchError("stopped, but ministack could not save what changed since its last snapshot")


def _introduce(stack: Stack, console: Console, metrics_url: str) -> None:
    node, graph = stack.addresses["node"], stack.addresses["graph"]
    draft = '{"user_id": "ada", "node": {"node_id": "tea", "title": "Tea", "content": "Green tea from Uji"}}'
    seek = '{"user_id": "ada", "node_id": "tea"}'
    console.say()
    console.say(console.paint("Brain2 is running.", "bold"))
    for name in SERVICES:
        console.say(f"  {console.service(name)} {stack.addresses[name]}")
    if stack.console:
        console.say(f"  {console.service('console')} {stack.console}  the graph, RPCs over HTTP, MCP at /mcp")
    if metrics_url:
        console.say(f"  {console.service('prometheus')} {metrics_url}  metrics and alerts")
    console.say()
    console.say("Write a note, then ask for its neighbours:")
    console.say(f"  .venv/bin/grpcurl -plaintext -d '{draft}' {node} brain2.node.v1.NodeService/CreateNode")
    console.say(f"  .venv/bin/grpcurl -plaintext -d '{seek}' {graph} brain2.graph.v1.GraphService/GetNeighbors")
    console.say("The same with buf:")
    console.say("  .venv/bin/buf curl --protocol grpc --http2-prior-knowledge \\")
    console.say(f"    -d '{seek}' http://{node}/brain2.node.v1.NodeService/GetNode")
    console.say("More: make demo, make import FROM=notes.jsonl FOR=ada, python -m deploy.local trace TRACE_ID")
    console.say("Ctrl-C stops everything.")
    console.say()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
