"""`python -m services.graph_service`: the process. --help lists the environment that it reads."""

import sys

from services.graph_service.app import serve
from services.graph_service.config import GraphConfig
from shared import config, lifecycle

if __name__ == "__main__":
    if "--help" in sys.argv:
        print(__doc__, config.describe(GraphConfig), sep="\n\n")
    else:
        lifecycle.run(serve)
