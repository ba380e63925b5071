"""`python -m services.node_service`: the process. --help lists its environment variables.

`python -m services.node_service replay --help`: publishes a user's events again, through a running service.
"""

import sys
from collections.abc import Awaitable, Callable

from services.node_service.adapters import replay_command
from services.node_service.config import NodeConfig
from shared import config
from shared.lifecycle import Lifecycle
from shared.workers import supervisor


def main() -> Callable[[Lifecycle], Awaitable[None]]:
    """The service. Imported here, because a supervisor doesn't need its code."""
    from services.node_service.app import serve

    return serve


if __name__ == "__main__":
    if sys.argv[1:2] == ["replay"]:
        sys.exit(replay_command.main(sys.argv[2:]))
    elif "--help" in sys.argv:
        print(__doc__, config.describe(NodeConfig), sep="\n\n")
    else:
        supervisor.run(NodeConfig, "node", main)
