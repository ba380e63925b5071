"""`make bench-import`: the processor time that the import of a note takes, by process, on the whole stack.

BASE=<ref> (--base) measures an earlier state of the project in the same run, on the same machine: its tree is checked
out into a temporary folder, and both trees import the same notes. The runs of the two trees alternate (--runs).

A tree's own launcher starts its stack. Counted is the user and system time of each process (/proc) from the first
BatchCreateNodes until the processes are idle again: all notes are indexed, linked and relinked. What the idle processes
take in the same time, measured before the import, is subtracted.
"""

import argparse
import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import grpc

from protos.graph.v1 import graph_pb2, graph_pb2_grpc
from protos.node.v1 import node_pb2, node_pb2_grpc
from protos.similarity.v1 import similarity_pb2, similarity_pb2_grpc
from tests.bench import page
from tests.bench.similarity.corpus import Sample, collection, read, samples

SERVICES = ("node", "graph", "similarity", "cleanup")
STORES = ("dynoxide", "ministack", "valkey")
_USER = "importer"
_BATCH = 100
_IN_FLIGHT = 4
# A note that is refused for now (a machine under load) is sent again.
_ATTEMPTS = 20
_PAUSE_SECONDS = 1.0
_TICK = os.sysconf("SC_CLK_TCK")
# A tree that is checked out uses the environments of this one, without the packages that its own lock does not name.
_ENVIRONMENTS = (".venv", ".venv-ministack", ".dynoxide")
_LOCK = Path("requirements") / "dev.txt"
_LOCKED = re.compile(r"^([A-Za-z0-9._-]+)==", re.MULTILINE)
# Python imports a module of this name at its start. This one refuses to import what is hidden.
_SITE = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {hidden!r}:
            raise ModuleNotFoundError(f"{{name}} is not in the lock of this tree", name=name)

