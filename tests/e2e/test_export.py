"""Exports for other tools: an import of the vault gives the same notes and links, and GraphML holds the whole graph."""

import asyncio
import io
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import httpx2
import networkx
import pytest

from clients.python.brain2 import Brain2, NewLink, NewNote
from deploy.local.stack import Stack
from deploy.local.stores import ROOT
from tests.support.console import Console
from tests.support.stores import fresh_user
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(240)


def _brain(stack: Stack, user: str) -> Brain2:
    others: Any = {name: stack.addresses[name] for name in ("graph", "similarity", "cleanup")}
    return Brain2(stack.addresses["node"], user=user, **others)


async def _launcher(*arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "deploy.local", *arguments,
        cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


async def _export(stack: Stack, user: str, format_: str, to: Path) -> str:
    target = ("--target", stack.addresses["cleanup"])
    return await _launcher("export", "--user", user, "--format", format_, "--to", str(to), *target)


async def _import(stack: Stack, user: str, source: Path) -> str:
    targets = ("--target", stack.addresses["node"], "--graph-target", stack.addresses["graph"])
    return await _launcher(
        "import", str(source), "--user", user, *targets, "--similarity-target", stack.addresses["similarity"]
    )


async def _graph(brain: Brain2) -> tuple[dict[str, Any], dict[Any, Any]]:
    """What an import must give again: every note and every link, without versions and times of the store."""
    ids = [note.node_id async for note in brain.notes.list()]
    notes = {
        note.node_id: (note.title, note.content, note.tags, note.aliases, note.metadata, note.create_time)
        for note in (await brain.notes.get_many(ids)).values()
    }
    links = {
        (link.source_id, link.target_id, link.type): (
            link.directed, round(link.weight, 9), link.auto_generated, link.confirmed, dict(link.labels),
            bool(link.reasons),
        )
        async for link in brain.links.all()
    }  # fmt: skip
    return notes, links


async def _fill(brain: Brain2) -> None:
    notes = [
        NewNote(
            "Green tea",
            "Green tea from Uji, steeped in a clay teapot",
            ("drink", "#two words"),
            node_id="tea",
            aliases=("Sencha", "!"),
        ),
        NewNote("Tea caddy", "A caddy keeps green tea from Uji dry\n\n", node_id="caddy"),
        NewNote("[[wiki|link]]", "  \r\n\0 kept to the last blank \n", metadata={"path": "mine"}, node_id="exact"),
        NewNote("A\u0308", "The same name in two forms", node_id="form1"),
        NewNote("\u00c4", "tags:: none\n#none [[nobody]]", node_id="form2"),
        NewNote("Clay teapot", "A clay teapot keeps green tea warm; made in Tokoname", node_id="pot"),
        NewNote(
            'Glacier: the "slow" river / part 1.2', "---\nnot front matter\n", metadata={"k": "v: 1"}, node_id="ice"
        ),
        NewNote("", "No title, and\n\n# a heading", node_id="untitled"),
        NewNote("con", "A device's name", node_id="device"),
        NewNote("GREEN TEA", "Another note of the same name, but for case", node_id="tea2"),
        NewNote("日本 #茶 [x] | y", "Names that no file may have", node_id="odd"),
        NewNote("...", "dots", node_id="dots"),
        NewNote("Linked", "See [[Clay teapot]]", node_id="linker"),
    ]
    assert all(result.note for result in await brain.notes.create_many(notes))
    links = [
        NewLink("tea", "ice"),
        NewLink("ice", "tea", type="cools", directed=True, weight=0.25, labels={"since": "1900"}),
        NewLink("tea2", "odd", weight=0.5),
        NewLink("odd", "dots", type="links_to", directed=True),
        NewLink("device", "untitled"),
        NewLink("form1", "form2"),
        NewLink("exact", "form1", weight=0.5),
        NewLink("linker", "pot", type="links_to", directed=True, labels={}),
    ]
    assert all(result.link for result in await brain.links.create_many(links))

    async def automatic() -> bool:
        return any([link.auto_generated async for link in brain.links.all()])

    await until(automatic, seconds=30, what="an automatic link")
    await brain.links.update("tea", "pot", confirmed=True)
    await brain.links.update("form1", "form2", weight=0.0)
    await brain.links.reject("caddy", "tea")


async def test_a_vault_is_imported_as_the_same_graph(stack: Stack, user: str, tmp_path: Path, console: Console) -> None:
    async with _brain(stack, user) as brain, _brain(stack, fresh_user()) as other, _brain(stack, fresh_user()) as third:
        await _fill(brain)
        wanted = await _graph(brain)
        printed = await _export(stack, user, "markdown", tmp_path / "vault")
        assert f"{len(wanted[0])} notes and {len(wanted[1])} links are in" in printed
        text = (tmp_path / "vault" / "Clay teapot.md").read_text(encoding="utf-8")
        assert "\nlinks:\n" in text
        assert "|Green tea]]" in text
        assert text.endswith("\n---\n\nA clay teapot keeps green tea warm; made in Tokoname\n")
        assert len(list((tmp_path / "vault").iterdir())) == len(wanted[0])
        await _import(stack, other.user, tmp_path / "vault")

        async def same() -> bool:
            notes, links = await _graph(other)
            # Brain2 goes on to link the imported notes by itself: what a person made, and what was exported, is there.
            return notes == wanted[0] and links.items() >= _of_persons(wanted[1]).items()

        await until(same, seconds=30, what=f"the graph of {_of_persons(wanted[1])}")
        assert _by_hand((await _graph(other))[1]) == _by_hand(wanted[1])
        assert await _rejections(other) == [("caddy", "tea", "related")]

        # From the console, as a zip.
        async with httpx2.AsyncClient(base_url=console.url, timeout=60.0) as http:
            answer = await http.get("/export", params={"user": user, "format": "markdown"})
            assert answer.headers["content-type"] == "application/zip"
            assert answer.headers["content-disposition"] == 'attachment; filename="brain2.zip"'
            assert len(zipfile.ZipFile(io.BytesIO(answer.content)).namelist()) == len(wanted[0])
            (tmp_path / "vault.zip").write_bytes(answer.content)
            await _import(stack, third.user, tmp_path / "vault.zip")
            assert _by_hand((await _graph(third))[1]) == _by_hand(wanted[1])
            assert await _rejections(third) == [("caddy", "tea", "related")]
            lines = (await http.get("/export", params={"user": user, "format": "jsonl"})).text.splitlines()
            assert json.loads(lines[-1])["notes"] == len(wanted[0])
            assert (await http.get("/export", params={"user": user, "format": "pdf"})).status_code == 400
            assert (await http.get("/export", params={"user": "!", "format": "jsonl"})).status_code == 400


async def _rejections(brain: Brain2) -> list[tuple[str, str, str]]:
    records = [json.loads(line) async for line in brain.deletions.export()]
    return [(each["source_id"], each["target_id"], each["type"]) for each in records if each["kind"] == "rejection"]


def _by_hand(links: dict[Any, Any]) -> dict[Any, Any]:
    return {key: value for key, value in links.items() if not value[2]}


def _of_persons(links: dict[Any, Any]) -> dict[Any, Any]:
    return {key: value for key, value in links.items() if not value[2] or value[3]}


async def test_graphml_holds_the_whole_graph(stack: Stack, user: str, tmp_path: Path, console: Console) -> None:
    async with _brain(stack, user) as brain, _brain(stack, fresh_user()) as other:
        await _fill(brain)
        await brain.notes.create("A & <b>", "a control character: \x0b", node_id="control")
        notes, links = await _graph(brain)
        await _export(stack, user, "graphml", tmp_path / "graph.graphml")
        async with httpx2.AsyncClient(base_url=console.url, timeout=60.0) as http:
            answer = await http.get("/export", params={"user": user, "format": "graphml"})
        (tmp_path / "console.graphml").write_bytes(answer.content)
        await _import(stack, other.user, tmp_path / "console.graphml")

        async def same() -> bool:
            found = await _graph(other)
            return found[0] == notes and found[1].items() >= _of_persons(links).items()

        await until(same, seconds=30, what=f"the graph of {_of_persons(links)}")
        assert _by_hand((await _graph(other))[1]) == _by_hand(links)
        assert await _rejections(other) == [("caddy", "tea", "related")]
    text = (tmp_path / "graph.graphml").read_text(encoding="utf-8")
    directed = text.replace('edgedefault="undirected"', 'edgedefault="directed"').replace('directed="false"', "")
    graph = networkx.parse_graphml(directed.replace('directed="true"', ""), force_multigraph=True)
    assert {node_id: data.get("title", "") for node_id, data in graph.nodes(data=True)} == {
        node_id: note[0] for node_id, note in notes.items()
    }
    found = {
        (source, target, data["type"]): round(data["weight"], 9) for source, target, data in graph.edges(data=True)
    }
    assert found == {key: value[1] for key, value in links.items()}
    assert graph.nodes["control"]["text"] == "a control character:  "


async def test_a_full_folder_is_left_alone(stack: Stack, user: str, tmp_path: Path) -> None:
    (tmp_path / "mine.md").write_text("mine")
    with pytest.raises(AssertionError, match="is not empty"):
        await _export(stack, user, "markdown", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.md"]
