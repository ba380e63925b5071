"""The limits of the list cache that tests make smaller."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in edges, times in seconds.

    hub_degree: a note with more edges than this is a hub.
    page: edges of one DynamoDB read.
    reads: lists that are read from DynamoDB at the same time, for all users; three quarters of them for one user.
    filling_wait: how long a reader waits for another process's fill before it reads DynamoDB itself.
    list_ttl: how long Redis keeps a list; a token that is older than this needs no check.
    hub_wait: how long a reader waits for a hub to be cached before it reads the hub's edges itself.
    """

    hub_degree: int = 512
    page: int = 1000
    reads: int = 32
    filling_wait: float = 0.05
    list_ttl: float = 3600.0
    hub_wait: float = 3.0


DEFAULTS = Limits()
