"""Refreshes what the documentation takes from the code: `make docs`. A test fails when it is stale.

A block lies between `<!-- generated: NAME -->` and `<!-- end -->`; everything else in a file is written by hand.
"""

import importlib
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import Descriptor, MethodDescriptor, ServiceDescriptor

from deploy import capacity
from protos import table
from protos.options.rules import traits
from shared import config
from shared.grpc.validation import describe

ROOT = Path(__file__).resolve().parents[1]
CONTEXTS = ("node", "graph", "similarity", "cleanup")
_BLOCK = re.compile(r"(<!-- generated: (?P<name>[\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def config_class(context: str) -> type[config.ServerConfig]:
    """The config class of a context: the one that its config.py defines."""
    module = importlib.import_module(f"services.{context}_service.config")
    [found] = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, config.ServerConfig) and value.__module__ == module.__name__
    ]
    return found


def variables(cls: type[Any]) -> dict[str, tuple[str, str]]:
    """What a config class reads: variable -> (default, why), as Markdown."""
    rows = (line.strip("|").split(" | ", 2) for line in config.describe(cls).splitlines()[2:])
    return {name.strip(): (default.strip(), why.strip()) for name, default, why in rows}


def config_table() -> str:
    """Every variable of every service, once per meaning; those that all four read come first."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for context in CONTEXTS:
        for name, (default, why) in variables(config_class(context)).items():
            found.setdefault((name, default, why), []).append(context)
    lines = ["| variable | read by | default | why |", "|---|---|---|---|"]
    for everywhere in (True, False):
        lines += [
            f"| {name} | {'all' if everywhere else ', '.join(readers)} | {default} | {why} |"
            for (name, default, why), readers in found.items()
            if (len(readers) == len(CONTEXTS)) is everywhere
        ]
    return "\n".join(lines)


def decisions() -> str:
    """The index of docs/adr: number, title, status."""
    lines = ["| decision | status |", "|---|---|"]
    for path in sorted((ROOT / "docs" / "adr").glob("[0-9]*.md")):
        text = path.read_text(encoding="utf-8")
        title = text.splitlines()[0].removeprefix("# ")
        status = re.search(r"\*\*Status\*\*: ([^.]+)\.", text)
        lines.append(f"| [{title}]({path.name}) | {status[1] if status else '?'} |")
    return "\n".join(lines)


def table_items() -> str:
    """The items of the table: key, owner, indexes, and what other contexts may do with them."""
    lines = [
        "| item | owner | PK | SK | index | also read by | also written by | also removed by |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for item in table.ITEMS:
        key = f"`{item.partition}` | `{item.sort_key}`"
        others = (", ".join(names) or "-" for names in (item.index, item.readers, item.completers, item.removers))
        lines.append(f"| {item.name} | {item.owner} | {key} | {' | '.join(others)} |")
    return "\n".join(lines)


def services() -> list[ServiceDescriptor]:
    """The four services, as their .proto files describe them."""
    found: list[ServiceDescriptor] = []
    for context in CONTEXTS:
        module = importlib.import_module(f"protos.{context}.v1.{context}_pb2")
        found += module.DESCRIPTOR.services_by_name.values()
    return found


def rpcs() -> str:
    """Every RPC: the scope that it needs, and how it may be repeated."""
    lines = ["| service | RPC | scope | to repeat it |", "|---|---|---|---|"]
    for service in services():
        for method in service.methods:
            facts = traits(method)
            lines.append(f"| {service.name} | {method.name} | {facts.scope or 'none'} | {_repeat(method)} |")
    return "\n".join(lines)


def _repeat(method: MethodDescriptor) -> str:
    facts = traits(method)
    if facts.subscription:
        return "reads: resume it with the last resume_token"
    if facts.reads:
        return "reads: as it is"
    return "as it is" if facts.idempotent else "with a request_id"


def limits() -> str:
    """The limits of the fields of every request, and of the messages in them."""
    lines = ["| message | field | allowed |", "|---|---|---|"]
    for service in services():
        for message in _messages(service):
            for field in message.fields:
                if allowed := describe(field):
                    name = message.full_name.removeprefix("brain2.")
                    lines.append(f"| {name} | {field.name} | {allowed} |")
    return "\n".join(lines)


def _messages(service: ServiceDescriptor) -> list[Descriptor]:
    """The requests of a service in the order of its RPCs, each followed by the messages of this project in it."""
    found: dict[str, Descriptor] = {}

    def add(message: Descriptor) -> None:
        if message.full_name not in found:
            found[message.full_name] = message
            for field in message.fields:
                kind = field.message_type
                if kind is not None and kind.full_name.startswith("brain2.") and not kind.GetOptions().map_entry:
                    add(kind)

    for method in service.methods:
        add(method.input_type)
    return list(found.values())


def retry_policy() -> str:
    """docs/retry-policy.json: the gRPC service config for clients in other languages.

    Every RPC may be repeated, given a request_id where it has the field (a test holds that there is no third sort).
    A stream has no deadline in the policy, since it may stay open.
    """
    retry = {
        "maxAttempts": 5,
        "initialBackoff": "0.05s",
        "maxBackoff": "1s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
    }
    streams = [
        {"service": service.full_name, "method": method.name}
        for service in services()
        for method in service.methods
        if method.server_streaming
    ]
    policy = {
        "loadBalancingConfig": [{"round_robin": {}}],
        "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.2},
        "methodConfig": [
            {"name": [{}], "waitForReady": True, "timeout": "10s", "retryPolicy": retry},
            {"name": streams, "waitForReady": True, "retryPolicy": retry},
        ],
    }
    return json.dumps(policy, indent=2) + "\n"


def prometheus_rule() -> str:
    """The PrometheusRule of the operator for Kubernetes, with the rules of deploy/prometheus/rules.yaml."""
    rules = (ROOT / "deploy" / "prometheus" / "rules.yaml").read_text(encoding="utf-8")
    groups = rules[rules.index("groups:") :]
    head = """\
