"""Our clients of AWS: signatures as botocore makes them, what is sent, and which errors come of which answers."""

import asyncio
import datetime
import functools
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

from shared.aws import AWS_ERRORS, translate
from shared.aws_dynamo import DynamoClient
from shared.aws_json import DYNAMODB, EVENTS, SQS, Api, JsonClient, MessageClient, Signer
from shared.errors import Unavailable

NOW = 1_764_170_000.0


@pytest.mark.parametrize("token", [None, "a/token+of=STS"])
@pytest.mark.parametrize(
    "endpoint", ["https://dynamodb.eu-west-1.amazonaws.com/", "http://127.0.0.1:8000/", "https://host:443/"]
)
@pytest.mark.parametrize(
    ("api", "operation", "target", "kind"),
    [
        (DYNAMODB, "GetItem", "DynamoDB_20120810.GetItem", "application/x-amz-json-1.0"),
        (SQS, "ReceiveMessage", "AmazonSQS.ReceiveMessage", "application/x-amz-json-1.0"),
        (EVENTS, "PutEvents", "AWSEvents.PutEvents", "application/x-amz-json-1.1"),
    ],
)
def test_a_signature_is_that_of_botocore(
    endpoint: str, token: str | None, api: Api, operation: str, target: str, kind: str
) -> None:
    body = '{"TableName":"é"}'.encode()
    ours = Signer(api, URL(endpoint), "eu-west-1").headers(
        operation, body, ReadOnlyCredentials("AKID", "secret/key", token), NOW
    )
    request = AWSRequest(method="POST", url=endpoint, data=body, headers={"X-Amz-Target": target, "Content-Type": kind})
    at = datetime.datetime.fromtimestamp(NOW, datetime.UTC)
    with mock.patch("botocore.auth.get_current_datetime", return_value=at.replace(tzinfo=None)):
        SigV4Auth(Credentials("AKID", "secret/key", token), api.name, "eu-west-1").add_auth(request)
    assert ours["authorization"] == request.headers["Authorization"]
    assert ours["x-amz-date"] == request.headers["X-Amz-Date"]


def test_the_key_of_a_signature_changes_with_the_day_and_the_secret() -> None:
    def signature(signer: Signer, secret: str, now: float) -> str:
        found = signer.headers("T", b"{}", ReadOnlyCredentials("AKID", secret, None), now)
        return found["authorization"].rpartition("=")[2]

    signer = Signer(DYNAMODB, URL("http://host/"), "r")
    cases = [("one", NOW), ("one", NOW + 86_400), ("two", NOW + 86_400), ("one", NOW)]
    kept = [signature(signer, *case) for case in cases]
    assert kept == [signature(Signer(DYNAMODB, URL("http://host/"), "r"), *case) for case in cases]
    assert len(set(kept)) == 3


class Fixed:
    async def get_frozen_credentials(self) -> ReadOnlyCredentials:
        return ReadOnlyCredentials("AKID", "secret", None)


Answer = Callable[[web.Request], Awaitable[web.Response]]


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Awaitable[Any]]]:
    """Starts a server with this answer; gives a client of it, which `make` makes."""
    runners: list[web.AppRunner] = []
    clients: list[JsonClient] = []

    async def start(answer: Answer, make: Callable[..., JsonClient] = DynamoClient, **options: Any) -> JsonClient:
        app = web.Application()
        app.router.add_post("/", answer)
        runners.append(web.AppRunner(app, shutdown_timeout=0.01))
        await runners[-1].setup()
        site = web.TCPSite(runners[-1], "127.0.0.1", 0)
        await site.start()
        port = runners[-1].addresses[0][1]
        clients.append(make(f"http://127.0.0.1:{port}", "r", Fixed(), read_seconds=0.2, **options))
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


@pytest.mark.parametrize("text", ["<html>", "[" * 100_000, "[]", '{"Count":' + "9" * 5_000 + "}"])
@pytest.mark.parametrize("status", [200, 503])
async def test_what_is_no_json_object_is_an_error_of_aws(serve: Any, text: str, status: int) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status, text=text)

    with pytest.raises(AWS_ERRORS) as caught:
        await (await serve(answer)).get_item(TableName="t", Key={})
    assert isinstance(translate(caught.value, "GetItem"), Unavailable)


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


async def test_every_operation_of_sqs_is_a_method_in_the_spelling_of_botocore(serve: Any) -> None:
    seen: list[tuple[str, Any]] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append((request.headers["X-Amz-Target"], await request.json()))
        return web.Response(text="" if len(seen) > 1 else '{"Messages":[]}')

    client = await serve(answer, functools.partial(MessageClient, SQS))
    assert (await client.receive_message(QueueUrl="q", WaitTimeSeconds=1))["Messages"] == []
    assert (await client.delete_message(QueueUrl="q"))["ResponseMetadata"]["HTTPStatusCode"] == 200, "no body"
    assert seen == [
        ("AmazonSQS.ReceiveMessage", {"QueueUrl": "q", "WaitTimeSeconds": 1}),
        ("AmazonSQS.DeleteMessage", {"QueueUrl": "q"}),
    ]


def test_dynamodb_has_no_method_for_a_scan() -> None:
    assert not hasattr(DynamoClient("http://127.0.0.1:1", "r", None), "scan")


@pytest.mark.parametrize(("repeats", "received"), [(0, 1), (1, 2)])
async def test_a_request_whose_connection_was_lost_is_sent_again_as_often_as_it_may(
    serve: Any, repeats: int, received: int
) -> None:
    seen: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(await request.text())
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    client = await serve(answer, functools.partial(MessageClient, EVENTS), repeats=repeats)
    with pytest.raises(aiohttp.ClientError):
        await client.put_events(Entries=[])
    assert seen == ['{"Entries":[]}'] * received
