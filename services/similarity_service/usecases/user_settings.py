"""GetUserSettings, UpdateUserSettings, and the settings as the other use cases need them."""

from collections.abc import Collection
from dataclasses import replace

from services.similarity_service.model.user_settings import SavedUserSettings, UserSettings
from services.similarity_service.ports import UserSettingsStore
from services.similarity_service.usecases.validation import (
    SETTINGS_PATHS,
    check_ids,
    check_settings_paths,
    check_user_settings,
)
from shared.ids import Clock

_KEEP_SECONDS = 2.0
_KEEP_USERS = 10_000


class UserSettingsCache:
    """Settings by user, kept in memory for two seconds: other processes see a change after that time at most."""

    def __init__(self, store: UserSettingsStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._kept: dict[str, tuple[float, SavedUserSettings]] = {}

    async def get(self, user_id: str) -> SavedUserSettings:
        """The user's settings, or the defaults; up to two seconds old."""
        now = self._clock.monotonic()
        kept = self._kept.get(user_id)
        if kept is not None and now < kept[0]:
            return kept[1]
        saved = await self._store.get(user_id) or SavedUserSettings(UserSettings(), UserSettings().language)
        if len(self._kept) >= _KEEP_USERS:
            self._kept.clear()
        self._kept[user_id] = (now + _KEEP_SECONDS, saved)
        return saved

    async def get_user_settings(self, user_id: str) -> UserSettings:
        """The settings as they are stored now."""
        check_ids(user_id)
        self._kept.pop(user_id, None)
        return (await self.get(user_id)).settings

    async def update_user_settings(
        self, user_id: str, wanted: UserSettings, paths: Collection[str]
    ) -> SavedUserSettings:
        """Change the settings that `paths` name, all of them when it is empty.

        InvalidArgument for bad values and unknown paths.
        """
        check_ids(user_id)
        check_settings_paths(paths)
        self._kept.pop(user_id, None)
        known = await self.get(user_id)
        changed = replace(known.settings, **{path: getattr(wanted, path) for path in (paths or SETTINGS_PATHS)})
        check_user_settings(changed)
        saved = SavedUserSettings(changed, known.indexed_language, self._clock.now_ms())
        await self._save(user_id, saved)
        return saved

    async def use_chosen_language(self, user_id: str) -> None:
        """Make the chosen language the one in which notes are indexed. The caller then indexes all of them."""
        self._kept.pop(user_id, None)
        known = await self.get(user_id)
        if known.indexed_language != known.settings.language:
            await self._save(user_id, replace(known, indexed_language=known.settings.language))

    async def _save(self, user_id: str, saved: SavedUserSettings) -> None:
        await self._store.put(user_id, saved)
        self._kept.pop(user_id, None)
