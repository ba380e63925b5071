"""A client of DynamoDB without botocore: it speaks the protocol, JSON over HTTP, and signs its requests (SigV4).

botocore checks, serializes and parses each message by a model of the API. That is most of what a call costs, and holds
the event loop for 60 ms when an answer has 1 MB. The values of shared/dynamo already have DynamoDB's own form, so only
the base64 of binary values is left to do (docs/adr/0007). aioboto3 finds the credentials and the endpoint.
"""

import base64
import hashlib
import hmac
import json
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import aiohttp
import botocore.exceptions as boto
from botocore.httpsession import get_cert_path
from yarl import URL

from shared import aws_spans

Answer = dict[str, Any]

_TARGET = "DynamoDB_20120810"
_CONTENT_TYPE = "application/x-amz-json-1.0"
_ALGORITHM = "AWS4-HMAC-SHA256"
# Of an idle connection, in seconds; AWS closes it later.
_KEEPALIVE = 12.0


class Credentials(Protocol):
    """What aioboto3's session finds, renewed when it runs out."""

    async def get_frozen_credentials(self) -> Any: ...


class DynamoClient:
    """`async with DynamoClient(...) as client: await client.get_item(TableName=..., Key=...)`.

    The parameters and answers of the methods are those of DynamoDB's API. Each request is sent once. Errors are
    botocore's: ClientError when DynamoDB answers one, else those of aiohttp for a connection that fails.

    endpoint: a URL. region: for the signature.
    credentials: None when there are none; then each call raises NoCredentialsError.
    pool: how many connections are open at most. connect_seconds, read_seconds: how long each call waits at most.
    now: seconds since 1970.
    """

    def __init__(
        self,
        endpoint: str,
        region: str,
        credentials: Credentials | None,
        *,
        pool: int = 64,
        connect_seconds: float = 1.0,
        read_seconds: float = 3.0,
        user_agent: str = "Brain2",
        now: Callable[[], float] = time.time,
    ) -> None:
        self.endpoint = endpoint
        self._url = URL(endpoint).with_path("/")
        self._signer = Signer(self._url, region)
        self._credentials = credentials
        self._pool = pool
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_seconds, sock_read=read_seconds)
        self._user_agent = user_agent
        self._now = now
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "DynamoClient":
        secure = self._url.scheme == "https"
        context = ssl.create_default_context(cafile=get_cert_path(True)) if secure else True
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._pool, keepalive_timeout=_KEEPALIVE, ssl=context),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=self._timeout,
            auto_decompress=False,
            trust_env=secure,  # HTTPS_PROXY, as AWS's own tools
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._http is not None:
            await self._http.close()

    async def batch_get_item(self, **request: Any) -> Answer:
        return await self._call("BatchGetItem", request)

    async def batch_write_item(self, **request: Any) -> Answer:
        return await self._call("BatchWriteItem", request)

    async def delete_item(self, **request: Any) -> Answer:
        return await self._call("DeleteItem", request)

    async def get_item(self, **request: Any) -> Answer:
        return await self._call("GetItem", request)

    async def put_item(self, **request: Any) -> Answer:
        return await self._call("PutItem", request)

    async def query(self, **request: Any) -> Answer:
        return await self._call("Query", request)

    async def transact_write_items(self, **request: Any) -> Answer:
        return await self._call("TransactWriteItems", request)

    async def update_item(self, **request: Any) -> Answer:
        return await self._call("UpdateItem", request)

    async def _call(self, operation: str, request: Mapping[str, Any]) -> Answer:
        answer: Answer = await aws_spans.traced(
            "dynamodb", "DynamoDB", self.endpoint, operation, request, lambda: self._send(operation, request)
        )
        return answer

    async def _send(self, operation: str, request: Mapping[str, Any]) -> Answer:
        if self._http is None:
            raise RuntimeError("the client is used outside its block")
        if self._credentials is None:
            raise boto.NoCredentialsError
        body = json.dumps(request, default=_base64, separators=(",", ":")).encode()
        found = await self._credentials.get_frozen_credentials()
        headers = self._signer.headers(f"{_TARGET}.{operation}", body, found, self._now())
        headers["User-Agent"] = self._user_agent
        async with self._http.post(self._url, data=body, headers=headers, allow_redirects=False) as response:
            received = await response.read()
        metadata = {"HTTPStatusCode": response.status, "RequestId": response.headers.get("x-amzn-RequestId", "")}
        if response.status != 200:
            raise _error(operation, received, metadata)
        answer: Answer = json.loads(received)
        answer["ResponseMetadata"] = metadata
        return answer


class Signer:
    """Signs requests to one endpoint by Signature Version 4. The key of a day is kept, as it takes four HMACs."""

    def __init__(self, url: URL, region: str) -> None:
        default = url.port in (None, 443 if url.scheme == "https" else 80)
        self._host = str(url.host) if default else f"{url.host}:{url.port}"
        self._region = region
        self._key: tuple[str, str, bytes] = ("", "", b"")

    def headers(self, target: str, body: bytes, credentials: Any, now: float) -> dict[str, str]:
        """All headers of a request. credentials: access_key, secret_key, token. now: seconds since 1970."""
        time_ = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        day = time_[:8]
        headers = {"content-type": _CONTENT_TYPE, "host": self._host, "x-amz-date": time_}
        if credentials.token:
            headers["x-amz-security-token"] = credentials.token
        headers["x-amz-target"] = target
        signed = ";".join(headers)
        canonical = "".join(f"{name}:{value}\n" for name, value in headers.items())
        request = f"POST\n/\n\n{canonical}\n{signed}\n{hashlib.sha256(body).hexdigest()}"
        scope = f"{day}/{self._region}/dynamodb/aws4_request"
        text = f"{_ALGORITHM}\n{time_}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        signature = hmac.new(self._key_of(day, credentials.secret_key), text.encode(), hashlib.sha256).hexdigest()
        headers["authorization"] = (
            f"{_ALGORITHM} Credential={credentials.access_key}/{scope}, SignedHeaders={signed}, Signature={signature}"
        )
        return headers

    def _key_of(self, day: str, secret: str) -> bytes:
        if self._key[:2] != (day, secret):
            key = f"AWS4{secret}".encode()
            for part in (day, self._region, "dynamodb", "aws4_request"):
                key = hmac.new(key, part.encode(), hashlib.sha256).digest()
            self._key = day, secret, key
        return self._key[2]


def _base64(value: Any) -> str:
    if not isinstance(value, bytes):
        raise TypeError(f"{type(value).__name__} is no value of a request")
    return base64.b64encode(value).decode()


def _error(operation: str, received: bytes, metadata: dict[str, Any]) -> boto.ClientError:
    """The ClientError that botocore would make of an answer."""
    try:
        found = json.loads(received)
    except ValueError:
        found = None
    if not isinstance(found, dict):  # of a proxy on the way
        found = {}
    code = str(found.pop("__type", "")).rpartition("#")[2] or str(metadata["HTTPStatusCode"])
    message = found.pop("message", None) or found.pop("Message", None) or ""
    response: Any = {**found, "Error": {"Code": code, "Message": message}, "ResponseMetadata": metadata}
    return boto.ClientError(response, operation)
