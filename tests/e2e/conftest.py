"""What end-to-end tests share: a client of the stack for the test's user, and one library of real notes."""

from collections.abc import AsyncIterator

import pytest

from deploy.local import targets
from deploy.local.demo.tour import SAMPLE
from deploy.local.importer.jsonlines import JsonLines
from deploy.local.importer.send import Importer
from deploy.local.stack import Stack
from shared.grpc.client import Channels
from tests.support.client import Client
from tests.support.console import Console, console_of
from tests.support.stores import fresh_user
from tests.support.waiting import until, until_stable


@pytest.fixture(scope="session")
async def channels() -> AsyncIterator[Channels]:
    async with Channels(timeout=100.0) as found:
        yield found


@pytest.fixture
async def client(stack: Stack, channels: Channels, user: str) -> Client:
    """The stack as a user sees it whom no other test knows. Async, because channels are opened on the running loop."""
    return Client(channels, stack.addresses, user)


@pytest.fixture(scope="session")
async def library(stack: Stack, channels: Channels) -> Client:
    """A user who has the 319 notes of the sample, all linked. Tests change notes of their own choice and no others."""
    client = Client(channels, stack.addresses, fresh_user())
    async with targets.client(stack.addresses, client.user) as brain:
        importer = Importer(brain)
        await importer.run(JsonLines(SAMPLE))
        assert not importer.report.failures
        assert importer.report.created == 319
        assert await importer.wait_until_indexed(60.0, lambda *_: None) == 0
    ids = sorted(importer.report.stored)
    # The links of a burst are made when its notes have come to rest.

    async def linked() -> bool:
        return len(await client.links(ids)) > 300

    await until(linked, seconds=60.0, what="300 automatic links")
    links = await until_stable(lambda: client.links(ids), quiet=3.0, seconds=60.0)
    assert len(links) > 300
    return client


@pytest.fixture(scope="session")
async def console(stack: Stack) -> AsyncIterator[Console]:
    """The console of the stack, one for all tests."""
    async with console_of(stack.addresses) as found:
        yield found
