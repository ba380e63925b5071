"""A running cleanup service with small peers, one for all tests of a file.

A service that stops can take messages of its queue along for a visibility timeout: its last long poll is answered to
nobody. So files that publish events share one service; files that start their own don't rely on events.
"""

from collections.abc import AsyncIterator

import pytest

from tests.support.cleanup_peers import FakePeers, fake_peers
from tests.support.cleanup_service import CleanupService, running
from tests.support.stores import Stores


@pytest.fixture(scope="module")
async def peers() -> AsyncIterator[FakePeers]:
    async with fake_peers() as found:
        yield found


@pytest.fixture(scope="module")
async def service(stores: Stores, peers: FakePeers) -> AsyncIterator[CleanupService]:
    async with running(stores, peers) as found:
        yield found
