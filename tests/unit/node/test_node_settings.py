"""The settings of a user, and the retention that deletions take from them."""

import pytest

from services.node_service.model import UserSettings
from services.node_service.usecases.settings import RecentRetentions, Settings
from shared.errors import InvalidArgument
from tests.support.node_fakes import FakeClock, FakeSettings


@pytest.fixture
def store() -> FakeSettings:
    return FakeSettings()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def recent(store: FakeSettings, clock: FakeClock) -> RecentRetentions:
    return RecentRetentions(store, UserSettings(100), clock, keep_seconds=5.0, most=2)


@pytest.fixture
def settings(store: FakeSettings, recent: RecentRetentions) -> Settings:
    return Settings(store, UserSettings(100), recent)


async def test_defaults_changes_and_back(settings: Settings) -> None:
    assert await settings.get_settings("u") == UserSettings(100)
    assert await settings.update_settings("u", 0, ["retention"]) == UserSettings(0)
    assert await settings.get_settings("u") == UserSettings(0)
    assert await settings.get_settings("v") == UserSettings(100)
    assert await settings.update_settings("u", None, []) == UserSettings(100)
    assert await settings.get_settings("u") == UserSettings(100)


@pytest.mark.parametrize("seconds", [-1, 0.5, 365 * 86400 + 1, float("nan"), float("inf")])
async def test_retentions_out_of_bounds(settings: Settings, seconds: float) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await settings.update_settings("u", seconds, [])
    assert [violation.field for violation in caught.value.violations] == ["settings.retention"]


async def test_an_unknown_path(settings: Settings) -> None:
    with pytest.raises(InvalidArgument):
        await settings.update_settings("u", 5, ["colour"])


async def test_a_retention_is_read_once_in_a_while(
    recent: RecentRetentions, store: FakeSettings, clock: FakeClock
) -> None:
    assert [await recent.seconds("u") for _ in range(3)] == [100] * 3
    assert store.loads == 1
    store.saved["u"] = UserSettings(7)  # on another replica
    clock.seconds = 4.9
    assert await recent.seconds("u") == 100
    clock.seconds = 5.0
    assert await recent.seconds("u") == 7


async def test_a_change_counts_at_once_where_it_was_made(settings: Settings, recent: RecentRetentions) -> None:
    assert await recent.seconds("u") == 100
    await settings.update_settings("u", 9, [])
    assert await recent.seconds("u") == 9


async def test_few_are_remembered(recent: RecentRetentions, store: FakeSettings) -> None:
    for user in ("a", "b", "c", "a"):
        await recent.seconds(user)
    assert store.loads == 4
