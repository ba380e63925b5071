"""The settings of the cleanup service's process, from the environment."""

from dataclasses import dataclass

from shared.config import ServerConfig, StoreConfig, at_least, between, env_field, target


@dataclass(frozen=True, kw_only=True)
class CleanupConfig(ServerConfig, StoreConfig):
    """What this service needs beyond its server and the stores."""

    node_target: str = env_field(env="BRAIN2_NODE_TARGET", why="notes are fenced, read and purged there", check=target)
    graph_target: str = env_field(env="BRAIN2_GRAPH_TARGET", why="edges are listed and removed there", check=target)
    similarity_target: str = env_field(
        env="BRAIN2_SIMILARITY_TARGET", why="index entries are removed there", check=target
    )
    queue_url: str = env_field(env="BRAIN2_QUEUE_URL", why="the SQS queue that brings node.deleted and node.restored")
    dlq_url: str = env_field(env="BRAIN2_DLQ_URL", why="where events go that can't be read")
    archives: bool = env_field(
        True,
        env="BRAIN2_ARCHIVES",
        why="0 purges deleted notes without an archive: then a purge can't be undone by anybody",
    )
    archive_bucket: str = env_field(
        "", env="BRAIN2_ARCHIVE_BUCKET", why="the S3 bucket of the archives; required unless BRAIN2_ARCHIVES=0"
    )
    poll_seconds: float = env_field(
        5.0,
        env="BRAIN2_CLEANUP_POLL_SECONDS",
        why="how often the queues are looked at; a deletion begins at most about so late",
        check=between(0.05, 3600),
    )
    workers: int = env_field(
        8, env="BRAIN2_CLEANUP_WORKERS", why="deletions that a process works on at once", check=between(1, 256)
    )
    max_attempts: int = env_field(
        8,
        env="BRAIN2_CLEANUP_ATTEMPTS",
        why="attempts at a step before a deletion counts as failed and waits for RetryDeletion",
        check=between(1, 1000),
    )
    backoff_seconds: float = env_field(
        1.0, env="BRAIN2_CLEANUP_BACKOFF_SECONDS", why="the first wait between attempts; it doubles", check=at_least(0)
    )
    lease_seconds: float = env_field(
        60.0,
        env="BRAIN2_CLEANUP_LEASE_SECONDS",
        why="how long a deletion waits for a replica that died; it is renewed while one works",
        check=between(1, 3600),
    )
    quiet_seconds: float = env_field(
        120.0,
        env="BRAIN2_ERASURE_QUIET_SECONDS",
        why="how long an erasure waits for events still on their way before it looks a last time",
        check=between(0, 86400),
    )
