"""The drill of docs/operations.md, "Restore to a point in time": the table is lost, and restored from a backup.

The table of the embedded store is exported, which stands in for a backup at a point in time. Afterwards more happens, a
user is erased, and everything but the bucket is lost. Then the steps of the page are gone through with its commands.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from deploy.local import provision
from deploy.local.console import Console
from deploy.local.stack import SERVICES, Stack, running
from protos.cleanup.v1 import cleanup_pb2
from protos.node.v1 import node_pb2
from shared.grpc.client import Channels
from tests.support.client import Client
from tests.support.stack import stack_options
from tests.support.stores import Stores, fresh_user
from tests.support.traces import table_items, traces_of
from tests.support.waiting import until, until_stable

pytestmark = pytest.mark.timeout(400)
_RESTORED = "Brain2-Main-20261126"
_TEXTS = {
    "tea": "Tea is brewed from the leaves of camellia sinensis with hot water in a porcelain teapot.",
    "teapot": "A porcelain teapot keeps the hot water and the leaves of the tea together.",
    "coffee": "Coffee is brewed from roasted beans with hot water in an espresso machine.",
    "espresso": "An espresso machine presses hot water through roasted and ground beans of coffee.",
}


@dataclass
class Drill:
    """A stack whose services can be started anew with other settings."""

    stack: Stack
    # Settings of every service, read at the next start of one.
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def stores(self) -> Stores:
        return Stores(self.stack.endpoints, self.stack.resources)

    async def stop_services(self) -> None:
        await asyncio.gather(*(self.stack.children[name].stop(60.0) for name in SERVICES))

    async def start_services(self) -> None:
        await asyncio.gather(*(self.stack.restart(name) for name in SERVICES))

    async def command(self, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
        """`python -m services.cleanup_service ...` as in a pod of the service: exit code and lines."""
        env = {
            **self.stores.environment("cleanup"),
            **{f"BRAIN2_{peer.upper()}_TARGET": address for peer, address in self.stack.addresses.items()},
            **self.settings,
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.cleanup_service", *arguments, env=env, stdout=asyncio.subprocess.PIPE
        )
        printed, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, [json.loads(line) for line in printed.splitlines()]


@pytest.fixture
async def drill(tmp_path: Path) -> AsyncIterator[Drill]:
    settings = {"BRAIN2_CLEANUP_POLL_SECONDS": "0.2", "BRAIN2_ERASURE_QUIET_SECONDS": "1"}
    options = stack_options(tmp_path, extra_env=settings)
    async with running(options, Console(quiet=True)) as stack:
        yield Drill(stack, settings)


async def write(client: Client) -> None:
    nodes = [node_pb2.NewNode(node_id=name, title=name.title(), content=text) for name, text in _TEXTS.items()]
    await client.node.BatchCreateNodes(node_pb2.BatchCreateNodesRequest(user_id=client.user, nodes=nodes))

    async def linked() -> bool:
        return all([await client.neighbor_ids(name) for name in _TEXTS])

    await until(linked, seconds=60, what="the automatic links")
    await until_stable(lambda: client.links(sorted(_TEXTS)), quiet=2.0, seconds=60.0)


async def answers(client: Client) -> dict[str, Any]:
    """What a user sees: notes, links, what a search finds."""
    notes = (await client.node.ListNodes(node_pb2.ListNodesRequest(user_id=client.user))).nodes
    found = await client.search("hot water")
    return {
        "notes": [(note.node_id, note.title, note.version) for note in notes],
        "links": await client.links(sorted(_TEXTS)),
        "search": [(result.node_id, round(result.score, 6)) for result in found.hits],
    }


async def erase(client: Client) -> None:
    request = cleanup_pb2.EraseUserRequest(user_id=client.user, confirm_user_id=client.user)
    erasure = (await client.cleanup.EraseUser(request)).erasure

    async def done() -> bool:
        ask = cleanup_pb2.GetErasureRequest(erasure_id=erasure.erasure_id)
        return bool((await client.cleanup.GetErasure(ask)).erasure.done)

    await until(done, seconds=90, what="the erasure")


async def lose_everything(stores: Stores) -> None:
    async with stores.client("dynamodb") as dynamodb:
        await dynamodb.update_table(TableName=stores.resources.table, DeletionProtectionEnabled=False)
        await dynamodb.delete_table(TableName=stores.resources.table)
    async with stores.client("sqs") as sqs:
        for queue in [*stores.resources.queues.values(), *stores.resources.dlqs.values(), stores.resources.rule_dlq]:
            await sqs.purge_queue(QueueUrl=queue)


async def restore(stores: Stores, items: list[dict[str, Any]]) -> None:
    """A new table of the same shape with these items, and expiry, which no backup has."""
    body = provision.TEMPLATE.read_text(encoding="utf-8")
    async with stores.client("dynamodb") as dynamodb:
        await dynamodb.create_table(TableName=_RESTORED, **provision.table_definition(body))
        await dynamodb.get_waiter("table_exists").wait(TableName=_RESTORED, WaiterConfig={"Delay": 1})
        for start in range(0, len(items), 25):
            puts = [{"PutRequest": {"Item": item}} for item in items[start : start + 25]]
            answer = await dynamodb.batch_write_item(RequestItems={_RESTORED: puts})
            assert not answer.get("UnprocessedItems")
        await dynamodb.update_time_to_live(
            TableName=_RESTORED, TimeToLiveSpecification={"AttributeName": "expires_at", "Enabled": True}
        )


async def test_a_restored_table_gives_the_same_answers_and_erased_users_stay_erased(drill: Drill) -> None:
    stores = drill.stores
    async with Channels() as channels:
        kept, gone = (Client(channels, drill.stack.addresses, fresh_user()) for _ in range(2))
        await write(kept)
        await write(gone)
        before = await answers(kept)
        assert len(before["notes"]) == len(_TEXTS)
        assert before["links"]
        assert before["search"]
        backup = await table_items(stores, stores.resources.table)
        # After the backup: a note that will be lost with it, and a user who asks to be erased.
        late = node_pb2.NewNode(node_id="late", title="Too late")
        await kept.node.CreateNode(node_pb2.CreateNodeRequest(user_id=kept.user, node=late))
        await erase(gone)
        assert (await drill.command("replay-erasures", "--dry-run"))[1][-1]["missing"] == 0

    await drill.stop_services()
    await lose_everything(stores)
    await restore(stores, backup)
    drill.settings["BRAIN2_TABLE"] = _RESTORED
    assert await drill.command("empty-caches") == (0, [{"caches": "empty"}])
    # The backup knows nothing of the erasure: the user is back.
    assert [item for item in backup if gone.user in json.dumps(item, default=repr)]
    await drill.start_services()
    assert (await drill.command("replay-erasures", "--dry-run"))[0] == 1
    code, lines = await drill.command("replay-erasures")
    assert (code, lines[-1]) == (0, {"in_ledger": 1, "missing": 1, "erased": 1})

    async with Channels() as channels:
        kept = Client(channels, drill.stack.addresses, kept.user)
        code, lines = await drill.command(
            "reconcile", "--user", kept.user, "--target", drill.stack.addresses["cleanup"], "--rate", "100000"
        )
        assert code == 0, lines
        assert await answers(kept) == before
        # And it goes on: a new note finds the old ones.
        new = node_pb2.NewNode(node_id="kettle", title="Kettle", content="A kettle boils hot water for tea and coffee.")
        await kept.node.CreateNode(node_pb2.CreateNodeRequest(user_id=kept.user, node=new))
        await until(lambda: kept.neighbor_ids("kettle"), what="a link to a note of the backup")
    # Of the erased user only the ledger is left, in the bucket.
    left = await traces_of(stores, gone.user, table=_RESTORED)
    assert left
    assert all(trace.startswith("s3: ledger/erasures/") for trace in left)
