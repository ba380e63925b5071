"""Fixtures that all tests share: `stores` (real ones, one session), `user`, `stack` (four services as processes)."""

from collections.abc import AsyncIterator
from pathlib import Path

import hypothesis
import pytest

from deploy.local.stack import Stack
from deploy.local.stores import credentials
from tests.support.stack import whole_stack
from tests.support.stores import Stores, fresh_user, running
from tests.support.waiting import PATIENCE

# A busy machine makes an example slow, and that is no failure.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")

_KINDS = ("unit", "contract", "integration", "e2e", "chaos", "fuzz", "bench")
_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test's folder says what kind it is. A limit of its own is multiplied by the patience, as that of all others."""
    for item in items:
        if limit := item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(limit.args[0] * PATIENCE), append=False)
        folder = item.path.relative_to(_HERE).parts[0]
        if folder in _KINDS:
            item.add_marker(folder)


@pytest.fixture(scope="session")
async def stores(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stores]:
    with pytest.MonkeyPatch.context() as patch:
        # A service that a test runs in this process finds its credentials where it would in production.
        for name, value in credentials().items():
            patch.setenv(name, value)
        async with running(tmp_path_factory.mktemp("stores")) as found:
            yield found


@pytest.fixture
def user() -> str:
    """A user that no other test knows."""
    return fresh_user()


@pytest.fixture(scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """The whole stack. Its log is shown when a test that uses it fails."""
    async with whole_stack(tmp_path_factory.mktemp("stack")) as (found, log):
        yield found
        print(log.getvalue())
