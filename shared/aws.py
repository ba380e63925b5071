"""AWS clients, made once a process, and the translation of their errors into Brain2's.

S3's is aioboto3's. Those of DynamoDB, SQS and EventBridge, which each write uses, are our own (shared/aws_json.py).
Each AWS service has an endpoint of its own in the config, so that DynamoDB can be Amazon's while SQS is a local one.
"""

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import aioboto3
import aiobotocore.config
import aiohttp
import botocore.exceptions as boto

from shared.aws_dynamo import DynamoClient
from shared.aws_json import EVENTS, SQS, JsonClient, MessageClient
from shared.aws_spans import trace_calls
from shared.errors import Brain2Error, Internal, InvalidArgument, ResourceExhausted, Unavailable

if TYPE_CHECKING:
    from types_aiobotocore_events import EventBridgeClient
    from types_aiobotocore_s3 import S3Client
    from types_aiobotocore_sqs import SQSClient

C = TypeVar("C", bound=JsonClient)

ALL = ("dynamodb", "events", "sqs", "s3")

_THROTTLED = {
    "ProvisionedThroughputExceededException",
    "ProvisionedThroughputExceeded",
    "RequestLimitExceeded",
    "RequestThrottled",
    "SlowDown",
    "ThrottledException",
    "Throttling",
    "ThrottlingError",
    "ThrottlingException",
    "TooManyRequestsException",
}
_BROKEN = {"InternalException", "InternalFailure", "InternalServerError", "RequestTimeout", "ServiceUnavailable"}
_REFUSED = {
    "AccessDenied",
    "AccessDeniedException",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
    "UnrecognizedClientException",
}
_MISSING = {
    "AWS.SimpleQueueService.NonExistentQueue",
    "NoSuchBucket",
    "QueueDoesNotExist",
    "ResourceNotFoundException",
}
# The errors of an AWS client: callers catch these and hand them to translate().
AWS_ERRORS = (boto.BotoCoreError, boto.ClientError, aiohttp.ClientError, OSError, TimeoutError)
_CONNECTION = (boto.HTTPClientError, boto.ConnectionError, aiohttp.ClientError, OSError, TimeoutError)


class AwsConfig(Protocol):
    """The part of a service's config that this module reads. An empty endpoint is that of AWS."""

    @property
    def region(self) -> str: ...
    @property
    def dynamodb_endpoint(self) -> str: ...
    @property
    def eventbridge_endpoint(self) -> str: ...
    @property
    def sqs_endpoint(self) -> str: ...
    @property
    def s3_endpoint(self) -> str: ...


_USER_AGENT = f"Brain2 aiobotocore/{aiobotocore.__version__}"


# Seconds that each call waits at most. A long poll of SQS waits up to 20 s for a message.
_READ_SECONDS = {"dynamodb": 3.0, "events": 3.0, "sqs": 25.0, "s3": 10.0}


def _s3_config(pool: int, *, own_endpoint: bool) -> aiobotocore.config.AioConfig:
    return aiobotocore.config.AioConfig(
        connect_timeout=1.0,
        read_timeout=_READ_SECONDS["s3"],
        max_pool_connections=pool,
        retries={"mode": "standard", "total_max_attempts": 3},
        user_agent=_USER_AGENT,
        # With its own endpoint the bucket is in the path: only AWS's DNS resolves buckets as host names.
        s3={"addressing_style": "path" if own_endpoint else "auto"},
    )


