"""The configuration of the node service's process, from the environment."""

from dataclasses import dataclass

from services.node_service.model import MAX_RETENTION_SECONDS
from shared.config import ServerConfig, StoreConfig, at_least, between, env_field, target


@dataclass(frozen=True, kw_only=True)
class NodeConfig(ServerConfig, StoreConfig):
    """The configuration besides that of the server and the stores."""

    retention_seconds: int = env_field(
        30 * 24 * 3600,
        env="BRAIN2_RETENTION_SECONDS",
        why="how long a deleted note can be restored, for users who set nothing else",
        check=between(0, MAX_RETENTION_SECONDS),
    )
    graph_target: str = env_field(
        "",
        env="BRAIN2_GRAPH_TARGET",
        why="where a note's visibility is set at once; empty = by its event alone",
        check=target,
    )
    similarity_target: str = env_field(
        "",
        env="BRAIN2_SIMILARITY_TARGET",
        why="where a note's visibility is set at once; empty = by its event alone",
        check=target,
    )
    visibility_ms: int = env_field(
        25,
        env="BRAIN2_VISIBILITY_MS",
        why="how long a deletion or a restore may take before it no longer waits for graph and similarity, which then "
        "hide or show the note a moment later",
        check=between(0, 1000),
    )
    cache_seconds: int = env_field(
        60,
        env="BRAIN2_NODE_CACHE_SECONDS",
        why="how long Redis keeps a note, and so how old a read without a token can be when Redis is cut off",
        check=between(1, 3600),
    )
    quota_notes: int = env_field(
        0,
        env="BRAIN2_QUOTA_NOTES",
        why="the most notes of a user; deleted notes don't count; 0 = not limited",
        check=at_least(0),
    )
    quota_bytes: int = env_field(
        0,
        env="BRAIN2_QUOTA_BYTES",
        why="the most bytes of all texts of a user's notes, in UTF-8; deleted notes don't count; 0 = not limited",
        check=at_least(0),
    )
