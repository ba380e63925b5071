"""The table Brain2-Main through plain Python values: keys, conditions, pages, transactions and batches.

There is no scan, on purpose. Libraries measured: aioboto3's resources and aiodynamo (docs/adr/0007).
"""

from shared.dynamo.model import (
    ABSENT,
    INDEXES,
    PRESENT,
    Check,
    Condition,
    ConditionFailed,
    Delete,
    Item,
    Key,
    Op,
    Put,
    QueryPage,
    Reason,
    TransactionCancelled,
    Update,
)
from shared.dynamo.table import Table, operations

__all__ = [
    "ABSENT",
    "INDEXES",
    "PRESENT",
    "Check",
    "Condition",
    "ConditionFailed",
    "Delete",
    "Item",
    "Key",
    "Op",
    "Put",
    "QueryPage",
    "Reason",
    "Table",
    "TransactionCancelled",
    "Update",
    "operations",
]
