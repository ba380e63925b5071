"""LinkBench's and TAO's mixes of operations through the real API of the node and graph services, open loop.

LinkBench (SIGMOD 2013): the shares, the Zipf exponents of who is read (0.8) and written (0.741), and notes whose text
has a log-normal length with a median of 128 bytes. TAO (USENIX ATC 2013): its mix of reads. An object is a note, an
association an edge, its list GetNeighbors, its count total_degree of a page of one.
"""

import asyncio
import bisect
import itertools
import random
from collections.abc import Awaitable, Sequence
from typing import Any

import grpc

from protos.graph.v1 import graph_pb2, graph_pb2_grpc
from protos.node.v1 import node_pb2, node_pb2_grpc
from tests.bench.graph import seed
from tests.bench.graph.openloop import mix
from tests.bench.graph.world import LOAD_CORE, Bench
from tests.support.stores import Stores

LINKBENCH = {
    "addlink": 8.99,
    "deletelink": 2.99,
    "updatelink": 8.01,
    "countlink": 4.89,
    "getlink": 0.53,
    "getlinklist": 50.71,
    "getnode": 12.93,
    "addnode": 2.57,
    "updatenode": 7.37,
    "deletenode": 1.01,
}
TAO = {"range": 40.9, "object": 28.9, "get": 15.7, "count": 11.7, "time_range": 2.8}
_READ_ZIPF, _WRITE_ZIPF = 0.8, 0.741
_LINKS_PER_NOTE = 5


class Zipf:
    """Picks 0..count-1, rank r with weight r^-exponent; which number has which rank is shuffled."""

    def __init__(self, count: int, exponent: float, rng: random.Random) -> None:
        self._sums = list(itertools.accumulate((rank + 1) ** -exponent for rank in range(count)))
        self._order = list(range(count))
        rng.shuffle(self._order)
        self._rng = rng

    def pick(self) -> int:
        return self._order[bisect.bisect_left(self._sums, self._rng.random() * self._sums[-1])]


class Workload:
    """One user's graph and the calls that may be made on it."""

    def __init__(self, user: str, notes: int, nodes: Any, graph: Any, rng: random.Random) -> None:
        self._user = user
        self._notes = notes
        self._nodes = nodes
        self._graph = graph
        self._rng = rng
        self._read = Zipf(notes, _READ_ZIPF, rng)
        self._write = Zipf(notes, _WRITE_ZIPF, rng)
        self._added = itertools.count(notes)
        # What is linked to each note, as far as this load knows.
        self._links: dict[int, set[int]] = {number: set() for number in range(notes)}

    def connect(self, nodes: Any, graph: Any) -> None:
        """Make further calls by these stubs."""
        self._nodes, self._graph = nodes, graph

    async def fill(self, stores: Stores) -> int:
        """Notes through the API, edges straight; answers how many edges. Few notes have many, many have few."""
        for start in range(0, self._notes, 100):
            news = [self._note(number) for number in range(start, min(start + 100, self._notes))]
            request = node_pb2.BatchCreateNodesRequest(user_id=self._user, nodes=news)
            await self._nodes.BatchCreateNodes(request, timeout=60)
        pairs: set[tuple[int, int]] = set()
        while len(pairs) < _LINKS_PER_NOTE * self._notes:
            a, b = self._write.pick(), self._rng.randrange(self._notes)
            if a != b:
                pairs.add((min(a, b), max(a, b)))
        for a, b in pairs:
            self._links[a].add(b)
            self._links[b].add(a)
        edges = await seed.write(stores, self._user, ((a, b, self._weight()) for a, b in sorted(pairs)))
        await _until_quiet(stores)
        # LinkBench, too, measures warm caches.
        await self._graph.WarmCache(graph_pb2.WarmCacheRequest(user_id=self._user, max_nodes=self._notes), timeout=600)
        return edges

    def operation(self, name: str) -> Awaitable[Any]:
        """Begin one operation."""
        made: Awaitable[Any] = getattr(self, f"_{name}")()
        return made

    # ------------------------------------------------------------------ associations
    def _addlink(self) -> Any:
        one, other = self._pair(self._write)
        self._links[one].add(other)
        self._links[other].add(one)
        new = graph_pb2.NewEdge(source_id=seed.name(one), target_id=seed.name(other), weight=self._weight())
        return self._graph.CreateEdge(graph_pb2.CreateEdgeRequest(user_id=self._user, edge=new))

    def _deletelink(self) -> Any:
        one, other = self._linked(self._write)
        self._links[one].discard(other)
        self._links[other].discard(one)
        return self._graph.DeleteEdge(
            graph_pb2.DeleteEdgeRequest(user_id=self._user, source_id=seed.name(one), target_id=seed.name(other))
        )

    def _updatelink(self) -> Any:
        one, other = self._linked(self._write)
        if other not in self._links[one]:
            return self._addlink()  # LinkBench's update is an upsert
        request = graph_pb2.UpdateEdgeRequest(
            user_id=self._user, source_id=seed.name(one), target_id=seed.name(other), weight=self._weight()
        )
        request.update_mask.paths.append("weight")
        return self._graph.UpdateEdge(request)

    def _countlink(self) -> Any:
        return self._neighbors(page_size=1)

    def _getlink(self) -> Any:
        one, other = self._linked(self._read)
        return self._graph.GetEdge(
            graph_pb2.GetEdgeRequest(user_id=self._user, source_id=seed.name(one), target_id=seed.name(other))
        )

    def _getlinklist(self) -> Any:
        return self._neighbors()

    def _neighbors(self, **fields: Any) -> Any:
        return self._graph.GetNeighbors(
            graph_pb2.GetNeighborsRequest(user_id=self._user, node_id=self._seen(), **fields)
        )

    # ------------------------------------------------------------------ objects
    def _getnode(self) -> Any:
        return self._nodes.GetNode(node_pb2.GetNodeRequest(user_id=self._user, node_id=self._seen()))

    def _addnode(self) -> Any:
        return self._nodes.CreateNode(
            node_pb2.CreateNodeRequest(user_id=self._user, node=self._note(next(self._added)))
        )

    def _updatenode(self) -> Any:
        return self._nodes.UpdateNode(
            node_pb2.UpdateNodeRequest(
                user_id=self._user, node_id=self._who(), node=node_pb2.NewNode(content=self._content())
            )
        )

    def _deletenode(self) -> Any:
        # Uniform: by Zipf, the few notes that everybody reads would soon be gone.
        return self._nodes.DeleteNode(node_pb2.DeleteNodeRequest(user_id=self._user, node_id=self._any()))

    # ------------------------------------------------------------------ TAO's names
    _range = _getlinklist
    _object = _getnode
    _get = _getlink
    _count = _countlink

    def _time_range(self) -> Any:
        return self._neighbors(order=graph_pb2.NEIGHBOR_ORDER_TIME)

    # ------------------------------------------------------------------ data
    def _who(self) -> str:
        return seed.name(self._write.pick())

    def _seen(self) -> str:
        return seed.name(self._read.pick())

    def _any(self) -> str:
        return seed.name(self._rng.randrange(self._notes))

    def _linked(self, who: Zipf) -> tuple[int, int]:
        """The ends of an edge of a note that `who` picks; of none when the note has none."""
        one = who.pick()
        links = self._links[one]
        if not links:
            return one, self._other(one)
        return one, next(itertools.islice(links, self._rng.randrange(len(links)), None))

    def _pair(self, who: Zipf) -> tuple[int, int]:
        one = who.pick()
        return one, self._other(one)

    def _other(self, one: int) -> int:
        other = self._rng.randrange(self._notes - 1)
        return other + (other >= one)

    def _weight(self) -> float:
        return self._rng.randrange(1, 1000) / 1000

    def _content(self) -> str:
        return "x" * max(1, min(int(self._rng.lognormvariate(4.852, 1.0)), 20_000))

    def _note(self, number: int) -> Any:
        return node_pb2.NewNode(node_id=seed.name(number), title=f"Note {number}", content=self._content())


