"""Where a command finds its services, and what it says of one that is not given or does not answer."""

from pathlib import Path

import pytest

from deploy.local import targets
from deploy.local.console import LaunchError

_ALL = ("node", "graph", "similarity")


def find(target: str | None, *needed: str, **more: object) -> dict[str, str]:
    return targets.find(needed or _ALL, target, Path("/nowhere"), environ={}, **more)  # type: ignore[arg-type]


def test_one_option_gives_all_targets() -> None:
    given = "similarity=s:3, node=dns:///n:1,graph=unix:/g,cleanup=c:4"
    assert find(given) == {"node": "dns:///n:1", "graph": "unix:/g", "similarity": "s:3"}
    assert find(given, "cleanup") == {"cleanup": "c:4"}
    assert find("node=n:1,graph=g:2", options={"similarity": "s:3"})["similarity"] == "s:3"


def test_a_single_target_is_the_first_service_and_the_others_are_beside_it() -> None:
    assert find("host:100") == {"node": "host:100", "graph": "host:101", "similarity": "host:102"}
    assert find("host:100", options={"graph": "g:1", "similarity": None})["graph"] == "g:1"
    assert find("host:100", "cleanup") == {"cleanup": "host:100"}
    assert find(None)["similarity"] == "127.0.0.1:50053"
    assert find(None, "cleanup") == {"cleanup": "127.0.0.1:50054"}


def test_the_environment_counts_where_no_target_is_given() -> None:
    environ = {"BRAIN2_NODE_TARGET": "n:1", "BRAIN2_GRAPH_TARGET": "g:9"}
    found = targets.find(_ALL, None, Path("/nowhere"), environ=environ)
    assert found == {"node": "n:1", "graph": "g:9", "similarity": "n:3"}
    assert targets.find(_ALL, "host:100", Path("/nowhere"), environ=environ)["graph"] == "host:101"


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("node=n:1", "names no graph and no similarity: give node=host:port,graph=host:port,similarity=host:port"),
        ("node=n:1,graf=g:1", "'graf=g:1'"),
        ("node=n:1,graph=", "'graph='"),
        ("node=n:1,node=n:2", "'node=n:2'"),
        ("dns:///nodes", "has no port to count from"),
    ],
)
def test_a_target_that_is_not_given_ends_the_command(target: str, reason: str) -> None:
    with pytest.raises(LaunchError) as refused:
        find(target)
    assert reason in str(refused.value)
