"""The Python client against the running stack: what it writes it reads, in both of its forms."""

import asyncio
import dataclasses
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from clients.python.brain2 import (
    AlreadyExists,
    Brain2,
    Brain2Sync,
    Cancelled,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    NewLink,
    NewNote,
    Note,
    NoteSettings,
    NotFound,
    SearchSettings,
    Unavailable,
)
from deploy.local.demo.measure import until
from deploy.local.stack import Stack
from tests.support.waiting import PATIENCE

ROOT = Path(__file__).resolve().parents[2]


def _others(stack: Stack) -> dict[str, str]:
    return {name: stack.addresses[name] for name in ("graph", "similarity", "cleanup")}


@pytest.fixture
async def brain(stack: Stack, user: str) -> AsyncIterator[Brain2]:
    async with Brain2(stack.addresses["node"], user=user, **_others(stack)) as found:  # type: ignore[arg-type]
        yield found


async def test_a_note_is_written_changed_hidden_and_restored(brain: Brain2) -> None:
    tea = await brain.notes.create("Green tea", "From Uji", tags=["drink"], aliases=["Cha"], metadata={"k": "v"})
    assert tea.aliases == ("Cha",)
    assert await brain.notes.get(tea.node_id) == tea
    assert (tea.title, tea.tags, tea.metadata, tea.version) == ("Green tea", ("drink",), {"k": "v"}, 1)
    changed = await brain.notes.update(tea.node_id, title="Sencha", etag=tea.etag)
    assert (changed.title, changed.content, changed.tags) == ("Sencha", "From Uji", ("drink",))
    renamed = await brain.notes.update(tea.node_id, aliases=["Gyokuro", "Matcha"])
    edited = await brain.notes.edit(tea.node_id, lambda note: dataclasses.replace(note, aliases=note.aliases[1:]))
    assert (renamed.aliases, edited.aliases) == (("Gyokuro", "Matcha"), ("Matcha",))
    assert (await brain.notes.get(tea.node_id)).title == "Sencha"
    purge_time = await brain.notes.delete(tea.node_id)
    with pytest.raises(NotFound) as missing:
        await brain.notes.get(tea.node_id)
    assert missing.value.reason == "NODE_DELETED"
    deleted = await brain.notes.get(tea.node_id, show_deleted=True)
    assert deleted.purge_time == purge_time
    assert (await brain.notes.restore(tea.node_id)).delete_time is None
    assert (await brain.notes.get(tea.node_id)).title == "Sencha"


async def test_errors_are_classes_with_reason_and_fields(brain: Brain2) -> None:
    await brain.notes.create("One", node_id="one")
    with pytest.raises(AlreadyExists) as taken:
        await brain.notes.create("Two", node_id="one")
    assert taken.value.reason == "NODE_EXISTS"
    with pytest.raises(InvalidArgument) as wrong:
        await brain.notes.create("", "x", tags=[""], node_id="no spaces")
    assert {violation.field for violation in wrong.value.violations} == {"node.node_id", "node.tags[0]"}
    with pytest.raises(FailedPrecondition) as missing:
        await brain.links.create("one", "nobody")
    assert missing.value.reason == "NODE_MISSING"


