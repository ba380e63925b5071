"""One graph service for the tests of this folder, on the session's stores, beside a node service that knows every
note.
"""

from collections.abc import AsyncIterator

import pytest

from tests.support import graph_service
from tests.support.graph_nodes import FakeNodes, fake_nodes
from tests.support.graph_service import GraphService
from tests.support.stores import Stores


@pytest.fixture(scope="session")
async def nodes() -> AsyncIterator[FakeNodes]:
    async with fake_nodes() as found:
        yield found


@pytest.fixture(scope="session")
async def graph(stores: Stores, nodes: FakeNodes) -> AsyncIterator[GraphService]:
    async with graph_service.running(stores, nodes) as found:
        yield found


@pytest.fixture(scope="session")
async def replica(stores: Stores, nodes: FakeNodes) -> AsyncIterator[GraphService]:
    """A second process's worth of the same service."""
    async with graph_service.running(stores, nodes) as found:
        yield found
