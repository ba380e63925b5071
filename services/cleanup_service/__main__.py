"""`python -m services.cleanup_service`: runs the service. --help lists the environment variables that it reads.

`python -m services.cleanup_service reconcile --help`: reconciles users through a running service.

`python -m services.cleanup_service replay-erasures --help`: erases again, after a restore, whoever was erased.
"""

import sys

from services.cleanup_service.adapters import command, replay_command
from services.cleanup_service.app import serve
from services.cleanup_service.config import CleanupConfig
from shared import config, lifecycle

if __name__ == "__main__":
    if sys.argv[1:2] == ["reconcile"]:
        sys.exit(command.main(sys.argv[2:]))
    elif sys.argv[1:2] == ["replay-erasures"]:
        sys.exit(replay_command.main(sys.argv[2:]))
    elif "--help" in sys.argv:
        print(__doc__, config.describe(CleanupConfig), sep="\n\n")
    else:
        lifecycle.run(serve)