async def test_a_batch_has_a_result_for_each_note_and_lists_have_pages(brain: Brain2) -> None:
    # Notes without a common word, so that no automatic link joins them.
    words = ("Violin", "Glacier", "Pancake", "Senate", "Otter", "Tunnel", "Comet")
    notes = [NewNote(word, node_id=f"n{n}") for n, word in enumerate(words)]
    results = await brain.notes.create_many([*notes, NewNote()])
    assert [result.error for result in results[:7]] == [None] * 7
    assert results[7].note is None
    assert isinstance(results[7].error, InvalidArgument)
    assert results[7].error.message
    # The same notes again, as after an answer that was lost: the same results, and nothing twice.
    first, second = [await brain.notes.create_many([NewNote("Umbrella")], request_id="same") for _ in range(2)]
    assert first[0].note == second[0].note
    assert first[0].note is not None
    await brain.notes.delete(first[0].note.node_id)
    found = await brain.notes.get_many([f"n{n}" for n in range(7)] + ["gone"])
    assert list(found) == [f"n{n}" for n in range(7)]

    async def listed() -> set[str]:
        return {note.node_id async for note in brain.notes.list(page_size=3)}

    assert await until(lambda: _equal(listed(), {f"n{n}" for n in range(7)}), "all notes are listed", seconds=10)
    links = await brain.links.create_many([NewLink("n0", f"n{n}", weight=n / 10) for n in range(1, 7)])
    assert all(result.created for result in links)
    around = [neighbor.node_id async for neighbor in brain.links.neighbors("n0", page_size=2)]
    assert around == ["n6", "n5", "n4", "n3", "n2", "n1"]
    assert await brain.links.degree("n0") == 6
    several = await brain.links.neighbors_of_many(["n0", "n1", "gone"], limit=2)
    assert {node_id: [each.node_id for each in found] for node_id, found in several.items()} == {
        "n0": ["n6", "n5"], "n1": ["n0"], "gone": [],
    }  # fmt: skip
    path = await brain.links.path("n1", "n2")
    assert path is not None
    assert path.node_ids == ("n1", "n0", "n2")
    subgraph = await brain.links.around("n1", hops=2)
    assert {note.node_id for note in subgraph.notes} == {f"n{n}" for n in range(7)}
    assert len([link async for link in brain.links.all()]) == 6


async def _equal(work: object, wanted: object) -> bool:
    return await work == wanted  # type: ignore[misc, no-any-return]


async def test_own_writes_are_read_at_once(brain: Brain2) -> None:
    for n in range(20):
        await brain.notes.create(f"Round {n}", node_id=f"r{n}")
        assert (await brain.notes.get(f"r{n}")).title == f"Round {n}"
        if n:
            await brain.links.create("r0", f"r{n}")
            assert f"r{n}" in {neighbor.node_id async for neighbor in brain.links.neighbors("r0")}
            assert (await brain.links.get("r0", f"r{n}")).weight == 1.0
            assert await brain.links.delete("r0", f"r{n}")
            assert f"r{n}" not in {neighbor.node_id async for neighbor in brain.links.neighbors("r0")}


async def test_twenty_editors_lose_nothing(brain: Brain2) -> None:
    note = await brain.notes.create("Shared", "start")

    def line(n: int) -> "asyncio.Future[Note]":
        def change(read: Note) -> Note:
            return dataclasses.replace(read, content=f"{read.content}\nline {n}")

        return asyncio.ensure_future(brain.notes.edit(note.node_id, change))

    await asyncio.gather(*(line(n) for n in range(20)))
    lines = (await brain.notes.get(note.node_id)).content.splitlines()
    assert lines[0] == "start"
    assert sorted(lines[1:]) == sorted(f"line {n}" for n in range(20))


async def test_search_and_similar_notes(brain: Brain2) -> None:
    await brain.notes.create("Green tea", "Green tea from Uji, steeped in a clay teapot", node_id="tea")
    await brain.notes.create("Clay teapot", "A clay teapot keeps green tea warm; made in Tokoname", node_id="pot")

    async def hits() -> set[str]:
        return {hit.node_id async for hit in brain.search.find("teapot")}

    await until(lambda: _equal(hits(), {"tea", "pot"}), "both notes are found", seconds=20)
    assert await brain.search.count("teapot") == 2

    async def linked() -> bool:
        return "pot" in {neighbor.node_id async for neighbor in brain.links.neighbors("tea")}

    await until(linked, "an automatic link", seconds=20)
    link = await brain.links.get("tea", "pot")
    assert link.auto_generated
    assert link.reasons
    assert (await brain.search.similar("tea"))[0].node_id == "pot"
    assert "teapot" in " ".join(keyword.keyword for keyword in await brain.search.keywords("pot"))
    assert await brain.links.reject("tea", "pot")
    assert not await linked()


