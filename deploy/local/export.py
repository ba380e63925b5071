"""Writes a user's notes for other tools: `python -m deploy.local export --user U --format markdown --to PATH`."""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from clients.export import FORMATS, CutOffError, Records, write
from clients.python.brain2 import Brain2Error
from deploy.local import stack, targets
from deploy.local.arguments import Parser, path
from deploy.local.console import LaunchError
from shared.config import ConfigError

_DONE = "{notes:,} notes and {links:,} links are in {to}"


def main(argv: Sequence[str]) -> int:
    """Run an export. 0: everything is written; 1: something failed; 130: interrupted."""
    parser = Parser(prog="python -m deploy.local export", description=__doc__)
    parser.add_argument("--user", required=True, help="whose notes")
    parser.add_argument("--format", choices=list(FORMATS), default="markdown", help="default: markdown, for Obsidian")
    parser.add_argument("--to", type=path, required=True, help="a folder or .zip for markdown, else a file")
    parser.add_argument(
        "--target",
        help="the cleanup service, host:port, or cleanup=host:port (also among others, as the import takes them; "
        "default: the stack that runs here)",
    )
    parser.add_argument("--include-deleted", action="store_true", help="also notes that are deleted and not yet purged")
    parser.add_argument("--data", type=path, default=stack.Options.data, help="folder of the stack (default: .brain2)")
    arguments = parser.parse_args(argv)
    try:
        print(asyncio.run(_run(arguments)))
    except ConfigError as error:
        print(f"brain2: {'; '.join(error.problems)}", file=sys.stderr)
        return 1
    except (LaunchError, CutOffError, OSError) as error:
        print(f"brain2: {error}", file=sys.stderr)
        return 1
    except Brain2Error as error:
        print(f"brain2: {error.reason}: {error.message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


async def _run(arguments: argparse.Namespace) -> str:
    found = targets.find(("cleanup",), arguments.target, arguments.data)
    to: Path = arguments.to
    if arguments.format == "markdown" and to.is_dir() and any(to.iterdir()):
        # Files of notes that have another name now would be left over, and an import would find both.
        raise LaunchError(f"{to} is not empty: give a new folder")
    await targets.check_answering(found)
    with Records() as records:
        async with targets.client(found, arguments.user) as brain:
            await records.read(brain.deletions.export(include_deleted=arguments.include_deleted))
        await asyncio.to_thread(write, records, arguments.format, to)
        return _DONE.format(notes=records.notes_count, links=len(records.edges), to=to)
