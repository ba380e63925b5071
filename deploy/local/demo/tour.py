"""The tour: every step shows something that Brain2 promises, how long it took, and fails when it isn't so."""

import asyncio
import json
import statistics
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from clients.python.brain2 import Brain2, Deletion, DeletionEvent, Hit, Neighbor, NewNote, NotFound
from deploy.local import traces
from deploy.local.console import Console
from deploy.local.demo import draw
from deploy.local.demo.measure import BrokenError, timed, traced, until, until_stable
from deploy.local.importer.jsonlines import JsonLines
from deploy.local.importer.progress import ProgressBar
from deploy.local.importer.send import Importer
from deploy.local.stores import ROOT

T = TypeVar("T")
SAMPLE = ROOT / "deploy" / "local" / "sample" / "notes.jsonl"
# Notes of the sample that the tour visits.
_HUB, _DELETED, _RESTORED = "internet-protocol", "client-server", "paging"
_DRAFT = NewNote(
    node_id="how-a-page-arrives",
    title="How a web page arrives",
    content=(
        "I type an address; the browser asks the Domain Name System for the IP address of the server. TCP opens a "
        "connection, HTTP asks for the page, and routers pass its packets on, each by another path perhaps: that is "
        "what packet switching means."
    ),
    tags=("my own",),
)
_QUERY = "packet routing"
_WIDTH = 100


