"""Applies deploy/aws/brain2.yaml to a server and tells what it made; idempotent, so every start may call it.

CloudFormation makes everything. Two things are done beside it: the table's time to live, which ministack ignores in a
template, and the table itself when DynamoDB is another server than the one with CloudFormation (Amazon's DynamoDB
Local): it is created there from the template's own definition, so that there is one definition.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import aioboto3
import yaml
from aiobotocore.config import AioConfig
from botocore.exceptions import BotoCoreError, ClientError

from deploy.local.console import LaunchError
from deploy.local.stores import ROOT, Endpoints, credentials

TEMPLATE = ROOT / "deploy" / "aws" / "brain2.yaml"
CONSUMERS = ("graph", "similarity", "cleanup")
_READY_SECONDS = 600.0


@dataclass(frozen=True)
class Resources:
    """The names that the services are configured with."""

    table: str
    bus: str
    bucket: str
    # By consumer: graph, similarity, cleanup. node hears nothing.
    queues: dict[str, str]
    dlqs: dict[str, str]
    rule_dlq: str

    def environment(self, context: str) -> dict[str, str]:
        """What the service of this context reads."""
        return {
            "BRAIN2_TABLE": self.table,
            "BRAIN2_EVENT_BUS": self.bus,
            "BRAIN2_ARCHIVE_BUCKET": self.bucket,
            "BRAIN2_QUEUE_URL": self.queues.get(context, ""),
            "BRAIN2_DLQ_URL": self.dlqs.get(context, ""),
        }


async def apply(endpoints: Endpoints, *, prefix: str = "Brain2", template: Path = TEMPLATE) -> Resources:
    """Create what is missing, update what differs. LaunchError tells what the server refused.

    prefix: begins every name; a stack of its own per prefix, so several fit one server.
    """
    body = template.read_text(encoding="utf-8")
    session = _session()
    try:
        outputs = await _apply_stack(session, endpoints.cloudformation, prefix, body)
        table = outputs["TableName"]
        async with _client(session, "dynamodb", endpoints.dynamodb) as dynamodb:
            if endpoints.dynamodb != endpoints.cloudformation:
                await _create_table(dynamodb, {**table_definition(body), "TableName": table})
            await _expire(dynamodb, table, body)
    except (ClientError, BotoCoreError, TimeoutError) as error:
        raise LaunchError(f"{template.name} could not be applied: {str(error) or 'no answer in time'}") from error

    def queue(output: str) -> str:
        return _at(outputs[output], endpoints.sqs)

    return Resources(
        table=table,
        bus=outputs["EventBusName"],
        bucket=outputs["ArchiveBucketName"],
        queues={name: queue(f"{name.title()}QueueUrl") for name in CONSUMERS},
        dlqs={name: queue(f"{name.title()}DlqUrl") for name in CONSUMERS},
        rule_dlq=queue("RuleDlqUrl"),
    )


async def _apply_stack(session: aioboto3.Session, endpoint: str, prefix: str, body: str) -> dict[str, str]:
    async with _client(session, "cloudformation", endpoint) as cloudformation:

        async def describe() -> Any:
            try:
                return (await cloudformation.describe_stacks(StackName=prefix))["Stacks"][0]
            except ClientError as error:
                if "does not exist" in str(error):
                    return None
                raise

        async def applied() -> Any:
            async with asyncio.timeout(_READY_SECONDS):
                while (stack := await describe())["StackStatus"].endswith("_IN_PROGRESS"):
                    await asyncio.sleep(0.05 if "amazonaws.com" not in endpoint else 3.0)
            return stack

        parameters = [
            {"ParameterKey": "Prefix", "ParameterValue": prefix},
            {"ParameterKey": "DeletionProtection", "ParameterValue": "false"},
            # The embedded store has neither of the two.
            {"ParameterKey": "EventArchiveDays", "ParameterValue": "0"},
            {"ParameterKey": "Backups", "ParameterValue": "false"},
        ]
        request = {
            "StackName": prefix,
            "TemplateBody": body,
            "Parameters": parameters,
            "Capabilities": ["CAPABILITY_IAM"],
        }
        if await describe() is None:
            await cloudformation.create_stack(**request)
        else:
            try:
                await cloudformation.update_stack(**request)
            except ClientError as error:
                if "No updates are to be performed" not in str(error):
                    raise
        stack = await applied()
        if stack["StackStatus"] not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
            events = (await cloudformation.describe_stack_events(StackName=prefix))["StackEvents"]
            reasons = [
                f"{e['LogicalResourceId']}: {e.get('ResourceStatusReason', '')}"
                for e in events
                if e["ResourceStatus"].endswith("_FAILED")
            ]
            raise LaunchError(
                f"the stack {prefix} is {stack['StackStatus']}: {'; '.join(reasons) or 'no reason given'}"
            )
        return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


def read_template(body: str) -> dict[str, Any]:
    """The template as data; !Ref X and !GetAtt X.Arn are their text."""
    loader = _Loader(body)
    try:
        found: dict[str, Any] = loader.get_single_data()
    finally:
        loader.dispose()
    return found


def table_definition(body: str) -> dict[str, Any]:
    """The arguments of CreateTable that the template's Table stands for: its shape, without its name and its caps."""
    properties = read_template(body)["Resources"]["Table"]["Properties"]
    names = ("AttributeDefinitions", "KeySchema", "BillingMode")
    indexes = [
        {name: index[name] for name in ("IndexName", "KeySchema", "Projection")}
        for index in properties["GlobalSecondaryIndexes"]
    ]
    return {**{name: properties[name] for name in names}, "GlobalSecondaryIndexes": indexes}


