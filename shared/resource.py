"""Which process traces, metrics and log lines come from: the OpenTelemetry resource, made in one place."""

import functools
import os
import socket

from opentelemetry.sdk.resources import Resource


@functools.cache
def instance_id() -> str:
    """The service.instance.id of this process: host (in Kubernetes the pod's name) and process id."""
    return f"{socket.gethostname()}-{os.getpid()}"


def resource(service: str) -> Resource:
    """The resource of a service's process. OTEL_RESOURCE_ATTRIBUTES adds to it, for example the version."""
    return Resource.create(
        {
            "service.name": service,
            "service.namespace": "brain2",
            # Without it the counters of two replicas would look like one that jumps.
            "service.instance.id": instance_id(),
        }
    )
