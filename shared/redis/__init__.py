"""Redis or Valkey as a cache: commands of concurrent callers share one connection and are pipelined implicitly.

Redis never holds the only copy of anything. A caller must handle Unavailable at any moment (docs/adr/0006).
"""

from shared.redis.client import Redis, RedisConfig
from shared.redis.connection import ReplyError
from shared.redis.script import Script

__all__ = ["Redis", "RedisConfig", "ReplyError", "Script"]