async def _until_quiet(stores: Stores) -> None:
    """Wait until the news of all the notes that were made have been heard: they aren't part of the mix."""
    url = stores.environment("graph")["BRAIN2_QUEUE_URL"]
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    async with stores.client("sqs") as sqs:
        quiet = 0
        for _ in range(300):
            await asyncio.sleep(1)
            answer = await sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)
            quiet = 0 if any(int(answer["Attributes"][name]) for name in names) else quiet + 1
            if quiet == 3:
                return


async def measure(
    bench: Bench, shares: dict[str, float], sizes: Sequence[int], rate: float, seconds: float
) -> dict[str, Any]:
    """By size (notes of one user): what each operation took, and all of them together."""
    return {str(size): await _one(bench, shares, size, rate, seconds) for size in sizes}


async def _one(bench: Bench, shares: dict[str, float], size: int, rate: float, seconds: float) -> dict[str, Any]:
    async with bench.apart() as servers:
        node = await servers.service("node", core=LOAD_CORE)
        graph = await servers.service("graph", BRAIN2_NODE_TARGET=f"127.0.0.1:{node}")
        async with (
            grpc.aio.insecure_channel(f"127.0.0.1:{node}") as to_node,
            grpc.aio.insecure_channel(f"127.0.0.1:{graph}") as to_graph,
        ):
            rng = random.Random(size)
            nodes: Any = node_pb2_grpc.NodeServiceStub(to_node)
            graphs: Any = graph_pb2_grpc.GraphServiceStub(to_graph)
            work = Workload(f"bench-{len(shares)}-{size}", size, nodes, graphs, rng)
            edges = await work.fill(servers.stores)
            names, weights = list(shares), list(shares.values())

            def pick() -> tuple[str, Awaitable[Any]]:
                name = rng.choices(names, weights)[0]
                return name, work.operation(name)

            await mix(pick, rate, max(seconds / 4, 2))
            measured = await mix(pick, rate, seconds)
            operations = {name: value.as_dict() for name, value in measured.items()}
            return {"edges": edges, "rate": rate, "operations": operations}
