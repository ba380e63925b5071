"""The results of traversals: subgraphs, paths, and counts over the whole graph."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from services.graph_service.model.neighbors import Direction, Neighbor


class SubgraphEdge(NamedTuple):
    """An edge as a view of the graph shows it."""

    source: str
    target: str
    type: str
    directed: bool
    weight: float


def subgraph_edge(node_id: str, neighbor: Neighbor) -> SubgraphEdge:
    """The edge of a neighbour; it is the same from both ends."""
    directed = neighbor.direction is not Direction.BOTH
    backwards = neighbor.direction is Direction.IN if directed else neighbor.node_id < node_id
    source, target = (neighbor.node_id, node_id) if backwards else (node_id, neighbor.node_id)
    return SubgraphEdge(source, target, neighbor.type, directed, neighbor.weight)


class SubgraphNode(NamedTuple):
    """A note of a subgraph. hops: its distance from the start. degree: all of its visible edges."""

    node_id: str
    hops: int
    degree: int
    title: str = ""


@dataclass(frozen=True, slots=True)
class Subgraph:
    """truncated_at: the notes whose neighbours were not all followed."""

    nodes: Sequence[SubgraphNode]
    edges: Sequence[SubgraphEdge]
    truncated_at: Sequence[str]
    truncated: bool


@dataclass(frozen=True, slots=True)
class Path:
    """A shortest path.

    nodes: empty if none was found.
    bound_reached: a bound ended the search, so there may be a path, or a better one.
    visited: the notes that were reached.
    """

    nodes: Sequence[str]
    edges: Sequence[SubgraphEdge]
    bound_reached: bool
    visited: int


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts over a user's graph.

    degrees: k -> the number of notes with a degree from 2^k to 2^(k+1)-1.
    orphans_incomplete: there may be more notes without edges.
    """

    linked: int
    edges: int
    automatic: int
    degrees: Mapping[int, int]
    hubs: Sequence[tuple[str, int]]
    orphans: int
    orphans_incomplete: bool
    as_of_ms: int
