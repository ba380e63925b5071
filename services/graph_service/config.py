"""The settings of the graph service's process, from the environment."""

from dataclasses import dataclass

from shared.config import ServerConfig, StoreConfig, at_least, between, env_field, target


@dataclass(frozen=True, kw_only=True)
class GraphConfig(ServerConfig, StoreConfig):
    """What this service needs beyond its server and the stores."""

    node_target: str = env_field(
        "",
        env="BRAIN2_NODE_TARGET",
        why="where it is asked whether a note exists and what its title is; without it no edge can be made",
        check=target,
    )
    queue_url: str = env_field(
        "", env="BRAIN2_QUEUE_URL", why="the queue with this service's events; empty = none is read"
    )
    dlq_url: str = env_field("", env="BRAIN2_DLQ_URL", why="where events go that can never be handled")
    l1_bytes: int = env_field(
        64 * 1024 * 1024,
        env="BRAIN2_L1_BYTES",
        why="how much of the graph each process holds in memory; 0 = nothing, every read asks Redis",
        check=at_least(0),
    )
    l1_seconds: float = env_field(
        60.0,
        env="BRAIN2_L1_SECONDS",
        why="how long a list may stay in memory whatever happens: bounds what no protocol covers",
        check=between(0.1, 3600),
    )
    hub_degree: int = env_field(
        512,
        env="BRAIN2_HUB_DEGREE",
        why="notes with more edges are paged in Redis instead of being moved as one block",
        check=between(8, 10_000),
    )
    auto_edge_cap: int = env_field(
        50,
        env="BRAIN2_AUTO_EDGE_CAP",
        why="how many automatic edges a note may have; edges made by people are never limited",
        check=between(0, 100_000),
    )
    existence_seconds: float = env_field(
        30.0,
        env="BRAIN2_EXISTENCE_SECONDS",
        why="how long it is remembered that a note exists and what its title is",
        check=between(0, 3600),
    )
    dynamodb_reads: int = env_field(
        32,
        env="BRAIN2_GRAPH_READS",
        why="lists that are read from DynamoDB at once, so that a cold cache doesn't become a flood",
        check=between(1, 1000),
    )
