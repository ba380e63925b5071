"""What the clients of AWS services that speak JSON over HTTP share: signed requests (SigV4), sent without botocore.

botocore checks, serializes and parses each message by a model of the API, which is most of what a call costs
(docs/adr/0007). Here a request is the JSON of its parameters, and an answer is the JSON that came. aioboto3 finds the
credentials and the endpoint.
"""

import base64
import hashlib
import hmac
import json
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self

import aiohttp
import botocore.exceptions as boto
from botocore.httpsession import get_cert_path
from yarl import URL

from shared import aws_spans

Answer = dict[str, Any]

_ALGORITHM = "AWS4-HMAC-SHA256"
# Of an idle connection, in seconds; AWS closes it later.
_KEEPALIVE = 12.0


@dataclass(frozen=True, slots=True)
class Api:
    """How one service is spoken to.

    name: in signatures. service_id: AWS's name of it. target: what stands before an operation in X-Amz-Target.
    version: of AWS's JSON protocol.
    """

    name: str
    service_id: str
    target: str
    version: str = "1.0"


DYNAMODB = Api("dynamodb", "DynamoDB", "DynamoDB_20120810")
EVENTS = Api("events", "EventBridge", "AWSEvents", "1.1")
SQS = Api("sqs", "SQS", "AmazonSQS")


class Credentials(Protocol):
    """What aioboto3's session finds, renewed when it runs out."""

    async def get_frozen_credentials(self) -> Any: ...


class JsonClient:
    """What the clients of all services share. `async with` opens and closes the connections.

    The parameters and answers of calls are those of the API. Errors are botocore's: ClientError when the service
    answers one, else those of aiohttp for a connection that fails.

    endpoint: a URL. region: for the signature.
    credentials: None when there are none; then each call raises NoCredentialsError.
    pool: how many connections are open at most. connect_seconds, read_seconds: how long each call waits at most.
    repeats: how often a request is sent again when its connection was lost: only where it may be done twice.
    now: seconds since 1970.
    """

    def __init__(
        self,
        api: Api,
        endpoint: str,
        region: str,
        credentials: Credentials | None,
        *,
        pool: int = 64,
        connect_seconds: float = 1.0,
        read_seconds: float = 3.0,
        repeats: int = 0,
        user_agent: str = "Brain2",
        now: Callable[[], float] = time.time,
    ) -> None:
        self.endpoint = endpoint
        self._api = api
        self._url = URL(endpoint).with_path("/")
        self._signer = Signer(api, self._url, region)
        self._credentials = credentials
        self._pool = pool
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_seconds, sock_read=read_seconds)
        self._repeats = repeats
        self._user_agent = user_agent
        self._now = now
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
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

    async def _call(self, operation: str, request: Mapping[str, Any]) -> Answer:
        answer: Answer = await aws_spans.traced(
            self._api.name,
            self._api.service_id,
            self.endpoint,
            operation,
            request,
            lambda: self._send(operation, request),
        )
        return answer

    async def _send(self, operation: str, request: Mapping[str, Any]) -> Answer:
        if self._http is None:
            raise RuntimeError("the client is used outside its block")
        if self._credentials is None:
            raise boto.NoCredentialsError
        body = json.dumps(request, default=_base64, separators=(",", ":")).encode()
        left = self._repeats
        while True:
            try:
                return await self._post(self._http, self._credentials, operation, body)
            except aiohttp.ClientConnectionError as error:
                # A server may close an idle connection in the moment in which the next request takes it.
                if not left or isinstance(error, TimeoutError | aiohttp.ClientConnectorError):
                    raise
                left -= 1

    async def _post(self, http: aiohttp.ClientSession, credentials: Credentials, operation: str, body: bytes) -> Answer:
        found = await credentials.get_frozen_credentials()
        headers = self._signer.headers(operation, body, found, self._now())
        headers["User-Agent"] = self._user_agent
        async with http.post(self._url, data=body, headers=headers, allow_redirects=False) as response:
            received = await response.read()
        metadata = {"HTTPStatusCode": response.status, "RequestId": response.headers.get("x-amzn-RequestId", "")}
        if response.status != 200:
            raise _error(operation, received, metadata)
        answer: Answer | None = _object(received) if received else {}
        if answer is None:
            raise aiohttp.ClientPayloadError(f"{operation}: the answer is no JSON object")
        answer["ResponseMetadata"] = metadata
        return answer


class MessageClient(JsonClient):
    """A client of SQS or EventBridge, whose operations are methods in botocore's spelling: client.put_events(...)."""

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Answer]]:
        if name.startswith("_"):
            raise AttributeError(name)
        operation = "".join(word.capitalize() for word in name.split("_"))

        async def call(**request: Any) -> Answer:
            return await self._call(operation, request)

        self.__dict__[name] = call  # the next call finds it without this method
        return call


class Signer:
    """Signs requests to one endpoint by Signature Version 4. The key of a day is kept, as it takes four HMACs."""

    def __init__(self, api: Api, url: URL, region: str) -> None:
        default = url.port in (None, 443 if url.scheme == "https" else 80)
        self._api = api
        self._host = str(url.host) if default else f"{url.host}:{url.port}"
        self._region = region
        self._key: tuple[str, str, bytes] = ("", "", b"")

    def headers(self, operation: str, body: bytes, credentials: Any, now: float) -> dict[str, str]:
        """All headers of a request. credentials: access_key, secret_key, token. now: seconds since 1970."""
        time_ = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        day = time_[:8]
        headers = {
            "content-type": f"application/x-amz-json-{self._api.version}",
            "host": self._host,
            "x-amz-date": time_,
        }
        if credentials.token:
            headers["x-amz-security-token"] = credentials.token
        headers["x-amz-target"] = f"{self._api.target}.{operation}"
        signed = ";".join(headers)
        canonical = "".join(f"{name}:{value}\n" for name, value in headers.items())
        request = f"POST\n/\n\n{canonical}\n{signed}\n{hashlib.sha256(body).hexdigest()}"
        scope = f"{day}/{self._region}/{self._api.name}/aws4_request"
        text = f"{_ALGORITHM}\n{time_}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        signature = hmac.new(self._key_of(day, credentials.secret_key), text.encode(), hashlib.sha256).hexdigest()
        headers["authorization"] = (
            f"{_ALGORITHM} Credential={credentials.access_key}/{scope}, SignedHeaders={signed}, Signature={signature}"
        )
        return headers

    def _key_of(self, day: str, secret: str) -> bytes:
        if self._key[:2] != (day, secret):
            key = f"AWS4{secret}".encode()
            for part in (day, self._region, self._api.name, "aws4_request"):
                key = hmac.new(key, part.encode(), hashlib.sha256).digest()
            self._key = day, secret, key
        return self._key[2]


def _base64(value: Any) -> str:
    if not isinstance(value, bytes):
        raise TypeError(f"{type(value).__name__} is no value of a request")
    return base64.b64encode(value).decode()


def _object(received: bytes) -> Answer | None:
    """The JSON object of an answer; None for any other text, as a proxy on the way may send."""
    try:
        found = json.loads(received)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _error(operation: str, received: bytes, metadata: dict[str, Any]) -> boto.ClientError:
    """The ClientError that botocore would make of an answer."""
    found = _object(received) or {}
    code = str(found.pop("__type", "")).rpartition("#")[2] or str(metadata["HTTPStatusCode"])
    message = found.pop("message", None) or found.pop("Message", None) or ""
    response: Any = {**found, "Error": {"Code": code, "Message": message}, "ResponseMetadata": metadata}
    return boto.ClientError(response, operation)
