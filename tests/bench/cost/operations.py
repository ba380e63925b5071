"""The operations whose cost is counted, for notes of one size."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from protos.graph.v1 import graph_pb2
from protos.node.v1 import node_pb2
from protos.similarity.v1 import similarity_pb2
from tests.bench.cost.world import Words, World
from tests.support.waiting import until

LINKS = 5


@dataclass(frozen=True, slots=True)
class Size:
    """name: of the notes, as the results call them. content_bytes: a few less than a power of two, for the title."""

    name: str
    content_bytes: int


SIZES = (Size("1 KB", 700), Size("256 KB", 256 * 1024))


async def measure(world: World, size: Size) -> dict[str, dict[str, Any]]:
    """Operation -> the numbers of its bill. create_linked: a note with LINKS automatic links, which is in "links"."""
    user, other, words = f"ada-{size.content_bytes}", f"bob-{size.content_bytes}", Words()
    found: dict[str, dict[str, Any]] = {}

    async def count(name: str, work: Any, user_id: str = user) -> None:
        found[name] = (await world.cost(work, user_id)).numbers()
        check_read(name, found[name])

    groups = await make_peers(world, user, words)
    text = text_about(groups, words, size.content_bytes)
    await count("create_linked", create(world, user, "note", "a title", text))
    neighbors = graph_pb2.GetNeighborsRequest(user_id=user, node_id="note")
    found["create_linked"]["links"] = links = len((await world.graph.GetNeighbors(neighbors)).neighbors)
    if links != LINKS:
        raise RuntimeError(f"the note got {links} links, and not {LINKS}: its cost can't be compared")

    lonely = words.text(words.some(60), size.content_bytes)
    await count("create", create(world, other, "note", "a title", lonely), other)
    await count("update_title", update(world, other, "title", title="another title"), other)
    changed = words.text(words.some(60), size.content_bytes)
    await count("update_content", update(world, other, "content", content=changed), other)

    await create(world, other, "peer", "of an edge", words.text(words.some(60), 700))
    await world.quiet(other)
    for name, call in edge_calls(world, other, "note", "peer").items():
        await count(name, call(), other)

    read = node_pb2.GetNodeRequest(user_id=user, node_id="note")
    await world.forget_caches()
    await count("read_miss", world.nodes.GetNode(read))
    await count("read_hit", world.nodes.GetNode(read))
    await count("lookup_miss", world.graph.GetNeighbors(neighbors))
    await count("lookup_hit", world.graph.GetNeighbors(neighbors))
    search = similarity_pb2.SearchNodesRequest(user_id=user, query=" ".join(groups[0][:3]))
    await count("search", world.similarity.SearchNodes(search))

    deletion = node_pb2.DeleteNodeRequest(user_id=user, node_id="note")
    await count("soft_delete", world.nodes.DeleteNode(deletion))
    await count("restore", world.nodes.RestoreNode(node_pb2.RestoreNodeRequest(user_id=user, node_id="note")))
    settings = node_pb2.UserSettings(retention={"seconds": 1})
    await world.nodes.UpdateUserSettings(node_pb2.UpdateUserSettingsRequest(user_id=user, settings=settings))
    await world.quiet(user)
    await count("delete_and_purge", purge(world, user, "note"))
    return found


def edge_calls(world: World, user_id: str, one: str, other: str) -> dict[str, Callable[[], Awaitable[Any]]]:
    """The calls about one edge that a user makes by hand, in an order in which each finds what it needs."""
    ends: Any = {"user_id": user_id, "source_id": one, "target_id": other}
    new = graph_pb2.NewEdge(source_id=one, target_id=other, weight=0.5)
    changed = graph_pb2.UpdateEdgeRequest(**ends, weight=0.7, update_mask=FieldMask(paths=["weight"]))
    graph = world.graph
    return {
        "create_edge": lambda: graph.CreateEdge(graph_pb2.CreateEdgeRequest(user_id=user_id, edge=new)),
        "get_edge": lambda: graph.GetEdge(graph_pb2.GetEdgeRequest(**ends)),
        "update_edge": lambda: graph.UpdateEdge(changed),
        "delete_edge": lambda: graph.DeleteEdge(graph_pb2.DeleteEdgeRequest(**ends)),
    }


def check_read(name: str, numbers: Mapping[str, Any]) -> None:
    """RuntimeError when an operation that no cache may answer has read nothing from DynamoDB."""
    if (name.endswith("_miss") or name == "get_edge") and not numbers["read_units"]:
        raise RuntimeError(f"{name} read nothing from DynamoDB: a cache has answered it")


async def make_peers(world: World, user_id: str, words: Words) -> list[list[str]]:
    """The words of each of some notes, which share none. A note that mentions all of their titles is linked to each."""
    # Whatever the default threshold is: a title and a fifth of the words is enough.
    settings = similarity_pb2.UserSettings(link_threshold=0.05)
    asked = similarity_pb2.UpdateUserSettingsRequest(user_id=user_id, settings=settings)
    asked.update_mask.paths.append("link_threshold")
    await world.similarity.UpdateUserSettings(asked)
    groups = [words.some(12) for _ in range(LINKS)]
    for number, group in enumerate(groups):
        await create(world, user_id, f"peer-{number}", title_of(group), words.text(group, 700))
    await world.quiet(user_id)
    return groups


def text_about(groups: list[list[str]], words: Words, size: int) -> str:
    """A text of so many bytes with the words of all groups. It mentions the titles of their notes."""
    mentions = ". ".join(map(title_of, groups))
    return f"{mentions}. {words.text([word for group in groups for word in group], size - len(mentions) - 2)}"


def title_of(group: list[str]) -> str:
    """The title of a note of these words."""
    return " ".join(group[:2])


async def create(world: World, user_id: str, node_id: str, title: str, content: str) -> None:
    node = node_pb2.NewNode(node_id=node_id, title=title, content=content)
    await world.nodes.CreateNode(node_pb2.CreateNodeRequest(user_id=user_id, node=node))


async def update(world: World, user_id: str, field: str, **values: str) -> None:
    node = node_pb2.NewNode(**values)  # type: ignore[arg-type]
    mask = FieldMask(paths=[field])
    asked = node_pb2.UpdateNodeRequest(user_id=user_id, node_id="note", node=node, update_mask=mask)
    await world.nodes.UpdateNode(asked)


async def purge(world: World, user_id: str, node_id: str) -> None:
    """Delete a note of a user with the shortest retention, and wait until nothing of it is left."""
    await world.nodes.DeleteNode(node_pb2.DeleteNodeRequest(user_id=user_id, node_id=node_id))
    await until(lambda: world.proxy.bill.events["cleanup.completed"], seconds=120, what="the purge")