sys.meta_path.insert(0, Hidden())
"""
# The processes are idle when they take so little more than before the import for this long. A user's notes are
# relinked as a whole 20 s after the last change, so the time is longer than that.
_IDLE_SECONDS = 24.0
_IDLE_SHARE = 0.05
_POLL_SECONDS = 4.0
_START_SECONDS = 90.0


Run = Mapping[str, Any]


class BenchError(Exception):
    """The measurement could not be made."""


def cpu_seconds(launcher: int) -> dict[str, float]:
    """User and system seconds of each service and store below the launcher's process, by name."""
    children: dict[int, list[int]] = {}
    used: dict[int, float] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            pid = int(stat.parent.name)
            children.setdefault(int(fields[1]), []).append(pid)
            used[pid] = (int(fields[11]) + int(fields[12])) / _TICK
    found: dict[str, float] = {}
    waiting = list(children.get(launcher, ()))
    while waiting:
        pid = waiting.pop()
        waiting += children.get(pid, ())
        with contextlib.suppress(OSError):
            name = _name(Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            if name is not None:
                found[name] = found.get(name, 0.0) + used[pid]
    return found


def _name(command: str) -> str | None:
    for name in SERVICES:
        if f"services.{name}_service" in command:
            return name
    program = command.replace("/.venv-ministack/bin/python", "")
    return next((name for name in STORES if name in program), None)


@contextlib.contextmanager
def checked_out(ref: str) -> Iterator[Path]:
    """The tree of a git ref in a temporary folder, with the environments of this one."""
    with tempfile.TemporaryDirectory(prefix="brain2-base-") as folder:
        tree = Path(folder) / "tree"
        _git("worktree", "add", "--detach", str(tree), ref)
        try:
            for name in _ENVIRONMENTS:
                source = page.ROOT / name
                if source.exists() and not (tree / name).exists():
                    (tree / name).symlink_to(source.resolve())
            yield tree
        finally:
            _git("worktree", "remove", "--force", str(tree))


def hidden_modules(tree: Path) -> set[str]:
    """The modules of the packages that this tree's lock names and that of another tree does not."""
    ours, theirs = (set(_LOCKED.findall((root / _LOCK).read_text(encoding="utf-8"))) for root in (page.ROOT, tree))
    new = ours - theirs
    return {module for module, owners in packages_distributions().items() if {each.lower() for each in owners} & new}


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=page.ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"git {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout.strip()


@contextlib.asynccontextmanager
async def _stack(tree: Path, data: Path) -> AsyncIterator[tuple[int, Mapping[str, str]]]:
    """A stack of a tree: the launcher's process, and the address of each service."""
    site = data / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(_SITE.format(hidden=hidden_modules(tree)), encoding="utf-8")
    command = [
        *(str(tree / ".venv" / "bin" / "python"), "-m", "deploy.local", "up", "--free-ports", "--data", str(data)),
        *("--log-level", "WARNING", "--trace-ratio", "0", "--save-seconds", "0"),
    ]
    if "--no-console" in (tree / "deploy" / "local" / "__main__.py").read_text(encoding="utf-8"):
        command.append("--no-console")
    environment = {**os.environ, "PYTHONPATH": f"{tree}{os.pathsep}{site}"}
    with (data / "launcher.log").open("wb") as log:
        child = await asyncio.create_subprocess_exec(*command, cwd=tree, env=environment, stdout=log, stderr=log)
    try:
        described = data / "stack.json"
        ends = time.monotonic() + _START_SECONDS
        while not described.exists() or not described.read_text(encoding="utf-8").strip():
            if child.returncode is not None or time.monotonic() > ends:
                raise BenchError(f"the stack of {tree} did not start: {(data / 'launcher.log').read_text()[-2000:]}")
            await asyncio.sleep(0.2)
        yield child.pid, json.loads(described.read_text(encoding="utf-8"))["services"]
    finally:
        if child.returncode is None:
            child.terminate()
            await child.wait()


async def measure(tree: Path, notes: Sequence[Sample], idle_seconds: float) -> dict[str, Any]:
    """Milliseconds of processor a note by process, and what the import made. One import into an empty stack."""
    async with contextlib.AsyncExitStack() as stack:
        data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="brain2-bench-")))
        launcher, addresses = await stack.enter_async_context(_stack(tree, data))
        channels: Any = {
            name: await stack.enter_async_context(grpc.aio.insecure_channel(addresses[name]))
            for name in ("node", "graph", "similarity")
        }
        nodes: Any = node_pb2_grpc.NodeServiceStub(channels["node"])
        graph: Any = graph_pb2_grpc.GraphServiceStub(channels["graph"])
        similarity: Any = similarity_pb2_grpc.SimilarityServiceStub(channels["similarity"])
        await asyncio.sleep(3)
        before = cpu_seconds(launcher)
        await asyncio.sleep(idle_seconds)
        idle = {name: (used - before[name]) / idle_seconds for name, used in cpu_seconds(launcher).items()}

        begin = cpu_seconds(launcher)
        began = time.monotonic()
        await _import(nodes, notes)
        stored = time.monotonic() - began
        end, ended = await _until_idle(launcher, sum(idle.values()))
        for note in notes:  # raises NotFound when one is not indexed
            request = similarity_pb2.ExtractKeywordsRequest(user_id=_USER, node_id=note.node_id, limit=1)
            await similarity.ExtractKeywords(request, timeout=60)
        edges = 0
        async for part in graph.ListEdges(graph_pb2.ListEdgesRequest(user_id=_USER), timeout=60):
            edges += len(part.edges)
    taken = ended - began
    used = {name: max(0.0, end[name] - begin[name] - idle[name] * taken) / len(notes) * 1000 for name in end}
    return {
        "ms_a_note": {name: round(value, 3) for name, value in sorted(used.items())},
        "services_ms": round(sum(used.get(name, 0.0) for name in SERVICES), 3),
        "stores_ms": round(sum(used.get(name, 0.0) for name in STORES), 3),
        "idle_ms_a_second": round(1000 * sum(idle.values()), 1),
        "stored_seconds": round(stored, 1),
        "seconds": round(taken, 1),
        "edges": edges,
    }


async def _import(nodes: Any, notes: Sequence[Sample]) -> None:
    places = asyncio.Semaphore(_IN_FLIGHT)

    async def send(some: Sequence[Sample]) -> None:
        async with places:
            for _ in range(_ATTEMPTS):
                news = [node_pb2.NewNode(node_id=each.node_id, title=each.title, content=each.text) for each in some]
                answer = await nodes.BatchCreateNodes(
                    node_pb2.BatchCreateNodesRequest(user_id=_USER, nodes=news), timeout=120
                )
                results = list(zip(some, answer.results, strict=True))
                some = [each for each, result in results if result.code and result.reason != "NODE_EXISTS"]
                if not some:
                    return
                await asyncio.sleep(_PAUSE_SECONDS)
        raise BenchError(f"{len(some)} notes were not created: {[result.reason for _, result in results]}")

    await asyncio.gather(*(send(notes[start : start + _BATCH]) for start in range(0, len(notes), _BATCH)))


