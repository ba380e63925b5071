"""Every command that docs/operations.md prints and that needs no cluster and no AWS account, run as it is printed."""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.local.console import Console
from deploy.local.stack import Stack, running
from deploy.local.stores import ROOT
from protos.cleanup.v1 import cleanup_pb2
from protos.node.v1 import node_pb2
from shared.errors import FailedPrecondition, NotFound
from shared.grpc.client import Channels
from tests.support.client import Client
from tests.support.stack import stack_options
from tests.support.stores import Stores
from tests.support.waiting import PATIENCE, until

pytestmark = pytest.mark.timeout(300)
_PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
_PLACES = {"local", "cluster", "AWS", "images"}
# The part about the embedded store is a person's own machine: npm, Java, ports that a test can't have.
_CHECKED, _, _ = _PAGE.partition("\n## The embedded store")


def blocks() -> list[tuple[str, str]]:
    """Each block of commands, which are those without a language: what it needs, and its commands."""
    found: list[tuple[str, str]] = []
    for match in re.finditer(r"^```(\w*)\n(.*?)^```$", _CHECKED, flags=re.MULTILINE | re.DOTALL):
        language, text = match.groups()
        if not language:
            place, _, commands = text.partition("\n")
            found.append((place.removeprefix("# "), commands))
    return found


def local_commands() -> list[str]:
    return [line for place, text in blocks() if place == "local" for line in text.splitlines()]


@pytest.fixture(scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A stack of its own with the user ada, who has a deleted note of which the cleanup knows."""
    settings = {"BRAIN2_CLEANUP_POLL_SECONDS": "0.2", "BRAIN2_ERASURE_QUIET_SECONDS": "1"}
    options = stack_options(tmp_path_factory.mktemp("operations"), extra_env=settings)
    async with running(options, Console(quiet=True)) as found, Channels() as channels:
        ada = Client(channels, found.addresses, "ada")
        nodes = [
            node_pb2.NewNode(node_id=name, title=name, content=f"{name} is brewed with hot water from the spring")
            for name in ("tea", "coffee")
        ]
        await ada.node.BatchCreateNodes(node_pb2.BatchCreateNodesRequest(user_id="ada", nodes=nodes))

        async def indexed() -> bool:
            return (await ada.search("water")).total == len(nodes)

        await until(indexed, what="both notes in the index")
        await ada.node.DeleteNode(node_pb2.DeleteNodeRequest(user_id="ada", node_id="tea"))

        async def heard() -> bool:
            ask = cleanup_pb2.GetDeletionRequest(user_id="ada", node_id="tea")
            try:
                return bool((await ada.cleanup.GetDeletion(ask)).deletion.state)
            except (NotFound, FailedPrecondition):
                return False

        await until(heard, what="the deletion")
        yield found


def environment(stack: Stack) -> dict[str, str]:
    """That of the cleanup service, and the page's own names for addresses and queues."""
    stores = Stores(stack.endpoints, stack.resources)
    targets = {f"BRAIN2_{name.upper()}_TARGET": address for name, address in stack.addresses.items()}
    return {
        **stores.environment("cleanup"),
        **targets,
        **{name.upper(): address for name, address in stack.addresses.items()},
        "QUEUE": stack.resources.queues["graph"],
        "DLQ": stack.resources.dlqs["graph"],
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }


# RetryDeletion of a deletion that has not failed is refused, as is documented; the command itself is right.
_REFUSED = {"RetryDeletion": "NOT_FAILED"}


def test_every_block_of_commands_says_what_it_needs() -> None:
    assert [place for place, _ in blocks() if place not in _PLACES] == []
    assert len(local_commands()) > 8


@pytest.mark.parametrize("command", local_commands())
async def test_a_printed_command_works(stack: Stack, command: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    # One folder for all: an import reads what the export before it wrote.
    folder = tmp_path_factory.getbasetemp() / "printed"
    folder.mkdir(exist_ok=True)
    process = await asyncio.create_subprocess_exec(
        "bash", "-ec", command, cwd=folder, env=environment(stack),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    printed, errors = await asyncio.wait_for(process.communicate(), 120 * PATIENCE)
    text = printed.decode() + errors.decode()
    refusal = next((reason for method, reason in _REFUSED.items() if method in command), "")
    assert (process.returncode == 0) is not bool(refusal), text
    assert refusal in text


async def test_an_export_ends_with_its_counts_or_says_that_it_is_cut_off(stack: Stack) -> None:
    async def export(target: str) -> tuple[int | None, bytes, bytes]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.cleanup_service", "export", "--user", "ada", "--include-deleted",
            "--target", target, cwd=ROOT, env=environment(stack),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        printed, errors = await process.communicate()
        return process.returncode, printed, errors

    code, printed, _ = await export(stack.addresses["cleanup"])
    lines = [json.loads(line) for line in printed.splitlines()]
    assert code == 0
    assert sorted(line["id"] for line in lines if line["kind"] == "note") == ["coffee", "tea"]
    assert (lines[-1]["kind"], lines[-1]["notes"]) == ("end", 2)
    code, printed, errors = await export("127.0.0.1:9")
    assert (code, printed) == (1, b"")
    assert b"cut off" in errors
