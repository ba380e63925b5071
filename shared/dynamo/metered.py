"""The metrics of a process's requests to DynamoDB (docs/operations.md, Metrics)."""

from shared.dynamo.table import Table
from shared.metrics import Metrics


def watch_table(metrics: Metrics, table: Table) -> None:
    """Consumed capacity units and throttled requests."""
    metrics.counter(
        "dynamodb_consumed_units_total",
        "",
        lambda: dict(table.usage.units),
        by=("operation", "index"),
        what="Capacity units that requests consumed: read units of GetItem, BatchGetItem and Query, else write units.",
    )
    metrics.counter(
        "dynamodb_throttles_total",
        "",
        lambda: dict(table.usage.throttled),
        by="operation",
        what="Requests that DynamoDB throttled.",
    )