async def test_watch_continues_after_a_restart_of_the_graph(stack: Stack, brain: Brain2) -> None:
    for node_id in ("a", "b", "c"):
        await brain.notes.create(node_id, node_id=node_id)
    changes = brain.links.watch()
    first = asyncio.ensure_future(anext(changes))

    async def seen_once() -> bool:
        # The watch begins at some moment after the call: write until it reports something.
        await brain.links.create("a", "b")
        await brain.links.delete("a", "b")
        return first.done()

    await until(seen_once, "the watch reports a change", seconds=20)
    token = first.result().resume_token
    assert token
    seen = asyncio.ensure_future(_until_linked(brain, token, "c"))
    await stack.children["graph"].stop(30.0)
    await stack.restart("graph")
    await brain.links.create("a", "c", timeout=30.0)
    assert await asyncio.wait_for(seen, 30.0 * PATIENCE) == "created"
    await changes.aclose()  # type: ignore[attr-defined]


async def _until_linked(brain: Brain2, token: str, target: str) -> str:
    async for change in brain.links.watch(resume_token=token):
        if change.link is not None and target in (change.link.source_id, change.link.target_id):
            return change.kind
    raise AssertionError("the watch has no end")


async def test_deletions_are_objects(brain: Brain2) -> None:
    await brain.notes.create("Gone", node_id="gone")
    await brain.notes.delete("gone")

    async def pending() -> bool:
        return [deletion.node_id async for deletion in brain.deletions.list()] == ["gone"]

    await until(pending, "the deletion is listed", seconds=20)
    deletion = await brain.deletions.get("gone")
    assert (deletion.state, deletion.step) == ("pending", "fence")
    await brain.deletions.start_now("gone")

    async def done() -> bool:
        return (await brain.deletions.get("gone")).state == "done"

    await until(done, "the deletion is done", seconds=30)
    history = (await brain.deletions.get("gone")).history
    assert (history[0].state, history[-1].state) == ("pending", "done")
    assert history[0].time <= history[-1].time


async def test_settings_are_replaced_as_a_whole(brain: Brain2) -> None:
    usual = await brain.notes.settings()
    assert usual.retention == timedelta(days=30)
    assert await brain.notes.update_settings(NoteSettings(timedelta(hours=1))) == NoteSettings(timedelta(hours=1))
    assert (await brain.notes.settings()).retention == timedelta(hours=1)
    assert await brain.notes.update_settings(NoteSettings()) == usual
    before = await brain.search.settings()
    assert before.auto_link is True
    changed = dataclasses.replace(before, auto_link=False, max_links=3)
    await brain.search.update_settings(changed)
    assert await brain.search.settings() == changed
    with pytest.raises(InvalidArgument):
        await brain.search.update_settings(SearchSettings(link_threshold=2.0))
    assert await brain.search.settings() == changed


async def test_a_search_finds_what_the_client_has_just_written(brain: Brain2) -> None:
    for n in range(5):
        await brain.notes.create(f"Ocarina {n}", f"clay flute number{n}", node_id=f"o{n}")
        assert [hit.node_id async for hit in brain.search.find(f"number{n}")] == [f"o{n}"]
    assert {each.node_id for each in await brain.search.similar("o4")} == {"o0", "o1", "o2", "o3"}
    assert "o4" in [each async for each in brain.search.with_keyword("flute")]
    await brain.notes.delete("o4")

    async def gone() -> bool:
        return not [hit async for hit in brain.search.find("number4", wait=False)]

    # A deletion has no token: the index leaves the note out at once, or as soon as it has heard of it.
    await until(gone, "the deleted note is found no more", seconds=20)


async def test_a_rename_takes_the_links_along_and_mentions_are_listed(brain: Brain2) -> None:
    await brain.notes.create("Old pot", "made of clay", node_id="pot")
    await brain.notes.create("Linking", "See [[Old pot]] for more.", node_id="linking")
    await brain.notes.create("Naming", "An Old pot is mentioned here.", node_id="naming")
    mentions = [mention async for mention in brain.search.mentions("pot", page_size=1)]
    assert [(mention.node_id, mention.links) for mention in mentions] == [("linking", True), ("naming", False)]
    [passage] = mentions[0].passages
    assert passage.text[slice(*passage.highlight)] == "[[Old pot]]"
    renamed = await brain.notes.rename("pot", "New pot")
    assert renamed.title == "New pot"
    assert (await brain.notes.get("linking")).content == "See [[New pot]] for more."


