"""GetUserSettings and UpdateUserSettings, and the retention that deletions take from the settings."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from services.node_service.model import UserSettings
from services.node_service.ports import SettingsStore
from services.node_service.usecases.validation import check_ids, check_update_user_settings
from shared.ids import Clock

# A change of the settings through another replica takes effect here after this long.
CACHE_SECONDS = 5.0
# Users whose retention is cached; the one that was loaded first leaves.
CACHE_USERS = 10_000


class RetentionCache:
    """Retentions (port): keeps what was loaded for CACHE_SECONDS, so that most deletions need no read."""

    def __init__(self, store: SettingsStore, defaults: UserSettings, clock: Clock) -> None:
        self._store = store
        self._defaults = defaults
        self._clock = clock
        # user_id -> (when the entry expires, in monotonic seconds; the retention in seconds).
        self._entries: OrderedDict[str, tuple[float, int]] = OrderedDict()

    async def seconds(self, user_id: str) -> int:
        entry = self._entries.get(user_id)
        if entry is not None and self._clock.monotonic() < entry[0]:
            return entry[1]
        retention = (await self._store.load(user_id) or self._defaults).retention_seconds
        self.put(user_id, retention)
        return retention

    def put(self, user_id: str, retention_seconds: int) -> None:
        """Cache what was just loaded or saved: a change takes effect at once in the process that made it."""
        self._entries[user_id] = self._clock.monotonic() + CACHE_SECONDS, retention_seconds
        self._entries.move_to_end(user_id)
        if len(self._entries) > CACHE_USERS:
            self._entries.popitem(last=False)


@dataclass(frozen=True, slots=True)
class StoredUserSettings:
    """The settings of all users. defaults: of users who have set nothing."""

    store: SettingsStore
    defaults: UserSettings
    retentions: RetentionCache


async def get_user_settings(stored: StoredUserSettings, user_id: str) -> UserSettings:
    check_ids(user_id)
    return await stored.store.load(user_id) or stored.defaults


async def update_user_settings(
    stored: StoredUserSettings, user_id: str, retention_seconds: float | None, mask: Sequence[str]
) -> UserSettings:
    """Change what the mask names (empty: everything).

    retention_seconds: None = not given, so the default holds again.
    Raises InvalidArgument (outside 0 s to 365 days, parts of a second, unknown path).
    """
    check_update_user_settings(user_id, retention_seconds, mask)
    chosen = None if retention_seconds is None else UserSettings(retention_seconds=int(retention_seconds))
    await stored.store.save(user_id, chosen)
    settings = chosen or stored.defaults
    stored.retentions.put(user_id, settings.retention_seconds)
    return settings
