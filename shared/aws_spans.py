"""Client spans of calls to AWS, for recorded work only: any other call pays for one look at a context variable.

opentelemetry-instrumentation-botocore (AiobotocoreInstrumentor) was considered: it makes a span object for each
call, recorded or not (docs/adr/0066).
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import botocore.exceptions
from opentelemetry.util.types import AttributeValue

from shared import telemetry

# AWS's name of a service -> its attributes; the names of calls are AWS's, such as PutItem.
_SYSTEMS: Mapping[str, Mapping[str, str]] = {
    "dynamodb": {"db.system.name": "aws.dynamodb"},
    "sqs": {"messaging.system": "aws_sqs"},
    "events": {"messaging.system": "aws.eventbridge"},
}
# The kind of work of calls that move messages, in OpenTelemetry's words.
_MESSAGING = {
    "PutEvents": "send",
    "SendMessage": "send",
    "ReceiveMessage": "receive",
    "DeleteMessageBatch": "settle",
    "ChangeMessageVisibilityBatch": "settle",
}


def trace_calls(session: Any) -> None:
    """Have the clients that the session makes from now on make spans. session: of aioboto3."""

    def add(base_classes: list[type], **_: object) -> None:
        base_classes.insert(0, _TracedCalls)

    session.events.register("creating-client-class", add)


class _TracedCalls:
    """A base class of the clients; botocore lets it stand before its own."""

    meta: Any
    _make_api_call: Callable[..., Any]

    async def _make_api_call(self, operation_name: str, api_params: Mapping[str, Any]) -> Any:  # type: ignore[no-redef]
        call: Any = super()._make_api_call  # type: ignore[misc]
        model = self.meta.service_model
        return await traced(
            model.service_name,
            model.service_id,
            self.meta.endpoint_url,
            operation_name,
            api_params,
            lambda: call(operation_name, api_params),
        )


async def traced(
    service: str,
    service_id: str,
    endpoint: str,
    operation: str,
    params: Mapping[str, Any],
    call: Callable[[], Awaitable[Any]],
) -> Any:
    """The answer of call(), in a client span if the current work is recorded.

    service, service_id: AWS's names, such as "dynamodb" and "DynamoDB". endpoint: its URL.
    """
    if not telemetry.is_recording():
        return await call()
    attributes = _attributes(service, operation, params) | telemetry.server_attributes(endpoint)
    with telemetry.span(f"{service_id}/{operation}", kind="client", attributes=attributes) as span:
        try:
            answer = await call()
        except botocore.exceptions.ClientError as error:
            span.set_attribute("error.type", error.response.get("Error", {}).get("Code", ""))
            _answered(span, error.response)
            raise
        _answered(span, answer)
        return answer


def _answered(span: Any, response: Mapping[str, Any]) -> None:
    metadata = response.get("ResponseMetadata", {})
    if request_id := metadata.get("RequestId"):
        span.set_attribute("aws.request_id", request_id)
    if status := metadata.get("HTTPStatusCode"):
        span.set_attribute("http.response.status_code", status)


def _attributes(service: str, operation: str, params: Mapping[str, Any]) -> dict[str, AttributeValue]:
    """No attribute holds a key or an item: they name users and notes."""
    found: dict[str, AttributeValue] = {
        "rpc.system.name": "aws-api",
        "rpc.method": operation,
        **_SYSTEMS.get(service, {}),
    }
    if service == "dynamodb":
        found["db.operation.name"] = operation
        if table := params.get("TableName"):
            found["aws.dynamodb.table_names"] = [table]
        if index := params.get("IndexName"):
            found["aws.dynamodb.index_name"] = index
        if (items := params.get("TransactItems")) is not None:
            found["db.operation.batch.size"] = len(items)
    elif kind := _MESSAGING.get(operation):
        found["messaging.operation.name"] = operation
        found["messaging.operation.type"] = kind
        if url := params.get("QueueUrl"):
            found["messaging.destination.name"] = url.rpartition("/")[2]
        if entries := params.get("Entries"):
            found["messaging.batch.message_count"] = len(entries)
    elif service == "s3" and (bucket := params.get("Bucket")):
        found["aws.s3.bucket"] = bucket
    return found
