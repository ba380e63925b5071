"""The command line of an import."""

import argparse
import asyncio
import sys
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

from clients.python.brain2 import Brain2Error
from deploy.local import stack, targets
from deploy.local.arguments import Parser, path, within
from deploy.local.console import Console, LaunchError
from deploy.local.importer import graphml
from deploy.local.importer.files import SUFFIXES, DiskFolder, Folder, ZipFolder
from deploy.local.importer.items import Source, shown
from deploy.local.importer.jsonlines import JsonLines
from deploy.local.importer.markdown import MarkdownFolder
from deploy.local.importer.progress import ProgressBar
from deploy.local.importer.send import GaveUpError, Importer
from shared import telemetry
from shared.config import ConfigError
from shared.errors import InvalidArgument, Violations
from shared.ids import check_user_id

_ACCEPTED = "an import takes a folder, a zip or a file of Markdown notes (.md), JSON lines (also gzip), or GraphML"
_SERVICES = ("node", "graph", "similarity")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `import`."""
    parser.add_argument(
        "source", type=path, help="a folder, zip or file of Markdown, JSON lines (also .gz), GraphML, or an export"
    )
    parser.add_argument("--user", required=True, help="whose notes they become")
    parser.add_argument(
        "--target",
        help="node=host:port,graph=host:port,similarity=host:port, or the node service's address alone when the others "
        "are at the two ports after it (default: the stack that runs here)",
    )
    parser.add_argument("--graph-target", help="the graph service, if --target does not give it")
    parser.add_argument("--similarity-target", help="the similarity service, if --target does not give it")
    parser.add_argument("--data", type=path, default=stack.Options.data, help="folder of the stack (default: .brain2)")
    parser.add_argument("--update", action="store_true", help="replace stored notes whose text differs from the file")
    parser.add_argument("--wait", action="store_true", help="return when the notes are indexed and can be searched")
    parser.add_argument(
        "--wait-seconds",
        type=within(float, 0, 1_000_000),
        metavar="SECONDS",
        default=600.0,
        help="how long --wait waits without any further note being indexed (default: 600)",
    )
    parser.add_argument(
        "--report", type=path, help="write all that is named (failures, what was not read) to this file"
    )
    parser.add_argument(
        "--in-flight", type=within(int, 1, 32), default=4, metavar="N", help="batches at a time, 1 to 32 (default: 4)"
    )
    parser.add_argument(
        "--patience",
        type=within(float, 0, 1_000_000),
        metavar="SECONDS",
        default=60.0,
        help="how long no batch may succeed before it gives up (default: 60)",
    )


def main(argv: Sequence[str]) -> int:
    """Run an import. 0: everything is stored; 1: something failed (said by line); 2: wrong usage; 130: interrupted."""
    parser = Parser(prog="python -m deploy.local import", description=__doc__)
    add_arguments(parser)
    arguments = parser.parse_args(argv)
    try:
        return asyncio.run(telemetry.run_command("import", _run(arguments, Console())))
    except ConfigError as error:
        print(f"brain2: {shown('; '.join(error.problems))}", file=sys.stderr)
        return 1
    except LaunchError as error:
        print(f"brain2: {shown(str(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def open_source(path: Path) -> Source:
    """The reader for a file or folder. LaunchError, in one sentence, when there is nothing that an import can read."""
    try:
        if path.is_dir():
            return _markdown(DiskFolder(path))
        if path.name.lower().endswith(SUFFIXES):
            with path.open("rb"):
                return MarkdownFolder(DiskFolder(path.parent, path.name))
        if path.name.lower().endswith(graphml.SUFFIX):
            return graphml.GraphmlFile(path)
        if zipfile.is_zipfile(path):
            return _markdown(ZipFolder(path))
        if path.exists() and not _may_be_json_lines(path):
            raise LaunchError(f"{path} is not read: {_ACCEPTED}")
        return JsonLines(path)
    except OSError as error:
        raise LaunchError(f"cannot read {path}: {error.strerror or error}") from None
    except zipfile.BadZipFile as error:
        raise LaunchError(f"cannot read {path}: the zip is damaged ({error})") from None


def _markdown(folder: Folder) -> Source:
    source = MarkdownFolder(folder)
    if not source.total:
        only = f", only {source.others}" if source.others else ""
        raise LaunchError(f"{source.name} holds no Markdown file ({', '.join(SUFFIXES)}){only}: {_ACCEPTED}")
    return source


def _may_be_json_lines(path: Path) -> bool:
    with path.open("rb") as opened:
        begin = opened.read(4096)
    if begin.startswith(b"\x1f\x8b") or path.suffix.lower() in (".jsonl", ".ndjson", ".json"):
        return True
    return begin.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"")


async def _run(arguments: argparse.Namespace, console: Console) -> int:
    violations = Violations()
    check_user_id("--user", arguments.user, violations)
    try:
        violations.raise_if_any()
    except InvalidArgument as error:
        raise LaunchError("; ".join(f"{wrong.field} {wrong.description}" for wrong in error.violations)) from None
    source = open_source(arguments.source)
    options = {"graph": arguments.graph_target, "similarity": arguments.similarity_target}
    found = targets.find(_SERVICES, arguments.target, arguments.data, options=options)
    # All three: an import that finds only at its end that it can't store a link would be half of one.
    await targets.check_answering(found)
    began = time.monotonic()
    stopped = ""
    async with targets.client(found, arguments.user) as brain:
        importer = Importer(
            brain,
            update=arguments.update,
            in_flight=arguments.in_flight,
            patience=arguments.patience,
            on_progress=lambda: bar.show(source.done, source.total, importer.report.note()),
        )
        try:
            with ProgressBar(source.name) as bar:
                await importer.run(source)
        except GaveUpError as error:
            stopped = f"stopped, the rest was not tried: {error}"
        except asyncio.CancelledError:
            console.say()
            importer.report.show(console, time.monotonic() - began)
            console.say(console.paint("interrupted: run it again to go on", "yellow"))
            raise
        importer.report.show(console, time.monotonic() - began)
        if stopped:
            console.say(console.paint(stopped, "red"))
        elif arguments.wait:
            stopped = await _wait(importer, arguments.wait_seconds, console)
    if arguments.report:
        try:
            arguments.report.write_text("".join(f"{line}\n" for line in importer.report.lines()), encoding="utf-8")
        except OSError as error:
            raise LaunchError(f"cannot write {arguments.report}: {error.strerror}") from None
    return 1 if stopped or importer.report.failures else 0


async def _wait(importer: Importer, seconds: float, console: Console) -> str:
    began = time.monotonic()
    try:
        with ProgressBar("indexing") as bar:
            left = await importer.wait_until_indexed(
                seconds, lambda done, all_: bar.show(done, all_, f"{done:,} notes")
            )
    except (Brain2Error, GaveUpError) as error:
        text = f"cannot tell what is indexed: {error}"
        console.say(console.paint(text, "red"))
        return text
    if left:
        text = f"{left:,} notes were not indexed within {seconds:.0f} s"
        console.say(console.paint(text, "red"))
        return text
    console.say(f"{console.paint('index', 'bold')}  all notes are indexed ({time.monotonic() - began:.1f} s later)")
    return ""
