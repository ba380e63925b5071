"""Starts Prometheus beside a running stack: the services' metrics with the rules of deploy/prometheus, on loopback.

The stack does not need it: where Prometheus is not installed, or does not start, the services go on without it.
"""

import contextlib
import json
import os
import shutil
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from deploy.local import processes, stores
from deploy.local.console import Console

# As Prometheus's own port: 9090 beside 50051 to 50054.
USUAL_PORT = 9090
RULES = stores.ROOT / "deploy" / "prometheus" / "rules.yaml"
MISSING = "Prometheus is not installed (Debian: apt install prometheus): nothing reads the metrics here"
_SCRAPE_SECONDS = 5
_START_SECONDS = 30.0
_STOP_SECONDS = 20.0


def config(metrics: Mapping[str, str]) -> dict[str, Any]:
    """The configuration for these services (context -> host:port of GET /metrics), labelled as in Kubernetes."""
    seconds = f"{_SCRAPE_SECONDS}s"
    targets = [{"targets": [address], "labels": {"service": name}} for name, address in metrics.items()]
    return {
        "global": {"scrape_interval": seconds, "scrape_timeout": seconds, "evaluation_interval": seconds},
        "rule_files": [str(RULES)],
        "scrape_configs": [{"job_name": "brain2", "static_configs": targets}],
    }


@contextlib.asynccontextmanager
async def prometheus(metrics: Mapping[str, str], data: Path, console: Console) -> AsyncIterator[str]:
    """The address of a Prometheus that is ready; "", and a printed line, when none is installed or it does not start.

    metrics: context -> host:port of GET /metrics. data: the folder of the stack; it keeps the samples of a day.
    """
    program = shutil.which("prometheus")
    if program is None:
        console.step(MISSING)
        yield ""
        return
    folder = data / "prometheus"
    folder.mkdir(parents=True, exist_ok=True)
    # YAML of Prometheus is a superset of JSON.
    (folder / "prometheus.json").write_text(json.dumps(config(metrics), indent=2) + "\n", encoding="utf-8")
    port = USUAL_PORT if processes.is_free(USUAL_PORT) else processes.free_ports(1)[0]
    child = await processes.start(
        "prometheus",
        (
            program,
            f"--config.file={folder / 'prometheus.json'}",
            f"--storage.tsdb.path={folder / 'samples'}",
            "--storage.tsdb.retention.time=1d",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=warn",
        ),
        env={"PATH": os.environ.get("PATH", "")},
        on_line=console.log,
    )
    url = f"http://127.0.0.1:{port}"
    async with processes.beside(child, f"{url}/-/ready", _START_SECONDS, _STOP_SECONDS, console) as answers:
        yield url if answers else ""
