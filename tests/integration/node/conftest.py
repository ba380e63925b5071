"""One node service for all tests of this folder; a test has a user of its own."""

from collections.abc import AsyncIterator

import pytest

from tests.support.node_service import NodeService, running
from tests.support.stores import Stores


@pytest.fixture(scope="package")
async def service(stores: Stores) -> AsyncIterator[NodeService]:
    async with running(stores) as found:
        yield found
