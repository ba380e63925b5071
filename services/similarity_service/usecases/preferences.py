"""The users' settings: read often (kept for a few seconds), changed seldom."""

from collections.abc import Collection
from dataclasses import replace

from services.similarity_service.model.user_settings import Settings
from services.similarity_service.ports import SettingsStore, UserChoices
from services.similarity_service.usecases.checks import check_ids
from shared.errors import Violations
from shared.ids import Clock

PATHS = ("language", "auto_link", "link_threshold", "max_links")
_KEEP_SECONDS = 2.0
_KEEP_USERS = 10_000


class Preferences:
    """Settings by user. A change is seen by other processes within two seconds."""

    def __init__(self, store: SettingsStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._kept: dict[str, tuple[float, UserChoices]] = {}

    async def of(self, user_id: str) -> UserChoices:
        """The user's choices, or the defaults."""
        now = self._clock.monotonic()
        kept = self._kept.get(user_id)
        if kept is not None and now < kept[0]:
            return kept[1]
        choices = await self._store.get(user_id) or UserChoices(Settings(), Settings().language)
        if len(self._kept) >= _KEEP_USERS:
            self._kept.clear()
        self._kept[user_id] = (now + _KEEP_SECONDS, choices)
        return choices

    async def get_settings(self, user_id: str) -> Settings:
        """For the RPC: always as stored."""
        check_ids(user_id)
        self._kept.pop(user_id, None)
        return (await self.of(user_id)).settings

    async def update_settings(self, user_id: str, wanted: Settings, paths: Collection[str]) -> UserChoices:
        """Change the settings that `paths` name (all when empty). InvalidArgument for bad values and unknown paths."""
        check_ids(user_id)
        violations = Violations()
        for path in paths:
            if path not in PATHS:
                violations.add("update_mask", f"unknown path {path!r}; there are {', '.join(PATHS)}")
        violations.raise_if_any()
        self._kept.pop(user_id, None)
        known = await self.of(user_id)
        changed = replace(known.settings, **{path: getattr(wanted, path) for path in (paths or PATHS)}).check()
        choices = UserChoices(changed, known.language, self._clock.now_ms())
        await self._keep(user_id, choices)
        return choices

    async def use_language(self, user_id: str) -> str:
        """Make the chosen language the one that notes are indexed in; for whoever indexes all of them now."""
        self._kept.pop(user_id, None)
        known = await self.of(user_id)
        if known.language != known.settings.language:
            await self._keep(user_id, replace(known, language=known.settings.language))
        return known.settings.language

    async def _keep(self, user_id: str, choices: UserChoices) -> None:
        await self._store.put(user_id, choices)
        self._kept.pop(user_id, None)
