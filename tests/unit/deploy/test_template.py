"""deploy/aws/brain2.yaml on its own: valid for AWS, no role can scan, nothing is public, keys are the code's."""

import re
from pathlib import Path
from typing import Any

import pytest
from cfnlint.api import lint_all

from deploy.local.provision import CONSUMERS, TEMPLATE, read_template
from protos import table
from shared.dynamo.model import INDEXES

BODY = TEMPLATE.read_text(encoding="utf-8")
RESOURCES: dict[str, Any] = read_template(BODY)["Resources"]
FORBIDDEN = {"dynamodb:Scan", "dynamodb:PartiQLSelect", "dynamodb:PartiQLUpdate"}


def of_type(kind: str) -> dict[str, Any]:
    return {name: found["Properties"] for name, found in RESOURCES.items() if found["Type"] == kind}


def statements(document: dict[str, Any]) -> list[dict[str, Any]]:
    return list(document["Statement"])


def actions(statement: dict[str, Any]) -> set[str]:
    found = statement["Action"]
    return {found} if isinstance(found, str) else set(found)


def test_cfn_lint_finds_nothing() -> None:
    # Informational findings are advice, not faults.
    assert [str(match) for match in lint_all(BODY) if not match.rule.id.startswith("I")] == []


@pytest.mark.parametrize("role", sorted(of_type("AWS::IAM::Role")))
def test_every_role_denies_scans(role: str) -> None:
    properties = of_type("AWS::IAM::Role")[role]
    attached = [of_type("AWS::IAM::ManagedPolicy")[name] for name in properties["ManagedPolicyArns"]]
    denied: set[str] = set()
    for policy in attached:
        for statement in statements(policy["PolicyDocument"]):
            if statement["Effect"] == "Deny" and statement["Resource"] == "*":
                denied |= actions(statement)
    assert denied >= FORBIDDEN
    for policy in properties["Policies"]:
        for statement in statements(policy["PolicyDocument"]):
            assert not actions(statement) & FORBIDDEN
            assert statement["Resource"] != "*"
            assert not any(action.endswith(":*") for action in actions(statement))


def test_there_is_a_role_for_each_service() -> None:
    assert of_type("AWS::IAM::Role").keys() == {"NodeRole", "GraphRole", "SimilarityRole", "CleanupRole"}


def test_a_role_writes_no_outbox_but_its_own() -> None:
    for name, properties in of_type("AWS::IAM::Role").items():
        context = name.removesuffix("Role").lower()
        found = [
            statement["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"]
            for policy in properties["Policies"]
            for statement in statements(policy["PolicyDocument"])
            if "dynamodb:PutItem" in actions(statement)
        ]
        # Graph also journals the invalidations that Redis could not be told (docs/adr/0023).
        # Cleanup has leases and the receipts of erasures, which belong to no user.
        more = {"graph": ["GRAPH#JOURNAL#*"], "cleanup": ["CLEANUP#*"]}.get(context, [])
        assert found == [["USER#*", f"OUTBOX#{context}#*", f"IDEMP#{context}#*", *more]]


# Index -> the name of its constant in protos/table.py, by which adapters ask for it.
_CONSTANTS = {index: name for name, index in vars(table).items() if isinstance(index, str) and index in INDEXES}


def test_a_role_queries_the_indexes_that_its_code_asks() -> None:
    found: dict[str, set[str]] = {}
    for name, properties in of_type("AWS::IAM::Role").items():
        indexes = found.setdefault(name.removesuffix("Role").lower(), set())
        for policy in properties["Policies"]:
            for statement in statements(policy["PolicyDocument"]):
                resources = statement["Resource"]
                for each in [resources] if isinstance(resources, str) else resources:
                    if "/index/" in each:
                        assert actions(statement) == {"dynamodb:Query"}
                        indexes.add(each.rsplit("/", 1)[-1])
    for context, indexes in found.items():
        asked: set[str] = set()
        for path in Path(f"services/{context}_service/adapters").glob("*.py"):
            text = path.read_text(encoding="utf-8")
            named = set(re.findall(r"\bindex=(?:table\.)?(\w+)", text))
            asked |= {index for index in INDEXES if _CONSTANTS[index] in named}
        assert indexes == asked, context


@pytest.mark.parametrize("consumer", CONSUMERS)
def test_each_consumers_queue_has_a_dead_letter_queue_and_a_narrow_policy(consumer: str) -> None:
    name = consumer.title()
    queue = of_type("AWS::SQS::Queue")[f"{name}Queue"]
    assert queue["RedrivePolicy"] == {"deadLetterTargetArn": f"{name}Dlq.Arn", "maxReceiveCount": 5}
    assert (queue["VisibilityTimeout"], queue["ReceiveMessageWaitTimeSeconds"]) == (60, 20)
    (allowed,) = statements(of_type("AWS::SQS::QueuePolicy")[f"{name}QueuePolicy"]["PolicyDocument"])
    assert allowed["Principal"] == {"Service": "events.amazonaws.com"}
    assert allowed["Condition"] == {"ArnEquals": {"aws:SourceArn": f"{name}Rule.Arn"}}
    (target,) = of_type("AWS::Events::Rule")[f"{name}Rule"]["Targets"]
    # The embedded store drops an event whose target is wrong; AWS needs this queue to keep it.
    assert target["Arn"] == f"{name}Queue.Arn"
    assert target["DeadLetterConfig"] == {"Arn": "RuleDlq.Arn"}


@pytest.mark.parametrize("consumer", CONSUMERS)
def test_a_consumer_may_use_its_own_queues_and_no_others(consumer: str) -> None:
    name = consumer.title()
    may: dict[str, set[str]] = {}
    for policy in of_type("AWS::IAM::Role")[f"{name}Role"]["Policies"]:
        for statement in statements(policy["PolicyDocument"]):
            found = {action for action in actions(statement) if action.startswith("sqs:")}
            if found:
                may[statement["Resource"]] = may.get(statement["Resource"], set()) | found
    assert may.keys() == {f"{name}Queue.Arn", f"{name}Dlq.Arn"}
    # To bury what can't be handled, to count what is there, to send it back.
    used = {"sqs:SendMessage", "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"}
    assert all(found >= used for found in may.values())


def test_every_dead_letter_queue_raises_an_alarm() -> None:
    watched = {alarm["Dimensions"][0]["Value"] for alarm in of_type("AWS::CloudWatch::Alarm").values()}
    dead = {f"{name}.QueueName" for name in of_type("AWS::SQS::Queue") if name.endswith("Dlq")}
    assert watched >= dead


def test_the_table_is_protected_and_every_key_is_declared() -> None:
    (table,) = of_type("AWS::DynamoDB::Table").values()
    assert RESOURCES["Table"]["DeletionPolicy"] == "Retain"
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["SSESpecification"] == {"SSEEnabled": True}
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}
    schemas = [table["KeySchema"], *(index["KeySchema"] for index in table["GlobalSecondaryIndexes"])]
    used = {key["AttributeName"] for schema in schemas for key in schema}
    # The embedded store accepts an undeclared key; AWS doesn't.
    assert used == {attribute["AttributeName"] for attribute in table["AttributeDefinitions"]}


def test_the_archive_is_private_and_encrypted() -> None:
    (bucket,) = of_type("AWS::S3::Bucket").values()
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert "VersioningConfiguration" not in bucket
