"""`python -m services.graph_service`: the process. --help lists the environment that it reads."""

import sys
from collections.abc import Awaitable, Callable

from services.graph_service.config import GraphConfig
from shared import config
from shared.lifecycle import Lifecycle
from shared.workers import supervisor


def main() -> Callable[[Lifecycle], Awaitable[None]]:
    """The service. Imported here, because a supervisor doesn't need its code."""
    from services.graph_service.app import serve

    return serve


if __name__ == "__main__":
    if "--help" in sys.argv:
        print(__doc__, config.describe(GraphConfig), sep="\n\n")
    else:
        supervisor.run(GraphConfig, "graph", main)