class Aws:
    """One session and its clients: `async with Aws(config) as aws: aws.dynamodb.get_item(...)`.

    use: the AWS services to make clients for; that of S3 costs about 50 ms and 5 MB.
    pool: how many connections a client keeps at most.

    Nothing is sent before the first call. Credentials are found as AWS's own tools find them.
    """

    dynamodb: DynamoClient
    events: "EventBridgeClient"
    sqs: "SQSClient"
    s3: "S3Client"

    def __init__(self, config: AwsConfig, *, use: Sequence[str] = ALL, pool: int = 64) -> None:
        self._config = config
        self._use = use
        self._pool = pool
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> "Aws":
        session = aioboto3.Session(region_name=self._config.region)
        trace_calls(session)
        try:
            for name in self._use:
                if name == "s3":
                    self.s3 = await self._stack.enter_async_context(self._s3(session))
                elif name == "dynamodb":
                    self.dynamodb = await self._open(session, DynamoClient, name, self._config.dynamodb_endpoint)
                else:
                    api, endpoint = (
                        (SQS, self._config.sqs_endpoint)
                        if name == "sqs"
                        else (EVENTS, self._config.eventbridge_endpoint)
                    )
                    # What these services do may be done twice: messages are delivered at least once in any case.
                    client = await self._open(session, partial(MessageClient, api), name, endpoint, repeats=1)
                    setattr(self, name, client)
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    def _s3(self, session: Any) -> Any:
        endpoint = self._config.s3_endpoint
        config = _s3_config(self._pool, own_endpoint=bool(endpoint))
        return session.client("s3", endpoint_url=endpoint or None, config=config)

    async def _open(self, session: Any, make: Callable[..., C], name: str, endpoint: str, **options: Any) -> C:
        """A client of our own, opened. endpoint: "" = that of AWS."""
        if not endpoint:
            async with session.client(name) as client:  # botocore knows the endpoints of all partitions
                endpoint = client.meta.endpoint_url
        client = make(
            endpoint,
            session.region_name or self._config.region,
            await session.get_credentials(),
            pool=self._pool,
            read_seconds=_READ_SECONDS[name],
            user_agent=_USER_AGENT,
            **options,
        )
        opening: Any = client
        await self._stack.enter_async_context(opening)
        return client

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def __getattr__(self, name: str) -> Any:
        if name in ALL:
            raise RuntimeError(f"there is no {name} client: Aws isn't entered, or its use is {self._use} only")
        raise AttributeError(name)


def error_code(error: BaseException) -> str:
    """AWS's code of an error, or "" when there is none because no answer came."""
    if isinstance(error, boto.ClientError):
        return str(error.response.get("Error", {}).get("Code", ""))
    return ""


def translate(error: BaseException, what: str) -> Brain2Error:
    """Return the Brain2 error for an error of an AWS client; raise it `from` the original.

    what: the operation, for the message ("DynamoDB PutItem").

    Throttling becomes ResourceExhausted with retry_after. No answer, or an answer of 5xx, becomes Unavailable. Refused
    credentials and requests that AWS calls malformed become Internal, because they aren't the caller's fault.
    """
    if isinstance(error, Brain2Error):
        return error
    code = error_code(error)
    if code in _THROTTLED:
        return ResourceExhausted(f"{what} is throttled", reason="STORE_THROTTLED", retry_after=0.2)
    if isinstance(error, boto.ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code in _BROKEN or status >= 500:
            return Unavailable(f"{what} failed: {code or status}", reason="STORE_FAILED")
        if code in _REFUSED:
            return Internal(f"{what} was refused: {code}", reason="STORE_ACCESS_DENIED")
        if code in _MISSING:
            return Unavailable(f"{what}: the table, queue or bucket is missing: {error}", reason="STORE_NOT_DEPLOYED")
        if code in ("EntityTooLarge", "InvalidMessageContents", "RequestEntityTooLargeException"):
            return InvalidArgument(f"{what}: too large or not valid text", reason="STORE_REFUSED_CONTENT")
        return Internal(f"{what} failed: {error}", reason="STORE_REFUSED")
    if isinstance(error, _CONNECTION):
        return Unavailable(f"{what}: no answer ({type(error).__name__})", reason="STORE_UNREACHABLE")
    return Internal(f"{what} failed: {error!r}", reason="STORE_REFUSED")