# Generated from deploy/prometheus/rules.yaml by `make docs`.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: brain2
  labels:
    app.kubernetes.io/name: brain2
    app.kubernetes.io/part-of: brain2
spec:
"""
    return head + "".join(f"  {line}" if line.strip() else line for line in groups.splitlines(keepends=True))


def memory() -> str:
    """What each service's memory was measured to be, beside the limit of its pod, in MiB."""
    found = json.loads((ROOT / "docs" / "bench" / "memory.json").read_text(encoding="utf-8"))
    lines = [
        "| service | after the start | at the peak of the load | with full caches, too | limit of the pod |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, mib in found["services"].items():
        lines.append(f"| {name} | {mib['idle_mib']} | {mib['peak_mib']} | {mib['bound_mib']} | {mib['limit_mib']} |")
    return "\n".join(lines)


BLOCKS: dict[str, Callable[[], str]] = {
    "settings": config_table,
    "decisions": decisions,
    "table": table_items,
    "rpcs": rpcs,
    "limits": limits,
    "memory": memory,
    "capacity-plans": lambda: capacity.plans(capacity.load()),
    "capacity-limits": lambda: capacity.limits(capacity.load()),
    "capacity-inputs": lambda: capacity.inputs_table(capacity.load()),
}
# Files that are generated as a whole.
FILES: dict[str, Callable[[], str]] = {
    "docs/retry-policy.json": retry_policy,
    "deploy/k8s/components/prometheus/rules.yaml": prometheus_rule,
}


def refreshed(text: str) -> str:
    """The text with each of its blocks made anew. KeyError for a block that nobody makes."""
    return _BLOCK.sub(lambda found: f"{found[1]}{BLOCKS[found['name']]()}\n{found[3]}", text)


def pages() -> list[Path]:
    """The project's own Markdown."""
    return [
        *sorted(ROOT.glob("*.md")),
        *sorted((ROOT / "docs").rglob("*.md")),
        *sorted((ROOT / "deploy").rglob("*.md")),
    ]


def main() -> int:
    """Write what has changed, and say so."""
    for path in pages():
        text = path.read_text(encoding="utf-8")
        if (fresh := refreshed(text)) != text:
            path.write_text(fresh, encoding="utf-8")
            print(f"brain2: refreshed {path.relative_to(ROOT)}")
    for name, make in FILES.items():
        if (ROOT / name).read_text(encoding="utf-8") != (fresh := make()):
            (ROOT / name).write_text(fresh, encoding="utf-8")
            print(f"brain2: refreshed {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