async def test_a_token_may_come_from_a_coroutine_and_a_deadline_ends_a_call(stack: Stack, user: str) -> None:
    async def token() -> str:
        await asyncio.sleep(0)
        return "any"

    async with Brain2(stack.addresses["node"], user=user, token=token, **_others(stack)) as brain:  # type: ignore[arg-type]
        await brain.notes.create("Tea", node_id="tea")
        with pytest.raises(DeadlineExceeded):
            await brain.notes.get("tea", timeout=0)
        # A reader that stops early, and one that is cancelled, leave the client as it was.
        async for _ in brain.notes.list(page_size=1):
            break
        watching = asyncio.ensure_future(anext(brain.links.watch()))
        await asyncio.sleep(0)
        watching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watching
        assert (await brain.notes.get("tea")).title == "Tea"
    with pytest.raises(Cancelled) as closed:
        await brain.notes.get("tea")
    assert closed.value.reason == "CLIENT_CLOSED"


async def test_calls_wait_for_a_service_that_is_away_and_fail_at_their_deadline(user: str) -> None:
    async with Brain2("127.0.0.1:1", user=user) as brain:
        began = asyncio.get_running_loop().time()
        with pytest.raises((DeadlineExceeded, Unavailable)):
            await brain.notes.get("tea", timeout=0.3)
        with pytest.raises((DeadlineExceeded, Unavailable)):
            await anext(brain.links.all(timeout=0.3))
        assert asyncio.get_running_loop().time() - began < 2.0


async def test_threads_share_the_twin(stack: Stack, user: str) -> None:
    with Brain2Sync(stack.addresses["node"], user=user, **_others(stack)) as brain:  # type: ignore[arg-type]

        def write(n: int) -> str:
            brain.notes.create(f"Thread {n}", node_id=f"t{n}")
            brain.notes.edit("t0", lambda note: dataclasses.replace(note, content=f"{note.content}{n} "))
            return brain.notes.get(f"t{n}").title

        await asyncio.to_thread(write, 0)
        titles = await asyncio.gather(*(asyncio.to_thread(write, n) for n in range(1, 12)))
        assert titles == [f"Thread {n}" for n in range(1, 12)]
        content = (await asyncio.to_thread(brain.notes.get, "t0")).content
        assert sorted(map(int, content.split())) == list(range(12))


async def test_the_synchronous_twin(stack: Stack, user: str) -> None:
    def work() -> list[str]:
        with Brain2Sync(stack.addresses["node"], user=user, **_others(stack)) as brain:  # type: ignore[arg-type]
            brain.notes.create("Tea", node_id="tea")
            brain.notes.create("Pot", node_id="pot")
            brain.links.create("tea", "pot")
            with pytest.raises(NotFound):
                brain.notes.get("nothing")
            return [neighbor.title for neighbor in brain.links.neighbors("tea")]

    assert await asyncio.to_thread(work) == ["Pot"]


async def test_the_package_stands_alone_and_takes_its_targets_from_the_environment(stack: Stack, user: str) -> None:
    """As installed: the package is found as `brain2`, and the checkout is not on the path."""
    program = (
        "import sys; from brain2 import Brain2Sync\n"
        "with Brain2Sync() as brain:\n"
        "    print(brain.notes.create('Alone').title, brain.user)\n"
        "assert not [name for name in sys.modules if name.split('.')[0] in ('services', 'shared', 'protos', 'deploy')]"
    )
    env = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT / "clients" / "python"),
        "BRAIN2_USER": user,
        **{f"BRAIN2_{name.upper()}_TARGET": address for name, address in stack.addresses.items()},
    }
    run = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", program], cwd="/", env=env, capture_output=True, text=True, timeout=600
    )
    assert (run.stdout.strip(), run.stderr) == (f"Alone {user}", "")
