"""Imports through the command line into four real services: none is lost, a second run changes nothing."""

import asyncio
import gzip
import json
import os
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask

from deploy.local.demo.tour import SAMPLE
from deploy.local.stack import Stack
from deploy.local.stores import ROOT
from protos.cleanup.v1 import cleanup_pb2
from protos.graph.v1 import graph_pb2
from protos.node.v1 import node_pb2
from shared.grpc.client import Channels
from tests.support.client import Client
from tests.support.stores import fresh_user
from tests.support.waiting import until, until_stable

_COUNT = 1000
# A thousand notes are indexed and linked within a minute; on a machine that has other work, within some.
pytestmark = pytest.mark.timeout(400)


def entries() -> list[dict[str, Any]]:
    """The first 1,000 entries of FOLDOC where the collection is at hand, else the sample that the project ships."""
    path = Path(os.environ.get("BRAIN2_FOLDOC") or ROOT.parent / "shared" / "data" / "foldoc.jsonl.gz")
    if path.exists():
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            return [json.loads(line) for line, _ in zip(lines, range(_COUNT), strict=False)]
    return [json.loads(line) for line in SAMPLE.read_text(encoding="utf-8").splitlines()]


async def run_import(stack: Stack, source: Path, user: str, *options: str) -> tuple[int, str]:
    """Status and output of `python -m deploy.local import`."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "deploy.local", "import", str(source), "--user", user,
        "--target", ",".join(f"{name}={stack.addresses[name]}" for name in ("node", "graph", "similarity")), *options,
        cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


async def stored(client: Client) -> dict[str, node_pb2.Node]:
    """Every live note of the user as ListNodes and BatchGetNodes tell it."""
    ids: list[str] = []
    token = ""
    while True:
        page = await client.node.ListNodes(
            node_pb2.ListNodesRequest(user_id=client.user, page_size=200, page_token=token)
        )
        ids += [node.node_id for node in page.nodes]
        token = page.next_page_token
        if not token:
            break
    assert len(ids) == len(set(ids))
    found: dict[str, node_pb2.Node] = {}
    for start in range(0, len(ids), 200):
        request = node_pb2.BatchGetNodesRequest(user_id=client.user, node_ids=ids[start : start + 200])
        answer = await client.node.BatchGetNodes(request)
        assert not answer.missing_ids
        found |= {node.node_id: node for node in answer.nodes}
    return found


async def test_of_a_thousand_notes_none_is_lost(stack: Stack, client: Client, tmp_path: Path) -> None:
    wanted = entries()
    source = tmp_path / "notes.jsonl"
    source.write_text("".join(json.dumps(entry) + "\n" for entry in wanted), encoding="utf-8")
    status, output = await run_import(stack, source, client.user, "--wait")
    assert status == 0, output
    assert f"{len(wanted):,} created" in output
    assert "all notes are indexed" in output
    notes = await stored(client)
    assert {entry["id"]: (entry["title"], entry["text"]) for entry in wanted} == {
        node_id: (node.title, node.content) for node_id, node in notes.items()
    }
    # A title that is in the text of another note: both have been linked, or at least one word finds both.
    assert await client.links(sorted(notes))

    status, output = await run_import(stack, source, client.user)
    assert status == 0, output
    assert f"0 created, {len(wanted):,} already there" in output
    assert len(await stored(client)) == len(wanted)


async def test_a_bad_line_is_named_and_the_others_are_stored(stack: Stack, client: Client, tmp_path: Path) -> None:
    source = tmp_path / "notes.jsonl"
    source.write_text(
        '{"id": "a", "title": "A"}\n{"id": "b", "title": "' + "x" * 600 + '"}\nnonsense\n{"title": "C"}\n'
    )
    status, output = await run_import(stack, source, client.user)
    assert status == 1
    assert "line 2: " in output
    assert "line 3: not JSON" in output
    assert "2 failed" in output
    assert {node.title for node in (await stored(client)).values()} == {"A", "C"}


async def test_a_folder_of_markdown_becomes_notes_and_edges(stack: Stack, client: Client, tmp_path: Path) -> None:
    (tmp_path / "drinks").mkdir()
    (tmp_path / "drinks" / "tea.md").write_text(
        "---\ntitle: Green tea\naliases: [sencha]\ntags: [drink]\ndate: 2024-05-01\n---\n"
        "Brewed like [[Coffee|the other]].\n"
    )
    (tmp_path / "coffee.md").write_text("# Coffee\n\nUnlike [[sencha#Water]], see also [[Maté]].\n")
    (tmp_path / "water.md").write_text("For [[Green tea]].\n")
    status, output = await run_import(stack, tmp_path, client.user)
    assert status == 0, output
    assert "coffee.md:3: [[Maté]] leads to no note" in output
    notes = {node.title: node for node in (await stored(client)).values()}
    assert set(notes) == {"Green tea", "Coffee", "water"}
    assert list(notes["Green tea"].tags) == ["drink"]
    assert notes["Green tea"].create_time.ToJsonString().startswith("2024-05-01T00:00:00")
    request = graph_pb2.GetNeighborsRequest(
        user_id=client.user, node_id=notes["Green tea"].node_id, types=["links_to"], with_titles=True
    )
    neighbors = (await client.graph.GetNeighbors(request)).neighbors
    assert {(neighbor.title, neighbor.direction) for neighbor in neighbors} == {
        ("Coffee", graph_pb2.DIRECTION_BOTH),
        ("water", graph_pb2.DIRECTION_IN),
    }


async def links_of(client: Client, notes: dict[str, node_pb2.Node]) -> set[str]:
    """The edges of the texts: "a -> b" by titles, "a <-> b" without a direction."""
    titles = {node_id: node.title for node_id, node in notes.items()}
    found = set()
    async for answer in client.graph.ListEdges(graph_pb2.ListEdgesRequest(user_id=client.user)):
        for edge in answer.edges:
            if edge.type == "links_to":
                arrow = "->" if edge.directed else "<->"
                found.add(f"{titles[edge.source_id]} {arrow} {titles[edge.target_id]}")
    return found


async def test_a_real_vault_arrives_whole_and_a_second_import_changes_nothing(
    stack: Stack, client: Client, tmp_path: Path
) -> None:
    vault = {
        "tbd.md": "---\ndate: TBD\n---\nBody.",
        "future.md": "---\ndate: 2131-01-01\n---\nBody.",
        "old.md": "---\ndate: 1890-05-01\n---\nBody.",
        "ms.md": "---\ncreated: 1608526404601\n---\nBody.",
        "colon.md": "---\ntitle: Foo: the story\nrelated: [[ms]], [[tbd]]\n---\nBody.",
        "tags.md": "---\ntags: [" + ", ".join(f"t{i}" for i in range(70)) + f", {'标' * 40}]\n---\nBody #inline.",
        "twice.md": "---\nid: ms\n---\nBody.",
        "long.md": "# " + "长" * 300,
        "bidi.md": "---\ntitle: a\u202eb\tc\n---\nBody.",
        "large.md": "---\n" + "".join(f"p{i}: {'x' * 300}\n" for i in range(40)) + "---\nBody.",
        "rule.md": "---\nA rule, then prose.\n\n---\n[[pages/name]]",
        "pages/x1.md": "title:: Green tea\nalias:: sencha\n\n- hello [[tbd]]",
        "pages/name.md": "[tea](x1.md) [[sencha]]",
    }
    for name, text in vault.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    status, output = await run_import(stack, tmp_path, client.user)
    assert status == 0, output
    assert f"{len(vault)} created" in output
    notes = await stored(client)
    by_path = {node.metadata["path"]: node for node in notes.values()}
    assert set(by_path) == set(vault)
    assert all(text.endswith(by_path[name].content) for name, text in vault.items())
    assert by_path["rule.md"].content == vault["rule.md"]
    assert by_path["ms.md"].create_time.ToJsonString() == "2020-12-21T04:53:24.601Z"
    links = {
        "Foo: the story -> ms", "Foo: the story -> tbd", "Green tea -> tbd", "name -> Green tea", "rule -> name"
    }  # fmt: skip
    assert await links_of(client, notes) == links
    for option in ([], ["--update"]):
        status, output = await run_import(stack, tmp_path, client.user, *option)
        assert status == 0, output
        assert f"0 created, {len(vault)} already there (" in output
        assert f"0 created, {len(links)} already there\n" in output
    assert {key: node.version for key, node in (await stored(client)).items()} == dict.fromkeys(notes, 1)


async def test_a_link_that_is_gone_from_the_text_is_gone_after_an_update(
    stack: Stack, client: Client, tmp_path: Path
) -> None:
    for name, text in {"a": "See [[b]]", "b": "bee [[c]]", "c": "cee [[b]]"}.items():
        (tmp_path / f"{name}.md").write_text(text)
    status, output = await run_import(stack, tmp_path, client.user)
    assert status == 0, output
    assert await links_of(client, await stored(client)) == {"a -> b", "b <-> c"}
    (tmp_path / "a.md").write_text("See [[c]] now")
    (tmp_path / "b.md").write_text("bee")
    status, output = await run_import(stack, tmp_path, client.user, "--update")
    assert status == 0, output
    assert "2 updated" in output
    assert await links_of(client, await stored(client)) == {"a -> c", "c -> b"}


async def test_one_file_and_a_zip_are_imported(stack: Stack, client: Client, tmp_path: Path) -> None:
    (tmp_path / "ok.md").write_text("# One\nfine \x1b[31m")
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as packed:
        packed.writestr("Two.md", "# Two\nsee [[Three]] and [[\x1b[2J\x07 x]]")
        packed.writestr("Three.md", "# Three")
        packed.writestr("x.pdf", "")
    report = tmp_path / "report.txt"
    for source in ("ok.md", "export.zip"):
        status, output = await run_import(stack, tmp_path / source, client.user, "--report", str(report))
        assert status == 0, output
        assert "\x1b" not in output
    assert "1 file was left out, not Markdown: 1 .pdf" in report.read_text()
    notes = await stored(client)
    assert {node.title for node in notes.values()} == {"One", "Two", "Three"}
    assert await links_of(client, notes) == {"Two -> Three"}


async def test_deleted_notes_and_settings_of_an_export_come_along(
    stack: Stack, channels: Channels, client: Client, tmp_path: Path
) -> None:
    source = tmp_path / "notes.jsonl"
    source.write_text("".join(json.dumps(entry) + "\n" for entry in entries()[100:140]), encoding="utf-8")
    status, output = await run_import(stack, source, client.user, "--wait")
    assert status == 0, output
    before = await stored(client)
    one, other, gone = sorted(before)[:3]
    for target in (other, gone):
        edge = graph_pb2.NewEdge(source_id=one, target_id=target, type="by_hand", directed=True, weight=0.25)
        await client.graph.CreateEdge(graph_pb2.CreateEdgeRequest(user_id=client.user, edge=edge))
    await client.node.DeleteNode(node_pb2.DeleteNodeRequest(user_id=client.user, node_id=gone))
    retention = node_pb2.UserSettings(retention=Duration(seconds=3600))
    await client.node.UpdateUserSettings(node_pb2.UpdateUserSettingsRequest(user_id=client.user, settings=retention))

    async def export() -> list[str]:
        request = cleanup_pb2.ExportUserRequest(user_id=client.user, include_deleted=True)
        return [line async for message in client.cleanup.ExportUser(request) for line in message.lines]

    async def with_the_deleted() -> list[str]:
        # Which notes are deleted is known to cleanup, as soon as it has heard the event.
        lines = await export()
        return lines if any(f'"id":"{gone}"' in line for line in lines) else []

    lines = await until(with_the_deleted, what="an export that has the deleted note")
    source.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    twin = Client(channels, stack.addresses, fresh_user())
    status, output = await run_import(stack, source, twin.user)
    assert status == 0, output
    after = await stored(twin)
    assert {key: (node.title, node.content) for key, node in before.items() if key != gone} == {
        key: (node.title, node.content) for key, node in after.items()
    }
    again = await twin.edge(one, other, "by_hand")
    assert (again.directed, again.weight, again.source_id) == (True, 0.25, one)
    settings = await twin.node.GetUserSettings(node_pb2.GetUserSettingsRequest(user_id=twin.user))
    assert settings.settings.retention.seconds == 3600
    # The deleted note came along as one: it can be restored, with its edge.
    await twin.node.RestoreNode(node_pb2.RestoreNodeRequest(user_id=twin.user, node_id=gone))

    async def is_back() -> bool:
        return gone in await twin.neighbor_ids(one)

    await until(is_back, what="the edge of the restored note")


@pytest.mark.parametrize("command", ["import", "export"])
async def test_a_service_that_is_missing_ends_the_command_at_once(stack: Stack, tmp_path: Path, command: str) -> None:
    (tmp_path / "notes.jsonl").write_text('{"title": "Tea"}\n')
    wrong = {
        **stack.addresses,
        "graph": stack.addresses["similarity"],
        "similarity": "127.0.0.1:1",
        "cleanup": "127.0.0.1:1",
    }
    target = ",".join(f"{name}={address}" for name, address in wrong.items())
    what = [str(tmp_path / "notes.jsonl")] if command == "import" else ["--to", str(tmp_path / "vault")]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "deploy.local", command, *what, "--user", "ada", "--target", target,
        cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, errors = await asyncio.wait_for(process.communicate(), 60)
    assert (process.returncode, output, len(errors.splitlines())) == (1, b"", 1)
    reasons = {
        "import": f"what answers at {wrong['graph']} is not the graph service, no similarity service answers at",
        "export": "no cleanup service answers at 127.0.0.1:1 (UNAVAILABLE)",
    }
    assert reasons[command] in errors.decode()


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("missing.jsonl", "cannot read"),
        ("missing.md", "cannot read"),
        ("notes.jsonl", "no node service answers"),
        ("", "holds no Markdown file (.md, .markdown, .mdown, .mkd), only 1 .jsonl, 1 .pdf: an import takes a folder"),
        ("x.pdf", "is not read: an import takes a folder, a zip or a file of Markdown notes"),
    ],
)
async def test_what_cannot_begin_says_so_in_one_line(tmp_path: Path, source: str, reason: str) -> None:
    (tmp_path / "notes.jsonl").write_text("{}")
    (tmp_path / "x.pdf").write_bytes(b"%PDF-1.4\xff")
    path = tmp_path / source
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "deploy.local", "import", str(path), "--user", "ada", "--target", "127.0.0.1:1",
        cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, errors = await process.communicate()
    assert process.returncode == 1
    assert output == b""
    assert len(errors.splitlines()) == 1
    assert reason in errors.decode()


async def test_a_persons_link_stands_alone_and_goes_with_its_text(stack: Stack, client: Client, tmp_path: Path) -> None:
    texts = {
        "pot": "A clay teapot keeps green tea warm; made in Tokoname.",
        "tea": "Green tea from Uji, steeped in a clay teapot, see [[pot]].",
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.md").write_text(text)
    status, output = await run_import(stack, tmp_path, client.user, "--wait")
    assert status == 0, output

    async def neighbors() -> list[tuple[str, str, bool]]:
        answer = await client.graph.GetNeighbors(graph_pb2.GetNeighborsRequest(user_id=client.user, node_id="tea"))
        return [(each.node_id, each.type, each.auto_generated) for each in answer.neighbors]

    # The importer's edge and the one of the text are the same; no automatic link comes beside it.
    alone = [("pot", "links_to", False)]
    assert await until_stable(neighbors, quiet=3.0, seconds=60.0) == alone
    status, output = await run_import(stack, tmp_path, client.user, "--update")
    assert (status, await neighbors()) == (0, alone), output
    # The link leaves the text by another client: so does its edge, and the two may be linked automatically.
    request = node_pb2.UpdateNodeRequest(user_id=client.user, node_id="tea", update_mask=FieldMask(paths=["content"]))
    request.node.content = texts["tea"].replace("[[pot]]", "there")
    await client.node.UpdateNode(request)

    async def is_gone() -> bool:
        return ("pot", "links_to", False) not in await neighbors()

    await until(is_gone, what="the edge of a link that left the text")
