"""Redis or Valkey as a cache: commands of concurrent callers share one connection and are pipelined without being
asked.

Nothing in Redis is the truth of anything. Whoever calls it is ready for Unavailable at any moment (docs/adr/0006).
"""

from shared.redis.client import Redis, RedisConfig
from shared.redis.connection import ReplyError
from shared.redis.script import Script

__all__ = ["Redis", "RedisConfig", "ReplyError", "Script"]