async def _until_idle(launcher: int, idle_share: float) -> tuple[dict[str, float], float]:
    """The processor seconds at the end of the work, and when that was (monotonic seconds)."""
    last = busy = cpu_seconds(launcher)
    at = busy_at = time.monotonic()
    while True:
        await asyncio.sleep(_POLL_SECONDS)
        now, now_at = cpu_seconds(launcher), time.monotonic()
        if sum(now.values()) - sum(last.values()) > (idle_share + _IDLE_SHARE) * (now_at - at):
            busy, busy_at = now, now_at
        elif now_at - busy_at > _IDLE_SECONDS:
            return busy, busy_at
        last, at = now, now_at


def table(found: Mapping[str, Any]) -> str:
    """Markdown."""
    lines = [
        f"{found['notes']:,} notes of {found['corpus']} by BatchCreateNodes, until they are indexed, linked and "
        f"relinked; all on one machine ({found['machine']}); {found['date']}. Milliseconds of processor (user and "
        f"system) a note, {_of_runs(found['trees'])}; without what idle processes take.",
        "",
        "| tree | node | graph | similarity | cleanup | **services** | stores | edges |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, runs in found["trees"].items():
        run = median_run(runs)
        by_name = run["ms_a_note"]
        services = " | ".join(f"{by_name.get(each, 0.0):.2f}" for each in SERVICES)
        stores = ", ".join(f"{each} {by_name[each]:.2f}" for each in STORES if each in by_name)
        lines.append(
            f"| {name} | {services} | **{run['services_ms']:.2f}** | {run['stores_ms']:.2f} ({stores}) "
            f"| {run['edges']:,} |"
        )
    if len(found["trees"]) == 2:
        old, new = map(median_run, found["trees"].values())
        services, stores = (round(old[part] / new[part], 2) for part in ("services_ms", "stores_ms"))
        lines += [
            "",
            f"The services take {services:g} times less than those of the earlier tree, the stores {stores:g} times "
            "less.",
        ]
    return "\n".join(lines)


def median_run(runs: Sequence[Run]) -> Run:
    """The run in the middle, by what the services take; of an even number the slower one of the two."""
    return sorted(runs, key=lambda run: run["services_ms"])[len(runs) // 2]


def _of_runs(trees: Mapping[str, Sequence[Run]]) -> str:
    (count,) = {len(runs) for runs in trees.values()}
    return "of one run" if count == 1 else f"of the median of {count} runs, by what the services take"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--notes", type=int, default=1000)
    parser.add_argument("--corpus", type=Path, default=None, help="JSON lines (id, title, text), perhaps gzipped")
    parser.add_argument("--runs", type=int, default=3, help="imports of each tree; they alternate")
    parser.add_argument("--base", default="", help="a git ref: measure this tree, too")
    parser.add_argument("--idle-seconds", type=float, default=10.0, help="how long the idle processes are measured")
    parser.add_argument("--out", type=Path, help="a folder for the results; docs stays as it is")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what was started is stopped
    path = arguments.corpus or collection()
    notes = samples(read(path), arguments.notes)
    trees: dict[str, list[dict[str, Any]]] = {}
    try:
        with contextlib.ExitStack() as stack:
            places = {"this tree": page.ROOT}
            if arguments.base:
                name = f"{_git('rev-parse', '--short', arguments.base)} (before)"
                places = {name: stack.enter_context(checked_out(arguments.base)), **places}
            for _ in range(arguments.runs):
                for name, tree in places.items():
                    found = asyncio.run(measure(tree, notes, arguments.idle_seconds))
                    print(f"{name}: {json.dumps(found)}", flush=True)
                    trees.setdefault(name, []).append(found)
    except BenchError as error:
        print(f"bench-import: {error}", file=sys.stderr)
        return 1
    result: dict[str, Any] = {
        "machine": page.machine(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "corpus": path.name,
        "notes": len(notes),
        "trees": trees,
    }
    print(table(result))
    page.write("import", "Processor time of an import", result, table(result), arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
