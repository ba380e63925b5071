"""What a user has set, and the retention that deletions take from it."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from services.node_service.model import MAX_RETENTION_SECONDS, UserSettings
from services.node_service.ports import SettingsStore
from services.node_service.usecases import rules
from shared.errors import Violations
from shared.ids import Clock

PATHS = ("retention",)


class RecentRetentions:
    """Retentions (port), remembered for seconds, so that a delete needs no read of the settings; oldest out."""

    def __init__(
        self,
        store: SettingsStore,
        defaults: UserSettings,
        clock: Clock,
        *,
        keep_seconds: float = 5.0,
        most: int = 10_000,
    ) -> None:
        self._store = store
        self._defaults = defaults
        self._clock = clock
        self._keep = keep_seconds
        self._most = most
        self._known: OrderedDict[str, tuple[float, int]] = OrderedDict()

    async def seconds(self, user_id: str) -> int:
        known = self._known.get(user_id)
        if known is not None and self._clock.monotonic() < known[0]:
            return known[1]
        retention = (await self._store.load(user_id) or self._defaults).retention_seconds
        self.remember(user_id, retention)
        return retention

    def remember(self, user_id: str, retention_seconds: int) -> None:
        """What was just read or saved: a user's own change counts at once where it was made."""
        self._known[user_id] = self._clock.monotonic() + self._keep, retention_seconds
        self._known.move_to_end(user_id)
        if len(self._known) > self._most:
            self._known.popitem(last=False)


@dataclass(frozen=True, slots=True)
class Settings:
    """get_settings, update_settings. defaults: of users who have set nothing."""

    store: SettingsStore
    defaults: UserSettings
    recent: RecentRetentions

    async def get_settings(self, user_id: str) -> UserSettings:
        rules.require_ids(user_id)
        return await self.store.load(user_id) or self.defaults

    async def update_settings(self, user_id: str, retention_seconds: float | None, mask: Sequence[str]) -> UserSettings:
        """Change what the mask names (empty: all). retention_seconds None: not given, so the default holds again.

        InvalidArgument (outside 0 s to 365 days, parts of a second, unknown path).
        """
        violations = Violations()
        rules.check_ids(user_id, None, None, violations)
        for path in sorted(set(mask) - set(PATHS)):
            violations.add("update_mask", f"{path!r} can't be updated, only {', '.join(PATHS)} can")
        if retention_seconds is not None and not (
            0 <= retention_seconds <= MAX_RETENTION_SECONDS and retention_seconds == int(retention_seconds)
        ):
            violations.add("settings.retention", f"must be whole seconds, 0 to {MAX_RETENTION_SECONDS} (365 days)")
        violations.raise_if_any()
        chosen = None if retention_seconds is None else UserSettings(retention_seconds=int(retention_seconds))
        await self.store.save(user_id, chosen)
        settings = chosen or self.defaults
        self.recent.remember(user_id, settings.retention_seconds)
        return settings
