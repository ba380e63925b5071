"""`python -m services.node_service`: the process. --help lists its environment variables.

`python -m services.node_service replay --help`: publishes a user's events again, through a running service.
"""

import sys

from services.node_service.adapters import replay_command
from services.node_service.app import serve
from services.node_service.config import NodeConfig
from shared import config, lifecycle

if __name__ == "__main__":
    if sys.argv[1:2] == ["replay"]:
        sys.exit(replay_command.main(sys.argv[2:]))
    elif "--help" in sys.argv:
        print(__doc__, config.describe(NodeConfig), sep="\n\n")
    else:
        lifecycle.run(serve)
