"""`python -m services.cleanup_service`: the process. --help lists the environment that it reads."""

import sys

from services.cleanup_service.app import serve
from services.cleanup_service.config import CleanupConfig
from shared import config, lifecycle

if __name__ == "__main__":
    if "--help" in sys.argv:
        print(__doc__, config.describe(CleanupConfig), sep="\n\n")
    else:
        lifecycle.run(serve)
