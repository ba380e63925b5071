"""`python -m services.node_service`: the process. --help lists the environment that it reads."""

import sys

from services.node_service.app import serve
from services.node_service.config import NodeConfig
from shared import config, lifecycle

if __name__ == "__main__":
    if "--help" in sys.argv:
        print(__doc__, config.describe(NodeConfig), sep="\n\n")
    else:
        lifecycle.run(serve)
