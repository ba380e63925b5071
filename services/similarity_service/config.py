"""The config of the similarity service's process, from the environment."""

from dataclasses import dataclass

from shared.config import ServerConfig, StoreConfig, at_least, between, env_field, target


@dataclass(frozen=True, kw_only=True)
class SimilarityConfig(ServerConfig, StoreConfig):
    """What this service needs besides its server and the stores."""

    node_target: str = env_field(
        env="BRAIN2_NODE_TARGET", why="where texts are read for snippets, large notes and reindexing", check=target
    )
    graph_target: str = env_field(env="BRAIN2_GRAPH_TARGET", why="where automatic links are made", check=target)
    queue_url: str = env_field(env="BRAIN2_QUEUE_URL", why="the SQS queue that brings the notes' events")
    dlq_url: str = env_field(env="BRAIN2_DLQ_URL", why="where events go that can't be handled")
    index_megabytes: int = env_field(
        512,
        env="BRAIN2_INDEX_MEGABYTES",
        why="memory for the users' indexes; the least recently used are dropped and loaded again when needed",
        check=at_least(1),
    )
    consumers: int = env_field(
        16,
        env="BRAIN2_CONSUMERS",
        why="events handled at once",
        check=between(1, 256),
    )
    relink_quiet_seconds: float = env_field(
        1.0,
        env="BRAIN2_RELINK_QUIET_SECONDS",
        why="a user's notes are relinked when none has changed for this long; a shorter time costs more in bursts",
        check=between(0.05, 600),
    )
    relink_linger_seconds: float = env_field(
        20.0,
        env="BRAIN2_RELINK_LINGER_SECONDS",
        why="notes are relinked again when others of their user change within this time",
        check=between(0.1, 600),
    )
    relink_lease_seconds: float = env_field(
        60.0,
        env="BRAIN2_RELINK_LEASE_SECONDS",
        why="another process takes over the relinking of a process whose lease was not renewed for this long",
        check=between(0.1, 3600),
    )
