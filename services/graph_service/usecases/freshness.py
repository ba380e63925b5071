"""Decides whether a cached list is recent enough for a consistency token (docs/adr/0021)."""

from dataclasses import dataclass

from services.graph_service.model.consistency_token import Token
from services.graph_service.ports import ListCache
from services.graph_service.usecases.limits import DEFAULTS, Limits
from shared.ids import Clock

# Seconds added to the life of a list, for the clocks of two machines.
_CLOCK_MARGIN = 60


@dataclass(frozen=True, slots=True)
class Freshness:
    """Compares the stamps of lists with those of tokens."""

    cache: ListCache
    clock: Clock
    limits: Limits = DEFAULTS

    def satisfies(self, node_id: str, stamp: int, token: Token | None) -> bool:
        """Whether a list whose fill began at `stamp` (Redis clock, us) must contain the token's write."""
        if token is None or not token.concerns(node_id):
            return True
        if self._is_verifiable(token):
            return stamp > token.stamp
        return self.clock.now_ms() - token.wall_ms > (self.limits.list_ttl + _CLOCK_MARGIN) * 1000

    def needs_dynamodb(self, node_id: str, token: Token | None) -> bool:
        """Whether no cached list can satisfy this token."""
        return token is not None and not self._is_verifiable(token) and not self.satisfies(node_id, 0, token)

    def _is_verifiable(self, token: Token) -> bool:
        return token.stamp > 0 and token.space == self.cache.space
