"""The settings of the cleanup service's process, from the environment."""

from dataclasses import dataclass

from shared.config import ServerSettings, StoreSettings, at_least, between, setting, target


@dataclass(frozen=True, kw_only=True)
class CleanupConfig(ServerSettings, StoreSettings):
    """What this service needs beyond its server and the stores."""

    node_target: str = setting(env="BRAIN2_NODE_TARGET", why="notes are fenced, read and purged there", check=target)
    graph_target: str = setting(env="BRAIN2_GRAPH_TARGET", why="edges are listed and removed there", check=target)
    similarity_target: str = setting(
        env="BRAIN2_SIMILARITY_TARGET", why="index entries are removed there", check=target
    )
    queue_url: str = setting(env="BRAIN2_QUEUE_URL", why="the SQS queue that brings node.deleted and node.restored")
    dlq_url: str = setting(env="BRAIN2_DLQ_URL", why="where events go that can't be read")
    archives: bool = setting(
        True,
        env="BRAIN2_ARCHIVES",
        why="0 purges deleted notes without an archive: then a purge can't be undone by anybody",
    )
    archive_bucket: str = setting(
        "", env="BRAIN2_ARCHIVE_BUCKET", why="the S3 bucket of the archives; required unless BRAIN2_ARCHIVES=0"
    )
    poll_seconds: float = setting(
        5.0,
        env="BRAIN2_CLEANUP_POLL_SECONDS",
        why="how often the queues are looked at; a deletion begins at most about so late",
        check=between(0.05, 3600),
    )
    workers: int = setting(
        8, env="BRAIN2_CLEANUP_WORKERS", why="deletions that a process works on at once", check=between(1, 256)
    )
    max_attempts: int = setting(
        8,
        env="BRAIN2_CLEANUP_ATTEMPTS",
        why="attempts at a step before a deletion counts as failed and waits for RetryDeletion",
        check=between(1, 1000),
    )
    backoff_seconds: float = setting(
        1.0, env="BRAIN2_CLEANUP_BACKOFF_SECONDS", why="the first wait between attempts; it doubles", check=at_least(0)
    )
    lease_seconds: float = setting(
        60.0,
        env="BRAIN2_CLEANUP_LEASE_SECONDS",
        why="how long a deletion waits for a replica that died; it is renewed while one works",
        check=between(1, 3600),
    )
    quiet_seconds: float = setting(
        120.0,
        env="BRAIN2_ERASURE_QUIET_SECONDS",
        why="how long an erasure waits for events still on their way before it looks a last time",
        check=between(0, 86400),
    )
