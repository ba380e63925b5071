"""metrics.json of the launcher: the newest numbers of each running process."""

import json
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2

from deploy.local.metrics import MetricFile


def exported(pid: int, value: int) -> metrics_service_pb2.ExportMetricsServiceRequest:
    request = metrics_service_pb2.ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    for key, text in (("service.name", "graph"), ("service.instance.id", f"a-host-{pid}")):
        attribute = resource.resource.attributes.add()
        attribute.key, attribute.value.string_value = key, text
    metric = resource.scope_metrics.add().metrics.add(name="calls")
    metric.sum.data_points.add(as_int=value)
    return request


async def test_workers_have_parts_of_their_own_and_one_that_has_ended_has_none(tmp_path: Path) -> None:
    path, running = tmp_path / "metrics.json", {11, 12}
    file, unused = MetricFile(path, running.__contains__), None

    async def after(pid: int, value: int) -> Any:
        await file.Export(exported(pid, value), unused)
        return json.loads(path.read_text())

    assert await after(11, 5) == {"graph": {"calls": 5}}
    assert await after(12, 3) == {"graph 11": {"calls": 5}, "graph 12": {"calls": 3}}
    assert await after(11, 6) == {"graph 11": {"calls": 6}, "graph 12": {"calls": 3}}
    running.remove(11)
    assert await after(12, 4) == {"graph": {"calls": 4}}
    # The last numbers of a service that has ended stay until it is started again.
    running.remove(12)
    running.add(13)
    assert await after(13, 1) == {"graph": {"calls": 1}}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full is Linux's")
async def test_a_full_disk_leaves_the_older_numbers(tmp_path: Path) -> None:
    path, unused = tmp_path / "metrics.json", None
    path.write_text("{}")
    (tmp_path / "metrics.json.new").symlink_to("/dev/full")
    await MetricFile(path).Export(exported(11, 5), unused)
    assert path.read_text() == "{}"
