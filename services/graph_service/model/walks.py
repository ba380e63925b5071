"""What walking the graph finds: subgraphs, paths, counts over the whole."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from services.graph_service.model.neighbors import Direction, Neighbor


class Link(NamedTuple):
    """An edge as a view draws it."""

    source: str
    target: str
    type: str
    directed: bool
    weight: float


def link(note: str, neighbor: Neighbor) -> Link:
    """The edge that a neighbour stands for, alike from both of its ends."""
    directed = neighbor.direction is not Direction.BOTH
    backwards = neighbor.direction is Direction.IN if directed else neighbor.node < note
    source, target = (neighbor.node, note) if backwards else (note, neighbor.node)
    return Link(source, target, neighbor.type, directed, neighbor.weight)


class Reached(NamedTuple):
    """A note of a subgraph. degree: all of its visible edges."""

    node: str
    hops: int
    degree: int
    title: str = ""


@dataclass(frozen=True, slots=True)
class Subgraph:
    """truncated_at: the notes whose neighbours were not all followed."""

    nodes: Sequence[Reached]
    links: Sequence[Link]
    truncated_at: Sequence[str]
    truncated: bool


@dataclass(frozen=True, slots=True)
class Path:
    """nodes is empty when none was found; bound_reached: there may be one all the same, or a better one."""

    nodes: Sequence[str]
    links: Sequence[Link]
    bound_reached: bool
    visited: int


@dataclass(frozen=True, slots=True)
class Stats:
    """degrees: how many notes have a degree from 2^k to 2^(k+1)-1, by k. orphans_incomplete: there may be more."""

    linked: int
    edges: int
    automatic: int
    degrees: Mapping[int, int]
    hubs: Sequence[tuple[str, int]]
    orphans: int
    orphans_incomplete: bool
    as_of_ms: int
