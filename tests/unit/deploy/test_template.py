"""The templates of deploy/aws on their own: valid for AWS, no role can scan, nothing is public, keys are the code's."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from cfnlint.api import lint_all

from deploy.docs import config_class, variables
from deploy.local.provision import CONSUMERS, TEMPLATE, read_template
from protos import table
from shared.dynamo.model import INDEXES
from shared.events.failures import MOST_RECEIVES

BODY = TEMPLATE.read_text(encoding="utf-8")
RESOURCES: dict[str, Any] = read_template(BODY)["Resources"]
ALARMS_BODY = (TEMPLATE.parent / "alarms.yaml").read_text(encoding="utf-8")
ALARMS: dict[str, Any] = read_template(ALARMS_BODY)["Resources"]
# CloudFormation refuses a longer template that isn't in S3.
LONGEST_BODY = 51_200
FORBIDDEN = {"dynamodb:Scan", "dynamodb:PartiQLSelect", "dynamodb:PartiQLUpdate"}


def of_type(kind: str) -> dict[str, Any]:
    return {name: found["Properties"] for name, found in RESOURCES.items() if found["Type"] == kind}


def statements(document: dict[str, Any]) -> list[dict[str, Any]]:
    return list(document["Statement"])


def actions(statement: dict[str, Any]) -> set[str]:
    found = statement["Action"]
    return {found} if isinstance(found, str) else set(found)


def resources_of(statement: dict[str, Any]) -> list[str]:
    found = statement["Resource"]
    return [found] if isinstance(found, str) else list(found)


@pytest.mark.parametrize("body", [BODY, ALARMS_BODY], ids=["brain2", "alarms"])
def test_cfn_lint_finds_nothing(body: str) -> None:
    # Informational findings are advice, not faults.
    assert [str(match) for match in lint_all(body) if not match.rule.id.startswith("I")] == []
    assert len(body.encode()) <= LONGEST_BODY


# The role that AWS Backup assumes has AWS's own policies: copying a table is what it is for.
@pytest.mark.parametrize("role", sorted(of_type("AWS::IAM::Role").keys() - {"BackupRole"}))
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


SERVICE_ROLES = ("NodeRole", "GraphRole", "SimilarityRole", "CleanupRole")


def test_there_is_a_role_for_each_service_and_tool() -> None:
    assert of_type("AWS::IAM::Role").keys() == {*SERVICE_ROLES, "CollectorRole", "ScalerRole", "BackupRole"}


def test_a_role_writes_no_outbox_but_its_own() -> None:
    for name in SERVICE_ROLES:
        properties = of_type("AWS::IAM::Role")[name]
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
    for name in SERVICE_ROLES:
        properties = of_type("AWS::IAM::Role")[name]
        indexes = found.setdefault(name.removesuffix("Role").lower(), set())
        for policy in properties["Policies"]:
            for statement in statements(policy["PolicyDocument"]):
                for each in resources_of(statement):
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
    assert queue["RedrivePolicy"] == {"deadLetterTargetArn": f"{name}Dlq.Arn", "maxReceiveCount": MOST_RECEIVES}
    assert (queue["VisibilityTimeout"], queue["ReceiveMessageWaitTimeSeconds"]) == (60, 20)
    policy = statements(of_type("AWS::SQS::QueuePolicy")[f"{name}QueuePolicy"]["PolicyDocument"])
    (allowed,) = [statement for statement in policy if statement["Effect"] == "Allow"]
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


def alarms() -> dict[str, Any]:
    return {name: each["Properties"] for name, each in ALARMS.items() if each["Type"] == "AWS::CloudWatch::Alarm"}


def test_every_dead_letter_queue_raises_an_alarm() -> None:
    watched = {alarm["Dimensions"][0]["Value"] for alarm in alarms().values() if "Dimensions" in alarm}
    queues = of_type("AWS::SQS::Queue")
    dead = {queue["QueueName"] for name, queue in queues.items() if name.endswith("Dlq")}
    assert watched >= dead
    # The alarms find a queue by its name, as nothing is imported from the other stack.
    named = {name for name in watched if name.startswith("${Prefix}-")}
    assert named <= {queue["QueueName"] for queue in queues.values()}


def test_the_table_is_protected_and_every_key_is_declared() -> None:
    (table,) = of_type("AWS::DynamoDB::Table").values()
    assert RESOURCES["Table"]["DeletionPolicy"] == "Retain"
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    with_key, without = table["SSESpecification"][1:]
    assert with_key == {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": "Key.Arn"}
    assert without == {"SSEEnabled": True}
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


TLS_ONLY = {"Bool": {"aws:SecureTransport": "false"}}


def test_every_queue_and_the_bucket_refuse_calls_without_tls() -> None:
    guarded: set[str] = set()
    policies = of_type("AWS::SQS::QueuePolicy") | of_type("AWS::S3::BucketPolicy")
    for policy in policies.values():
        for statement in statements(policy["PolicyDocument"]):
            if statement["Effect"] == "Deny" and statement["Condition"] == TLS_ONLY:
                assert statement["Principal"] == "*"
                assert actions(statement) in ({"sqs:*"}, {"s3:*"})
                # "*" in the policy of a queue is that queue.
                named = {resource.removesuffix(".Arn") for resource in resources_of(statement)}
                guarded |= set(policy["Queues"]) if named == {"*"} else named
    assert guarded >= {*of_type("AWS::SQS::Queue"), "ArchiveBucket", "${ArchiveBucket.Arn}/*"}


def test_the_stream_holds_both_images_unless_it_is_asked_otherwise() -> None:
    parameter = read_template(BODY)["Parameters"]["StreamView"]
    assert parameter["Default"] == "NEW_AND_OLD_IMAGES"
    assert RESOURCES["Table"]["Properties"]["StreamSpecification"][1] == {"StreamViewType": "StreamView"}


def test_the_cache_has_three_nodes_over_zones_with_tls_and_a_password() -> None:
    cache = RESOURCES["Cache"]["Properties"]
    parameters = read_template(BODY)["Parameters"]
    shards, replicas = (parameters[name]["Default"] for name in ("CacheShards", "CacheReplicasPerShard"))
    assert (cache["NumNodeGroups"], cache["ReplicasPerNodeGroup"]) == ("CacheShards", "CacheReplicasPerShard")
    assert shards * (1 + replicas) == 3
    on = ("AutomaticFailoverEnabled", "MultiAZEnabled", "TransitEncryptionEnabled", "AtRestEncryptionEnabled")
    assert all(cache[name] is True for name in on)
    assert cache["AuthToken"] == "{{resolve:secretsmanager:${CachePassword}}}"


@pytest.mark.parametrize("role", SERVICE_ROLES)
def test_a_role_may_use_a_restored_table_as_its_own(role: str) -> None:
    for policy in of_type("AWS::IAM::Role")[role]["Policies"]:
        for statement in statements(policy["PolicyDocument"]):
            tables = {
                each.replace("${Table.Arn}", "Table.Arn") for each in resources_of(statement) if "Table.Arn" in each
            }
            own = {each for each in tables if "-*" not in each}
            assert {each.replace("-*", "") for each in tables - own} == own


def test_cleanup_cannot_remove_the_record_of_who_was_erased() -> None:
    for policy in of_type("AWS::IAM::Role")["CleanupRole"]["Policies"]:
        for statement in statements(policy["PolicyDocument"]):
            if any(action.startswith("s3:Delete") for action in actions(statement)):
                assert resources_of(statement) == ["${ArchiveBucket.Arn}/users/*"]


def test_the_record_of_erasures_outlives_every_backup() -> None:
    parameters = read_template(BODY)["Parameters"]
    # Point-in-time recovery keeps 35 days.
    longest = max(35, parameters["BackupDays"]["Default"], parameters["BackupCopyDays"]["Default"])
    assert parameters["ErasureLedgerDays"]["Default"] > longest
    rules = {rule["Id"]: rule for rule in RESOURCES["ArchiveBucket"]["Properties"]["LifecycleConfiguration"]["Rules"]}
    assert {rule["Prefix"] for rule in rules.values() if "ExpirationInDays" in rule} == {"users/", "ledger/"}
    assert rules["forget-erasures"]["ExpirationInDays"] == "ErasureLedgerDays"


@pytest.mark.parametrize("name", sorted(alarms()))
def test_an_alarm_is_sent_to_the_topic_and_described_in_the_operators_page(name: str) -> None:
    page = (TEMPLATE.parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
    alarm = alarms()[name]
    assert alarm["AlarmActions"] == alarm["OKActions"] == ["WithAlarmTopic", ["AlarmTopicArn"], "AWS::NoValue"]
    assert f"`{name}`" in page


def metric_names(alarm: dict[str, Any]) -> set[str]:
    if "MetricName" in alarm:
        return {alarm["MetricName"]}
    return {each["MetricStat"]["Metric"]["MetricName"] for each in alarm["Metrics"] if "MetricStat" in each}


def test_the_documents_alarms_are_there_with_their_thresholds() -> None:
    parameters = read_template(ALARMS_BODY)["Parameters"]
    assert parameters["NodeCreationAlarmMs"]["Default"] == 100
    assert metric_names(alarms()["NodeCreationLatencyAlarm"]) == {"node_creation_latency_ms_within"}
    due = alarms()["DueDeletionsAlarm"]
    assert metric_names(due) == {"cleanup_queue_depth"}
    [sent, depth] = due["Metrics"]
    # The average of what all processes together count, as often as each of them sends it.
    assert (sent["MetricStat"]["Stat"], sent["MetricStat"]["Period"]) == ("Sum", 300)
    assert depth["Expression"] == "sent * ${MetricsSeconds} / 300"
    seconds, _ = variables(config_class("cleanup"))["BRAIN2_METRICS_SECONDS"]
    assert float(seconds.strip("`")) == parameters["MetricsSeconds"]["Default"]
    assert parameters[due["Threshold"]]["Default"] == 1000
    rate = alarms()["CacheHitRateLowAlarm"]
    assert metric_names(rate) == {"cache_hits_total", "cache_misses_total"}
    assert rate["ComparisonOperator"] == "LessThanThreshold"
    assert parameters[rate["Threshold"]]["Default"] == 0.8


def test_the_dashboard_is_json_and_shows_what_the_alarms_watch() -> None:
    board = json.loads(ALARMS["Dashboard"]["Properties"]["DashboardBody"])
    shown = {metric[1] for widget in board["widgets"] for metric in widget["properties"]["metrics"]}
    documents = ("NodeCreationLatencyAlarm", "DueDeletionsAlarm", "CacheHitRateLowAlarm", "GraphDlqAlarm")
    assert shown >= {metric for name in documents for metric in metric_names(alarms()[name])}
    # No widget covers another.
    places = [(widget["x"], widget["y"]) for widget in board["widgets"]]
    assert len(set(places)) == len(places)
