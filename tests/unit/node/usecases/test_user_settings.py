"""The settings of a user, and the retention that deletions take from them."""

import pytest

from services.node_service.model import UserSettings
from services.node_service.usecases import user_settings
from services.node_service.usecases.user_settings import (
    RetentionCache,
    StoredUserSettings,
    get_user_settings,
    update_user_settings,
)
from shared.errors import InvalidArgument
from tests.support.clock import ManualClock
from tests.support.node_fakes import FakeSettings


@pytest.fixture
def store() -> FakeSettings:
    return FakeSettings()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def retentions(store: FakeSettings, clock: ManualClock) -> RetentionCache:
    return RetentionCache(store, UserSettings(100), clock)


@pytest.fixture
def settings(store: FakeSettings, retentions: RetentionCache) -> StoredUserSettings:
    return StoredUserSettings(store, UserSettings(100), retentions)


async def test_defaults_changes_and_back(settings: StoredUserSettings) -> None:
    assert await get_user_settings(settings, "u") == UserSettings(100)
    assert await update_user_settings(settings, "u", 0, ["retention"]) == UserSettings(0)
    assert await get_user_settings(settings, "u") == UserSettings(0)
    assert await get_user_settings(settings, "v") == UserSettings(100)
    assert await update_user_settings(settings, "u", None, []) == UserSettings(100)
    assert await get_user_settings(settings, "u") == UserSettings(100)


@pytest.mark.parametrize("seconds", [-1, 0.5, 365 * 86400 + 1, float("nan"), float("inf")])
async def test_retentions_out_of_bounds(settings: StoredUserSettings, seconds: float) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await update_user_settings(settings, "u", seconds, [])
    assert [violation.field for violation in caught.value.violations] == ["settings.retention"]


async def test_an_unknown_path(settings: StoredUserSettings) -> None:
    with pytest.raises(InvalidArgument):
        await update_user_settings(settings, "u", 5, ["colour"])


async def test_a_retention_is_cached_for_some_seconds(
    retentions: RetentionCache, store: FakeSettings, clock: ManualClock
) -> None:
    assert [await retentions.seconds("u") for _ in range(3)] == [100] * 3
    assert store.loads == 1
    store.saved["u"] = UserSettings(7)  # on another replica
    clock.seconds = 4.9
    assert await retentions.seconds("u") == 100
    clock.seconds = 5.0
    assert await retentions.seconds("u") == 7


async def test_a_change_counts_at_once_where_it_was_made(
    settings: StoredUserSettings, retentions: RetentionCache
) -> None:
    assert await retentions.seconds("u") == 100
    await update_user_settings(settings, "u", 9, [])
    assert await retentions.seconds("u") == 9


async def test_the_cache_is_bounded(
    retentions: RetentionCache, store: FakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(user_settings, "CACHE_USERS", 2)
    for user in ("a", "b", "c", "a"):
        await retentions.seconds(user)
    assert store.loads == 4
