"""What erasing a user needs of the stores."""

from collections.abc import AsyncIterator
from typing import Protocol

from services.cleanup_service.model.erasure import Erasure


class ErasureStore(Protocol):
    """The erasures; every write is refused (Stale) unless nobody wrote since the read."""

    async def begin(self, erasure: Erasure) -> Erasure:
        """Stores it; or answers the one that is under way for the same user."""

    async def get(self, erasure_id: str) -> Erasure | None: ...

    async def save(self, erasure: Erasure) -> Erasure: ...

    async def finish(self, erasure: Erasure) -> Erasure:
        """As save, and from then on the user isn't being erased any more."""

    async def due(self, now_ms: int) -> list[str]:
        """Ids of those that want attention. Eventually consistent."""


class Traces(Protocol):
    """What the stores hold of a user, whoever wrote it. Everything here may be called again."""

    def note_ids(self, user_id: str) -> AsyncIterator[list[str]]: ...

    async def edges(self, user_id: str) -> int:
        """Removes what is left of the graph; how many items."""

    async def index(self, user_id: str) -> int: ...

    async def cache(self, user_id: str) -> int: ...

    async def archives(self, user_id: str) -> int: ...

    async def records(self, user_id: str) -> int:
        """Removes all that is left: sagas, settings, idempotency records, events that wait."""
