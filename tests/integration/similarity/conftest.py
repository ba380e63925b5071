"""A running similarity service with small peers, one for all tests of a file."""

from collections.abc import AsyncIterator

import pytest

from tests.support.similarity_peers import FakePeers, fake_peers
from tests.support.similarity_service import SimilarityService, running
from tests.support.stores import Stores


@pytest.fixture(scope="module")
async def peers() -> AsyncIterator[FakePeers]:
    async with fake_peers() as found:
        yield found


@pytest.fixture(scope="module")
async def service(stores: Stores, peers: FakePeers) -> AsyncIterator[SimilarityService]:
    async with running(stores, peers) as found:
        yield found
