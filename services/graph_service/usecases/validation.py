"""What a request must look like. Each check_* raises InvalidArgument with one violation for each wrong field."""

import re
from collections.abc import Mapping, Sequence

from services.graph_service.model.edge import EdgeKey, Metadata, NewEdge, label_bytes
from services.graph_service.model.neighbors import NeighborQuery
from shared.errors import Violations, shown
from shared.ids import check_id, check_user_id

MAX_BATCH = 500
MAX_LABELS = 16
MAX_LABEL_BYTES = 2048
MAX_METADATA_BYTES = 4096
MAX_KEYWORDS = 64
_TYPE = re.compile(r"[a-z][a-z0-9_]{0,31}")


def check_create_edge(user_id: str, new: NewEdge) -> None:
    """Check CreateEdge."""
    violations = Violations()
    check_user_id("user_id", user_id, violations)
    _new_edge("edge.", new, violations)
    violations.raise_if_any()


def check_batch(user_id: str, news: Sequence[NewEdge]) -> None:
    """Check BatchCreateEdges as a whole; check_batched_edge checks each edge, so that one can fail by itself."""
    violations = Violations()
    check_user_id("user_id", user_id, violations)
    if not 1 <= len(news) <= MAX_BATCH:
        violations.add("edges", f"has {len(news):,} edges, 1 to {MAX_BATCH} are allowed")
    violations.raise_if_any()


def check_batched_edge(index: int, new: NewEdge) -> None:
    """Check one edge of BatchCreateEdges."""
    violations = Violations()
    _new_edge(f"edges[{index}].", new, violations)
    violations.raise_if_any()


def check_edge_key(user_id: str, key: EdgeKey) -> None:
    """Check a request about one existing edge."""
    violations = Violations()
    check_user_id("user_id", user_id, violations)
    _ends("", key.a, key.b, key.type, violations)
    violations.raise_if_any()


def check_update_edge(user_id: str, key: EdgeKey, weight: float | None, labels: Mapping[str, str] | None) -> None:
    """Check UpdateEdge; None stands for a value that stays as it is."""
    violations = Violations()
    check_user_id("user_id", user_id, violations)
    _ends("", key.a, key.b, key.type, violations)
    _unit("weight", weight or 0.0, violations)
    if labels is not None:
        _metadata("metadata", Metadata(labels=labels), violations)
    violations.raise_if_any()


def check_user(user_id: str) -> None:
    """Check a request about everything that a user has."""
    violations = Violations()
    check_user_id("user_id", user_id, violations)
    violations.raise_if_any()


def check_node(user_id: str, node_id: str) -> None:
    """Check a request about one note."""
    check_traversal(user_id, {"node_id": node_id})


def check_nodes(user_id: str, node_ids: Sequence[str], maximum: int) -> None:
    """Check a request about 1 to `maximum` notes."""
    violations = Violations()
    check_user_id("user_id", user_id, violations)
    if not 1 <= len(node_ids) <= maximum:
        violations.add("node_ids", f"has {len(node_ids):,} ids, 1 to {maximum:,} are allowed")
    else:
        for index, node_id in enumerate(node_ids):
            check_id(f"node_ids[{index}]", node_id, violations)
    violations.raise_if_any()


def check_query(query: NeighborQuery) -> None:
    """Check which neighbours are asked for."""
    check_traversal(query.user_id, {"node_id": query.node_id}, query.min_weight)


def check_traversal(user_id: str, node_ids: Mapping[str, str], min_weight: float = 0.0) -> None:
    """Check a request that follows edges. node_ids: field -> note."""
    violations = Violations()
    check_user_id("user_id", user_id, violations)
    for field, node_id in node_ids.items():
        check_id(field, node_id, violations)
    _unit("min_weight", min_weight, violations)
    violations.raise_if_any()


def _new_edge(prefix: str, new: NewEdge, violations: Violations) -> None:
    """prefix: the path of the message in the request, such as "edge."."""
    _ends(prefix, new.source, new.target, new.type, violations)
    _unit(f"{prefix}weight", new.weight, violations)
    _metadata(f"{prefix}metadata", new.metadata, violations)


def _ends(prefix: str, source: str, target: str, type: str, violations: Violations) -> None:
    check_id(f"{prefix}source_id", source, violations)
    check_id(f"{prefix}target_id", target, violations)
    if source == target:
        violations.add(f"{prefix}target_id", f"is {shown(target)}, must be another note than source_id")
    if not _TYPE.fullmatch(type):
        why = "must be 1 to 32 of a-z 0-9 _, the first a letter (empty: related)"
        violations.add(f"{prefix}type", f"is {shown(type)}, {why}")


def _unit(field: str, number: float, violations: Violations) -> None:
    if not 0.0 <= number <= 1.0:  # also refuses NaN
        violations.add(field, f"is {shown(number)}, must be 0 to 1")


def _metadata(field: str, metadata: Metadata, violations: Violations) -> None:
    _unit(f"{field}.score", metadata.score, violations)
    if len(metadata.keywords) > MAX_KEYWORDS:
        violations.add(
            f"{field}.shared_keywords", f"has {len(metadata.keywords):,} keywords, at most {MAX_KEYWORDS} are allowed"
        )
    for index, keyword in enumerate(metadata.keywords[:MAX_KEYWORDS]):
        if not 0.0 <= keyword.contribution <= 1.0:
            _unit(f"{field}.shared_keywords[{index}].contribution", keyword.contribution, violations)
    if len(metadata.labels) > MAX_LABELS:
        violations.add(f"{field}.labels", f"has {len(metadata.labels):,} entries, at most {MAX_LABELS} are allowed")
    if (size := label_bytes(metadata.labels)) > MAX_LABEL_BYTES:
        violations.add(f"{field}.labels", f"has {size:,} bytes in all, at most {MAX_LABEL_BYTES:,} are allowed")
    if "" in metadata.labels:
        violations.add(f"{field}.labels", "has an empty key, a key must not be empty")  # DynamoDB refuses such a map
    if (size := metadata.bytes()) > MAX_METADATA_BYTES:
        violations.add(field, f"has {size:,} bytes in all, at most {MAX_METADATA_BYTES:,} are allowed")
