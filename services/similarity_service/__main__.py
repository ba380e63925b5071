"""`python -m services.similarity_service`: the process. --help lists the environment that it reads."""

import sys

from services.similarity_service.app import serve
from services.similarity_service.config import SimilarityConfig
from shared import config, lifecycle

if __name__ == "__main__":
    if "--help" in sys.argv:
        print(__doc__, config.describe(SimilarityConfig), sep="\n\n")
    else:
        lifecycle.run(serve)
