"""The configuration of the graph service's process, from the environment."""

from dataclasses import dataclass

from shared.config import ServerConfig, StoreConfig, at_least, between, env_field, target


@dataclass(frozen=True, kw_only=True)
class GraphConfig(ServerConfig, StoreConfig):
    """The fields of this service, beside those of its server and of the stores."""

    node_target: str = env_field(
        "",
        env="BRAIN2_NODE_TARGET",
        why="address of the node service, which knows the notes and their titles; without it no edge can be created",
        check=target,
    )
    queue_url: str = env_field(
        "", env="BRAIN2_QUEUE_URL", why="the queue with this service's events; empty: no queue is read"
    )
    dlq_url: str = env_field("", env="BRAIN2_DLQ_URL", why="the queue for events that can never be handled")
    memory_cache_bytes: int = env_field(
        64 * 1024 * 1024,
        env="BRAIN2_L1_BYTES",
        why="size of the memory cache of each process; 0: none, every read asks Redis",
        check=at_least(0),
    )
    memory_cache_seconds: float = env_field(
        60.0,
        env="BRAIN2_L1_SECONDS",
        why="how long a list stays in the memory cache at most, even if an invalidation is lost",
        check=between(0.1, 3600),
    )
    hub_degree: int = env_field(
        512,
        env="BRAIN2_HUB_DEGREE",
        why="the lists of notes with more edges than this are paged in Redis instead of moved as a whole",
        check=between(8, 10_000),
    )
    auto_edge_cap: int = env_field(
        50,
        env="BRAIN2_AUTO_EDGE_CAP",
        why="the most automatic edges of a note; edges that people create are not limited",
        check=between(0, 100_000),
    )
    existence_seconds: float = env_field(
        30.0,
        env="BRAIN2_EXISTENCE_SECONDS",
        why="how long the existence and the title of a note are cached",
        check=between(0, 3600),
    )
    dynamodb_reads: int = env_field(
        32,
        env="BRAIN2_GRAPH_READS",
        why="the most lists that are read from DynamoDB at the same time, so that a cold cache doesn't overload it; "
        "one user has three quarters of them at most",
        check=between(1, 1000),
    )
    quota_edges: int = env_field(
        0,
        env="BRAIN2_QUOTA_EDGES",
        why="the most edges of a user, rejected links included; automatic edges don't count; 0 = not limited",
        check=at_least(0),
    )