async def _create_table(dynamodb: Any, definition: dict[str, Any]) -> None:
    try:
        await dynamodb.create_table(**definition)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceInUseException":
            raise
    waiter = dynamodb.get_waiter("table_exists")
    await waiter.wait(TableName=definition["TableName"], WaiterConfig={"Delay": 1, "MaxAttempts": 120})


async def _expire(dynamodb: Any, table: str, body: str) -> None:
    wanted = read_template(body)["Resources"]["Table"]["Properties"]["TimeToLiveSpecification"]
    found = (await dynamodb.describe_time_to_live(TableName=table))["TimeToLiveDescription"]
    if found["TimeToLiveStatus"] not in ("ENABLED", "ENABLING"):
        await dynamodb.update_time_to_live(TableName=table, TimeToLiveSpecification=wanted)


async def copy_items(source: str, endpoints: Endpoints, table: str) -> int:
    """Copies every item of the table on another server, and returns how many there were. It may be done again."""
    session = _session()
    copied = 0
    async with (
        _client(session, "dynamodb", source) as before,
        _client(session, "dynamodb", endpoints.dynamodb) as after,
    ):
        async for page in before.get_paginator("scan").paginate(TableName=table):
            items = page["Items"]
            for start in range(0, len(items), 25):
                requests = [{"PutRequest": {"Item": item}} for item in items[start : start + 25]]
                while requests:
                    answer = await after.batch_write_item(RequestItems={table: requests})
                    requests = answer.get("UnprocessedItems", {}).get(table, [])
            copied += len(items)
    return copied


async def users(endpoints: Endpoints, table: str) -> list[str]:
    """The users who have notes in an embedded table, in order. It reads the whole table: for one machine only."""
    found: set[str] = set()
    async with _client(_session(), "dynamodb", endpoints.dynamodb) as dynamodb:
        pages = dynamodb.get_paginator("scan").paginate(
            TableName=table,
            ProjectionExpression="PK",
            FilterExpression="begins_with(SK, :node)",
            ExpressionAttributeValues={":node": {"S": "NODE#"}},
        )
        async for page in pages:
            found |= {item["PK"]["S"].removeprefix("USER#") for item in page["Items"]}
    return sorted(found)


async def delete_expired(endpoints: Endpoints, table: str, now: float) -> int:
    """Deletes the items whose time to live is over, and returns how many those were; dynoxide itself never does.

    now: seconds since 1970. It reads the whole table, a page at a time with pauses: for one machine only.
    """
    over = {":now": {"N": str(int(now))}}
    deleted = 0
    async with _client(_session(), "dynamodb", endpoints.dynamodb) as dynamodb:
        pages = dynamodb.get_paginator("scan").paginate(
            TableName=table,
            ProjectionExpression="PK, SK",
            FilterExpression="expires_at < :now",
            ExpressionAttributeValues=over,
            PaginationConfig={"PageSize": 200},
        )
        async for page in pages:
            for key in page["Items"]:
                # It may have been written anew since the page was read.
                with contextlib.suppress(dynamodb.exceptions.ConditionalCheckFailedException):
                    await dynamodb.delete_item(
                        TableName=table,
                        Key=key,
                        ConditionExpression="expires_at < :now",
                        ExpressionAttributeValues=over,
                    )
                    deleted += 1
            # Calls of the services come in between.
            await asyncio.sleep(0.02)
    return deleted


def _at(queue_url: str, endpoint: str) -> str:
    """The queue on the endpoint: embedded servers remember the port that they had when the queue was made."""
    if not endpoint or "amazonaws.com" in queue_url:
        return queue_url
    server = urlsplit(endpoint)
    return urlunsplit(urlsplit(queue_url)._replace(scheme=server.scheme, netloc=server.netloc))


class _Loader(yaml.SafeLoader):
    """Reads CloudFormation's short forms (!Ref, !Sub, ...) as the text behind the tag."""


def _short_form(loader: yaml.SafeLoader, _suffix: str, node: yaml.Node) -> Any:
    build: dict[type[yaml.Node], Callable[..., Any]] = {
        yaml.ScalarNode: loader.construct_scalar,
        yaml.SequenceNode: loader.construct_sequence,
        yaml.MappingNode: loader.construct_mapping,
    }
    return build[type(node)](node)


_Loader.add_multi_constructor("!", _short_form)


def _session() -> aioboto3.Session:
    found = credentials()
    return aioboto3.Session(
        aws_access_key_id=found.get("AWS_ACCESS_KEY_ID"),
        aws_secret_access_key=found.get("AWS_SECRET_ACCESS_KEY"),
        aws_session_token=found.get("AWS_SESSION_TOKEN"),
        region_name=found["AWS_REGION"],
    )


def _client(session: aioboto3.Session, service: str, endpoint: str) -> Any:
    # The typed overloads want a literal name.
    make: Any = session.client
    return make(service, endpoint_url=endpoint or None, config=AioConfig(connect_timeout=5, read_timeout=60))