class Tour:
    """One run, for one user; run() prints as it goes."""

    def __init__(self, brain: Brain2, trace_file: Path, console: Console) -> None:
        self._brain = brain
        self._traces = trace_file
        self._console = console
        self._chapter = 0
        self._latencies: list[tuple[str, float]] = []

    async def run(self) -> None:
        """All steps. BrokenError or a Brain2Error when something isn't as promised."""
        ids = await self._import()
        await self._links(ids)
        await self._write()
        await self._neighbors()
        await self._subgraph()
        await self._search()
        trace_id = await self._delete()
        await self._clean_up()
        await self._restore()
        await self._trace(trace_id)
        self._summary()

    async def _import(self) -> list[str]:
        source = JsonLines(SAMPLE)
        self._title("Notes", "entries of the Free On-line Dictionary of Computing (GFDL, deploy/local/sample)")
        importer = Importer(self._brain)
        with ProgressBar("storing") as bar:
            task = asyncio.create_task(timed(importer.run(source)))
            while not task.done():
                bar.show(source.done, source.total, importer.report.note())
                await asyncio.wait({task}, timeout=0.1)
            _, ms = task.result()
        report = importer.report
        if report.failures or not report.stored:
            where, why = (report.failures or [("sample", "nothing was stored")])[0]
            raise BrokenError(f"the sample could not be stored: {where}: {why}")
        count = len(report.stored)
        self._fact(f"{count} notes stored for user {self._brain.user}", ms, f"{count / ms * 1000:.0f} a second")
        with ProgressBar("indexing") as bar:
            left, ms = await timed(
                importer.wait_until_indexed(120.0, lambda known, all_: bar.show(known, all_, f"{known} notes"))
            )
        if left:
            raise BrokenError(f"{left} of {count} notes were not indexed within 120 s")
        self._fact("all of them indexed", ms, "after the last was stored")
        return sorted(report.stored)

    async def _links(self, ids: list[str]) -> None:
        self._title("Automatic links", "nobody drew these: each comes from what two notes have in common")

        async def linked() -> bool:
            return len(await self._weights(ids)) >= len(ids) // 2

        # The links of a burst are made when its notes have come to rest.
        await until(linked, f"{len(ids) // 2} automatic links", seconds=90.0)
        with ProgressBar("linking") as bar:
            links = await until_stable(
                lambda: self._weights(ids),
                quiet=3.0,
                seconds=90.0,
                on_look=lambda seen: bar.show(0, 0, f"{len(seen)} links"),
            )
        if len(links) < len(ids) // 2:
            raise BrokenError(f"only {len(links)} links were made for {len(ids)} notes")
        gold, titles = _editors_work()
        both = sum(ends in gold for ends in links)
        self._fact(f"{len(links)} links")
        self._fact(f"{both} of them ({100 * both // len(links)} %) were also made by the dictionary's editors, by hand")
        heaviest = sorted(links, key=lambda ends: (-links[ends], ends))[:5]
        for one, other in heaviest:
            await self._explained(one, other, f"{titles.get(one, one)} and {titles.get(other, other)}")

    async def _write(self) -> None:
        self._title("A note of your own", _DRAFT.title)
        for line in textwrap.wrap(_DRAFT.content, _WIDTH):
            self._console.say(self._grey(f"    {line}"))
        creating = self._brain.notes.create(_DRAFT.title, _DRAFT.content, tags=_DRAFT.tags, node_id=_DRAFT.node_id)
        _, ms = await timed(creating)
        self._fact("stored for good", ms, latency="create a note")
        node_id = _DRAFT.node_id
        _, ms = await until(lambda: self._neighbor_ids(node_id), "the new note gets an automatic link", seconds=20.0)
        self._fact("first automatic link", ms, "after the answer", latency="create to first link")
        found = await until_stable(lambda: self._neighbor_ids(node_id), quiet=0.5, seconds=5.0)
        if not found:
            raise BrokenError("the links of the new note went away again")
        async for neighbor in self._brain.links.neighbors(node_id):
            await self._explained(node_id, neighbor.node_id, neighbor.title or neighbor.node_id)

    async def _neighbors(self) -> None:
        self._title("Neighbours", f"what is connected to {_HUB}?")
        neighbors, first = await timed(self._heaviest(_HUB, 8))
        if not neighbors:
            raise BrokenError(f"{_HUB} has no neighbours")
        for neighbor in neighbors:
            weight = self._console.paint(draw.bar(neighbor.weight), "cyan")
            self._console.say(f"    {weight} {neighbor.weight:.2f}  {neighbor.title or neighbor.node_id}")
        degree = await self._brain.links.degree(_HUB)
        if degree > len(neighbors):
            self._console.say(self._grey(f"    and {degree - len(neighbors)} more"))
        again = [(await timed(self._heaviest(_HUB, 8)))[1] for _ in range(50)]
        self._fact("asked the first time", first, "with titles")
        self._fact("asked again, 50 times", statistics.median(again), "median", latency="neighbours, from memory")

    async def _subgraph(self) -> None:
        self._title("Two hops", f"around {_HUB}")
        found, ms = await timed(self._brain.links.around(_HUB, hops=2))
        if not any(note.hops == 2 for note in found.notes):
            raise BrokenError(f"nothing lies two hops from {_HUB}")
        hops = {note.node_id: note.hops for note in found.notes}
        titles = {note.node_id: note.title for note in found.notes if note.title}
        edges = [(link.source_id, link.target_id, link.weight) for link in found.links]
        for line in draw.tree(draw.grow(_HUB, hops, edges), titles, self._console.paint):
            self._console.say(f"    {line}")
        self._fact(f"{len(hops)} notes, {len(edges)} edges", ms, latency="two hops")

    async def _search(self) -> None:
        self._title("Search", f"“{_QUERY}”")
        hits, ms = await timed(self._hits(_QUERY, 4))
        if not hits:
            raise BrokenError(f"searching {_QUERY!r} finds nothing")
        for hit in hits:
            text, ranges = draw.window(hit.snippet, hit.highlights, _WIDTH)
            self._console.say(f"    {self._console.paint(hit.title, 'bold')}")
            self._console.say(f"      {draw.highlighted(text, ranges, self._console.paint)}".replace("\n", " "))
        self._fact(f"{await self._brain.search.count(_QUERY, wait=False)} notes match", ms, latency="search")

    async def _delete(self) -> str:
        title = _DELETED
        self._title("Forgetting", f"delete {title}")
        # On a busy machine the links of the first notes may still be made.
        before, _ = await until(lambda: self._neighbor_ids(title), f"{title} has neighbours", seconds=60.0)
        friend = min(before)
        self._console.say(self._grey(f"    it has {len(before)} neighbours, one is {friend}; search finds it by name"))
        if not await self._found(title):
            raise BrokenError(f"search does not find {title}")
        with traced() as trace_id:
            _, ms = await timed(self._brain.notes.delete(title))
        self._fact("deleted", ms, latency="delete a note")
        gone: list[tuple[str, Callable[[], Awaitable[bool]]]] = [
            ("the note itself", lambda: _not(self._is_there(title))),
            (f"the neighbours of {friend}", lambda: _lacks(self._neighbor_ids(friend), title)),
            ("search", lambda: _not(self._found(title))),
        ]
        asked = await asyncio.gather(*(timed(check()) for _, check in gone))
        for (place, check), (is_gone, wait) in zip(gone, asked, strict=True):
            if not is_gone:
                _, more = await until(check, f"{title} is gone from {place}", seconds=2.0)
                wait += more
            answered = "by the first question, whose time this is" if is_gone else "after the delete was answered"
            self._fact(f"gone from {place}", wait, answered)
        return trace_id

    async def _clean_up(self) -> None:
        self._title("Cleaned up behind", "at the end of the retention (30 days), or now if asked")
        node_id = _DELETED
        _, queued = await timed(self._brain.deletions.start_now(node_id))
        self._fact("asked to do it now", queued)
        told: set[DeletionEvent] = set()

        async def done() -> Deletion | None:
            deletion = await self._brain.deletions.get(node_id)
            for event in deletion.history:
                if event not in told:
                    told.add(event)
                    self._step_of_saga(event)
            if deletion.state == "failed":
                raise BrokenError(f"the cleanup failed: {deletion.error}")
            return deletion if deletion.state == "done" else None

        deletion, ms = await until(done, f"{node_id} is cleaned up", seconds=60.0)
        assert deletion
        archive = f", archived as {deletion.archive_uri}" if deletion.archive_uri else ""
        self._fact(f"{deletion.removed_edges} edges removed{archive}", ms, latency="cleanup, all steps")
        if await self._is_there(node_id, show_deleted=True):
            raise BrokenError(f"{node_id} is still stored after its cleanup")
        if await self._neighbor_ids(node_id):
            raise BrokenError(f"{node_id} still has edges after its cleanup")
        self._fact("nothing of it is left in the stores")

    async def _restore(self) -> None:
        self._title("Second thoughts", f"delete {_RESTORED}, then restore it")
        node_id = _RESTORED
        # Links are made some time after the notes change: the same links must come again.
        await until(lambda: self._neighbor_ids(node_id), f"{node_id} has neighbours", seconds=60.0)
        before = await until_stable(lambda: self._neighbor_ids(node_id), quiet=2.5, seconds=60.0)
        await self._brain.notes.delete(node_id)
        await until(lambda: _not(self._is_there(node_id)), f"{node_id} is hidden", seconds=2.0)
        _, ms = await timed(self._brain.notes.restore(node_id))
        self._fact("restored", ms, latency="restore a note")

        async def whole() -> bool:
            return await self._is_there(node_id) and await self._neighbor_ids(node_id) >= before

        _, wait = await until(whole, f"{node_id} has its {len(before)} neighbours again", seconds=30.0)
        self._fact(f"back with all of its {len(before)} neighbours", wait, "after the answer")
        _, wait = await until(lambda: self._found(node_id), f"search finds {node_id} again", seconds=30.0)
        self._fact("search finds it again", wait, "later")

    async def _trace(self, trace_id: str) -> None:
        self._title("One write through four services", "the deletion above, as its trace tells it")

        async def services() -> bool:
            return {span["service"] for span in traces.read(self._traces, trace_id)} >= _ALL

        await until(services, f"trace {trace_id} has spans of all four services", seconds=20.0)
        traces.show(self._traces, trace_id, self._console)

    def _summary(self) -> None:
        self._console.say()
        self._console.say(self._console.paint("Everything was as promised.", "green"))
        for what, ms in self._latencies:
            self._console.say(f"  {draw.milliseconds(ms):>9}  {what}")

    async def _weights(self, ids: list[str]) -> dict[tuple[str, str], float]:
        """The links at these notes: (smaller id, larger id) -> weight."""
        found = await self._brain.links.neighbors_of_many(ids, limit=100)
        return {
            (min(one, other.node_id), max(one, other.node_id)): other.weight
            for one, others in found.items()
            for other in others
        }

    async def _neighbor_ids(self, node_id: str) -> set[str]:
        return {neighbor.node_id async for neighbor in self._brain.links.neighbors(node_id)}

    async def _heaviest(self, node_id: str, count: int) -> list[Neighbor]:
        """The heaviest neighbours, by one call."""
        return await _first(self._brain.links.neighbors(node_id, page_size=count), count)

    async def _hits(self, query: str, count: int) -> list[Hit]:
        """The best hits, by one call."""
        return await _first(self._brain.search.find(query, page_size=count, wait=False), count)

    async def _is_there(self, node_id: str, *, show_deleted: bool = False) -> bool:
        """Whether the node service shows the note."""
        try:
            await self._brain.notes.get(node_id, show_deleted=show_deleted)
        except NotFound:
            return False
        return True

    async def _found(self, node_id: str) -> bool:
        hits = await self._hits(f'"{node_id.replace("-", " ")}"', 100)
        return any(hit.node_id == node_id for hit in hits)

    async def _explained(self, one: str, other: str, shown: str) -> None:
        link = await self._brain.links.get(one, other)
        why = ", ".join(reason.keyword for reason in link.reasons[:4])
        if link.auto_generated and not why:
            raise BrokenError(f"the automatic link {one} - {other} does not say why")
        weight = self._console.paint(draw.bar(link.weight), "cyan")
        self._console.say(f"    {weight} {link.weight:.2f}  {shown}  {self._grey('because of ' + why)}")

    def _step_of_saga(self, event: DeletionEvent) -> None:
        at = event.time.strftime("%H:%M:%S.%f")[:-3]
        self._console.say(f"    {self._grey(at)} {' '.join(filter(None, (event.state, event.step, event.message)))}")

    def _title(self, title: str, subtitle: str) -> None:
        self._chapter += 1
        self._console.say()
        self._console.say(f"{self._console.paint(f'{self._chapter}. {title}', 'bold')}  {self._grey(subtitle)}")

    def _fact(self, text: str, ms: float | None = None, note: str = "", *, latency: str = "") -> None:
        """One result. latency: the name under which its time appears in the summary."""
        took = "" if ms is None else f"  {self._console.paint(draw.milliseconds(ms), 'green')}"
        self._console.say(f"  {text}{took}{'  ' + self._grey(note) if note else ''}")
        if latency and ms is not None:
            self._latencies.append((latency, ms))

    def _grey(self, text: str) -> str:
        return self._console.paint(text, "grey")


_ALL = {"node", "graph", "similarity", "cleanup"}


def _editors_work() -> tuple[set[tuple[str, str]], dict[str, str]]:
    """The links that the sample's editors made, (smaller id, larger id), and its titles by id."""
    entries = [json.loads(line) for line in SAMPLE.read_text(encoding="utf-8").splitlines()]
    links = {(min(entry["id"], other), max(entry["id"], other)) for entry in entries for other in entry["links"]}
    return links, {entry["id"]: entry["title"] for entry in entries}


async def _not(answer: Awaitable[bool]) -> bool:
    return not await answer


async def _lacks(found: Awaitable[set[str]], item: str) -> bool:
    return item not in await found


async def _first(items: AsyncIterator[T], count: int) -> list[T]:
    """The first items; what comes after them is not asked for."""
    found: list[T] = []
    async for item in items:
        found.append(item)
        if len(found) == count:
            break
    return found
