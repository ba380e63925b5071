"""The client of DynamoDB: signatures as botocore makes them, what is sent, and which errors come of which answers."""

import asyncio
import datetime
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from unittest import mock

import aiohttp
import botocore.exceptions as boto
import pytest
from aiohttp import web
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials, ReadOnlyCredentials
from yarl import URL

from shared.aws_dynamo import DynamoClient, Signer

NOW = 1_764_170_000.0


@pytest.mark.parametrize("token", [None, "a/token+of=STS"])
@pytest.mark.parametrize(
    "endpoint", ["https://dynamodb.eu-west-1.amazonaws.com/", "http://127.0.0.1:8000/", "https://host:443/"]
)
def test_a_signature_is_that_of_botocore(endpoint: str, token: str | None) -> None:
    body = '{"TableName":"é"}'.encode()
    ours = Signer(URL(endpoint), "eu-west-1").headers(
        "DynamoDB_20120810.GetItem", body, ReadOnlyCredentials("AKID", "secret/key", token), NOW
    )
    request = AWSRequest(
        method="POST",
        url=endpoint,
        data=body,
        headers={"X-Amz-Target": "DynamoDB_20120810.GetItem", "Content-Type": "application/x-amz-json-1.0"},
    )
    at = datetime.datetime.fromtimestamp(NOW, datetime.UTC)
    with mock.patch("botocore.auth.get_current_datetime", return_value=at.replace(tzinfo=None)):
        SigV4Auth(Credentials("AKID", "secret/key", token), "dynamodb", "eu-west-1").add_auth(request)
    assert ours["authorization"] == request.headers["Authorization"]
    assert ours["x-amz-date"] == request.headers["X-Amz-Date"]


def test_the_key_of_a_signature_changes_with_the_day_and_the_secret() -> None:
    def signature(signer: Signer, secret: str, now: float) -> str:
        found = signer.headers("T", b"{}", ReadOnlyCredentials("AKID", secret, None), now)
        return found["authorization"].rpartition("=")[2]

    signer = Signer(URL("http://host/"), "r")
    cases = [("one", NOW), ("one", NOW + 86_400), ("two", NOW + 86_400), ("one", NOW)]
    kept = [signature(signer, *case) for case in cases]
    assert kept == [signature(Signer(URL("http://host/"), "r"), *case) for case in cases]
    assert len(set(kept)) == 3


class Fixed:
    async def get_frozen_credentials(self) -> ReadOnlyCredentials:
        return ReadOnlyCredentials("AKID", "secret", None)


Answer = Callable[[web.Request], Awaitable[web.Response]]


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[Answer], Awaitable[DynamoClient]]]:
    """Starts a server with this answer; gives a client of it."""
    runners: list[web.AppRunner] = []
    clients: list[DynamoClient] = []

    async def start(answer: Answer) -> DynamoClient:
        app = web.Application()
        app.router.add_post("/", answer)
        runners.append(web.AppRunner(app, shutdown_timeout=0.01))
        await runners[-1].setup()
        site = web.TCPSite(runners[-1], "127.0.0.1", 0)
        await site.start()
        port = runners[-1].addresses[0][1]
        clients.append(DynamoClient(f"http://127.0.0.1:{port}", "r", Fixed(), read_seconds=0.2))
        return await clients[-1].__aenter__()

    yield start
    for client in clients:
        await client.__aexit__()
    for runner in runners:
        await runner.cleanup()


async def test_a_request_is_sent_as_dynamodb_reads_it(serve: Any) -> None:
    seen: list[tuple[Any, Any]] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append((request.headers, await request.json()))
        return web.Response(text='{"Item":{"PK":{"S":"é"}}}', headers={"x-amzn-RequestId": "id-1"})

    client = await serve(answer)
    found = await client.put_item(TableName="t", Item={"b": {"B": b"\x00\xff"}, "s": {"S": "é"}})
    assert found == {
        "Item": {"PK": {"S": "é"}},
        "ResponseMetadata": {"HTTPStatusCode": 200, "RequestId": "id-1"},
    }
    ((headers, body),) = seen
    assert body == {"TableName": "t", "Item": {"b": {"B": "AP8="}, "s": {"S": "é"}}}
    assert headers["X-Amz-Target"] == "DynamoDB_20120810.PutItem"
    assert headers.getall("Content-Type") == ["application/x-amz-json-1.0"]
    assert headers["Host"] == URL(client.endpoint).authority


async def test_an_error_is_the_client_error_of_botocore(serve: Any) -> None:
    async def answer(request: web.Request) -> web.Response:
        found = {
            "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
            "Message": "cancelled",
            "CancellationReasons": [{"Code": "ConditionalCheckFailed", "Item": {"PK": {"S": "a"}}}],
        }
        return web.Response(status=400, text=json.dumps(found))

    with pytest.raises(boto.ClientError, match="cancelled") as caught:
        await (await serve(answer)).transact_write_items(TransactItems=[])
    response: Any = caught.value.response
    assert response["Error"]["Code"] == "TransactionCanceledException"
    assert response["CancellationReasons"][0]["Item"] == {"PK": {"S": "a"}}
    assert caught.value.operation_name == "TransactWriteItems"


async def test_what_is_no_answer_of_dynamodb_is_an_error_with_its_status(serve: Any) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=503, text="<html>")

    with pytest.raises(boto.ClientError) as caught:
        await (await serve(answer)).get_item(TableName="t", Key={})
    assert caught.value.response["Error"]["Code"] == "503"


async def test_a_server_that_does_not_answer_is_a_time_out(serve: Any) -> None:
    async def answer(request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises((TimeoutError, aiohttp.ClientError)):
        await (await serve(answer)).get_item(TableName="t", Key={})


async def test_without_credentials_nothing_is_sent() -> None:
    async with DynamoClient("http://127.0.0.1:1", "r", None) as client:
        with pytest.raises(boto.NoCredentialsError):
            await client.get_item(TableName="t", Key={})
