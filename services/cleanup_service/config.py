"""The config of the cleanup service, from the environment."""

from dataclasses import dataclass

from shared.config import ServerConfig, StoreConfig, at_least, between, env_field, target


@dataclass(frozen=True, kw_only=True)
class CleanupConfig(ServerConfig, StoreConfig):
    """Config beyond that of the server and the stores."""

    node_target: str = env_field(env="BRAIN2_NODE_TARGET", why="notes are fenced, read and purged there", check=target)
    graph_target: str = env_field(env="BRAIN2_GRAPH_TARGET", why="edges are listed and removed there", check=target)
    similarity_target: str = env_field(
        env="BRAIN2_SIMILARITY_TARGET", why="index entries are removed there", check=target
    )
    queue_url: str = env_field(env="BRAIN2_QUEUE_URL", why="the SQS queue of node.deleted and node.restored")
    dlq_url: str = env_field(env="BRAIN2_DLQ_URL", why="the SQS queue for events that can't be read")
    archives: bool = env_field(
        True,
        env="BRAIN2_ARCHIVES",
        why="0 purges deleted notes without an archive, so that a purge can't be undone",
    )
    archive_bucket: str = env_field(
        "", env="BRAIN2_ARCHIVE_BUCKET", why="the S3 bucket of the archives; required unless BRAIN2_ARCHIVES=0"
    )
    poll_seconds: float = env_field(
        5.0,
        env="BRAIN2_CLEANUP_POLL_SECONDS",
        why="seconds between two polls of the queues; a deletion starts at most about this late, or fifteen "
        "times as late after a while without any",
        check=between(0.05, 3600),
    )
    deletion_workers: int = env_field(
        8, env="BRAIN2_CLEANUP_WORKERS", why="deletions that a process runs at once", check=between(1, 256)
    )
    max_attempts: int = env_field(
        8,
        env="BRAIN2_CLEANUP_ATTEMPTS",
        why="attempts at a step before a deletion counts as failed and waits for RetryDeletion",
        check=between(1, 1000),
    )
    backoff_seconds: float = env_field(
        1.0,
        env="BRAIN2_CLEANUP_BACKOFF_SECONDS",
        why="seconds before the second attempt; the wait doubles with each attempt",
        check=at_least(0),
    )
    lease_seconds: float = env_field(
        60.0,
        env="BRAIN2_CLEANUP_LEASE_SECONDS",
        why="seconds after which another replica takes over the deletion of one that died",
        check=between(1, 3600),
    )
    quiet_seconds: float = env_field(
        120.0,
        env="BRAIN2_ERASURE_QUIET_SECONDS",
        why="seconds that an erasure waits for late events before its last round",
        check=between(0, 86400),
    )
