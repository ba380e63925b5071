"""compose.yaml starts every service with variables that it reads, and publishes ports on loopback only."""

from typing import Any

import pytest
import yaml

from deploy.docs import ROOT, config_class, variables

_SDK = {"AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
_COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]
# The services share one set of variables; one that a context doesn't read is there for another.
_TARGETS = {"BRAIN2_NODE_TARGET", "BRAIN2_GRAPH_TARGET", "BRAIN2_SIMILARITY_TARGET"}


@pytest.mark.parametrize("context", ["node", "graph", "similarity", "cleanup"])
def test_a_service_gets_what_it_requires_and_nothing_unknown(context: str) -> None:
    given = set(_COMPOSE[context]["environment"])
    read = set(variables(config_class(context)))
    assert given <= read | _SDK | _TARGETS
    required = {name for name, (default, _) in variables(config_class(context)).items() if default == "(required)"}
    assert required <= given


@pytest.mark.parametrize("name", sorted(_COMPOSE))
def test_ports_are_published_on_loopback_only(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in _COMPOSE[name].get("ports", []))
